"""How a nest is to be run, decided from shapes and strides alone: which loops, in which order, in which vectors.

A nest is first simplified (`simplify`: fewer, longer dimensions), then scheduled (`make_schedule`). Loops over kept
dimensions are outside, those over reduced dimensions inside; the vector dimension is the innermost of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from chainrule.backends.native.body import Variation
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.kernel import accesses, whole_lines
from chainrule.backends.native.order import fold_period
from chainrule.passes.plan import Access, Buffer, Instruction, Nest, Plan, Store
from chainrule.types import Shape

COSTS = {
    "constant": 0, "identity": 0, "divide": 4, "sqrt": 5, "rsqrt": 9, "exp": 16, "expm1": 18, "log": 22, "log1p": 26,
    "floored_log": 23, "tanh": 24, "sigmoid": 22, "erf": 36, "sin": 40, "cos": 40, "power": 90, "random_uniform": 40,
    "floor_divide": 20, "remainder": 20, "atan2": 40,
}  # fmt: skip
"""Vector instructions, of about a quarter of a nanosecond, that an operation takes; 1 where nothing is said."""

NANOSECONDS = 0.25

FOLD = 4.0
"""Vector instructions to begin a sum and to add up its accumulators."""

FAR_ELEMENTS = 1 << 18
FAR_COST = 1.5  # of an element at a place among so many that it is likely to come from memory: about 10 bytes in 1 ns


def code_length(body: Sequence[Instruction]) -> int:
    """About how many machine instructions a body takes for one vector."""
    operations = [item.operation for item in body if item.operation not in ("constant", "accumulator")]
    return sum(max(1, COSTS.get(operation, 1)) for operation in operations)


@dataclass(frozen=True)
class Schedule:
    """A simplified nest and its loops.

    ``order``: dimensions, outermost first; the first ``kept`` of them are kept (not reduced). ``vector``: the dimension
    of the lanes, None for scalar code. ``turned``: the dimension outside of it along which loads are consecutive that
    are not along the vectors; as many of its points as a vector has lanes are done at a time, and those loads turned in
    registers. ``period``: see `sum_period`. ``parallel``: the outermost loop may be split among threads.
    ``nanoseconds``: a rough estimate of the work.
    """

    nest: Nest
    order: tuple[int, ...]
    kept: int
    vector: int | None
    lanes: int
    turned: int | None
    period: int
    parallel: bool
    nanoseconds: float


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below ``number``."""
    return 1 << max(number - 1, 0).bit_length()


# Simplification


def simplify(nest: Nest) -> Nest:
    """The same computation with fewer dimensions: without those of extent 1, neighbours in memory merged to one."""
    positional = {axis for r in nest.reductions if r.operation in ("argmax", "argmin") for axis in r.axes}
    for dimension in reversed(range(len(nest.domain))):
        if nest.domain[dimension] == 1 and dimension not in positional:
            nest = _without(nest, dimension)
    ordered = any(store.is_ordered for store in nest.stores)
    while pair := next((p for p in _pairs(len(nest.domain), ordered) if _mergeable(nest, *p)), None):
        nest = _merge(nest, *pair)
    return nest


def _pairs(rank: int, ordered: bool) -> list[tuple[int, int]]:
    """(outer, inner) dimensions that might merge; where points are ordered, outer ones come first."""
    return [(a, b) for a in range(rank) for b in range(rank) if a != b and (a + 1 == b or not ordered)]


def _strided(nest: Nest) -> list[Access]:
    """All accesses, those of index instructions included."""
    return [*accesses(nest), *(i.access for i in nest.body if i.operation == "index" and i.access is not None)]


def _mergeable(nest: Nest, outer: int, inner: int) -> bool:
    axes = nest.reductions[0].axes if nest.reductions else ()
    if outer in axes or inner in axes:
        return False
    extent = nest.domain[inner]
    return all(access.strides[outer] == access.strides[inner] * extent for access in _strided(nest))


def _merge(nest: Nest, outer: int, inner: int) -> Nest:
    domain = list(nest.domain)
    domain[inner] *= domain[outer]
    return _without(replace(nest, domain=tuple(domain)), outer)


def _without(nest: Nest, dimension: int) -> Nest:
    """The nest without a dimension, of which only index 0 remains."""

    def access_of(access: Access) -> Access:
        return replace(access, strides=_drop(access.strides, dimension))

    def axes_of(axes: Shape) -> Shape:
        return tuple(axis - (axis > dimension) for axis in axes if axis != dimension)

    return Nest(
        nest.name,
        _drop(nest.domain, dimension),
        tuple(replace(item, access=access_of(item.access)) if item.access else item for item in nest.body),
        tuple(replace(store, access=access_of(store.access)) for store in nest.stores),
        tuple(replace(r, access=access_of(r.access), axes=axes_of(r.axes)) for r in nest.reductions),
    )


