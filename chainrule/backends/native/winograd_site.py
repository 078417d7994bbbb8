"""Which contractions are 3 × 3 convolutions that are cheaper in tiles, and how they are cut: tiles, blocks, tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chainrule.backends.native.contraction_extents import most_sums
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.language import BYTES
from chainrule.backends.native.product_site import even_split
from chainrule.passes.plan import Contraction

TAPS, TILE, RESULTS = 3, 4, 2
"""Along each side: taps of the window, pixels of a tile, and results that a tile gives."""

POSITIONS = TILE * TILE

BLOCK_TILES = 32
"""About so many tiles go through all steps together: what they have in scratch memory stays in the caches."""

LEAST_TILES = 256
"""Fewer do not repay the transform of the weights, which one thread does."""

MOST_WEIGHT_BYTES = 1 << 20
"""Transformed weights that are larger would not stay in a second-level cache."""

MOST_TASKS = 64

PAD = 16
"""Elements between positions in scratch memory, as addresses a power of two apart share few places in the cache."""


@dataclass(frozen=True)
class Axis:
    """Height or width: results along it, and where the image begins and ends, seen from the first window."""

    extent: int
    stride: int
    low: int
    size: int

    @property
    def tiles(self) -> int:
        return -(-self.extent // RESULTS)

    @property
    def is_padded(self) -> bool:
        """Whether windows reach beyond the image."""
        return self.low > 0 or self.low + self.size < self.extent + TAPS - 1


@dataclass(frozen=True)
class Site:
    """A 3 × 3 convolution of stride 1: rows (image, y, x), depth (3, 3, channels).

    ``taps`` are the strides of the right operand over (dy, dx, channel, column); ``vectors`` of ``lanes`` columns are a
    panel, and ``sums`` tiles times a panel are multiplied in registers.
    """

    kernel: Contraction
    images: int
    y: Axis
    x: Axis
    channels: int
    taps: tuple[int, int, int, int]
    lanes: int
    vectors: int
    sums: int

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def panels(self) -> int:
        return self.kernel.columns // self.width

    @property
    def has_border(self) -> bool:
        """Whether tiles reach beyond the image."""
        return any(axis.is_padded or axis.extent % RESULTS for axis in (self.y, self.x))

    @property
    def tile_rows(self) -> int:
        """Rows of tiles in a block: all of them whole."""
        most = min(max(1, BLOCK_TILES // self.x.tiles), self.y.tiles)
        return next(count for count in range(most, 0, -1) if self.y.tiles % count == 0)

    @property
    def bands(self) -> int:
        """Blocks of an image."""
        return self.y.tiles // self.tile_rows

    @property
    def blocks(self) -> int:
        return self.images * self.bands

    @property
    def task_blocks(self) -> int:
        return -(-self.blocks // MOST_TASKS)

    @property
    def tasks(self) -> int:
        return -(-self.blocks // self.task_blocks)

    @property
    def tiles(self) -> int:
        """Tiles of a block."""
        return self.tile_rows * self.x.tiles

    @property
    def padded_tiles(self) -> int:
        """Tiles of a block, and what the last register tile has beyond them."""
        return -(-self.tiles // self.sums) * self.sums

    @property
    def weight_elements(self) -> int:
        return POSITIONS * self.channels * self.kernel.columns

    @property
    def tile_step(self) -> int:
        """Elements from one position of the transformed tiles to the next."""
        return self.padded_tiles * self.channels + PAD

    @property
    def sum_step(self) -> int:
        """The same for their products with the weights."""
        return self.padded_tiles * self.kernel.columns + PAD


def find_site(kernel: Contraction, target: Target) -> Site | None:
    """How a contraction is cut into tiles; None if it is no such convolution, or a small one."""
    lanes = target.lanes("float32")
    shape = _as_convolution(kernel)
    if shape is None or kernel.dtype.name != "float32":
        return None
    axes, channels, taps = shape
    if channels % lanes or kernel.columns % lanes:
        return None
    count = kernel.columns // lanes
    vectors = next(size for size in (2, 3, 1) if count % size == 0)
    images = kernel.rows[0] if len(kernel.rows) > 2 else 1
    site = Site(kernel, images, *axes, channels, taps, lanes, vectors, 1)
    is_small = images * site.y.tiles * site.x.tiles < LEAST_TILES
    if is_small or site.weight_elements * BYTES["float32"] > MOST_WEIGHT_BYTES:
        return None
    return replace(site, sums=even_split(site.tiles, most_sums(target) // vectors))


def _as_convolution(kernel: Contraction) -> tuple[tuple[Axis, Axis], int, tuple[int, int, int, int]] | None:
    """(axes, channels, taps) of a 3 × 3 convolution of stride 1 whose channels lie side by side; None for others."""
    rank = len(kernel.rows)
    if rank not in (2, 3) or kernel.left.dynamic or kernel.right.dynamic or kernel.left.strides[-1]:
        return None
    down, right = kernel.left.strides[rank - 2 : rank]
    distances, depth, taps = kernel.left.strides[rank:-1], kernel.depth, kernel.right.strides
    if len(depth) == 2 and depth[1] == TAPS * right and distances[1] == 1:  # pixels that lie side by side, as one
        depth, distances = (depth[0], TAPS, right), (distances[0], right, 1)
        taps = (taps[0], taps[1] * right, *taps[1:])
    if len(depth) != 3 or depth[:2] != (TAPS, TAPS) or distances != (down, right, 1):
        return None
    axes = [_axis(kernel, rank - 2 + number, number, stride) for number, stride in enumerate((down, right))]
    first, second = axes
    if first is None or second is None or len(kernel.ranges) != sum(axis.is_padded for axis in (first, second)):
        return None
    return (first, second), depth[2], (taps[0], taps[1], taps[2], taps[3])


def _axis(kernel: Contraction, row: int, depth: int, stride: int) -> Axis | None:
    """One of the two axes, None where windows do not move by one pixel."""
    extent = kernel.rows[row]
    ranges = [each for each in kernel.ranges if each.row == row]
    if not ranges:
        return Axis(extent, stride, 0, extent + TAPS - 1)
    if len(ranges) > 1 or ranges[0] != replace(ranges[0], depth=depth, row_step=1, depth_step=1):
        return None
    return Axis(extent, stride, ranges[0].low, ranges[0].size)
