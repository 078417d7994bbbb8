"""Columns of categories as columns of 0 and 1."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.preprocessing import OneHotEncoder

from ..errors import ArgumentError, MissingExtraError

TEXT_DTYPES = ("category", "object", "string", "bool")
POLARS_TEXT = ("String", "Categorical", "Enum", "Boolean")


def as_frame(X: Any) -> Any:
    """A table of Arrow as a frame of pandas, for scikit-learn knows no columns of Arrow; anything else as it is.

    Errors: `MissingExtraError` without pandas.
    """
    if not hasattr(X, "to_pandas") or not type(X).__module__.startswith("pyarrow"):
        return X
    try:
        return X.to_pandas()
    except ImportError:
        raise MissingExtraError("pandas", "data") from None


def find_text_columns(frame: Any) -> list[Any]:
    """The columns of text, categories and truth values of a frame of pandas or polars.

    Errors: `ArgumentError` for what has no types of columns.
    """
    if hasattr(frame, "iloc"):
        columns: list[Any] = make_column_selector(dtype_include=list(TEXT_DTYPES))(frame)
        return columns
    if not hasattr(frame, "schema"):
        raise ArgumentError(
            "categorical_features='from_dtype' needs a frame of pandas, polars or Arrow, got "
            f"{type(frame).__name__}. fix: a list of columns"
        )
    return [name for name, kind in frame.schema.items() if str(kind).startswith(POLARS_TEXT)]


def make_encoder(columns: Any) -> Any:
    """What turns the named columns, numbers of columns, or ``"from_dtype"`` (text and categories of a frame) into
    columns of 0 and 1, one per category, in front of the other columns. Categories that come later are all 0.
    """
    if isinstance(columns, str) and columns != "from_dtype":
        raise ArgumentError(f"categorical_features must be 'from_dtype' or a list of columns, got {columns!r}")
    chosen = find_text_columns if isinstance(columns, str) else list(columns)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("categories", encoder, chosen)], remainder="passthrough", sparse_threshold=0)
