"""Configuration files: what was trained can be trained again from the file beside it, and mistakes are named."""

import json
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from chainrule.cli import main
from chainrule.cli.configuration import command_line, write_configuration
from chainrule.cli.preparing import Options
from chainrule.training.model_file import load_model

from .tables import write_table


def weights(folder: Path) -> dict[str, bytes]:
    module = load_model(folder / "model.chain").module
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


def test_the_file_beside_the_model_trains_the_same_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.cli import network

    path = write_table(tmp_path / "people.csv", "sick")
    command = ["train", str(path), "--target", "sick", "--epochs", "6", "--hidden", "8", "--seed", "3"]
    assert main([*command, "--out", str(tmp_path / "first")]) == 0
    found = tomllib.loads((tmp_path / "first" / "config.toml").read_text(encoding="utf-8"))
    assert found["hidden"] == [8] and found["task"] == "binary" and found["batch_size"] == 32
    other = network.Recipe(10**9, batch_size=7, learning_rate=0.5, dropout=0.9, weight_decay=9.0)
    monkeypatch.setattr(network, "RECIPES", (other,))  # the file depends on no default of the time when it is read
    assert main(["train", "--config", str(tmp_path / "first" / "config.toml"), "--out", str(tmp_path / "second")]) == 0
    assert weights(tmp_path / "first") == weights(tmp_path / "second")
    records = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("first", "second")]
    assert records[0] == records[1]
    second = (tmp_path / "second" / "config.toml").read_text(encoding="utf-8")
    assert second == (tmp_path / "first" / "config.toml").read_text(encoding="utf-8")


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    path = write_table(tmp_path / "people.csv", "sick grade")
    config = tmp_path / "run.toml"
    config.write_text(f'data = {json.dumps(str(path))}\ntarget = "grade"\nepochs = 3\nbatch-size = 20\nhidden = []\n')
    assert main(["train", "--config", str(config), "--target", "sick", "--epochs", "2", "--out", str(tmp_path)]) == 0
    found = tomllib.loads((tmp_path / "config.toml").read_text(encoding="utf-8"))
    assert (found["target"], found["epochs"], found["batch_size"], found["hidden"]) == ("sick", 2, 20, [])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("epoch = 3", ["there is no option 'epoch' (did you mean 'epochs'?)", "known are data, target, task, hidden"]),
        ("learning_rate = 'fast'", ["learning_rate: 'fast' is not a valid float"]),
        ("epochs = 0", ["epochs: 0 is not in the range x>=1"]),
        ("epochs = 2.5", ["epochs: '2.5' is not a valid"]),
        ("epochs = true", ["epochs: 'True' is not a valid"]),
        ("hidden = ['x']", ["hidden: expected the sizes of the hidden layers, such as 64,32, got 'x'"]),
        ("dropout = 1", ["dropout: 1.0 is not in the range"]),
        ("[training]\nepochs = 3", ["there is no option 'training'"]),
        ("hidden = [[8], [4]]", ["hidden: expected text, a number or a list of numbers, got list"]),
        ("target = {name = 'sick'}", ["target: expected text, a number or a list of numbers, got a table"]),
        ("epochs = = 3", ["is not well-formed TOML", "line 1"]),
        ("epochs = " + "[" * 3000, ["lists or tables are nested too deeply"]),
        ("epochs = " + "9" * 5000, ["is not well-formed TOML"]),
        ("x" * 5000 + " = 1", ["there is no option 'xxx", "known are data"]),
        ("config = 'x.toml'", ["there is no option 'config'"]),
    ],
)
def test_mistakes_in_a_file_are_named(
    text: str, parts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(text)
    assert main(["train", str(tmp_path / "people.csv"), "--target", "sick", "--config", str(config)]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"error: {config}") and len(message.strip().splitlines()) == 1
    for part in parts:
        assert part in message


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def message(name: str) -> str:
        assert main(["train", "--config", str(tmp_path / name)]) == 1
        return capsys.readouterr().err

    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    assert "no configuration file" in message("rum.toml")
    assert "(did you mean 'run.toml'?)" in message("rum.toml")
    assert "cannot be read" in message("run.toml")
    (tmp_path / "empty.toml").write_text("")
    assert main(["train", "--config", str(tmp_path / "empty.toml")]) == 2
    assert "Missing argument 'DATA'" in capsys.readouterr().err


def test_yaml_names_its_extra_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "run.yaml").write_text("epochs: 3\n")
    assert main(["train", "--config", str(tmp_path / "run.yaml")]) == 1
    assert capsys.readouterr().err == 'error: this needs PyYAML: pip install "chainrule[yaml]"\n'


def test_yaml_is_read_like_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("yaml")
    path = write_table(tmp_path / "people.csv", "sick")
    config = tmp_path / "run.yaml"
    config.write_text(f"data: {json.dumps(str(path))}\ntarget: sick\nepochs: 2\nhidden: [4, 3]\n")
    assert main(["train", "--config", str(config), "--out", str(tmp_path)]) == 0
    assert "5 → 4 → 3 → 1" in capsys.readouterr().out
    for text, part in (("epochs: [1", "is not well-formed YAML"), ("- 1\n- 2\n", "expected options and their values"),
                       ("epochs:\n", "epochs: expected text, a number or a list of numbers, got nothing")):  # fmt: skip
        config.write_text(text)
        assert main(["train", "--config", str(config)]) == 1
        assert part in capsys.readouterr().err


def test_what_is_written_is_read_back_whatever_the_names(tmp_path: Path) -> None:
    options = Options(Path('a "b"\\c\x7f é.csv'), "tar\tget", "binary", (3, 2), 7, 4, 1e-05, 0.25, 0.5, 11)
    found = tomllib.loads(write_configuration(options))
    expected = {item.name: getattr(options, item.name) for item in fields(options) if item.name != "out"}
    assert found == {**expected, "data": str(options.data), "hidden": [3, 2]}


def test_the_command_that_is_told_makes_the_same_options(monkeypatch: pytest.MonkeyPatch) -> None:
    import shlex

    from chainrule.cli import train

    options = Options(Path("my data.csv"), "it's", hidden=(), epochs=3, weight_decay=0.5, seed=2, out=Path("o u t"))
    given: list[Options] = []
    monkeypatch.setattr(train, "run", given.append)
    assert main(shlex.split(command_line(options))[1:]) == 0
    assert given == [options]
