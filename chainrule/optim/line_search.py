"""Line search: how far to go along a direction so that the function and its slope fall enough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

DECREASE, CURVATURE = 1e-4, 0.9
"""c₁ and c₂ of the strong Wolfe conditions, with the usual values for quasi-Newton methods."""


class Point(NamedTuple):
    """A point at distance ``t`` along a direction: the function's value, its gradient, and its slope there."""

    t: Any
    value: Any
    slope: Any
    gradient: np.ndarray[Any, Any]


def strong_wolfe(
    evaluate: Callable[[Any], Point], origin: Point, t: float, width: float, tolerance: float, limit: int
) -> tuple[Point, int]:
    """Return a point with f(t) ≤ f(0) + c₁ t f'(0) and |f'(t)| ≤ -c₂ f'(0), and the number of evaluations.

    Starts with ``t``. Ends with the best point found after ``limit`` further evaluations, or where the interval, times
    ``width``, is shorter than ``tolerance``.
    Source: Nocedal, Wright, "Numerical Optimization", algorithms 3.5 and 3.6, with the safeguards of M. Schmidt's
    minFunc, which PyTorch has as well: bounds of the extrapolation, and steps away from the ends of the interval.
    """
    with np.errstate(all="ignore"):  # steps that are too long may overflow, and are then shortened
        points, used = _bracket(evaluate, origin, t, limit)
        if len(points) == 1:
            return points[0], used + 1
        low = _lower(points)
        is_slow = False
        while used < limit and not abs(points[1].t - points[0].t) * width < tolerance:
            t, is_slow = _inside(_cubic(points[0], points[1]), points, is_slow)
            point = evaluate(t)
            used += 1
            if _is_too_high(point, origin) or point.value >= points[low].value:
                points[1 - low] = point
                low = _lower(points)
                continue
            if _is_flat(point, origin):
                return point, used + 1
            if point.slope * (points[1 - low].t - points[low].t) >= 0:
                points[1 - low] = points[low]
            points[low] = point
        return points[low], used + 1


def _is_too_high(point: Point, origin: Point) -> bool:
    return bool(point.value > origin.value + DECREASE * point.t * origin.slope)


def _is_flat(point: Point, origin: Point) -> bool:
    return bool(abs(point.slope) <= -CURVATURE * origin.slope)


def _lower(points: list[Point]) -> int:
    return 0 if points[0].value <= points[1].value else 1


def _bracket(evaluate: Callable[[Any], Point], origin: Point, t: Any, limit: int) -> tuple[list[Point], int]:
    """Go on until a point is good (one point) or an interval must contain such a point (two), and count the steps."""
    before, point = origin, evaluate(t)
    for used in range(limit):
        if _is_too_high(point, origin) or (used > 1 and point.value >= before.value):
            return [before, point], used
        if _is_flat(point, origin):
            return [point], used
        if point.slope >= 0:
            return [before, point], used
        farther = _cubic(before, point, (point.t + 0.01 * (point.t - before.t), point.t * 10))
        before, point = point, evaluate(farther)
    return [origin, point], limit


def _cubic(a: Point, b: Point, bounds: tuple[Any, Any] | None = None) -> Any:
    """Where the cubic through two points with these slopes is least, within bounds (their interval by default)."""
    left, right = (a, b) if a.t <= b.t else (b, a)
    low, high = bounds or (left.t, right.t)
    first = left.slope + right.slope - 3 * (left.value - right.value) / (left.t - right.t)
    square = first * first - left.slope * right.slope
    if not square >= 0:
        return (low + high) / 2
    root = np.sqrt(square)
    least = right.t - (right.t - left.t) * ((right.slope + root - first) / (right.slope - left.slope + 2 * root))
    return min(max(least, low), high)


def _inside(t: Any, points: list[Point], is_slow: bool) -> tuple[Any, bool]:
    """Keep a step away from the ends of the interval, unless it came near them for the first time."""
    low, high = sorted(point.t for point in points)
    margin = 0.1 * (high - low)
    if not min(high - t, t - low) < margin:
        return t, False
    if is_slow or t >= high or t <= low:
        return (high - margin if abs(t - high) < abs(t - low) else low + margin), False
    return t, True
