"""How much a network relies on each column: what its measure loses when the column is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Predict = Callable[[NDArray[Any]], NDArray[Any]]


def permutation_importance(
    score: Callable[[NDArray[Any]], float],
    predict: Predict,
    X: NDArray[Any],
    groups: Sequence[slice],
    *,
    repeats: int = 10,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return how much the score falls when the features of each group are shuffled together, shape (groups, repeats).

    score(predict(X)) - score(predict(X with the group's features in another order of rows)) (Breiman 2001; Fisher,
    Rudin and Dominici 2019). A group holds the features of one original column, such as all those of a category.
    ``score`` must be one of which more is better. Every order of rows is another one, from ``default_rng(seed)``.

    >>> X = np.arange(20.0).reshape(10, 2)
    >>> target = X[:, 0]
    >>> score = lambda prediction: -np.mean((prediction - target) ** 2)
    >>> falls = permutation_importance(score, lambda X: X[:, 0], X, [slice(0, 1), slice(1, 2)])
    >>> (falls.mean(axis=1) > 0).tolist()
    [True, False]
    """
    random = np.random.default_rng(seed)
    whole = score(predict(X))
    falls = np.empty((len(groups), repeats))
    for row, group in enumerate(groups):
        for column in range(repeats):
            changed = X.copy()
            changed[:, group] = X[random.permutation(len(X)), group]
            falls[row, column] = whole - score(predict(changed))
    return falls
