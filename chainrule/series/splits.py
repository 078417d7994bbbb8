"""Rolling origins: what is learned from always lies before what is predicted."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import ArgumentError, DataError


def rolling_origin(
    count: int, *, first: int, horizon: int, step: int | None = None, at_most: int | None = None
) -> Iterator[tuple[range, range]]:
    """Pairs (rows to train on, the ``horizon`` rows that follow), each pair ``step`` rows later than the one before.

    The first pair trains on the rows before ``first``. What is trained on grows from pair to pair, or has the last
    ``at_most`` rows. ``step`` is by default the horizon: every row is then predicted at most once. Source: Tashman
    2000, rolling-origin evaluation.

    Errors: `ArgumentError` for numbers below 1, `DataError` where not one pair fits into ``count`` rows.

    >>> list(cr.series.rolling_origin(10, first=4, horizon=3))
    [(range(0, 4), range(4, 7)), (range(0, 7), range(7, 10))]
    """
    step = horizon if step is None else step
    if min(first, horizon, step, at_most or 1) < 1:
        raise ArgumentError(
            f"first, horizon, step and at_most must be at least 1, got {first}, {horizon}, {step}, {at_most}"
        )
    if first + horizon > count:
        raise DataError(f"{count} rows are too few to predict {horizon} after training on {first}")
    return (
        (range(0 if at_most is None else max(0, origin - at_most), origin), range(origin, origin + horizon))
        for origin in range(first, count - horizon + 1, step)
    )


def check_range(rows: range, count: int) -> None:
    """Errors: `ArgumentError` for rows that do not follow each other within 0 .. count-1."""
    if rows.step != 1 or rows.start < 0 or rows.stop > count:
        raise ArgumentError(f"rows must be a range within 0 to {count}, by steps of 1, got {rows}")
