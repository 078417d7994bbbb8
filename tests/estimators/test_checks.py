"""scikit-learn's own checks of estimators: all of them, with nothing expected to fail."""

from collections.abc import Callable
from typing import Any

import pytest

import chainrule as cr
from chainrule import nn

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import parametrize_with_checks


class Network(nn.Sequential):
    """A class, as it is shown by its name: a function's address would give the tests other names in each process."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__(nn.Linear(n_features, 32), nn.ReLU(), nn.Linear(32, n_outputs))
        self.double()


ESTIMATORS = [cr.MLPClassifier(), cr.MLPRegressor(), cr.NeuralClassifier(Network), cr.NeuralRegressor(Network)]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_check(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_no_tag_dodges_checks(estimator: Any) -> None:
    tags = estimator.__sklearn_tags__()
    assert not tags.non_deterministic
    assert not tags.no_validation
    for one in (tags.classifier_tags, tags.regressor_tags):
        assert one is None or not one.poor_score
