"""Splits of rows into parts: at random, by class or by group where wanted, a function of the seed; or in time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chainrule.errors import ArgumentError, DataError

Rows = NDArray[np.int64]


def split_rows(
    count: int, fractions: Sequence[float], *, seed: int = 0, labels: ArrayLike | None = None
) -> tuple[Rows, ...]:
    """Split the rows 0 .. count-1 at random into one part per fraction; each part is in ascending order.

    Every part but the first holds round(fraction · count) rows, at least one; the first holds the rest.
    With ``labels``, shape (count,), every class is spread over the parts in proportion, and every class has a row in
    the first part as long as that part has enough rows for all of them.

    Raises ArgumentError for fractions that are not positive or do not add up to one, and DataError for too few rows.

    >>> [len(part) for part in split_rows(10, (0.7, 0.3))]
    [7, 3]
    """
    sizes = part_sizes(count, fractions)
    generator = np.random.default_rng(seed)
    order = generator.permutation(count)
    if labels is not None:
        order = _spread_classes(order, np.asarray(labels), generator)
    bounds = np.cumsum(sizes)[:-1]
    return tuple(np.sort(part).astype(np.int64) for part in np.split(order, bounds))


def split_groups(groups: ArrayLike, fractions: Sequence[float], *, seed: int = 0) -> tuple[Rows, ...]:
    """Split rows at random so that all rows of a group, a patient or a city, are in the same part.

    ``groups`` has the group of every row, shape (count,); ``fractions`` are shares of the groups, as in scikit-learn's
    ``GroupShuffleSplit``, and rounded as in `split_rows`. Each part is in ascending order.

    Raises the errors of `split_rows`, of which the groups are the rows.

    >>> [part.tolist() for part in split_groups(["a", "b", "a", "c", "b"], (0.7, 0.3))]
    [[0, 2, 3], [1, 4]]
    """
    names = np.asarray(groups)
    if names.ndim != 1:
        raise ArgumentError(f"groups have shape {names.shape}, expected one dimension: one group per row")
    different, numbers = np.unique(names, return_inverse=True)
    parts = split_rows(len(different), fractions, seed=seed)
    return tuple(np.flatnonzero(np.isin(numbers, part)).astype(np.int64) for part in parts)


def split_in_time(count: int, fractions: Sequence[float] = (0.7, 0.15, 0.15)) -> tuple[range, ...]:
    """Cut the rows 0 .. count-1 into one part per fraction, one after another: the last part is the latest.

    Every part but the first has round(fraction · count) rows, at least one; the first has the rest. A part is a range
    of row numbers, for `Subset`, and for ``rows`` of `Windows`, `Forecaster.fit` and `backtest` in `chainrule.series`.

    Errors: `ArgumentError` for fractions that are not positive or do not add up to 1, `DataError` for too few rows.

    >>> cr.data.split_in_time(144, (0.75, 0.25))
    (range(0, 108), range(108, 144))
    """
    return tuple(range(*bounds) for bounds in pairwise(accumulate([0, *part_sizes(count, fractions)])))


def part_sizes(count: int, fractions: Sequence[float]) -> list[int]:
    """Return the number of rows in each part, and raise the errors, of ``split_rows``."""
    if min(fractions, default=0) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ArgumentError(f"fractions must be positive and add up to 1, got {tuple(fractions)}")
    sizes = [max(1, round(fraction * count)) for fraction in fractions[1:]]
    if sum(sizes) >= count:
        raise DataError(f"{count} rows are too few to be split into {len(fractions)} parts")
    return [count - sum(sizes), *sizes]


def train_validation_test_split(
    count: int,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    *,
    seed: int = 0,
    labels: ArrayLike | None = None,
) -> tuple[Rows, Rows, Rows]:
    """Return the rows to train on, to choose by (early stopping) and to report on; see ``split_rows``."""
    train, validation, test = split_rows(count, fractions, seed=seed, labels=labels)
    return train, validation, test


def _spread_classes(order: Rows, labels: NDArray[np.generic], generator: np.random.Generator) -> Rows:
    """Reorder shuffled rows so that every stretch of them holds each class in proportion.

    The i-th of the m rows of a class is put at (i + u) / m on the unit interval, u random per class; its first row is
    put at 0, hence into the first part.
    """
    if labels.shape != order.shape:
        raise ArgumentError(f"labels have shape {labels.shape}, expected ({len(order)},): one label per row")
    _, classes = np.unique(labels[order], return_inverse=True)
    position = np.empty(len(order))
    for number in range(int(classes.max()) + 1):
        members = np.flatnonzero(classes == number)
        position[members] = (np.arange(len(members)) + generator.random()) / len(members)
        position[members[0]] = 0.0
    return order[np.argsort(position, kind="stable")]
