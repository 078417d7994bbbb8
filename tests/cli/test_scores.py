"""Scores against the baseline, and what is said of them."""

import numpy as np
import pytest

from chainrule.cli.scores import Score, probabilities, score, verdict
from chainrule.data import TargetPreparation
from chainrule.data.encoders import Scale

BINARY = TargetPreparation("y", "binary", ("no", "yes"))
THREE = TargetPreparation("y", "multiclass", ("a", "b", "c"))
NUMBER = TargetPreparation("y", "regression", scale=Scale(100.0, 10.0))


def test_probabilities_of_two_classes_are_the_sigmoid_also_of_large_logits() -> None:
    logits = np.array([[-800.0], [-1.0], [0.0], [2.0], [800.0]], np.float32)
    expected = 1 / (1 + np.exp(-np.clip(logits[:, 0].astype(float), -700, 700)))
    found = probabilities(BINARY, logits)
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-15)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_probabilities_of_many_classes_are_the_softmax() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [900.0, 0.0, -900.0]])
    np.testing.assert_allclose(probabilities(THREE, logits)[0], np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum())
    np.testing.assert_allclose(probabilities(THREE, logits)[1], [1, 0, 0])


def test_regression_is_scored_in_the_unit_of_the_target() -> None:
    y, output = np.array([-1.0, 0.0, 1.0]), np.array([[-1.0], [0.0], [2.0]])
    explained, error = score(NUMBER, output, y, 100.0)
    assert error.network == pytest.approx(10 / np.sqrt(3))
    assert error.baseline == pytest.approx(10 * np.sqrt(2 / 3))
    assert (explained.network, explained.baseline) == (pytest.approx(0.5), pytest.approx(0.0))
    assert error.beats_baseline
    assert explained.beats_baseline


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([Score("AUC", 0.8, 0.5), Score("accuracy", 0.7, 0.6)], "The network beats the baseline."),
        (
            [Score("AUC", 0.8, 0.5), Score("accuracy", 0.6, 0.6)],
            "NOTE: the network beats the baseline, but not in accuracy.",
        ),
        ([Score("AUC", 0.4, 0.5), Score("accuracy", 0.5, 0.6)], "WARNING: the network does not beat the baseline"),
        ([Score("AUC", None, None), Score("accuracy", 0.7, 0.6)], "The network beats the baseline."),
        ([Score("RMSE", 2.0, 1.0, higher_is_better=False)], "WARNING: the network does not beat the baseline"),
    ],
)
def test_the_verdict(scores: list[Score], said: str) -> None:
    lines = verdict(BINARY, scores, 1.0)
    assert lines[0] == "Baseline: always the commonest class of the training rows, 'yes'."
    assert lines[1].startswith(said)
