"""Columns of categories as columns of 0 and 1."""

from __future__ import annotations

from typing import Any

from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.preprocessing import OneHotEncoder

from ..errors import ArgumentError

TEXT_DTYPES = ("category", "object", "string", "bool")


def make_encoder(columns: Any) -> Any:
    """What turns the named columns, numbers of columns, or ``"from_dtype"`` (text and categories of a frame) into
    columns of 0 and 1, one per category, in front of the other columns. Categories that come later are all 0.
    """
    if isinstance(columns, str) and columns != "from_dtype":
        raise ArgumentError(f"categorical_features must be 'from_dtype' or a list of columns, got {columns!r}")
    chosen = make_column_selector(dtype_include=list(TEXT_DTYPES)) if isinstance(columns, str) else list(columns)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("categories", encoder, chosen)], remainder="passthrough", sparse_threshold=0)
