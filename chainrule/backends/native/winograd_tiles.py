"""The pixels of an image in overlapping tiles, and the transforms of Winograd's minimal filtering F(2 × 2, 3 × 3).

Source: Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks", section 4.1, equation 10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chainrule.backends.native.language import Function, Type, Value
from chainrule.backends.native.winograd_site import ELEMENT, RESULTS, TILE, Site

Line = Sequence[Value]


def transformed_tile(line: Line) -> Line:
    """Bᵀ d for a column of a tile."""
    a, b, c, d = line
    return a - c, b + c, c - b, b - d


def transformed_weights(line: Line) -> Line:
    """G g for a column of weights."""
    a, b, c = line
    outer = (a + c) * 0.5
    return a, b.fma(0.5, outer), b.fma(-0.5, outer), c


def transformed_sums(line: Line) -> Line:
    """Aᵀ m for a column of sums."""
    a, b, c, d = line
    return a + b + c, b - c - d


def transformed_results(line: Line) -> Line:
    """A y for a column of results: the transpose of `transformed_sums`."""
    a, b = line
    return a, a + b, a - b, -b


def transformed_products(line: Line) -> Line:
    """Gᵀ s for a column of sums: the transpose of `transformed_weights`."""
    a, b, c, d = line
    return (b + c).fma(0.5, a), (b - c) * 0.5, (b + c).fma(0.5, d)


def on_both_sides(transform: Callable[[Line], Line], values: Sequence[Value], width: int) -> list[Value]:
    """T v Tᵀ for the square v, row by row, of ``width`` columns."""
    columns = [transform(values[column::width]) for column in range(width)]
    return [value for row in zip(*columns, strict=True) for value in transform(row)]


class Tiles:
    """The tiles of an image; to be made at the start of the function, with the address of the first window's pixel.

    ``zeros``: the address of a pixel of zeros.
    """

    def __init__(self, f: Function, site: Site, images: Value, zeros: Value) -> None:
        self.f, self.site, self.images, self.zeros = f, site, images, zeros
        self.vector = Type(ELEMENT, site.lanes)

    def enter(self, image: Value) -> None:
        """Go to an image."""
        self.pixels = self.images.at(image * self.site.image_stride, ELEMENT).freeze()

    def pixel(self, row: Value, column: Value) -> Value:
        """The address of a pixel, whose row and column count from the first window."""
        return self.pixels.at(row * self.site.y.stride, ELEMENT).at(column * self.site.x.stride, ELEMENT)

    def has(self, row: Value, column: Value) -> Value:
        """Whether a pixel is in the image."""
        y, x = self.site.y, self.site.x
        is_there = (row >= y.low) & (row < y.low + y.size)
        return is_there & (column >= x.low) & (column < x.low + x.size)

    def transform(self, first: Value, target: Value) -> None:
        """Write a block, whose first row of tiles is given, to ``target``: its transform [position, tile, channel]."""
        f, site = self.f, self.site
        with f.loop(0, site.tile_rows, name="y") as y, f.loop(0, site.x.tiles, name="x") as x:
            row, column = (first + y.index) * RESULTS, x.index * RESULTS
            place = target.at((y.index * site.x.tiles + x.index) * site.channels, ELEMENT).freeze()
            if site.has_border:
                self._transform_near_border(row, column, place)
            else:
                self._transform(self._inside(row, column), place)

    def _transform_near_border(self, row: Value, column: Value, target: Value) -> None:
        """A tile that may reach beyond the image, at this row and column."""
        f, y, x = self.f, self.site.y, self.site.x
        is_inside = (row >= y.low) & (row + TILE <= y.low + y.size)
        is_inside = is_inside & (column >= x.low) & (column + TILE <= x.low + x.size)
        with f.when(is_inside, name="inside"):
            self._transform(self._inside(row, column), target)
        with f.when(~is_inside, name="border"):
            places = [(row + i, column + j) for i in range(TILE) for j in range(TILE)]
            self._transform([self.has(*place).select(self.pixel(*place), self.zeros) for place in places], target)

    def _inside(self, row: Value, column: Value) -> list[Value]:
        """The addresses of a tile that is whole."""
        y, x, pixel = self.site.y.stride, self.site.x.stride, self.pixel(row, column).freeze()
        return [pixel.at(i * y + j * x, ELEMENT) for i in range(TILE) for j in range(TILE)]

    def _transform(self, places: Sequence[Value], target: Value) -> None:
        f, site = self.f, self.site
        with f.loop(0, site.channels, site.lanes, name="channel") as channel:
            pixels = [f.load(place.at(channel.index, ELEMENT), self.vector) for place in places]
            for position, value in enumerate(on_both_sides(transformed_tile, pixels, TILE)):
                f.store(value, target.at(channel.index + position * site.tile_step, ELEMENT))
