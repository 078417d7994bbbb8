"""What users pass as X and y, as tensors that stay in native memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, TargetError
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor
from ..types import as_dtype, float32, int64


def as_array(data: Any, name: str) -> np.ndarray[Any, Any]:
    """Return arrays, tensors, lists and frames as a NumPy array of numbers.

    Errors: `DataError` for text or ragged data.
    """
    if isinstance(data, Tensor):
        return data.detach()._array()
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    array = np.asarray(data)
    if array.dtype.kind not in "fiub":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"{name} has elements of type {array.dtype}, expected numbers. fix: encode text and categories as "
                "numbers first, or use `chainrule train` on the file"
            ) from None
    return array


def check_counts(**counts: Any) -> None:
    """Errors: `ArgumentError` for what is no whole number of at least 1, by its name."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ArgumentError(f"{name} must be a whole number of at least 1, got {count!r}")


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    """Whether no element is NaN or infinite. A finite sum proves it, at a fraction of the cost of looking at each."""
    with np.errstate(all="ignore"):  # the sum of large elements may overflow: then each is looked at
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def check_features(data: Any, name: str = "X") -> np.ndarray[Any, Any]:
    """Return X as an array of numbers with rows first; refuse NaN, infinity and emptiness.

    One dimension alone is for whole numbers, which a network may look up (`Embedding`).
    """
    array = data if type(data) is np.ndarray and data.dtype.kind == "f" else as_array(data, name)
    if array.ndim == 0 or array.shape[0] == 0:
        raise DataError(f"{name} has no rows (shape {array.shape}); at least one is needed")
    if array.ndim == 1 and array.dtype.kind == "f":
        raise single_dimension(array.shape, name)
    if array.dtype.kind == "f" and not _is_finite(array):
        rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
        raise DataError(
            f"{name} contains NaN or infinity in {len(rows)} row(s), first in row {rows[0]}. "
            "fix: impute or drop them, e.g. numpy.nan_to_num, or use `chainrule train`, which imputes"
        )
    return array


def single_dimension(shape: tuple[int, ...], name: str = "X") -> DataError:
    """The error for data of which nobody can say whether it is a row or a column."""
    return DataError(
        f"{name} has shape {shape}: expected rows and columns. fix: {name}.reshape(1, -1) for a single row, "
        f"{name}.reshape(-1, 1) for rows of one value each"
    )


def as_features(data: Any, name: str = "X") -> Tensor:
    """Return X, checked, as a tensor of floats: float64 stays, anything else becomes float32.

    It looks into the caller's memory where that has the right form: data sets are large, and training only reads them.
    So a file of floats that is mapped into memory (``np.load(path, mmap_mode="r")``) is not copied.
    """
    array = check_features(data, name)
    dtype = as_dtype(array.dtype)
    tensor: Tensor = from_array(array, dtype if dtype.is_floating_point else float32, shares_memory=True)
    return tensor


def as_targets(data: Any, rows: int, kind: str = "values", name: str = "y") -> Tensor:
    """Return y as int64 class numbers or as floats, one row per row of X; ``kind`` is what a loss calls its targets.

    Classes are one number per row, or any whole numbers in further dimensions, such as the tokens of a text.

    Errors: `DataError` for another number of rows, NaN, or class numbers that are not whole.
    """
    array = as_array(data, name)
    if array.ndim == 0 or array.shape[0] != rows:
        found = array.shape[0] if array.ndim else 1
        raise DataError(f"X and {name} have different numbers of rows: {rows} and {found}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{name} contains NaN or infinity. fix: drop those rows")
    is_whole = array.dtype.kind != "f" or bool((array == np.round(array)).all())
    has_one_class = kind == "classes" and (array.ndim == 1 or array.shape[1:] == (1,))
    has_many = kind == "label_lists" or (kind == "classes" and array.dtype.kind in "iu")
    if has_one_class or has_many:
        if not is_whole:
            raise TargetError(
                f"cross entropy needs class numbers (0, 1, 2 ...), got fractions in {name}. fix: loss='mse'"
            )
        array = array.reshape(rows) if has_one_class else array
        classes: Tensor = from_array(array.astype(np.int64), int64)
        return classes
    dtype = as_dtype(array.dtype)
    targets: Tensor = from_array(array, dtype if dtype.is_floating_point else float32)
    return targets
