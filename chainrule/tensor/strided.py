"""Views as offset, shape and strides into the elements of a base, and what they mean for vertices.

All numbers count elements. A view is read by steps that rearrange the base's vertex, and written by the same steps
backwards: ``written(x, steps, value)`` is x with the elements that the view sees replaced by ``value``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ..graph.vertex import Vertex
from ..ops import indexing, movement
from ..ops.arithmetic import add, multiply
from ..ops.comparison import where
from ..ops.source import constant, iota
from ..types import Shape, bool_, contiguous_strides, int64


class Layout(NamedTuple):
    """Where the elements of a tensor lie: element (i, j, ...) at offset + i·strides[0] + j·strides[1] + ..."""

    offset: int
    shape: Shape
    strides: Shape


def is_row_major(shape: Shape, strides: Shape | None) -> bool:
    """Whether elements lie one behind another in row-major order; dimensions of size 1 may have any stride."""
    if strides is None or 0 in shape:
        return True
    expected = contiguous_strides(shape)
    return all(size == 1 or a == b for size, a, b in zip(shape, strides, expected, strict=True))


def overlaps(shape: Shape, strides: Shape | None) -> bool:
    """Whether two elements may lie at one place."""
    if strides is None or 0 in shape:
        return False
    reached = 0
    for stride, size in sorted((s, n) for n, s in zip(shape, strides, strict=True) if n > 1):
        if stride <= reached:
            return True
        reached += stride * (size - 1)
    return False


@lru_cache(maxsize=4096)
def reshaped_strides(shape: Shape, strides: Shape, wanted: Shape) -> Shape | None:
    """The strides with which the same elements have the shape ``wanted``; None if they must be copied for that.

    >>> reshaped_strides((4, 6), (6, 1), (2, 2, 6))
    (12, 6, 1)
    >>> reshaped_strides((6, 4), (1, 6), (24,)) is None
    True
    """
    if 0 in shape:
        return contiguous_strides(wanted)
    runs: list[list[int]] = []  # [elements, stride] of dimensions that follow each other evenly, innermost first
    for size, stride in reversed([(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]):
        if runs and stride == runs[-1][0] * runs[-1][1]:
            runs[-1][0] *= size
        else:
            runs.append([size, stride])
    result: list[int] = []
    left, step = 1, 1
    for size in reversed(wanted):
        if left == 1 and size != 1:
            left, step = runs.pop(0)
        if left % size:
            return None
        result.append(step)
        left, step = left // size, step * size
    return tuple(reversed(result))


Step = tuple[Any, ...]
"""What is done to a vertex: the name of a movement and its attributes."""


@lru_cache(maxsize=4096)
def steps_to(shape: Shape, strides: Shape | None, view: Layout) -> tuple[Step, ...]:
    """How the elements that ``view`` sees are read from a tensor with these shape and strides."""
    strides = strides or contiguous_strides(shape)
    found = _as_slice(shape, strides, view)
    if found is not None:
        return found
    order = tuple(sorted(range(len(shape)), key=lambda axis: (-strides[axis], -shape[axis])))
    extents = tuple(shape[axis] for axis in order)
    if not is_row_major(extents, tuple(strides[axis] for axis in order)):
        order, extents, view = tuple(range(len(shape))), shape, among_elements(shape, strides, view)
    first: tuple[Step, ...] = () if order == tuple(range(len(shape))) else (("transpose", order),)
    size = math.prod(shape)
    if len(extents) != 1:
        first += (("reshape", (size,)),)
    return first + _from_flat(size, view)


def _sorted_dimensions(view: Layout) -> list[int]:
    """Dimensions with more than one element and place, from the largest stride to the smallest."""
    kept = [axis for axis, size in enumerate(view.shape) if size > 1 and view.strides[axis]]
    return sorted(kept, key=lambda axis: -view.strides[axis])


def _finish(view: Layout, order: Sequence[int], shape: Shape) -> tuple[Step, ...]:
    """From ``shape``, which apart from sizes of 1 has the dimensions ``order`` of the view, to all of the view."""
    ascending = sorted(order)
    steps: list[Step] = []
    if list(order) != ascending:
        steps += [("reshape", _sizes(view, order)), ("transpose", tuple(order.index(axis) for axis in ascending))]
        shape = _sizes(view, ascending)
    sizes = tuple(size if axis in order else 1 for axis, size in enumerate(view.shape))
    if shape != sizes:
        steps.append(("reshape", sizes))
    if sizes != view.shape:
        steps.append(("broadcast", view.shape))
    return tuple(steps)


def _as_slice(shape: Shape, strides: Shape, view: Layout) -> tuple[Step, ...] | None:
    """One slice along each dimension, where each dimension of the view runs along one of the base's."""
    if 0 in view.shape:
        return ("reshape", (math.prod(shape),)), ("slice", (0,), (0,), (1,)), ("reshape", view.shape)
    axes = sorted((axis for axis, size in enumerate(shape) if size > 1), key=lambda axis: -strides[axis])
    rest, starts = view.offset, [0] * len(shape)
    for axis in axes:
        if strides[axis]:
            starts[axis], rest = divmod(rest, strides[axis])
    stops, steps = [start + 1 for start in starts], [1] * len(shape)
    runs_along: dict[int, int] = {}
    for dimension in _sorted_dimensions(view):
        stride, size = view.strides[dimension], view.shape[dimension]
        fitting = [axis for axis in axes if 0 < strides[axis] <= stride and stride % strides[axis] == 0]
        if not fitting or fitting[0] in runs_along:
            return None
        axis = fitting[0]
        runs_along[axis], steps[axis] = dimension, stride // strides[axis]
        stops[axis] = starts[axis] + (size - 1) * steps[axis] + 1
    if rest or any(stop > size for stop, size in zip(stops, shape, strict=True)):
        return None
    order = [runs_along[axis] for axis in range(len(shape)) if axis in runs_along]
    found: tuple[Step, ...] = ()
    if tuple(stops) != shape or any(starts) or any(step != 1 for step in steps):
        found = (("slice", tuple(starts), tuple(stops), tuple(steps)),)
    sizes = tuple(-((a - b) // c) for a, b, c in zip(starts, stops, steps, strict=True))
    return found + _finish(view, order, sizes)


def among_elements(shape: Shape, strides: Shape, view: Layout) -> Layout:
    """The view as positions among the elements in row-major order, for a base with gaps between its elements."""
    weights = contiguous_strides(shape)
    axes = sorted((axis for axis, size in enumerate(shape) if size > 1), key=lambda axis: -strides[axis])

    def position(distance: int) -> int:
        total = 0
        for axis in axes:
            count, distance = divmod(distance, strides[axis])
            total += count * weights[axis]
        return total

    return Layout(position(view.offset), view.shape, tuple(map(position, view.strides)))


def _from_flat(size: int, view: Layout) -> tuple[Step, ...]:
    """From a vector: cut it into rows, of which the view sees some, and those again; or take element by element."""
    order = _sorted_dimensions(view)
    steps: list[Step] = []
    lead: Shape = ()
    length, start = size, view.offset
    for number, axis in enumerate(order):
        extent, stride = view.shape[axis], view.strides[axis]
        rest = 1 + sum((view.shape[other] - 1) * view.strides[other] for other in order[number + 1 :])
        if number + 1 < len(order):
            width = math.gcd(stride, length)
            if start % width + rest > width:
                return ("reshape", (size,)), ("take", view), *_finish(view, order, _sizes(view, order))
            rows, stride = length // width, stride // width
            steps.append(("reshape", (*lead, rows, width)))
            first, start, length = start // width, start % width, width
            whole: Shape = (*lead, rows, width)
            axis_of_slice = len(lead)
        else:
            first, whole, axis_of_slice = start, (*lead, length), len(lead)
        last = first + (extent - 1) * stride + 1
        steps += _one_slice(whole, axis_of_slice, first, last, stride)
        lead += (extent,)
    if not order:
        steps += _one_slice((size,), 0, start, start + 1, 1)
        lead = (1,)
    return (*steps, *_finish(view, order, lead))


def _sizes(view: Layout, order: Sequence[int]) -> Shape:
    return tuple(view.shape[axis] for axis in order)


def _one_slice(shape: Shape, axis: int, start: int, stop: int, step: int) -> list[Step]:
    if (start, stop, step) == (0, shape[axis], 1):
        return []
    return [
        (
            "slice",
            tuple(start if i == axis else 0 for i in range(len(shape))),
            tuple(stop if i == axis else size for i, size in enumerate(shape)),
            tuple(step if i == axis else 1 for i in range(len(shape))),
        )
    ]


def read(x: Vertex, steps: tuple[Step, ...]) -> Vertex:
    """What a view sees of x."""
    for step in steps:
        x = _forward(x, step)
    return x


def written(x: Vertex, steps: tuple[Step, ...], value: Vertex) -> Vertex:
    """x with ``value`` where a view looks."""
    before = [x]
    for step in steps[:-1]:
        before.append(_forward(before[-1], step))
    for operand, step in zip(reversed(before), reversed(steps), strict=True) if steps else ():
        value = _backward(operand, step, value)
    return value


def _forward(x: Vertex, step: Step) -> Vertex:
    name, *attributes = step
    if name == "reshape":
        return movement.reshape(x, attributes[0])
    if name == "transpose":
        return movement.transpose(x, attributes[0])
    if name == "broadcast":
        return movement.broadcast(x, attributes[0])
    if name == "slice":
        return movement.slice_(x, *attributes)
    return indexing.take(x, _positions(attributes[0]), 0)


def _backward(x: Vertex, step: Step, value: Vertex) -> Vertex:
    name, *attributes = step
    if name == "transpose":
        return movement.transpose(value, tuple(attributes[0].index(axis) for axis in range(len(attributes[0]))))
    if name == "slice":
        return write_slice(x, value, *attributes)
    if name == "take":
        return indexing.scatter(x, value, _positions(attributes[0]), 0)
    return movement.reshape(value, x.shape)  # a view that is written to repeats no element


def _positions(view: Layout) -> Vertex:
    """The positions that a view sees in a vector, along its dimensions of more than one place."""
    order = _sorted_dimensions(view)
    shape = _sizes(view, order)
    total = constant(view.offset, int64, shape)
    for axis, dimension in enumerate(order):
        total = add(total, multiply(iota(int64, shape, axis), constant(view.strides[dimension], int64)))
    return total


def write_slice(x: Vertex, value: Vertex, starts: Shape, stops: Shape, steps: Shape) -> Vertex:
    """x with ``value`` at x[start:stop:step] along every axis."""
    partial = [axis for axis, size in enumerate(x.shape) if (starts[axis], stops[axis], steps[axis]) != (0, size, 1)]
    if not partial or not value.type.size:
        return x if not value.type.size else value
    if any(steps[axis] != 1 for axis in partial):
        return _write_with_gaps(x, value, starts, steps)
    axis, *others = partial
    if others:
        outer = tuple(start if i == axis else 0 for i, start in enumerate(starts))
        ends = tuple(stop if i == axis else size for i, (stop, size) in enumerate(zip(stops, x.shape, strict=True)))
        inner = tuple(0 if i == axis else start for i, start in enumerate(starts))
        inner_ends = tuple(value.shape[axis] if i == axis else stop for i, stop in enumerate(stops))
        part = movement.slice_(x, outer, ends, (1,) * len(steps))
        value = write_slice(part, value, inner, inner_ends, steps)
    return indexing.dynamic_update(x, value, constant(starts[axis], int64), axis)


def _write_with_gaps(x: Vertex, value: Vertex, starts: Shape, steps: Shape) -> Vertex:
    """Spread the value over the shape of x, and choose between both."""
    spans = tuple(start + (size - 1) * step + 1 for start, size, step in zip(starts, value.shape, steps, strict=True))
    high = tuple(size - span for size, span in zip(x.shape, spans, strict=True))
    interior = tuple(step - 1 for step in steps)
    is_written = movement.pad(constant(True, bool_, value.shape), starts, high, interior)
    return where(is_written, movement.pad(value, starts, high, interior), x)
