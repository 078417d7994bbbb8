"""Packing an operand of a matrix product: copying a panel of it so that the register tile reads consecutive memory."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.backends.native.language import BYTES, Function, Type, Value
from chainrule.backends.native.transposition import transpose

PIECE_BYTES = 16
"""Transposing works within 16 bytes: shuffles inside of them are the cheapest on every processor."""


@dataclass(frozen=True)
class Panel:
    """Where a panel comes from: element (k, column) lies ``k · depth_stride + column · column_stride`` after it."""

    element: str
    columns: int
    depth_stride: int
    column_stride: int | Value


def pack(f: Function, panel: Panel, source: Value, target: Value, width: int, depth: int) -> None:
    """Copy to ``target[k · width + column]``; what follows the last column in its vector is finite or another element.

    ``width`` is at least ``packed_width`` of the columns.
    """
    if panel.column_stride == 1 or panel.columns == 1:
        _pack_rows(f, panel, source, target, width, depth)
    elif panel.depth_stride == 1 and depth > 1:
        _pack_transposed(f, panel, source, target, width, depth)
    else:
        _pack_rows(f, panel, source, target, width, depth)


def vector_lanes(f: Function, element: str, count: int) -> int:
    """Lanes of the smallest vector with ``count`` elements, or of a register."""
    return min(f.module.target.lanes(element), 1 << max(count - 1, 0).bit_length())


def packed_width(f: Function, element: str, columns: int) -> int:
    """The distance between packed rows: whole vectors and whole pieces."""
    unit = max(PIECE_BYTES // BYTES[element], vector_lanes(f, element, columns))
    return -(-columns // unit) * unit


def _pack_rows(f: Function, panel: Panel, source: Value, target: Value, width: int, depth: int) -> None:
    element, lanes = panel.element, vector_lanes(f, panel.element, panel.columns)
    stride = panel.column_stride if lanes > 1 else 1
    with f.loop(0, depth, carried=[source, target], name="pack") as loop:
        row, packed = loop.values
        for first in range(0, panel.columns, lanes):
            start = row.at(first * stride, element)
            vector = f.load_strided(start, Type(element, lanes), stride, panel.columns - first)
            f.store(vector, packed.at(first, element))
        loop.next([row.at(panel.depth_stride, element), packed.at(width, element)])


def _pack_transposed(f: Function, panel: Panel, source: Value, target: Value, width: int, depth: int) -> None:
    """For a panel whose columns are consecutive in memory: vectors along k, turned into pieces of rows.

    A column beyond the last one is replaced by the last one.
    """
    element = panel.element
    piece = PIECE_BYTES // BYTES[element]
    lanes = max(piece, vector_lanes(f, element, depth))
    with f.loop(0, depth - depth % lanes, lanes, carried=[source, target], name="pack") as loop:
        _transpose_block(f, panel, loop.values[0], loop.values[1], width, lanes, lanes)
        loop.next([loop.values[0].at(lanes, element), loop.values[1].at(lanes * width, element)])
    if depth % lanes:
        _transpose_block(f, panel, loop.results[0], loop.results[1], width, depth % lanes, lanes)


def _transpose_block(
    f: Function, panel: Panel, source: Value, target: Value, width: int, depth: int, lanes: int
) -> None:
    """``depth`` values of k, at most a vector of them, of all columns."""
    element = panel.element
    piece = PIECE_BYTES // BYTES[element]
    with f.loop(0, panel.columns, piece, name="column") as loop:
        vectors = []
        for number in range(piece):
            column = loop.index + number
            if panel.columns % piece and number:
                column = (column < panel.columns).select(column, f.index(panel.columns - 1))
            vectors.append(f.load(source.at(column * panel.column_stride, element), Type(element, lanes), depth))
        turned = transpose(vectors, piece)
        for k in range(depth):
            group, member = divmod(k, piece)
            row = turned[member].shuffle(range(group * piece, (group + 1) * piece))
            f.store(row, target.at(loop.index + k * width, element))
