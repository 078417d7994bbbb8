"""Bad input: one short message on standard error, the exit status, and nothing lost."""

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chainrule.cli import main
from chainrule.cli import main as run
from chainrule.files import atomic

from .tables import ROWS, columns, write_table


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model of ``sick``."""
    folder = tmp_path_factory.mktemp("model")
    path = write_table(folder / "people.csv", "sick")
    assert main(["train", str(path), "--target", "sick", "--epochs", "2", "--hidden", "4", "--out", str(folder)]) == 0
    return folder / "model.chain"


def fails(capsys: pytest.CaptureFixture[str], arguments: list[Any], *parts: str, status: int = 1) -> str:
    """Run a command that must fail with one message that has these parts, without a traceback; returns the message."""
    capsys.readouterr()
    assert run([str(item) for item in arguments]) == status
    message = capsys.readouterr().err
    for part in parts:
        assert part in message
    assert "Traceback" not in message
    assert len(message.strip().splitlines()) <= 3
    return message


def train_fails(capsys: pytest.CaptureFixture[str], path: Path, target: str, *parts: str) -> None:
    message = fails(capsys, ["train", path, "--target", target, "--out", path.parent / "out"], *parts)
    assert message.startswith("error: ")
    assert len(message.strip().splitlines()) == 1
    assert not (path.parent / "out" / "model.chain").exists()


def test_a_missing_file_names_a_close_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(tmp_path / "people.csv", "sick")
    train_fails(capsys, tmp_path / "peple.csv", "sick", "there is no file", "did you mean", "people.csv")


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.csv").write_text("")
    train_fails(capsys, tmp_path / "empty.csv", "sick", "is empty: expected a header row")


def test_a_wrong_target_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    train_fails(capsys, path, "sik", "no column 'sik'", "(did you mean 'sick'?)", "size, weight, colour, sick")


def test_a_constant_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "", same=["1"] * ROWS)
    train_fails(capsys, path, "same", "'same' is '1' in every row: there is nothing to learn")


def test_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "sick", rows=1)
    train_fails(capsys, path, "sick", "has 1 row with a value of the target 'sick': at least 10 are needed")


def test_text_in_a_column_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = columns()["size"]
    cells[16] = "12 kg"
    path = write_table(tmp_path / "people.csv", "sick", size=cells)
    train_fails(capsys, path, "sick", "column 'size', line 18 of people.csv: expected a number, got '12 kg'")


def test_infinity_in_a_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = columns()["weight"]
    cells[3] = "-inf"
    path = write_table(tmp_path / "people.csv", "sick", weight=cells)
    train_fails(capsys, path, "sick", "column 'weight', line 5 of people.csv", "'-inf' is infinite")


def test_nothing_but_the_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text("sick\n" + "yes\nno\n" * 20)
    train_fails(capsys, tmp_path / "one.csv", "sick", "no column besides the target")


def test_an_unknown_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    fails(capsys, ["train", path, "--target", "sick", "--task", "regresion"], "did you mean 'regression'?")


def test_a_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    fails(capsys, ["train", path, "--target", "sick", "--out", path], "for the results cannot be made: File exists")


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "people.csv"],
        ["train", "people.csv", "--target", "sick", "--epochs", "0"],
        ["train", "people.csv", "--target", "sick", "--hidden", "64,x"],
        ["train", "people.csv", "--target", "sick", "--dropout", "1"],
        ["predict", "model.chain"],
        ["tran", "people.csv"],
        ["tune", "people.csv", "--target", "sick", "--trials", "0"],
    ],
)
def test_wrong_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Usage: chainrule" in capsys.readouterr().err


def test_different_columns_at_prediction(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = columns()
    lines = [
        "size,wait,colour",
        *(",".join(row) for row in zip(table["size"], table["weight"], table["colour"], strict=True)),
    ]
    (tmp_path / "new.csv").write_text("\n".join(lines))
    fails(
        capsys, ["predict", model, tmp_path / "new.csv"], "lacks 1 of the 3 columns", "'weight' (did you mean 'wait'?)"
    )


def test_evaluating_without_the_target(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "new.csv", "")
    fails(capsys, ["evaluate", model, path], "new.csv has no column 'sick' to use as target")
    path = write_table(tmp_path / "new.csv", "", sick=[""] * ROWS)
    fails(capsys, ["evaluate", model, path], "no row with a value of the target 'sick'")
    path = write_table(tmp_path / "new.csv", "", sick=["yes", "maybe"] * (ROWS // 2))
    fails(capsys, ["evaluate", model, path], "line 3 of new.csv: 'maybe' is none of the model's classes 'no', 'yes'")


@pytest.mark.parametrize("command", [["predict"], ["evaluate"], ["inspect"]])
def test_model_files_that_are_none(
    command: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [] if command == ["inspect"] else [write_table(tmp_path / "people.csv", "sick")]
    bad = tmp_path / "bad.chain"
    fails(capsys, [*command, bad, *data], "there is no file", "bad.chain")
    bad.write_bytes(model.read_bytes()[:-100])
    fails(capsys, [*command, bad, *data], "bad.chain is truncated or damaged")
    bad.write_text("size,weight\n1,2\n")
    fails(capsys, [*command, bad, *data], "bad.chain is not a chainrule model file: it is a text file")
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    fails(capsys, [*command, bad, *data], "truncated or damaged" if command == ["inspect"] else "a PyTorch file?")


def test_a_network_without_a_preparation_cannot_read_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from chainrule import nn
    from chainrule.training.model_file import save_model

    save_model(tmp_path / "plain.chain", nn.Sequential(nn.Linear(3, 1)))
    path = write_table(tmp_path / "people.csv", "sick")
    fails(capsys, ["predict", tmp_path / "plain.chain", path], "without the preparation of a table")


def test_a_full_disk_while_saving_leaves_the_old_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(tmp_path / "people.csv", "sick")
    command = ["train", path, "--target", "sick", "--epochs", "2", "--hidden", "4", "--out", tmp_path]
    assert run([str(item) for item in command]) == 0
    before = (tmp_path / "model.chain").read_bytes()

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    fails(capsys, [*command, "--seed", "5"], "model.chain was not saved: no space left on device", "is unchanged")
    assert (tmp_path / "model.chain").read_bytes() == before


def test_debug_shows_the_traceback_and_the_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["inspect", str(tmp_path / "absent"), "--debug"],
        ["--debug", "inspect", str(tmp_path / "absent")],
    ):
        assert run(arguments) == 1
        message = capsys.readouterr().err
        assert "Traceback (most recent call last)" in message
        assert message.rstrip().splitlines()[-1].startswith("error: there is no file")


def test_a_defect_is_one_message_that_asks_for_a_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainrule.cli import inspection

    monkeypatch.setattr(inspection, "describe_file", lambda path: 1 / 0)
    fails(capsys, ["inspect", "x"], "error: ZeroDivisionError", "a defect of chainrule", "--debug")
