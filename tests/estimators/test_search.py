"""Estimators inside scikit-learn's tools: pipelines, searches, processes; and programs shared between fits."""

import gc
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler import capture

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = make_moons(153, noise=0.2, random_state=0)
SMALL: dict[str, Any] = {"hidden_layer_sizes": (6,), "batch_size": 16, "max_iter": 8, "random_state": 0}
GRID = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__learning_rate_init": [0.01, 0.1]}


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every program that is captured."""
    found: list[int] = []
    make = capture.Loop.__init__

    def counted(self: Any, step: Any) -> None:
        found.append(1)
        make(self, step)

    monkeypatch.setattr(capture.Loop, "__init__", counted)
    return found


def search(model: Any, **options: Any) -> GridSearchCV:
    return GridSearchCV(make_pipeline(StandardScaler(), model), GRID, cv=5, **options).fit(X, y)


def test_a_search_gives_scikit_learns_scores() -> None:
    ours, theirs = search(cr.MLPClassifier(**SMALL)), search(MLPClassifier(**SMALL))
    np.testing.assert_allclose(ours.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"], rtol=1e-12)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_a_search_captures_once_per_structure(captures: list[int]) -> None:
    """Rates, penalties, starts and folds of other sizes share programs: a full batch, two last ones, a prediction each
    for the folds; and a last batch of all rows, when the best setting is trained again."""
    model = cr.MLPClassifier(**SMALL | {"hidden_layer_sizes": (5, 4)})
    search(model)
    assert len(captures) <= 6
    before = len(captures)
    search(model.set_params(random_state=1))
    assert len(captures) == before


def test_other_networks_do_not_make_programs_forget(captures: list[int]) -> None:
    """A module that is made, changed or trained in between is no reason to capture a private network again."""
    model = cr.MLPClassifier(**SMALL | {"hidden_layer_sizes": (7,)}).fit(X, y)
    before = len(captures)
    network = cr.nn.Linear(2, 1)
    network.weight.requires_grad_(False)
    expected = model.coefs_[0].copy()
    np.testing.assert_array_equal(model.fit(X, y).coefs_[0], expected)
    assert len(captures) == before


def test_fits_leave_nothing_to_the_next() -> None:
    """Moments, velocities, counters of steps and running statistics begin anew, whoever used the learner before."""
    for options in ({}, {"solver": "sgd"}, {"batch_norm": True}, {"solver": "nadam"}, {"activation": "prelu"}):
        first = cr.MLPClassifier(**SMALL | options).fit(X, y)
        cr.MLPClassifier(**SMALL | options | {"random_state": 9}).fit(X * 3, 1 - y)
        again = cr.MLPClassifier(**SMALL | options).fit(X, y)
        np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X), err_msg=str(options))


def test_clones_and_pickles() -> None:
    model = cr.MLPClassifier(**SMALL, dropout=0.1, activation=cr.nn.ELU(0.5)).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.get_params().keys() == model.get_params().keys()
    twin = clone(model)
    assert not hasattr(twin, "coefs_")
    np.testing.assert_array_equal(twin.fit(X, y).predict_proba(X), model.predict_proba(X))


def test_memory_is_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither fits nor the programs of many structures pile up."""
    from chainrule.estimators import learner

    monkeypatch.setattr(learner, "MAX_IDLE", 2)
    for size in range(1, 5):
        model = cr.MLPClassifier((size,), max_iter=1, batch_size=10).fit(X, y)
    assert len(learner._idle) == 2
    monkeypatch.setattr(learner, "MAX_PASSES", 1)
    objects = []
    for _ in range(4):
        for rows in (50, 70, 90, 150) * 5:
            model.fit(X[:rows], y[:rows]).predict(X[:rows])
        gc.collect()
        objects.append(len(gc.get_objects()))
    assert objects[3] < objects[1] + 50


def test_without_scikit_learn() -> None:
    """One line says what to install, and everything else works."""
    code = """
import sys
sys.modules["sklearn"] = None
import chainrule as cr
try:
    cr.MLPClassifier
except ImportError as error:
    print(error)
cr.Trainer
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'this needs scikit-learn: pip install "chainrule[sklearn]"\n'
