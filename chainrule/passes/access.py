"""Views as affine index maps: where the element of a view lies in the vertex that is stored.

A loop nest runs over a *domain* (extents, outermost first). An `IndexMap` gives, for each dimension of a vertex, its
index as a function of the domain point: ``offset + Σ coefficients[d]·point[d]``. Looking through a view turns the map
of the view into the map of its operand; nothing is copied.

>>> identity_map((2, 1, 3))
((0, (1, 0)), (0, (0, 0)), (0, (0, 1)))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import zip_longest

from ..graph.vertex import Vertex
from ..types import Shape, contiguous_strides

Index = tuple[int, tuple[int, ...]]
IndexMap = tuple[Index, ...]
_NOWHERE: Index = (0, ())  # coefficients left out at the end are 0


@lru_cache(maxsize=4096)
def core(shape: Shape) -> Shape:
    """``shape`` without extents of 1: the domain of loops over it."""
    return tuple(extent for extent in shape if extent != 1)


@lru_cache(maxsize=4096)
def identity_map(shape: Shape) -> IndexMap:
    """The map of a vertex of ``shape`` whose elements are visited in order: its domain is ``core(shape)``."""
    rank = len(core(shape))
    result, position = [], 0
    for extent in shape:
        result.append((0, _unit(rank, position if extent != 1 else None)))
        position += extent != 1
    return tuple(result)


@lru_cache(maxsize=4096)
def full_map(rank: int) -> IndexMap:
    """The map whose domain keeps every dimension, extents of 1 included."""
    return tuple((0, _unit(rank, position)) for position in range(rank))


@lru_cache(maxsize=4096)
def _unit(rank: int, position: int | None) -> tuple[int, ...]:
    return tuple(int(i == position) for i in range(rank))


def broadcast_index(index: IndexMap, shape: Shape, operand: Shape) -> IndexMap:
    """The map of an operand of shape ``operand`` that is repeated to ``shape``, whose map is ``index``."""
    if operand == shape:
        return index
    index = index[len(shape) - len(operand) :]
    return tuple(_NOWHERE if extent == 1 else place for place, extent in zip(index, operand, strict=True))


def _through_broadcast(view: Vertex, index: IndexMap) -> IndexMap:
    return broadcast_index(index, view.shape, view.inputs[0].shape)


def _through_transpose(view: Vertex, index: IndexMap) -> IndexMap:
    by_axis = dict(zip(view.attributes["permutation"], index, strict=True))
    return tuple(by_axis[axis] for axis in range(len(index)))


def _through_slice(view: Vertex, index: IndexMap) -> IndexMap:
    starts, steps = view.attributes["starts"], view.attributes["steps"]
    return tuple(
        (start + step * offset, tuple(step * c for c in coefficients))
        for start, step, (offset, coefficients) in zip(starts, steps, index, strict=True)
    )


def _through_flip(view: Vertex, index: IndexMap) -> IndexMap:
    axes = view.attributes["axes"]
    return tuple(
        (view.shape[axis] - 1 - offset, tuple(-c for c in coefficients)) if axis in axes else (offset, coefficients)
        for axis, (offset, coefficients) in enumerate(index)
    )


def _through_windows(view: Vertex, index: IndexMap) -> IndexMap:
    """A dimension that windows move along is walked by their positions and by their elements.

    The map leads out of x where zeros are around it: products, the only readers then, leave those out.
    """
    count = len(view.attributes["window"])
    outer, positions, elements = index[: -2 * count - 1], index[-2 * count - 1 : -count - 1], index[-count - 1 : -1]
    names = ("strides", "dilation", "low")
    sizes = zip(positions, elements, *(view.attributes[name] for name in names), strict=True)
    return (*outer, *(_combined(*each) for each in sizes), index[-1])


def _combined(position: Index, element: Index, stride: int, gap: int, low: int) -> Index:
    """Where an element of a window at a position lies."""
    pairs = zip_longest(position[1], element[1], fillvalue=0)
    return position[0] * stride + element[0] * gap - low, tuple(a * stride + b * gap for a, b in pairs)


def _through_reshape(view: Vertex, index: IndexMap) -> IndexMap:
    """Only dimensions of extent 1 come or go (other reshapes are aliases, see `is_alias`)."""
    kept = iter(place for place, extent in zip(index, view.shape, strict=True) if extent != 1)
    return tuple(_NOWHERE if extent == 1 else next(kept) for extent in view.inputs[0].shape)


_THROUGH: dict[str, Callable[[Vertex, IndexMap], IndexMap]] = {
    "broadcast": _through_broadcast,
    "transpose": _through_transpose,
    "slice": _through_slice,
    "flip": _through_flip,
    "windows": _through_windows,
    "reshape": _through_reshape,
}
VIEWS = frozenset(_THROUGH)


def is_alias(vertex: Vertex) -> bool:
    """Whether this reshape cuts or joins dimensions, so that it can only rename a row-major buffer."""
    return vertex.primitive.name == "reshape" and core(vertex.shape) != core(vertex.inputs[0].shape)


def alias_origin(vertex: Vertex) -> Vertex:
    """The vertex in whose row-major buffer the elements of an alias lie; any other vertex itself."""
    if is_alias(vertex):
        while vertex.primitive.name == "reshape":
            vertex = vertex.inputs[0]
    return vertex


def find_base(vertex: Vertex, index: IndexMap) -> tuple[Vertex, IndexMap]:
    """Look through views to the vertex that is computed or stored (or an alias of one) and return it with its map."""
    while vertex.primitive.name in _THROUGH and not is_alias(vertex):
        index = _THROUGH[vertex.primitive.name](vertex, index)
        vertex = vertex.inputs[0]
    return vertex, index


def as_permutation(index: IndexMap, shape: Shape, domain: Shape) -> tuple[int, ...] | None:
    """The domain dimension that runs along each core dimension of ``shape``, if every element is met exactly once.

    None if the map repeats, skips or reverses elements.
    """
    if index is identity_map(shape) and core(shape) == domain:
        return tuple(range(len(domain)))
    permutation = []
    for (offset, coefficients), extent in zip(index, shape, strict=True):
        if extent == 1:
            continue
        if offset or sum(map(abs, coefficients)) != 1 or 1 not in coefficients:
            return None
        dimension = coefficients.index(1)
        if domain[dimension] != extent:
            return None
        permutation.append(dimension)
    spanned = sum(extent != 1 for extent in domain)
    return tuple(permutation) if len(set(permutation)) == len(permutation) == spanned else None


def compose(index: IndexMap, shape: Shape, outer: IndexMap) -> IndexMap:
    """The map of what a vertex of ``shape`` reads at ``index`` (over its own domain), when it is read at ``outer``."""
    places = [place for place, extent in zip(outer, shape, strict=True) if extent != 1]
    rank = max((len(coefficients) for _, coefficients in places), default=0)
    result = []
    for offset, coefficients in index:
        total = [0] * rank
        for factor, (start, steps) in zip(coefficients, places, strict=False):
            offset += factor * start
            for dimension, step in enumerate(steps):
                total[dimension] += factor * step
        result.append((offset, tuple(total)))
    return tuple(result)


def locate(index: IndexMap, strides: Shape, offset: int, rank: int) -> tuple[int, tuple[int, ...]]:
    """Compose a map with the strides of a buffer: (offset, stride of each of ``rank`` dimensions), in elements."""
    result = [0] * rank
    for (start, coefficients), stride in zip(index, strides, strict=True):
        offset += start * stride
        for dimension, coefficient in enumerate(coefficients):
            if coefficient:
                result[dimension] += coefficient * stride
    return offset, tuple(result)


def is_row_major(shape: Shape, strides: Shape | None) -> bool:
    """Whether elements of ``shape`` with these strides lie one behind another in row-major order."""
    if strides is None:
        return True
    expected = contiguous_strides(shape)
    return all(extent == 1 or a == b for extent, a, b in zip(shape, strides, expected, strict=True))
