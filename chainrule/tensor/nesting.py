"""Tensors in nested lists, tuples and dictionaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def map_nested(value: Any, function: Callable[[Any], Any], is_leaf: Callable[[Any], bool]) -> Any:
    """Apply ``function`` to what ``is_leaf`` accepts in nested lists, tuples and dictionaries; the rest stays."""
    if is_leaf(value):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_nested(item, function, is_leaf) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_nested(item, function, is_leaf) for item in value)
    if isinstance(value, dict):
        return {name: map_nested(item, function, is_leaf) for name, item in value.items()}
    return value
