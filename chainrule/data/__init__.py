"""From files to arrays and batches: typed tables and their preparation, splits, data sets and loaders, the IDX format.

Names are imported when they are first used: a program that trains on arrays does not wait for readers of files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .collation import default_collate, default_convert
    from .datasets import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset, random_split
    from .idx import load_mnist, read_idx
    from .loader import DataLoader
    from .preparation import Preparation
    from .samplers import (
        BatchSampler,
        RandomSampler,
        Sampler,
        SequentialSampler,
        SubsetRandomSampler,
        WeightedRandomSampler,
        balanced_weights,
    )
    from .splits import split_groups, split_in_time, split_rows, train_validation_test_split
    from .streamed_table import StreamedTable, TableStream
    from .table import Column, Table, read_csv_table, read_table
    from .target import TargetPreparation, infer_task, labelled_rows, split_table

_HOMES = {
    "default_collate": "collation", "default_convert": "collation",
    "ConcatDataset": "datasets", "Dataset": "datasets", "IterableDataset": "datasets", "Subset": "datasets",
    "TensorDataset": "datasets", "random_split": "datasets",
    "load_mnist": "idx", "read_idx": "idx",
    "DataLoader": "loader",
    "Preparation": "preparation",
    "BatchSampler": "samplers", "RandomSampler": "samplers", "Sampler": "samplers", "SequentialSampler": "samplers",
    "SubsetRandomSampler": "samplers", "WeightedRandomSampler": "samplers", "balanced_weights": "samplers",
    "split_groups": "splits", "split_in_time": "splits", "split_rows": "splits",
    "train_validation_test_split": "splits",
    "StreamedTable": "streamed_table", "TableStream": "streamed_table",
    "Column": "table", "Table": "table", "read_csv_table": "table", "read_table": "table",
    "TargetPreparation": "target", "infer_task": "target", "labelled_rows": "target", "split_table": "target",
}  # fmt: skip

__all__ = [
    "BatchSampler", "Column", "ConcatDataset", "DataLoader", "Dataset", "IterableDataset", "Preparation",
    "RandomSampler", "Sampler", "SequentialSampler", "StreamedTable", "Subset", "SubsetRandomSampler", "Table",
    "TableStream", "TargetPreparation", "TensorDataset", "WeightedRandomSampler", "balanced_weights", "default_collate",
    "default_convert", "infer_task", "labelled_rows", "load_mnist", "random_split", "read_csv_table", "read_idx",
    "read_table", "split_groups", "split_in_time", "split_rows", "split_table", "train_validation_test_split",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
