"""Which contractions are cheaper in tiles, and how they are cut.

They are 3 × 3 convolutions of stride 1 in float32, and gradients of their weights, whose channels and columns fill
whole vectors, over so many tiles that transforming the weights pays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from chainrule.backends.native.contraction_extents import most_sums
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.product_site import even_split
from chainrule.passes.plan import Contraction
from chainrule.types import Shape

ELEMENT = "float32"
"""In float64 a network is checked: there every product counts."""

TAPS, TILE, RESULTS = 3, 4, 2
"""Along each side: taps of the window, pixels of a tile, and results that a tile gives."""

POSITIONS = TILE * TILE

BLOCK_TILES = 32
"""About so many tiles go through all steps together: what they have in scratch memory stays in the caches."""

LEAST_TILES = 256
"""Fewer do not repay the transform of the weights, which one thread does."""

MOST_WEIGHTS = 16 << 10
"""Of each position: more would not stay in a second-level cache."""

LEAST_LANES = 4
"""Of vectors on any processor."""

MOST_TASKS = 64

PAD = 16
"""Elements between positions in scratch memory, as addresses a power of two apart share few places in the cache."""

Taps = tuple[int, int, int, int]


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
    """Images (image, y, x, channel) under windows of 3 × 3, and how many columns each window gives.

    ``taps`` are strides (dy, dx, channel, column) of the weights, or of the gradient of the results (image, y, x,
    column). ``vectors`` of ``lanes`` columns are a panel; a register tile has ``rows`` times a panel.
    """

    images: int
    y: Axis
    x: Axis
    image_stride: int
    channels: int
    columns: int
    taps: Taps
    lanes: int
    vectors: int
    rows: int = 1
    kept_tiles: int = 0
    """of a block in scratch memory: its tiles, and what the last register tile has beyond"""

    @property
    def width(self) -> int:
        return self.vectors * self.lanes

    @property
    def panels(self) -> int:
        return self.columns // self.width

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
    def tiles(self) -> int:
        """Tiles of a block."""
        return self.tile_rows * self.x.tiles

    @property
    def bands(self) -> int:
        """Blocks of an image."""
        return self.y.tiles // self.tile_rows

    @property
    def blocks(self) -> int:
        return self.images * self.bands

    @property
    def weights(self) -> int:
        """Transformed weights, of all positions."""
        return POSITIONS * self.channels * self.columns

    @property
    def tile_step(self) -> int:
        """Elements from one position of the transformed tiles to the next."""
        return self.kept_tiles * self.channels + PAD

    @property
    def sum_step(self) -> int:
        """The same for what has columns in place of channels."""
        return self.kept_tiles * self.columns + PAD


def find_convolution(kernel: Contraction, target: Target) -> Site | None:
    """How a convolution is cut: rows (image, y, x), depth (dy, dx, channel); None if a contraction is none or small."""
    rank = len(kernel.rows)
    window = _window(kernel.left.strides[:rank], kernel.depth, kernel.left.strides[rank:-1], kernel.right.strides)
    if rank not in (2, 3) or window is None:
        return None
    channels, taps = window
    site = _site(kernel, kernel.rows, kernel.left.strides[:rank], ((rank - 2, 0), (rank - 1, 1)), channels, target)
    if site is None:
        return None
    rows = even_split(site.tiles, most_sums(target) // site.vectors)
    return replace(site, taps=taps, rows=rows, kept_tiles=-(-site.tiles // rows) * rows)


def find_gradient(kernel: Contraction, target: Target) -> Site | None:
    """How the gradient of weights is cut: rows (dy, dx, channel), depth (image, y, x); None for other contractions."""
    rank = len(kernel.rows)
    strides = kernel.left.strides[rank:-1]
    window = _window(strides, kernel.rows, kernel.left.strides[:rank], (0, 0, 0, 0))
    if len(kernel.depth) != 3 or kernel.right.strides[-1] != 1 or window is None:
        return None
    site = _site(kernel, kernel.depth, strides, ((0, 1), (1, 2)), window[0], target)
    if site is None:
        return None
    rows = even_split(site.channels, most_sums(target) // site.vectors)
    return replace(site, taps=_four(kernel.right.strides), rows=rows, kept_tiles=site.tiles)


def _window(image: Shape, extents: Shape, distances: Shape, taps: Shape) -> tuple[int, Taps] | None:
    """The channels of a window of 3 × 3 pixels, and strides over (dy, dx, channel, column); None for other windows.

    ``image``: strides of the image, of which (y, x) are the last; ``extents``, ``distances``: those of the window.
    """
    pixel = image[-1]
    if len(extents) == 2 and extents[1] == TAPS * pixel and distances[1] == 1:  # pixels that lie side by side are one
        extents, distances = (extents[0], TAPS, pixel), (distances[0], pixel, 1)
        taps = (taps[0], taps[-2] * pixel, *taps[-2:])
    if len(extents) != 3 or extents[:2] != (TAPS, TAPS) or distances != (*image[-2:], 1):
        return None
    return extents[2], _four(taps)


def _four(strides: Shape) -> Taps:
    first, second, third, fourth = strides
    return first, second, third, fourth


def _site(
    kernel: Contraction,
    extents: Shape,
    strides: Shape,
    dimensions: tuple[tuple[int, int], tuple[int, int]],
    channels: int,
    target: Target,
) -> Site | None:
    """How images are cut over whose y and x windows move: ``dimensions`` are, for each, those of rows and depth."""
    lanes, columns = target.lanes(ELEMENT), kernel.columns
    is_gathered = kernel.left.dynamic or kernel.right.dynamic or kernel.left.strides[-1]
    images, image_stride = (extents[0], strides[0]) if len(extents) > 2 else (1, 0)
    if is_gathered or not suits_tiles(kernel.dtype.name, (images, *extents[-2:]), channels, columns, lanes):
        return None
    y, x = (_axis(kernel, *each) for each in zip(extents[-2:], strides[-2:], dimensions, strict=True))
    if len(kernel.ranges) != y.is_padded + x.is_padded:
        return None
    vectors = next(size for size in (2, 3, 1) if columns // lanes % size == 0)
    return Site(images, y, x, image_stride, channels, columns, (0, 0, 0, 0), lanes, vectors)


def suits_tiles(element: str, positions: Shape, channels: int, columns: int, lanes: int = LEAST_LANES) -> bool:
    """Whether 3 × 3 windows at so many positions (image, y, x) are worth tiles: with ``lanes``, or on any processor."""
    images, *sides = positions
    tiles = images * math.prod(-(-side // RESULTS) for side in sides)
    is_whole = channels % lanes == 0 == columns % lanes
    return element == ELEMENT and is_whole and tiles >= LEAST_TILES and channels * columns <= MOST_WEIGHTS


def _axis(kernel: Contraction, extent: int, stride: int, dimensions: tuple[int, int]) -> Axis:
    """An axis; without a range for these dimensions, windows stay inside of the image."""
    for each in kernel.ranges:
        if (each.row, each.depth, each.row_step, each.depth_step) == (*dimensions, 1, 1):
            return Axis(extent, stride, each.low, each.size)
    return Axis(extent, stride, 0, extent + TAPS - 1)