def _drop(items: Shape, position: int) -> Shape:
    return items[:position] + items[position + 1 :]


EMPTY = {"sum": 0, "prod": 1}
"""What reductions over no elements give."""


def of_empty(nest: Nest) -> Nest:
    """What a nest with no points does: its sums are 0, its products 1."""
    sums = [reduction for reduction in nest.reductions if reduction.operation in EMPTY]
    axes = sums[0].axes if sums else ()
    domain = tuple(1 if axis in axes else extent for axis, extent in enumerate(nest.domain))
    body = tuple(Instruction("constant", nest.body[r.instruction].dtype, value=EMPTY[r.operation]) for r in sums)
    stores = tuple(Store(reduction.access, number) for number, reduction in enumerate(sums))
    return Nest(nest.name, domain, body, stores)


# Loops


def independent(access: Access, domain: Shape) -> set[int]:
    """Dimensions whose different indices never meet in memory, whatever the other indices and the dynamic terms are."""
    terms = [(abs(stride), extent) for stride, extent in zip(access.strides, domain, strict=True)]
    terms += [(abs(term.stride), term.limit + 1) for term in access.dynamic]
    found = set()
    for dimension, (stride, extent) in enumerate(terms[: len(domain)]):
        others = terms[:dimension] + terms[dimension + 1 :]
        finer = sum(step * (count - 1) for step, count in others if step < stride)
        coarser = [step for step, count in others if step >= stride and count > 1]
        span = stride * extent
        if finer < stride and all(step >= span and step % span == 0 for step in coarser):
            found.add(dimension)
    return found


def make_schedule(nest: Nest, target: Target) -> Schedule:
    """Choose loops and vectors for a simplified nest with at least one point."""
    rank = range(len(nest.domain))
    axes = nest.reductions[0].axes if nest.reductions else ()
    serial: set[int] = set()
    for store in nest.stores:
        if store.is_ordered:
            serial |= set(rank) - independent(store.access, nest.domain)
    spread = {d: sum(abs(access.strides[d]) for access in accesses(nest)) for d in rank}
    free = sorted((d for d in rank if d not in axes and d not in serial), key=lambda d: -spread[d])
    period = sum_period(nest, target)
    candidates = [] if serial and axes else list(free)
    if axes and reduces_last(nest):
        candidates = [*(candidates if period <= FEW_SUMS else ()), axes[-1]]
    choices = [Vectors(nest, d, d in axes, target) for d in reversed(candidates)]
    best = min(choices or [Vectors(nest, None, False, target)], key=lambda choice: choice.cost)
    vector = best.dimension
    turned = None if axes or serial else _turned(nest, best)
    inner = [d for d in (turned, vector) if d in free]
    kept = [*(d for d in free if d not in inner), *sorted(serial.difference(axes)), *inner]
    order = (*kept, *axes)
    nanoseconds = NANOSECONDS * (best.cost * math.prod(nest.domain) + _folds(nest, kept, best))
    parallel = bool(kept) and kept[0] not in serial
    return Schedule(nest, order, len(kept), vector, best.lanes, turned, period, parallel, nanoseconds)


def _folds(nest: Nest, kept: Sequence[int], vectors: Vectors) -> float:
    """Vector instructions that sums take besides those for each point."""
    results = math.prod(nest.domain[d] for d in kept)
    return FOLD * len(nest.reductions) * results * (vectors.per_point if vectors.dimension in kept else 1.0)


TURNED_LENGTH = 8
"""Machine instructions of a body that are worth repeating for every lane, so that loads can be turned in registers."""


def _turned(nest: Nest, vectors: Vectors) -> int | None:
    """The dimension along which the loads are consecutive that would take the elements of a vector one by one."""
    vector, lanes = vectors.dimension, vectors.lanes
    if vector is None or lanes == 1 or code_length(nest.body) + len(nest.stores) > TURNED_LENGTH:
        return None
    dimensions = {turned_dimension(item, vector) for item in nest.body} - {None}
    fitting = [d for d in dimensions if d is not None and min(nest.domain[d], nest.domain[vector]) >= lanes]
    return min(fitting, default=None)


def turned_dimension(item: Instruction, vector: int) -> int | None:
    """The dimension along which an instruction loads consecutive elements, if along the vectors it does not."""
    access = item.access
    if item.operation != "load" or access is None or access.dynamic or item.dtype.size < 4:
        return None
    if abs(access.strides[vector]) <= 1 or 1 not in access.strides:
        return None
    return access.strides.index(1)


FEW_SUMS = 8
"""So many interleaved sums can be vectors themselves, if that is faster than having them in the lanes of one."""


def reduces_last(nest: Nest) -> bool:
    """Whether the last dimension of what is reduced is among the reduced ones."""
    return any(reduction.is_last or len(reduction.axes) == len(nest.domain) for reduction in nest.reductions)


