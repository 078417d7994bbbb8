"""`chainrule predict`, `evaluate` and `inspect` on models of every task."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chainrule import nn
from chainrule.cli import main
from chainrule.cli.predict import load_table_model
from chainrule.data import StreamedTable
from chainrule.data.table import read_csv_table
from chainrule.training.model_file import save_model

from .tables import ROWS, columns, write_table


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained model per target."""
    found = {}
    for target in ("sick", "grade", "price"):
        folder = tmp_path_factory.mktemp(target)
        path = write_table(folder / "people.csv", target)
        options = [
            "--epochs",
            "40",
            "--hidden",
            "16",
            "--learning-rate",
            "0.02",
            "--dropout",
            "0",
            "--out",
            str(folder),
        ]
        assert main(["train", str(path), "--target", target, *options]) == 0
        found[target] = folder / "model.chain"
    return found


def predict(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, str]], str]:
    capsys.readouterr()
    assert main(["predict", str(model), str(data)]) == 0
    said = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(said.out))), said.err


@pytest.mark.parametrize("target", ["sick", "grade"])
def test_classes_have_their_labels_and_probabilities(
    target: str, models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, warnings = predict(models[target], write_table(tmp_path / "new.csv", "", seed=9), capsys)
    assert warnings == ""
    assert len(rows) == ROWS
    truth = columns(seed=9)[target]
    assert np.mean([row["prediction"] == label for row, label in zip(rows, truth, strict=True)]) > 0.75
    for row in rows:
        chances = {
            name.removeprefix("probability of "): float(text) for name, text in row.items() if name != "prediction"
        }
        assert set(chances) == set(truth)
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert chances[row["prediction"]] == max(chances.values())


def test_numbers_are_in_the_unit_of_the_target(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = predict(models["price"], write_table(tmp_path / "new.csv", "", seed=9), capsys)
    assert list(rows[0]) == ["prediction"]
    truth = np.array(columns(seed=9)["price"], dtype=float)
    error = np.array([float(row["prediction"]) for row in rows]) - truth
    assert np.abs(error).mean() < 0.5 * truth.std()


def test_rows_are_predicted_alike_alone_and_together_in_any_column_order(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    together, _ = predict(models["price"], write_table(tmp_path / "new.csv", "", seed=9), capsys)
    table = {name: cells[:1] for name, cells in columns(seed=9).items()}
    (tmp_path / "one.csv").write_text(
        f"colour,weight,size\n{table['colour'][0]},{table['weight'][0]},{table['size'][0]}\n"
    )
    alone, _ = predict(models["price"], tmp_path / "one.csv", capsys)
    assert float(alone[0]["prediction"]) == pytest.approx(float(together[0]["prediction"]), rel=1e-6)


def test_predictions_go_to_a_file(models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_table(tmp_path / "new.csv", "")
    rows, _ = predict(models["sick"], data, capsys)
    assert main(["predict", str(models["sick"]), str(data), "--out", str(tmp_path / "said.csv")]) == 0
    assert "120 predictions of sick written to" in capsys.readouterr().out
    with open(tmp_path / "said.csv", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == rows


def test_what_differs_from_training_is_said_on_standard_error(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    colours = ["mauve", *columns()["colour"][1:]]
    rows, warnings = predict(
        models["sick"], write_table(tmp_path / "new.csv", "", colour=colours, extra=["1"] * ROWS), capsys
    )
    assert len(rows) == ROWS
    assert "note: ignored, not in the training table: extra" in warnings
    assert "note: colour: 1 row with a category that was not seen in training ('mauve')" in warnings


@pytest.mark.parametrize(("target", "measure"), [("sick", "AUC"), ("grade", "macro F1"), ("price", "R²")])
def test_evaluate_compares_with_the_baseline(
    target: str, measure: str, models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = columns(seed=9)[target]
    path = write_table(tmp_path / "new.csv", "", seed=9, **{target: ["", *cells[1:]]})
    capsys.readouterr()
    assert main(["evaluate", str(models[target]), str(path)]) == 0
    said = capsys.readouterr().out
    assert f"119 rows of new.csv (1 without {target})" in said
    assert "The network beats the baseline." in said
    line = next(line for line in said.splitlines() if line.strip().startswith(measure))
    loaded = load_table_model(models[target])
    table = read_csv_table(path, target=target)
    rows = np.arange(1, ROWS)
    output, y = loaded.output(table, rows), loaded.target.transform(table, rows)
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    expected = {
        "sick": lambda: sklearn_metrics.roc_auc_score(y, output[:, 0]),
        "grade": lambda: sklearn_metrics.f1_score(y, output.argmax(1), average="macro"),
        "price": lambda: sklearn_metrics.r2_score(np.array(cells[1:], dtype=float), loaded.target.invert(output[:, 0])),
    }[target]()
    assert float(line.split()[-2]) == pytest.approx(expected, abs=6e-5)


def test_one_class_alone_has_an_accuracy_but_no_auc(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_table(tmp_path / "new.csv", "", sick=["yes"] * ROWS)
    capsys.readouterr()
    assert main(["evaluate", str(models["sick"]), str(path)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("AUC"))
    assert line.split() == ["AUC", "-", "-"]


def test_inspect_shows_network_columns_target_and_training(
    models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["inspect", str(models["sick"])]) == 0
    said = capsys.readouterr().out
    for part in (
        "Linear(",
        "113 parameters",
        "size: number, standardised",
        "sick: binary classification, classes no, yes",
        "loss: bce_with_logits",
        "the best, ",
        "AUC",
        "chainrule 0.",
    ):
        assert part in said


def test_inspect_of_a_plain_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from chainrule import nn
    from chainrule.training.model_file import save_model

    save_model(tmp_path / "plain.chain", nn.Sequential(nn.Linear(3, 1)))
    assert main(["inspect", str(tmp_path / "plain.chain")]) == 0
    assert "4 parameters" in capsys.readouterr().out


def test_the_folder_that_train_wrote_stands_for_its_model(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_table(tmp_path / "new.csv", "", seed=9)
    assert predict(models["sick"].parent, data, capsys) == predict(models["sick"], data, capsys)


@pytest.mark.parametrize(("target", "measure"), [("sick", "accuracy"), ("grade", "accuracy"), ("price", "RMSE")])
def test_a_model_of_a_streamed_table_is_compared_with_its_baseline(
    target: str, measure: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_table(tmp_path / "people.csv", target)
    table = StreamedTable(data, target, validation_fraction=0.2)
    network = nn.Linear(table.inputs, table.outputs)
    model = tmp_path / "model.chain"
    save_model(model, network, preparation=table.preparation, target=table.target_preparation)
    assert main(["predict", str(model), str(data)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + ROWS
    assert main(["evaluate", str(model), str(data)]) == 0
    said = capsys.readouterr().out
    learned = np.concatenate([y for _, y in table.training.batches(7)])
    cells = np.array(columns()[target])
    if target == "price":
        constant = float(table.target_preparation.scale.invert(learned.astype(float)).mean())
        expected = np.sqrt(np.mean((cells.astype(float) - constant) ** 2))
        assert f"the mean of the training rows, {constant:.6g}" in said
    else:
        label = table.target_preparation.classes[np.bincount(learned).argmax()]
        expected = np.mean(cells == label)
        assert f"the commonest class of the training rows, {label!r}" in said
    line = next(line for line in said.splitlines() if line.strip().startswith(measure))
    assert float(line.split()[-1]) == pytest.approx(expected, rel=1e-4)


def test_a_file_that_does_not_say_the_commonest_class_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_table(tmp_path / "people.csv", "sick")
    table = StreamedTable(data, "sick")
    target = replace(table.target_preparation, commonest=None)  # as in files before it was kept
    model = tmp_path / "model.chain"
    save_model(model, nn.Linear(table.inputs, 1), preparation=table.preparation, target=target)
    assert main(["evaluate", str(model), str(data)]) == 1
    assert "does not say which class of 'sick' is the commonest" in capsys.readouterr().err
    training = {"baseline": 0}
    save_model(model, nn.Linear(table.inputs, 1), preparation=table.preparation, target=target, training=training)
    assert main(["evaluate", str(model), str(data)]) == 0
