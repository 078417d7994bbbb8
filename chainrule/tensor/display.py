"""How tensors print."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..types import float32, int64


def format_tensor(tensor: Any) -> str:
    """Return PyTorch's notation: values, then what is not the default."""
    array = tensor._array()
    if array.dtype.kind == "f":
        finite = array[np.isfinite(array)]
        is_whole = bool(finite.size) and bool((finite == np.round(finite)).all()) and bool((np.abs(finite) < 1e6).all())
        number = {"float_kind": lambda value: f"{value:.0f}." if is_whole and np.isfinite(value) else f"{value:.4f}"}
        if finite.size and not is_whole and (np.abs(finite).max() >= 1e5 or 0 < np.abs(finite).max() < 1e-3):
            number = {"float_kind": lambda value: f"{value:.4e}"}
    else:
        number = {}
    text = np.array2string(
        array, separator=", ", prefix="tensor(", threshold=1000, edgeitems=3, formatter=number or None  # type: ignore[arg-type]
    )
    suffix = ""
    if tensor.dtype not in (float32, int64) and tensor.dtype.name != "bool":
        suffix += f", dtype={tensor.dtype}"
    if array.size == 0:
        suffix += f", size={tuple(array.shape)}"
    if tensor.requires_grad:
        suffix += ", requires_grad=True" if tensor.is_leaf else f", grad_fn=<{tensor.grad_fn.name}>"
    return f"tensor({text}{suffix})"
