"""How well a network does on held-out rows, beside the baseline of not looking at the columns at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.target import TargetPreparation
from ..errors import TargetError
from ..training.metrics import accuracy, auc, f1, r2, rmse

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One measure of the network and of the baseline; None where the rows do not define it."""

    name: str
    network: float | None
    baseline: float | None
    higher_is_better: bool = True

    @property
    def beats_baseline(self) -> bool:
        """Whether the network is strictly better."""
        if self.network is None or self.baseline is None:
            return False
        return self.network > self.baseline if self.higher_is_better else self.network < self.baseline


def probabilities(target: TargetPreparation, output: NDArray[Any]) -> Numbers:
    """Return the probability of every class, shape (n, classes), from a network's output (logits)."""
    logits = output.astype(np.float64)
    if target.task == "binary":
        logits = np.column_stack([np.zeros(len(logits)), logits.reshape(-1)])  # softmax of (0, z) is sigmoid of z
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def score(target: TargetPreparation, output: NDArray[Any], y: NDArray[Any], baseline_value: float) -> list[Score]:
    """Compare a network's output and the baseline's constant with prepared targets ``y``."""
    if target.task == "regression":
        true, predicted = target.invert(y), target.invert(output.reshape(-1))
        constant = np.full(len(true), baseline_value)
        return [
            Score("R²", r2(true, predicted), r2(true, constant)),
            Score("RMSE", rmse(true, predicted), rmse(true, constant), higher_is_better=False),
        ]
    found = probabilities(target, output)
    constant_class = np.full(len(y), int(baseline_value))
    accuracies = Score("accuracy", accuracy(y, found), accuracy(y, constant_class))
    if target.task == "multiclass":
        return [accuracies, Score("macro F1", f1(y, found.argmax(axis=1)), f1(y, constant_class))]
    try:
        area = auc(y, found)
    except TargetError:  # all rows are of one class
        return [Score("AUC", None, None), accuracies]
    return [Score("AUC", area, 0.5), accuracies]


def score_table(scores: list[Score], title: str) -> list[str]:
    """Return the scores as aligned lines under ``title``.

    >>> print("\\n".join(score_table([Score("AUC", 0.83, 0.5)], "Test rows")))
    Test rows    network   baseline
      AUC         0.8300     0.5000
    """
    width = max(len(title), *(len(item.name) + 2 for item in scores))
    lines = [f"{title:{width}} {'network':>10} {'baseline':>10}"]
    for item in scores:
        lines.append(f"  {item.name:{width - 2}} {_number(item.network):>10} {_number(item.baseline):>10}")
    return lines


def verdict(target: TargetPreparation, scores: list[Score], baseline_value: float) -> list[str]:
    """Say what the baseline is and whether the network beats it."""
    if target.task == "regression":
        said = f"Baseline: always the mean of the training rows, {baseline_value:.6g}."
    else:
        said = f"Baseline: always the commonest class of the training rows, {target.classes[int(baseline_value)]!r}."
    defined = [item for item in scores if item.network is not None]
    worse = [item.name for item in defined if not item.beats_baseline]
    if not worse:
        return [said, "The network beats the baseline."]
    advice = "the other columns may say little about the target, or there are too few rows"
    if len(worse) == len(defined):
        return [said, f"WARNING: the network does not beat the baseline: {advice}."]
    return [said, f"NOTE: the network beats the baseline, but not in {' and '.join(worse)}."]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{round(value, 4) + 0.0:.4f}" if abs(value) < 10 else f"{value:.6g}"  # + 0.0 makes -0 the same as 0
