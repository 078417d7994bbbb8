"""The plan: what a program does, as pure data - buffers, and kernels run one after another.

A backend turns a plan into machine code without looking at the graph again. Three ideas carry it:

- an `Access` says where the element for a point of a kernel's loops lies: ``offset + Σ strides[d]·index[d]`` elements
  into a buffer, plus terms that are known only when the program runs. Views (transpose, slice, broadcast) are accesses;
- a body is a list of `Instruction`: scalar operations in SSA form, operands named by their position in the list;
- a kernel is a `Nest` (loops over a domain around a body, with stores and reductions), a `Scan` (lines along one
  dimension, each treated as a whole: a cumulative sum, a sort), a `Product` (a matrix product whose body, the
  epilogue, sees each finished element), a `Contraction` (the same with several dimensions in place of rows and of
  depth, as a convolution has them) or a `Loop` (a plan of its own, run step after step).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..types import DType, Shape

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


def aligned(size: int) -> int:
    """A size in bytes, so that what lies behind is aligned."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Buffer:
    """A piece of memory.

    ``role``: ``"input"``, ``"output"`` (both addressed by their own entry, number ``slot``, of the pointer array that
    the program is given) or ``"temporary"`` (``offset`` bytes into the arena, whose pointer is entry ``slot``).
    ``size`` counts elements.
    """

    dtype: DType
    size: int
    role: str
    slot: int
    offset: int = 0
    name: str = ""

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.size


@dataclass(frozen=True)
class DynamicTerm:
    """``stride · clamp(value of instruction, 0, limit)`` elements, added to an address when the program runs."""

    instruction: int
    stride: int
    limit: int


