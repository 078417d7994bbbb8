"""How a contraction is cut: the box of a register tile, panels, chunks of the depth, tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from chainrule.backends.native.kernel import whole_lines
from chainrule.backends.native.language import BYTES, Function, Value
from chainrule.backends.native.product_pack import vector_lanes
from chainrule.backends.native.product_site import even_split
from chainrule.passes.plan import Contraction, Range

NEAR_BYTES = 1 << 20
"""What is read of both operands for one panel, at most, before the depth is cut into chunks: a second-level cache."""

CHUNK_BYTES = 1 << 19
"""About so many bytes of both operands are in a chunk."""

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
        self._choose_box(most_sums(f) // self.vectors)
        self._split_depth()
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

    def _split_depth(self) -> None:
        """Chunks of the first dimension of the depth; the panel lies ready if its rows are no wider than itself."""
        kernel, depth = self.kernel, self.kernel.depth
        *distances, column_stride = kernel.right.strides
        has_near_rows = column_stride == 1 and abs(distances[-1]) * self.size <= NEAR_ROW_BYTES
        self.packs = not (has_near_rows and kernel.columns % self.width == 0)
        inner = math.prod(depth[1:])
        touched = inner * self.width + abs(kernel.left.strides[len(kernel.rows)])
        self.chunk = depth[0]
        is_ranged = any(each.depth == 0 for each in kernel.ranges)
        if depth[0] * touched * self.size > NEAR_BYTES and not is_ranged:
            most = max(1, CHUNK_BYTES // (touched * self.size))
            self.chunk = -(-depth[0] // -(-depth[0] // most))
        self.chunks = -(-depth[0] // self.chunk)
        packed = (math.prod(depth[d + 1 :]) * self.width for d in range(len(depth)))
        self.steps = tuple(packed) if self.packs else tuple(distances)
        self.loops = self._merged_loops()

    def _merged_loops(self) -> list[Loop]:
        """The loops over the depth: one for two that both operands walk as one, unless the first is cut into chunks."""
        kernel = self.kernel
        ranges = {each.depth: each for each in kernel.ranges}
        steps = zip(kernel.depth, kernel.left.strides[len(kernel.rows) : -1], self.steps, strict=True)
        loops: list[Loop] = []
        for number, (extent, left, right) in enumerate(steps):
            loop = Loop(extent, left, right, ranges.get(number))
            outer = loops[-1] if loops else None
            is_free = len(loops) > 1 or self.chunks == 1
            if outer and is_free and not (outer.range or loop.range) and outer.continues(loop):
                loops[-1] = loop._replace(extent=outer.extent * loop.extent)
            else:
                loops.append(loop)
        return loops

    def vectors_of(self, columns: int) -> int:
        """Vectors of a panel that has so many columns."""
        return -(-columns // self.lanes)

    def _split_into_tasks(self) -> None:
        kernel = self.kernel
        work = math.prod(kernel.domain) * kernel.terms
        wanted = min(max(work // TASK_WORK, LEAST_TASKS), MOST_TASKS)
        if self.chunks > 1:
            groups, rows = min(self.panels, wanted), LEAST_CHUNKED_ROWS
            most = max(self.tiles * self.pixels // rows, LEAST_TASKS // groups)
        else:
            most = self.tiles * self.pixels // LEAST_BLOCK_ROWS
        blocks = max(1, min(wanted, most, self.tiles))
        even = next(count for count in range(blocks, self.tiles + 1) if self.tiles % count == 0)
        self.block_tiles = -(-self.tiles // (even if even <= 2 * blocks else blocks))
        self.blocks = -(-self.tiles // self.block_tiles)
        groups = min(self.panels, -(-wanted // self.blocks))
        self.group = -(-self.panels // groups)
        self.groups = -(-self.panels // self.group)
        self.tasks = self.blocks * self.groups

    def _share_out_scratch(self) -> None:
        self.panel_bytes = whole_lines(self.chunk * self.steps[0] * self.size) if self.packs else 0
        kept = self.block_tiles * self.group if self.chunks > 1 else 1
        self.sums_bytes = whole_lines(kept * self.pixels * self.width * self.size)
        self.scratch_bytes = self.panel_bytes + self.sums_bytes


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


def most_sums(f: Function) -> int:
    """How many vectors of sums a tile may hold; the left operand comes from memory, the right one in two registers."""
    target = f.module.target
    return 28 if target.vector_bits == 512 or target.triple.startswith(("aarch64", "arm64")) else 12
