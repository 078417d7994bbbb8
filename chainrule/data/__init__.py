"""From files to arrays: typed tables, their preparation for a network, splits, the IDX images of MNIST.

Names are imported when they are first used: a program that trains on arrays does not wait for readers of files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .idx import load_mnist, read_idx
    from .preparation import Preparation
    from .splits import split_rows, train_validation_test_split
    from .table import Column, Table, read_csv_table
    from .target import TargetPreparation, infer_task, labelled_rows, split_table

_HOMES = {
    "load_mnist": "idx", "read_idx": "idx",
    "Preparation": "preparation",
    "split_rows": "splits", "train_validation_test_split": "splits",
    "Column": "table", "Table": "table", "read_csv_table": "table",
    "TargetPreparation": "target", "infer_task": "target", "labelled_rows": "target", "split_table": "target",
}  # fmt: skip

__all__ = [
    "Column", "Preparation", "Table", "TargetPreparation", "infer_task", "labelled_rows", "load_mnist",
    "read_csv_table", "read_idx", "split_rows", "split_table", "train_validation_test_split",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
