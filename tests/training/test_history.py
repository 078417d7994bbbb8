"""History: columns, the best epoch, and the way through JSON and pandas."""

import builtins
import json
import math
from typing import Any

import pytest

from chainrule.errors import ArgumentError, MissingExtraError, ModelFileError
from chainrule.training.history import History


def example() -> History:
    history = History()
    for number, (loss, val_loss) in enumerate([(0.9, 1.0), (0.5, 0.7), (0.3, 0.8)], start=1):
        history.append({"epoch": number, "loss": loss, "val_loss": val_loss})
    return history


def test_columns_rows_and_length() -> None:
    history = example()
    assert history["val_loss"] == [1.0, 0.7, 0.8]
    assert history.names == ["epoch", "loss", "val_loss"]
    assert len(history) == 3
    assert "loss" in history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history.findings == []


def test_it_prints_its_last_epoch_alone() -> None:
    assert repr(example()) == "History(3 epochs, loss 0.3, val_loss 0.8)"
    assert repr(History(interrupted=True)) == "History(0 epochs, interrupted)"


def test_an_epoch_without_a_value_has_nan() -> None:
    history = example()
    history.append({"epoch": 4, "loss": 0.2})
    assert math.isnan(history["val_loss"][3])


def test_an_unknown_column_names_the_close_one() -> None:
    with pytest.raises(
        ArgumentError, match=r"no 'val_los' \(did you mean 'val_loss'\?\); recorded: epoch, loss, val_loss"
    ):
        example()["val_los"]
    with pytest.raises(ArgumentError, match="recorded: nothing yet"):
        History()["loss"]


def test_the_best_epoch_is_the_lowest_validation_loss_else_the_lowest_loss() -> None:
    assert example().best_epoch == 2
    assert History([{"loss": 0.9}, {"loss": 0.4}, {"loss": math.nan}]).best_epoch == 2
    assert History().best_epoch is None
    assert History([{"loss": math.nan}]).best_epoch is None


def test_rows_are_copies() -> None:
    row = {"loss": 1.0}
    history = History()
    history.append(row)
    row["loss"] = 2.0
    assert history["loss"] == [1.0]


def test_json_round_trip_keeps_numbers_that_json_has_not() -> None:
    history = example()
    history.append({"epoch": 4, "loss": math.nan, "val_loss": math.inf})
    history.interrupted = True
    again = History.from_json(json.loads(json.dumps(history.to_json(), allow_nan=False)))
    assert again.epochs[:3] == history.epochs[:3]
    assert math.isnan(again["loss"][3])
    assert again["val_loss"][3] == math.inf
    assert again.interrupted
    assert isinstance(again.epochs[0]["epoch"], int)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"epochs": 3, "findings": [], "interrupted": False},
        {"epochs": [{"loss": "x"}], "findings": [], "interrupted": 0},
    ],
)
def test_damaged_json_is_a_model_file_error(data: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="history is damaged"):
        History.from_json(data)


def test_to_frame_has_a_row_per_epoch() -> None:
    pytest.importorskip("pandas")
    frame = example().to_frame()
    assert list(frame.columns) == ["epoch", "loss", "val_loss"]
    assert frame["loss"].tolist() == [0.9, 0.5, 0.3]


@pytest.mark.parametrize(
    ("method", "library", "extra"), [("to_frame", "pandas", "data"), ("plot", "matplotlib", "plot")]
)
def test_a_missing_library_names_its_extra(
    method: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=rf'needs {library}: pip install "chainrule\[{extra}\]"'):
        getattr(example(), method)()


def test_plot_draws_the_named_columns() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = example().plot()
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert drawn["loss"] == [0.9, 0.5, 0.3]
    assert "best epoch (2)" in drawn
