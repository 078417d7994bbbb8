"""Cross-validation and searches on several workers: the scores of one after another, and no thread too many."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.execution import threads
from chainrule.settings import usable_cpus

pytest.importorskip("sklearn")
import joblib
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 5))
Y = (X[:, 0] + RNG.normal(size=90) > 0).astype(int)


def scores() -> list[Array]:
    """What users run, of a perceptron and of a module."""
    perceptron = make_pipeline(StandardScaler(), cr.MLPClassifier((6,), max_iter=8, random_state=0))
    cr.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(0.2), nn.Linear(4, 1))
    module = cr.NeuralClassifier(network, max_iter=6, random_state=0)
    search = GridSearchCV(perceptron, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3).fit(X, Y)
    return [
        search.cv_results_["mean_test_score"],
        search.predict_proba(X),
        cross_val_score(module, X, Y, cv=3),
    ]


@contextmanager
def loky() -> Iterator[None]:
    with joblib.parallel_config("loky", n_jobs=2):
        yield


@contextmanager
def dask() -> Iterator[None]:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        yield


@contextmanager
def ray() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.util.joblib").register_ray()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        with joblib.parallel_config("ray", n_jobs=2):
            yield
    finally:
        ray.shutdown()


@pytest.mark.parametrize("backend", [loky, dask, ray])
def test_processes(backend: Callable[[], AbstractContextManager[None]]) -> None:
    """The workers share the CPUs: OMP_NUM_THREADS says how many each has, before chainrule is imported there."""
    alone = scores()
    with backend():
        together = scores()
        processes = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(6))
        granted = joblib.Parallel()(joblib.delayed(cr.get_num_threads)() for _ in range(6))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)
    assert os.getpid() not in processes
    assert 2 * max(granted) <= max(2, usable_cpus())


def test_threads() -> None:
    alone = scores()
    with joblib.parallel_config("threading", n_jobs=3):
        together = scores()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_of_dask() -> None:
    distributed = pytest.importorskip("distributed")
    alone = scores()
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 2, "dashboard_address": None}
    with distributed.Client(**options), joblib.parallel_config("dask"):
        together = scores()
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_fit_in_a_thread_says_that_it_is_busy() -> None:
    """Fits side by side leave a CPU to each other: see the tests of `chainrule.execution.threads`."""
    seen = []

    def scoring(estimator: Any, X: Any, y: Any) -> float:
        seen.append(threading.get_ident() in threads._busy)
        return 0.0

    options = {"early_stopping": True, "max_iter": 2, "scoring": scoring, "random_state": 0}
    network = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    for model in (cr.MLPClassifier((4,), **options), cr.NeuralClassifier(network, **options)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, Y)
    assert seen == [True] * 4
    assert not threads._busy
