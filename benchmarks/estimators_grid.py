"""A grid search as scikit-learn's users run it: 24 settings, 5 folds, ``n_jobs=2``, on two tables.

Both libraries get the same data, networks, settings and ``random_state``, hence the same folds, initial weights, order
of rows and number of epochs; each prints its scores, which agree. A second pair has scikit-learn's default network, one
hidden layer of 100 and batches of 200, in which its time goes into arithmetic. The workers of both stay from search to
search, as joblib keeps them. ``chainrule, first`` is a search in a fresh process, workers and imports included, with
an empty disk cache.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, fresh_process, thread_count

TABLES = {
    "Pima": Path(__file__).resolve().parent.parent / "examples" / "data" / "diabetes.csv",
    "wine": Path(os.environ.get("CHAINRULE_DATA", ".")) / "wine-quality" / "winequality-red.csv",
}
EPOCHS = 100
SMALL: dict[str, list[Any]] = {
    "hidden_layer_sizes": [(8,), (16,), (12, 8)],
    "batch_size": [16, 32],
    "alpha": [1e-4, 1e-2],
    "learning_rate_init": [1e-3, 1e-2],
}
DEFAULT: dict[str, list[Any]] = {
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0],
    "learning_rate_init": [1e-4, 1e-3, 3e-3, 1e-2],
}


def data(table: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and classes (Pima) or quality (wine)."""
    rows = np.genfromtxt(TABLES[table], delimiter=",", skip_header=table == "Pima")
    return rows[:, :-1], rows[:, -1]


def search(library: Any, table: str, grid: dict[str, list[Any]], epochs: int = EPOCHS) -> Callable[[], Any]:
    """What runs one search and returns it."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = data(table)
    model = (library.MLPClassifier if table == "Pima" else library.MLPRegressor)(random_state=0, max_iter=epochs)
    name = type(model).__name__.lower()
    pipeline = make_pipeline(StandardScaler(), model)
    settings = {f"{name}__{option}": values for option, values in grid.items()}
    return lambda: GridSearchCV(pipeline, settings, cv=5, n_jobs=thread_count()).fit(X, y)


def contestant(find: Callable[[], Any], table: str, grid: dict[str, list[Any]]) -> Callable[[], Measure]:
    """A contestant whose unit of work is one search."""

    def setup() -> Measure:
        os.environ["PYTHONWARNINGS"] = "ignore"  # "maximum iterations reached", in the workers too
        warnings.filterwarnings("ignore")
        run = search(find(), table, grid)

        def measure() -> float:
            began = time.perf_counter()
            found = run()
            seconds = time.perf_counter() - began
            scores = found.cv_results_["mean_test_score"]
            print(f"{find.__name__}, {table}: best score {found.best_score_:.6f}, mean {scores.mean():.6f}")
            return seconds

        return measure

    return setup


def chainrule() -> Any:
    import chainrule

    return chainrule


def scikit_learn() -> Any:
    import sklearn.neural_network

    return sklearn.neural_network


def first_search() -> Measure:
    """A whole Python process for one search, with nothing compiled before."""

    def measure() -> float:
        with tempfile.TemporaryDirectory() as cache:
            environment = {"CHAINRULE_CACHE_DIR": cache, "PYTHONWARNINGS": "ignore"}
            return fresh_process(["-m", "benchmarks.estimators_grid"], environment)["seconds"]

    return measure


def main() -> None:
    """One search in this process, from the import on."""
    began = time.perf_counter()
    search(chainrule(), "Pima", SMALL)()
    print(f'{{"seconds": {time.perf_counter() - began}}}')


BENCHMARK = Benchmark(
    title="grid search over 24 settings in 5 folds, on 2 processes",
    contestants={
        "chainrule, Pima": contestant(chainrule, "Pima", SMALL),
        "scikit-learn, Pima": contestant(scikit_learn, "Pima", SMALL),
        "chainrule, wine": contestant(chainrule, "wine", SMALL),
        "scikit-learn, wine": contestant(scikit_learn, "wine", SMALL),
        "chainrule, Pima, default network": contestant(chainrule, "Pima", DEFAULT),
        "scikit-learn, Pima, default network": contestant(scikit_learn, "Pima", DEFAULT),
        "chainrule, Pima, first": first_search,
    },
    goals=(
        Faster("chainrule, Pima", "scikit-learn, Pima", 40),
        Faster("chainrule, wine", "scikit-learn, wine", 40),
        Faster("chainrule, Pima, first", "scikit-learn, Pima", 10),
    ),
    rounds=2,
    repeats=1,
)

if __name__ == "__main__":
    main()