def sum_lanes(nest: Nest, target: Target) -> int:
    """The lanes that decide on the order of a nest's sums: those of the floats that are summed."""
    dtypes = [nest.body[r.instruction].dtype for r in nest.reductions]
    floats = [dtype for dtype in dtypes if dtype.kind == "float"]
    return min(target.lanes(dtype.name) for dtype in floats or dtypes)


def sum_period(nest: Nest, target: Target) -> int:
    """The number of interleaved sums along the innermost reduced dimension."""
    if not nest.reductions or not nest.reductions[0].axes:
        return 1
    return fold_period(nest.domain[nest.reductions[0].axes[-1]], reduces_last(nest), sum_lanes(nest, target))


class Vectors:
    """Vectors along a dimension (None: scalar code): their lanes, and their cost in vector instructions per point."""

    def __init__(self, nest: Nest, dimension: int | None, is_reduced: bool, target: Target) -> None:
        self.dimension = dimension
        self.variation = Variation(nest.body, range(len(nest.domain)), dimension)
        extent = 1 if dimension is None else nest.domain[dimension]
        self.lanes = min(target.lanes(self._widest_element(nest)), power_of_two(extent))
        self.per_point = math.ceil(extent / self.lanes) / extent
        self.cost = sum(self._cost_of(item, i) for i, item in enumerate(nest.body))
        self.cost += sum(1.5 * self._cost_of_access(store.access) for store in nest.stores)
        across = 3 * math.log2(self.lanes) / extent if is_reduced else 0.0
        self.cost += len(nest.reductions) * (self.per_point + across)

    def _widest_element(self, nest: Nest) -> str:
        """The element that fills a register: of 4 or of 8 bytes, whichever makes more work."""
        work = {4: 0, 8: 0}
        for item, varies in zip(nest.body, self.variation.varying, strict=True):
            if varies:
                work[max(4, item.dtype.size)] += COSTS.get(item.operation, 1)
        return "int64" if work[8] > work[4] else "int32"

    def _cost_of(self, item: Instruction, number: int) -> float:
        cost = COSTS.get(item.operation, 1)
        if self.dimension is not None and not self.variation.varying[number]:
            return 0.01 * cost  # most of these are evaluated in outer loops
        if item.operation == "load" and item.access is not None:
            return self._cost_of_access(item.access)
        return cost * self.per_point

    def _cost_of_access(self, access: Access) -> float:
        is_far = any(term.limit * abs(term.stride) >= FAR_ELEMENTS for term in access.dynamic)
        return self._cost_of_near_access(access) + (FAR_COST if is_far else 0.0)

    def _cost_of_near_access(self, access: Access) -> float:
        if self.dimension is None:
            return 1.0
        if any(self.variation.varying[term.instruction] for term in access.dynamic):
            return 1.5
        # A whole vector from the outer caches takes about as long as two or three instructions.
        return {0: 0.0, 1: 2 * self.per_point, -1: 3 * self.per_point}.get(access.strides[self.dimension], 1.2)


# Splitting a long reduction among threads


def split_reduction(nest: Nest, plan: Plan, chunks: int) -> tuple[Nest, Nest, Plan, int]:
    """A reduction to partial results, one for each chunk of its points, and a reduction that combines them.

    Returns the first nest (its new dimension 0 counts the chunks; whoever writes its loops limits them to the chunk),
    the second, the plan with buffers for the partial results at the start of the scratch memory, and their bytes.
    """
    axes = nest.reductions[0].axes
    kept = tuple(1 if axis in axes else extent for axis, extent in enumerate(nest.domain))
    size = math.prod(kept)
    dense = tuple(0 if axis in axes else math.prod(kept[axis + 1 :]) for axis in range(len(kept)))
    buffers, partial, loads, combining, offset = list(plan.buffers), [], [], [], 0
    for number, reduction in enumerate(nest.reductions):
        dtype = nest.body[reduction.instruction].dtype
        access = Access(len(buffers), (size, *dense))
        buffers.append(Buffer(dtype, chunks * size, "temporary", plan.scratch_slot, offset))
        offset += whole_lines(buffers[-1].nbytes)
        moved = tuple(axis + 1 for axis in axes)
        partial.append(replace(reduction, access=access, axes=moved, is_last=reduces_last(nest)))
        loads.append(Instruction("load", dtype, access=access))
        access = _prepended(reduction.access)
        combining.append(replace(reduction, access=access, instruction=number, axes=(0,), is_last=size == 1))
    body = tuple(replace(item, access=_prepended(item.access)) if item.access else item for item in nest.body)
    stores = tuple(replace(store, access=_prepended(store.access)) for store in nest.stores)
    first = Nest(nest.name, (chunks, *nest.domain), body, stores, tuple(partial))
    second = Nest(nest.name, (chunks, *kept), tuple(loads), (), tuple(combining))
    return first, second, replace(plan, buffers=tuple(buffers)), offset


def _prepended(access: Access) -> Access:
    return replace(access, strides=(0, *access.strides))
