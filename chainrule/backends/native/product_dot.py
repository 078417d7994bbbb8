"""Matrix products as dot products: of a matrix and a vector, best if both are consecutive in k.

Vectors run along k; every element of the result has a vector of partial sums, and at the end the vectors of several
elements are added up together.
"""

from __future__ import annotations

from chainrule.backends.native.language import Function, Type, Value
from chainrule.backends.native.product_pack import vector_lanes
from chainrule.backends.native.product_site import Site, cases
from chainrule.passes.plan import Product


class Dot:
    """The extents of a product's tiles and tasks, and their emission."""

    has_whole_rows = False
    scratch_bytes = 0

    def __init__(self, product: Product, f: Function) -> None:
        self.product = product
        self.lanes = vector_lanes(f, product.dtype.name, product.columns)
        self.depth_lanes = vector_lanes(f, product.dtype.name, product.depth)
        self.tile_columns = f.module.target.lanes(product.dtype.name)
        self.full_tiles, self.rest_columns = divmod(product.columns, self.tile_columns)

    @property
    def blocks(self) -> tuple[int, int]:
        """Numbers of rows and of column tiles: a task is one of both."""
        return self.product.rows, self.full_tiles + (self.rest_columns > 0)

    def emit(self, site: Site, is_parallel: bool) -> None:
        with site.tasks(self.blocks, is_parallel) as (row, column_tile):
            for is_rest in cases(site.f, column_tile, self.full_tiles, self.rest_columns > 0):
                columns = self.rest_columns if is_rest else self.tile_columns
                self._emit_tile(site, row, column_tile * self.tile_columns, columns)

    def _emit_tile(self, site: Site, row: Value, column: Value, columns: int) -> None:
        f, depth = site.f, self.product.depth
        vector = Type(site.element, self.depth_lanes)
        right_stride, column_stride = self.product.right.strides[-2:]
        left_stride = self.product.left.strides[-1]
        rest = depth % self.depth_lanes

        def add(values: list[Value], active: int) -> list[Value]:
            left, right, *sums = values
            factor = f.load_strided(left, vector, left_stride, active)
            for number in range(columns):
                position = right.at(number * column_stride, site.element)
                sums[number] = factor.fma(f.load_strided(position, vector, right_stride, active), sums[number])
            steps = (self.depth_lanes * left_stride, self.depth_lanes * right_stride)
            return [left.at(steps[0], site.element), right.at(steps[1], site.element), *sums]

        zero = f.constant(0.0, vector)
        carried = [site.left(row), site.right(column), *[zero] * columns]
        with f.loop(0, depth - rest, self.depth_lanes, carried=carried, name="depth") as loop:
            loop.next(add(loop.values, self.depth_lanes))
        results = add(loop.results, rest) if rest else loop.results
        site.finish(row, column, [[sum_each(results[2:])]], columns)


def sum_each(vectors: list[Value]) -> Value:
    """The sum of the lanes of every vector, as the lanes of one; their number is the next power of two."""
    while len(vectors) & (len(vectors) - 1):
        vectors = [*vectors, vectors[0].function.constant(0.0, vectors[0].type)]
    addends = vectors[0].lanes  # lanes that still belong to one sum: neighbours
    while addends > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True) if len(vectors) > 1 else [(vectors[0], None)]
        vectors = [_add_neighbours(first, second) for first, second in pairs]
        addends //= 2
    while len(vectors) > 1:
        both = range(2 * vectors[0].lanes)
        vectors = [first.shuffle(both, second) for first, second in zip(vectors[::2], vectors[1::2], strict=True)]
    return vectors[0]


def _add_neighbours(first: Value, second: Value | None) -> Value:
    """Lane 0 + lane 1, lane 2 + lane 3, ... of one vector, or of two one after the other."""
    if second is None and first.lanes == 2:
        return first.extract(0) + first.extract(1)
    lanes = first.lanes if second is None else 2 * first.lanes
    return first.shuffle(range(0, lanes, 2), second) + first.shuffle(range(1, lanes, 2), second)