@dataclass(frozen=True)
class Access:
    """Where the element of a domain point lies in ``buffer``; all in elements. A stride of 0 repeats one element."""

    buffer: int
    strides: tuple[int, ...]
    offset: int = 0
    dynamic: tuple[DynamicTerm, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """One scalar operation, giving one value of ``dtype``.

    ``operation`` is the native name of an elementwise primitive, or

    - ``"load"``: the element at ``access``;
    - ``"constant"``: ``value``;
    - ``"index"``: the int64 ``access.offset + Σ access.strides[d]·index[d]`` (``access.buffer`` is -1);
    - ``"random_uniform"``: operands (seed, counter, element number as int64), ``value`` is the stream;
    - ``"argsort"`` (only in a `Scan`): ``value`` is how many positions are wanted, and whether the largest come first;
    - ``"accumulator"``: the finished sum of a `Product` (always and only instruction 0 of its body).
    """

    operation: str
    dtype: DType
    operands: tuple[int, ...] = ()
    access: Access | None = None
    value: Any = None


@dataclass(frozen=True)
class Store:
    """Write the value of an instruction to ``access``; ``accumulate`` adds to what is there.

    ``is_ordered``: several points may write to one place, in domain order.
    """

    access: Access
    instruction: int
    accumulate: bool = False
    is_ordered: bool = False


@dataclass(frozen=True)
class Reduction:
    """Reduce an instruction's value over the domain dimensions ``axes`` and write it to ``access`` (stride 0 on axes).

    ``operation``: ``"sum"``, ``"prod"``, ``"max"``, ``"min"``, ``"argmax"``, ``"argmin"``. Index reductions have one
    axis. An empty sum is 0, an empty product 1. The order of a sum follows from the vertex, not from the loops that it
    came into: ``axes`` are in the order of its operand, and ``is_last`` says whether the operand's last axis is one.
    """

    operation: str
    access: Access
    instruction: int
    axes: tuple[int, ...]
    is_last: bool = False


@dataclass(frozen=True)
class Nest:
    """Loops over ``domain`` (extents, outermost first) around a body. All reductions of a nest have the same axes.

    Points of the domain are independent but for reductions and ordered stores.
    """

    name: str
    domain: Shape
    body: tuple[Instruction, ...]
    stores: tuple[Store, ...] = ()
    reductions: tuple[Reduction, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.domain)


@dataclass(frozen=True)
class Scan(Nest):
    """A nest whose last dimension is a line that is treated as a whole; the points of the others are independent.

    The last instruction of the body, whose operation is the native name of a scan, gives at each point of a line what
    follows from its operand at all points of that line. The one store writes it, at the first points alone if only so
    many are wanted.
    """


def is_narrow(left: Shape, right: Shape) -> bool:
    """Whether a product of these shapes is one of a matrix and a vector.

    Its sums are made of as many interleaved ones as a vector has lanes; other sums are made in the order of k.
    """
    rows = math.prod(left[:-1]) if math.prod(right[:-2]) == 1 else left[-2]
    return left[-1] > 2 and (rows == 1 or right[-1] == 1)


@dataclass(frozen=True)
class Product:
    """``accumulator[b, i, j] = Σₖ left[b, i, k] · right[b, k, j]``, then the body and the stores at every (b, i, j).

    ``is_narrow``: see `is_narrow`; the order of each sum follows from that, not from the layout of the operands.
    ``batch`` has any number of dimensions. ``left`` strides are over (batch..., i, k), ``right`` over (batch..., k, j);
    body and stores over (batch..., i, j).
    ``panel``: not 0 where a backend has packed the right operand, into panels of so many columns.
    """

    name: str
    dtype: DType
    batch: Shape
    rows: int
    columns: int
    depth: int
    left: Access
    right: Access
    body: tuple[Instruction, ...]
    stores: tuple[Store, ...]
    is_narrow: bool = False
    panel: int = 0

    @property
    def domain(self) -> Shape:
        return (*self.batch, self.rows, self.columns)

    @property
    def left_domain(self) -> Shape:
        return (*self.batch, self.rows, self.depth)

    @property
    def right_domain(self) -> Shape:
        return (*self.batch, self.depth, self.columns)

    @property
    def terms(self) -> int:
        """How many products each sum has."""
        return self.depth


@dataclass(frozen=True)
class Range:
    """Where the left operand of a `Contraction` has elements: the others are zeros around an image, and left out.

    It has them where ``row_step · i[row] + depth_step · k[depth] - low`` is one of ``size`` indices from 0 on.
    """

    row: int
    depth: int
    row_step: int
    depth_step: int
    low: int
    size: int

    def holds(self, i: int, k: int) -> bool:
        return 0 <= self.row_step * i + self.depth_step * k - self.low < self.size


@dataclass(frozen=True)
class Contraction:
    """``accumulator[i..., j] = Σ_k left[i..., k..., j] · right[k..., j]`` in row-major order of k, then body, stores.

    ``rows`` are the extents of i, ``depth`` those of k. ``left`` strides are over (rows..., depth..., column), that of
    the column 0 if all columns have the same left operand, as in a matrix product; ``right`` strides are over
    (depth..., column), body and stores over (rows..., column). Products outside of one of the ``ranges`` are left out.
    """

    name: str
    dtype: DType
    rows: Shape
    columns: int
    depth: Shape
    left: Access
    right: Access
    body: tuple[Instruction, ...]
    stores: tuple[Store, ...]
    ranges: tuple[Range, ...] = ()

    @property
    def domain(self) -> Shape:
        return (*self.rows, self.columns)

    @property
    def left_domain(self) -> Shape:
        return (*self.rows, *self.depth, self.columns)

    @property
    def right_domain(self) -> Shape:
        return (*self.depth, self.columns)

    @property
    def terms(self) -> int:
        """How many products each sum has."""
        return math.prod(self.depth)


WIDEST_PANEL = 32
"""The most columns of a panel of any backend."""

SUMMED_ROWS = 128
"""Rows of steps, about, that a backend adds to sums at a time: so many repay that the sums are loaded and stored, and
are in the caches yet."""


def summed_steps(rows: int) -> int:
    """How many steps that have so many rows each are added to sums at a time."""
    return max(1, SUMMED_ROWS // rows)


@dataclass(frozen=True)
class Factor:
    """The left operand of a `StepSum`, of so many rows, and where its sums lie."""

    rows: int
    left: Access
    sums: Access


@dataclass(frozen=True)
class StepSum:
    """``sums[p, i, j] = Σₜ Σₖ left[t, p, k, i] · right[t, p, k, j]``, over the steps t of a loop in their order.

    All lie row-major: for each step ``right`` is ``parts`` blocks of ``[depth, columns]``, and ``left`` of
    ``[depth, rows]``. Both are among what the loop reads and writes. Several left operands may share a right one.
    """

    dtype: DType
    parts: int
    depth: int
    columns: int
    right: Access
    factors: tuple[Factor, ...]

    @property
    def steps(self) -> int:
        """How many steps are added at a time."""
        return summed_steps(self.depth)

    @property
    def work_bytes(self) -> int:
        """Room to pack what these steps have: the left operands in tiles, whose rows may be padded, and a panel."""
        columns = WIDEST_PANEL + sum(2 * factor.rows + WIDEST_PANEL for factor in self.factors)
        return aligned(self.steps * self.depth * columns * self.dtype.size)


@dataclass(frozen=True)
class Loop:
    """``step`` run ``length`` times, with ``carries`` values that go from each step to the next.

    ``reads`` and ``writes`` say where the inputs and outputs of ``step`` lie, in its order and each row-major: first
    the carries (as they are before the first step, and behind the last), then ``xs`` inputs of which each step reads
    its own block, then inputs that are the same at all steps; behind the carries each step writes its own block of
    outputs.
    ``is_reversed``: the last block is that of the first step.
    ``tasks``: all carries and blocks are so many parts of equal size, one behind another, and ``step`` is that of one
    part: each goes through all steps by itself.
    ``counter``: where the number of steps lies, an int64, if only a run of the program says it.
    ``homes``: pairs of a number in ``writes`` and a carry that lies in its block before each step, where the step
    before has put it: ``step`` does not give that output.
    ``sums`` are added to by a few steps at a time, as soon as these are done. ``rings`` are numbers in ``writes`` of
    what they alone read: it has blocks for so many steps, in the order of steps, which the next ones write again.
    ``work`` holds for each task the temporaries of a step and a second copy of each other carry, and behind them
    ``packed_bytes`` for operands of products that a backend packs before the first step.
    """

    name: str
    step: Plan
    carries: int
    xs: int
    length: int
    is_reversed: bool
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]
    work: Access
    packed_bytes: int = 0
    tasks: int = 1
    counter: Access | None = None
    homes: tuple[tuple[int, int], ...] = ()
    sums: tuple[StepSum, ...] = ()
    rings: tuple[int, ...] = ()

    @property
    def fixed(self) -> tuple[int, ...]:
        """The buffers, of ``step``, of what is the same at all steps."""
        return self.step.inputs[self.carries + self.xs :]

    @property
    def task_bytes(self) -> int:
        """How much of ``work`` belongs to one task."""
        copied = set(range(self.carries)).difference(carry for _, carry in self.homes)
        carries = (self.step.buffers[self.step.inputs[carry]] for carry in copied)
        return self.step.arena_bytes + sum(aligned(buffer.nbytes) for buffer in carries) + self.sum_bytes

    @property
    def sum_accesses(self) -> tuple[Access, ...]:
        """Where all sums lie."""
        return tuple(factor.sums for each in self.sums for factor in each.factors)

    @property
    def sum_bytes(self) -> int:
        """The last bytes of a task, to add to sums."""
        return max((each.work_bytes for each in self.sums), default=0)

    @property
    def work_bytes(self) -> int:
        """The size of ``work``."""
        return self.tasks * self.task_bytes + self.packed_bytes


Computation = Nest | Product | Contraction
"""A kernel with a body, which is evaluated at the points of its domain."""

Kernel = Computation | Loop


def _with_moved(sum: StepSum, moved: Callable[[Access], Access]) -> StepSum:
    factors = (replace(each, left=moved(each.left), sums=moved(each.sums)) for each in sum.factors)
    return replace(sum, right=moved(sum.right), factors=tuple(factors))


def with_accesses(kernel: Kernel, moved: Callable[[Access], Access]) -> Kernel:
    """The kernel with every access replaced."""
    if isinstance(kernel, Loop):
        reads, writes = (tuple(map(moved, accesses)) for accesses in (kernel.reads, kernel.writes))
        counter = None if kernel.counter is None else moved(kernel.counter)
        sums = tuple(_with_moved(each, moved) for each in kernel.sums)
        return replace(kernel, reads=reads, writes=writes, work=moved(kernel.work), counter=counter, sums=sums)
    body = tuple(step if step.access is None else replace(step, access=moved(step.access)) for step in kernel.body)
    stores = tuple(replace(store, access=moved(store.access)) for store in kernel.stores)
    if isinstance(kernel, Nest):
        reductions = tuple(replace(reduction, access=moved(reduction.access)) for reduction in kernel.reductions)
        return replace(kernel, body=body, stores=stores, reductions=reductions)
    return replace(kernel, body=body, stores=stores, left=moved(kernel.left), right=moved(kernel.right))


@dataclass(frozen=True)
class Plan:
    """Everything a backend needs.

    The program is given an array of pointers: one per input, one per output, the arena, the scratch memory.
    ``inputs`` and ``outputs`` are numbers of buffers, in the graph's order; an input that the graph updates is written
    in place. ``arena_bytes`` holds all temporaries; they live from one step to the next only by accident.
    """

    buffers: tuple[Buffer, ...]
    kernels: tuple[Kernel, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    arena_bytes: int

    @property
    def arena_slot(self) -> int:
        return len(self.inputs) + len(self.outputs)

    @property
    def scratch_slot(self) -> int:
        return self.arena_slot + 1
