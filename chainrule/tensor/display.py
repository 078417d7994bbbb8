"""How tensors print: PyTorch's notation, with at most 4 digits behind the point and long tensors cut short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..types import bool_, float32, int64

LINE_WIDTH = 80
THRESHOLD = 1000
"""Elements above which only the first and last of each dimension are shown."""
EDGE_ITEMS = 3

Array = np.ndarray[Any, Any]


def format_tensor(tensor: Any) -> str:
    """Return PyTorch's notation: values, then what is not the default."""
    array, prefix = tensor._array(), "tensor("
    is_usual = tensor.dtype is float32 if array.size == 0 else tensor.dtype in (float32, int64, bool_)
    suffixes = [f"size={array.shape}"] if array.size == 0 and array.ndim != 1 else []
    if not is_usual:
        suffixes.append(f"dtype={tensor.dtype}")
    if tensor.requires_grad:
        suffixes.append("requires_grad=True" if tensor.is_leaf else f"grad_fn=<{tensor.grad_fn.name}>")
    text = prefix + (_format_array(array, len(prefix)) if array.size else "[]")
    for suffix in suffixes:
        is_too_long = len(text) - text.rfind("\n") + len(suffix) + 2 > LINE_WIDTH
        text += (",\n" + " " * len(prefix) if is_too_long else ", ") + suffix
    return text + ")"


def _format_array(array: Array, indent: int) -> str:
    is_cut = array.size > THRESHOLD
    shown = _edges(array) if is_cut else array
    number = _number_format(shown)
    measured = shown[np.isfinite(shown) & (shown != 0)] if shown.dtype.kind == "f" else shown.ravel()
    width = max((len(number(value)) for value in measured), default=1)
    return _nested(array, indent, lambda value: number(value).rjust(width), width, is_cut)


def _edges(array: Array) -> Array:
    """The elements that are shown of an array that is cut."""
    for axis, size in enumerate(array.shape):
        if size > 2 * EDGE_ITEMS:
            array = np.take(array, [*range(EDGE_ITEMS), *range(size - EDGE_ITEMS, size)], axis)
    return array


def _number_format(array: Array) -> Callable[[Any], str]:
    """How each number of an array is written: all in one notation."""
    if array.dtype.kind != "f":
        return str
    sizes = np.abs(array[np.isfinite(array) & (array != 0)].astype(np.float64))
    smallest, largest = (sizes.min(), sizes.max()) if sizes.size else (1.0, 1.0)
    is_whole = bool((sizes == np.ceil(sizes)).all())
    if largest / smallest > 1000 or largest > 1e8 or (not is_whole and smallest < 1e-4):
        return "{:.4e}".format
    if is_whole:
        return lambda value: f"{value:.0f}." if np.isfinite(value) else f"{value:.0f}"
    return "{:.4f}".format


def _nested(array: Array, indent: int, number: Callable[[Any], str], width: int, is_cut: bool) -> str:
    if array.ndim == 0:
        return number(array[()])
    is_cut_here = is_cut and len(array) > 2 * EDGE_ITEMS
    shown = [*array[:EDGE_ITEMS], *array[-EDGE_ITEMS:]] if is_cut_here else list(array)
    parts = [_nested(np.asarray(part), indent + 1, number, width, is_cut) for part in shown]
    if is_cut_here:
        parts.insert(EDGE_ITEMS, " ..." if array.ndim == 1 else "...")
    if array.ndim > 1:
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
    per_line = max(1, (LINE_WIDTH - indent) // (width + 2))
    lines = [", ".join(parts[start : start + per_line]) for start in range(0, len(parts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
