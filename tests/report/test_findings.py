"""What is found follows from the figures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chainrule.data import Preparation, TargetPreparation, read_csv_table
from chainrule.report.bootstrap import Interval
from chainrule.report.calibration import reliability
from chainrule.report.findings import Finding, findings
from chainrule.report.study import Measured, Part, Reliance, Run, Study
from chainrule.training.history import History

ROWS = 200


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A training of two classes that stopped after 60 of 100 epochs; its column ``holes`` is half empty."""
    lines = [
        "size,holes,sick",
        *(f"{row},{row if row % 2 else ''},{'yes' if row % 3 else 'no'}" for row in range(ROWS)),
    ]
    (tmp_path / "people.csv").write_text("\n".join(lines))
    table = read_csv_table(tmp_path / "people.csv", target="sick")
    preparation, target = Preparation.fit(table), TargetPreparation.fit(table)
    rows = np.arange(ROWS)
    part = Part(rows, preparation.transform(table), target.transform(table))
    history = History([{"epoch": n, "loss": 1.0, "val_loss": abs(n - 30.0)} for n in range(1, 61)])
    return Run(table, preparation, target, part, part, part, history, lambda X: np.full((len(X), 2), 0.5))


def a_study(main: Measured, **changed: object) -> Study:
    found = Study(
        np.zeros((ROWS, 2)),
        [main],
        None,
        None,
        [Reliance("size", 0.2, 0.01), Reliance("holes", 0.1, 0.01)],
        ROWS,
        "auc",
        [],
        ROWS,
    )
    return replace(found, **changed)  # type: ignore[arg-type]


GOOD = Measured("auc", 0.8, Interval(0.78, 0.82, 1000), 0.5, 0.81)


def found(run: Run, study: Study, epochs: int = 100) -> dict[str, Finding]:
    return {item.symptom: item for item in findings(run, study, epochs)}


def test_a_good_training(run: Run) -> None:
    said = found(run, a_study(GOOD))
    assert said["Better than the baseline"].severity == "good"
    assert "lowest in epoch 30" in said["Stopped in time"].evidence
    assert "No over-fitting to be seen" in said
    assert "Few test rows" not in said
    assert "holes (50\N{NO-BREAK SPACE}%)" in said["Many missing values"].evidence


def test_the_baseline_is_compared_with_value_and_interval(run: Run) -> None:
    worse = found(run, a_study(replace(GOOD, value=0.49)))
    assert worse["No better than the baseline"].severity == "warning"
    unsure = found(run, a_study(replace(GOOD, value=0.55, interval=Interval(0.45, 0.65, 1000))))
    assert "0.45 to 0.65" in unsure["Perhaps no better than the baseline"].evidence
    assert "known to about ±0.1" in unsure["Few test rows"].evidence
    assert "Not comparable" in found(run, a_study(replace(GOOD, value=None, interval=None)))


def test_a_gap_that_chance_does_not_explain_is_over_fitting(run: Run) -> None:
    said = found(run, a_study(replace(GOOD, training=0.95)))["Over-fitting"]
    assert said.severity == "note" and "0.95 on the training rows and 0.8 on the test rows" in said.evidence


@pytest.mark.parametrize(
    ("best", "epochs", "interrupted", "symptom"),
    [(30, 60, False, "Enough epochs"), (59, 60, False, "Still improving at the end"), (30, 100, True, "Interrupted")],
)
def test_how_a_training_ended(run: Run, best: int, epochs: int, interrupted: bool, symptom: str) -> None:
    rows = [{"epoch": n, "loss": 1.0, "val_loss": abs(n - float(best))} for n in range(1, 61)]
    history = History(rows, interrupted=interrupted)  # type: ignore[arg-type]
    assert symptom in found(replace(run, history=history), a_study(GOOD), epochs)


def test_one_column_that_tells_everything_is_suspicious(run: Run) -> None:
    perfect = replace(GOOD, value=0.999, interval=Interval(0.998, 1.0, 1000), training=0.999)
    one = a_study(perfect, importance=[Reliance("size", 0.5, 0.01), Reliance("holes", 0.001, 0.01)])
    assert "one column, size" in found(run, one)["Too good to be true?"].evidence
    assert "Too good to be true?" not in found(run, a_study(perfect))


def test_probabilities_that_are_off_are_found_and_right_ones_are_not(run: Run) -> None:
    random = np.random.default_rng(0)
    probability = random.random(2000)
    outcome = (random.random(2000) < probability).astype(int)
    assert "No wrong probabilities to be seen" in found(
        run, a_study(GOOD, reliability=reliability(outcome, probability))
    )
    too_sure = np.clip(1.8 * probability - 0.4, 0, 1)
    assert "Probabilities are off" in found(run, a_study(GOOD, reliability=reliability(outcome, too_sure)))


def test_a_rare_class_is_named_and_warnings_come_first(run: Run) -> None:
    rare = replace(run.train, truth=(np.arange(ROWS) > 4).astype(np.int64))
    said = findings(replace(run, train=rare), a_study(replace(GOOD, value=0.4)), 100)
    rare_class = next(item for item in said if item.symptom == "A rare class")
    assert rare_class.evidence.startswith("no is 2.5\N{NO-BREAK SPACE}%")
    assert said[0].severity == "warning"
    order = ["warning", "note", "good"]
    assert sorted(said, key=lambda item: order.index(item.severity)) == said
