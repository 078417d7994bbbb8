"""How a contraction is cut: the box of a register tile, panels, chunks of the depth, tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from chainrule.backends.native.cpu import Target
from chainrule.backends.native.kernel import LINE_BYTES, whole_lines
from chainrule.backends.native.language import BYTES, Function, Value
from chainrule.backends.native.product_pack import vector_lanes
from chainrule.backends.native.product_site import even_split
from chainrule.passes.plan import Contraction, Range

NEAR_BYTES = 1 << 20
"""What is read of both operands for one panel, at most, before the depth is cut into chunks: a second-level cache."""

CHUNK_BYTES = 1 << 19
"""About so many bytes of both operands are in a chunk."""

NEAREST_BYTES = 6 << 10
"""What a chunk has of a panel of the right operand if steps are short and each takes another line of the left one."""

NEAR_ROW_BYTES = 1 << 10
"""Rows of the right operand that are no farther apart are read where they are."""

MOST_VECTORS = 3
"""Columns of at most so many vectors are one panel; of more, panels of two leave the most registers to the rows."""

ENOUGH_SUMS = 12
"""So many sums hide the latency of multiplications."""

LEAST_BLOCK_ROWS = 64
"""Fewer rows do not repay the packing of a panel."""

LEAST_CHUNKED_ROWS = 288
"""Fewer rows do not repay that each task reads all of both operands."""

PARTS = 8
"""Tasks of sums that are split: each adds a part of all sums, and has a part of the operands in its caches."""

MOST_SPLIT_RESULTS = 64 << 10
"""The sums of more results would not stay in the caches of a task."""

LEAST_SPLIT_WORK = 1 << 20
"""Multiplications from which on splitting sums pays."""

LEAST_USES = 48
"""So many multiplications with each element of the left operand repay that it is read again."""

TASK_WORK = 1 << 22
"""Multiplications of a task, about; and about how many tasks there are of smaller or larger contractions."""
LEAST_TASKS, MOST_TASKS = 4, 64


class Loop(NamedTuple):
    """A loop over the depth: how often, and how far its step goes in the left operand and in the panel, in elements.

    ``range`` says at which indices there are elements; None where there always are.
    """

    extent: int
    left: int
    right: int
    range: Range | None

    def continues(self, inner: Loop) -> bool:
        """Whether the first step of this loop goes where the next step of the inner one would."""
        return self.left == inner.left * inner.extent and self.right == inner.right * inner.extent


class Kind(NamedTuple):
    """Boxes ``first`` to ``stop`` along a dimension of the rows: their extent, and which of their rows have elements.

    ``valid`` holds, for each range of the dimension and each index of the depth, the rows in the box where it holds.
    """

    first: int
    stop: int
    extent: int
    valid: tuple[tuple[frozenset[int], ...], ...]


@dataclass(frozen=True)
class Tile:
    """A register tile: where it begins along each dimension of the rows, and which kind of box it is there."""

    place: list[Value]
    kinds: list[Kind]

    @property
    def extent(self) -> list[int]:
        return [kind.extent for kind in self.kinds]

    @property
    def count(self) -> int:
        return math.prod(self.extent)


class Extents:
    """The extents of a contraction's tiles, panels, chunks and tasks.

    ``box`` is a register tile's extent along each dimension of the rows, ``grid`` the number of boxes, of which the
    last may be smaller, and ``kinds`` those that differ.
    """

    def __init__(self, kernel: Contraction, f: Function) -> None:
        self.kernel, self.element = kernel, kernel.dtype.name
        self.size, self.lanes = BYTES[self.element], panel_lanes(f, self.element, kernel.columns)
        vectors = -(-kernel.columns // self.lanes)
        self.vectors = vectors if vectors <= MOST_VECTORS else 2
        self.width = self.vectors * self.lanes
        self.full_panels, self.rest_columns = divmod(kernel.columns, self.width)
        self.panels = self.full_panels + (self.rest_columns > 0)
        self._choose_box(most_sums(f.module.target) // self.vectors)
        self._split_depth(f)
        self._split_into_tasks()
        self._share_out_scratch()

    def _choose_box(self, most: int) -> None:
        """As many rows as registers allow: of the last dimension first, whole boxes of the others.

        Boxes over two dimensions with borders come in many kinds: there, enough to keep the processor busy must do.
        """
        rows, ranged = self.kernel.rows, {each.row for each in self.kernel.ranges}
        box = [even_split(rows[-1], most)]
        for dimension in range(len(rows) - 2, -1, -1):
            room = most // math.prod(box)
            is_enough = dimension in ranged and math.prod(box) * self.vectors >= ENOUGH_SUMS
            grows = box[0] == rows[dimension + 1] and room > 1 and not is_enough
            box.insert(0, max(n for n in range(1, room + 1) if rows[dimension] % n == 0) if grows else 1)
        self.box = tuple(box)
        self.grid = tuple(-(-n // size) for n, size in zip(rows, box, strict=True))
        self.tiles, self.pixels = math.prod(self.grid), math.prod(box)
        self.kinds = [self._kinds_along(dimension) for dimension in range(len(box))]

    def ranges_inside(self, dimension: int) -> list[Range]:
        """Ranges that differ between the rows of a box."""
        return [each for each in self.kernel.ranges if each.row == dimension and self.box[dimension] > 1]

    def _kinds_along(self, dimension: int) -> list[Kind]:
        kernel, size = self.kernel, self.box[dimension]
        kinds: list[Kind] = []
        for number in range(self.grid[dimension]):
            start = number * size
            extent = min(size, kernel.rows[dimension] - start)
            valid = tuple(
                tuple(
                    frozenset(row for row in range(extent) if each.holds(start + row, k))
                    for k in range(kernel.depth[each.depth])
                )
                for each in self.ranges_inside(dimension)
            )
            if kinds and kinds[-1][2:] == (extent, valid):
                kinds[-1] = kinds[-1]._replace(stop=number + 1)
            else:
                kinds.append(Kind(number, number + 1, extent, valid))
        return kinds

    def _split_depth(self, f: Function) -> None:
        """Chunks of a dimension of the depth; the panel lies ready if its rows are no wider than itself."""
        kernel = self.kernel
        *distances, column_stride = kernel.right.strides
        has_near_rows = column_stride == 1 and abs(distances[-1]) * self.size <= NEAR_ROW_BYTES
        self.packs = not (has_near_rows and kernel.columns % self.width == 0)
        ranges = {each.depth: each for each in kernel.ranges}
        steps = zip(kernel.depth, kernel.left.strides[len(kernel.rows) : -1], distances, strict=True)
        self.depth = _merged([Loop(*step, ranges.get(number)) for number, step in enumerate(steps)])
        self.is_scattered = abs(self.depth[-1].left) * self.size >= LINE_BYTES and f.module.target.multiplies_two
        self.cut, self.chunk = self._choose_chunk()
        self._split_sums()
        outside = math.prod(loop.extent for loop in self.depth[: self.cut])
        self.chunks = outside * -(-self.depth[self.cut].extent // self.chunk)
        packed = tuple(
            math.prod(loop.extent for loop in self.depth[d + 1 :]) * self.width for d in range(len(self.depth))
        )
        self.steps = packed if self.packs else tuple(loop.right for loop in self.depth)
        loops = [loop._replace(right=step) for loop, step in zip(self.depth, self.steps, strict=True)][self.cut :]
        self.loops = [loops[0], *_merged(loops[1:])] if self.chunks > 1 else _merged(loops)

    def _split_sums(self) -> None:
        """Parts of the first dimension of the depth, and how many indices each has."""
        kernel, first = self.kernel, self.depth[0]
        self.part, self.parts = first.extent, 1
        if first.range is None and splits_sums(math.prod(kernel.domain), kernel.terms):
            self.part = -(-first.extent // PARTS)
            self.parts = -(-first.extent // self.part)
        if self.cut == 0:
            self.chunk = min(self.chunk, self.part)

    def _choose_chunk(self) -> tuple[int, int]:
        """Which dimension of the depth is cut into chunks, and how many indices a chunk has, at most."""
        first, *others = self.depth
        inner = math.prod(loop.extent for loop in others) * self.width * self.size
        if self._differs_in_box(first) or (first.range and not self.is_scattered):
            return 0, first.extent
        if not self.is_scattered:
            touched = inner + abs(first.left) * self.size
            is_near = first.extent * touched <= NEAR_BYTES
            return 0, first.extent if is_near else _even_chunk(first.extent, CHUNK_BYTES // touched)
        is_cut_behind = inner > NEAREST_BYTES and others and not first.range and not self._differs_in_box(others[0])
        if is_cut_behind:
            return 1, _even_chunk(others[0].extent, NEAREST_BYTES * others[0].extent // inner)
        return 0, _even_chunk(first.extent, NEAREST_BYTES // inner)

    def _differs_in_box(self, loop: Loop) -> bool:
        """Whether the rows of a box have elements at different indices of a loop."""
        return loop.range is not None and self.box[loop.range.row] > 1

    def vectors_of(self, columns: int) -> int:
        """Vectors of a panel that has so many columns."""
        return -(-columns // self.lanes)

    def _split_into_tasks(self) -> None:
        work = math.prod(self.kernel.domain) * self.kernel.terms
        if self.parts > 1:
            self.block_tiles, self.blocks, self.group, self.groups = self.tiles, 1, self.panels, 1
            self.tasks = self.parts
            return
        wanted = min(max(work // TASK_WORK, LEAST_TASKS), MOST_TASKS)
        if self.chunks > 1:
            groups, rows = min(self._most_groups(), wanted), LEAST_CHUNKED_ROWS
            most = max(self.tiles * self.pixels // rows, LEAST_TASKS // groups)
        else:
            groups, most = self.panels, self.tiles * self.pixels // LEAST_BLOCK_ROWS
        blocks = max(1, min(wanted, most, self.tiles))
        even = next(count for count in range(blocks, self.tiles + 1) if self.tiles % count == 0)
        self.block_tiles = -(-self.tiles // (even if even <= 2 * blocks else blocks))
        self.blocks = -(-self.tiles // self.block_tiles)
        groups = min(groups, -(-wanted // self.blocks))
        self.group = -(-self.panels // groups)
        self.groups = -(-self.panels // self.group)
        self.tasks = self.blocks * self.groups

    def _most_groups(self) -> int:
        """Into how many groups panels may be shared out: what a chunk has of the left operand is read for each."""
        uses = math.prod(self.kernel.rows) * self.width // max(1, abs(self.depth[-1].left))
        return max(1, self.panels // -(-LEAST_USES // max(1, uses)))

    def _share_out_scratch(self) -> None:
        packed = whole_lines(self.chunk * self.steps[self.cut] * self.size) + LINE_BYTES  # vectors may reach beyond
        self.panel_bytes = packed if self.packs else 0
        kept = self.block_tiles * self.group if self.chunks > 1 else 1
        self.sums_bytes = whole_lines(kept * self.pixels * self.width * self.size)
        self.task_bytes = self.panel_bytes + self.sums_bytes
        # Every part has its own, for what it leaves there is read when all are done.
        self.scratch_bytes = self.task_bytes if self.parts == 1 else 0
        self.shared_bytes = self.parts * self.task_bytes if self.parts > 1 else 0


def splits_sums(results: int, terms: int) -> bool:
    """Whether sums of so many terms are made in parts, so that their order is not that of other products.

    Gradients of weights of convolutions have few results, of many terms: there tasks that have the results apart would
    each read all of both operands.
    """
    return results <= MOST_SPLIT_RESULTS and 4 * terms >= results and results * terms >= LEAST_SPLIT_WORK


def _even_chunk(extent: int, most: int) -> int:
    """The length of chunks of nearly the same length: at most so many indices, but at least one."""
    return -(-extent // -(-extent // max(1, most)))


def _merged(loops: list[Loop]) -> list[Loop]:
    """One loop for two that both operands walk as one."""
    result: list[Loop] = []
    for loop in loops:
        outer = result[-1] if result else None
        if outer and not (outer.range or loop.range) and outer.continues(loop):
            result[-1] = loop._replace(extent=outer.extent * loop.extent)
        else:
            result.append(loop)
    return result


def panel_lanes(f: Function, element: str, columns: int) -> int:
    """Lanes of the vectors of a panel: fewer than a register has, where fewer would be idle.

    Two multiplications of 256 bits take no longer than one of 512.
    """
    target = f.module.target
    full = target.lanes(element)
    half = full // 2 if target.vector_bits == 512 else full
    wasted = -columns % full - -columns % half
    lanes = half if wasted > 0 and columns <= MOST_VECTORS * half else full
    return min(lanes, vector_lanes(f, element, columns))


def most_sums(target: Target) -> int:
    """How many vectors of sums a tile may hold; the left operand comes from memory, the right one in two registers."""
    return 28 if target.vector_bits == 512 or target.triple.startswith(("aarch64", "arm64")) else 12
