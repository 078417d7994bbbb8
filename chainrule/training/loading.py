"""Training and evaluation on what a loader gives: every batch is one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..data.datasets import Dataset, IterableDataset
from ..data.loader import DataLoader
from ..errors import ArgumentError, DataError, type_in_words
from ..files.provenance import fingerprint
from ..tensor.generator import Generator
from .arrays import as_features, as_targets
from .steps import Array, Group, Pass, look_at, view_of

Rows = tuple[Any, Any, Any]
"""X, y and weights or None, as tensors."""

HASHED_BYTES = 1 << 20
"""Data of up to so many bytes is hashed before training, in less than a millisecond; a fit may be as short."""


def as_loader(data: Any, y: Any, batch_size: int, shuffle: bool) -> DataLoader | None:
    """A loader as it is, or one of a data set; None for anything else, which are arrays.

    Errors: `ArgumentError` for targets beside it, for its rows have them.
    """
    if not isinstance(data, DataLoader | Dataset):
        return None
    if y is not None:
        raise ArgumentError(f"{type_in_words(data)} gives inputs and targets. fix: no y beside it")
    if isinstance(data, DataLoader):
        return data
    has_own_order = isinstance(data, IterableDataset)
    return DataLoader(data, batch_size, shuffle and not has_own_order)


def inputs(loader: DataLoader) -> Iterator[Any]:
    """The inputs of every batch: batches, or what they begin with."""
    return (batch[0] if isinstance(batch, tuple | list) else batch for batch in loader)


def joined(batches: Iterable[Array]) -> Array:
    """All rows of the batches. Errors: `DataError` if there are none."""
    arrays = list(batches)
    if not arrays:
        raise _no_batches()
    return np.concatenate(arrays)


def _no_batches() -> DataError:
    return DataError("the loader gave no batches. fix: rows in its data set, or fewer of them in a batch")


def data_record(data: Rows | DataLoader) -> dict[str, Any]:
    """What a file says of the rows that a model was trained on."""
    if isinstance(data, DataLoader):
        return {} if data.is_iterable else {"rows": len(data.dataset)}
    arrays = [tensor._array() for tensor in data if tensor is not None]
    if sum(array.nbytes for array in arrays) > HASHED_BYTES:
        return {"rows": len(arrays[0])}
    return {"rows": len(arrays[0]), "data_sha256": fingerprint(arrays)}


class LoaderPass(Pass):
    """A pass over the batches (X, y) of a loader, which has its own order and size of batches.

    Steps are captured once per types of a batch: they read from views that look at each batch in turn. ``targets`` is
    what the loss calls its targets. ``rows`` is the size of the data set, as far as it is known, until all were seen.
    """

    def __init__(self, loader: DataLoader, targets: str, ingredients: Callable[[], list[Any] | None]) -> None:
        super().__init__(ingredients)
        self.X = loader
        self.y = None
        self._targets = targets
        self._views: dict[Any, tuple[Any, Any]] = {}
        self.batch_size = loader.batch_size or 1
        self.rows = 0 if loader.is_iterable else len(loader.dataset)

    @property
    def steps(self) -> int:
        """How many batches the loader gives. Errors: `ArgumentError` where nobody knows."""
        try:
            return len(self.X)
        except TypeError:
            raise ArgumentError(
                "Trainer needs to know how many batches an epoch has, and this loader has no length. "
                "fix: a __len__ of its data set (or sampler)"
            ) from None

    def shuffle(self, seed: int, epoch: int) -> None:
        """Leave the order to the loader."""

    def batch(self, size: int) -> tuple[Any, Any, Any]:
        """The batch that is looked at."""
        return self._inputs, self.y, None

    def run(
        self,
        step: Callable[[int], Any],
        advance: Callable[[int], None] = lambda rows: None,
        group: Group | None = None,
    ) -> None:
        """As `Pass.run`; every batch is a native call."""
        self.loss.reset()
        self.correct.reset()
        rows = done = 0
        for done, (X, y) in enumerate(self._batches(), 1):
            size = X.shape[0]
            key = X._type, X._strides, y._type, y._strides
            self._look_at(X, y, key)
            self.loop(step, size, key).run(1)
            rows += size
            advance(size)
            if group is not None and done % group.batches == 0:
                group.end()
        if group is not None and done % group.batches:
            group.end()
        if not rows:
            raise _no_batches()
        self.rows = rows

    def outputs(self, predict: Callable[[Any], Array]) -> tuple[Array, Array]:
        """What a model predicts for all rows, and their targets."""
        pairs = [(predict(X), np.array(y._array())) for X, y in self._batches()]
        return joined(output for output, _ in pairs), joined(target for _, target in pairs)

    def description(self) -> dict[str, Any]:
        """What tells these data from others: how much there is, for rows may be another at every look."""
        return {"number of rows": None if self.X.is_iterable else len(self.X.dataset), "number of batches": self.steps}

    def generators(self) -> list[Generator]:
        """Those of the loader and of its samplers."""
        loader = self.X
        parts = [loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None)]
        found = [getattr(part, "generator", None) for part in parts]
        return [generator for generator in found if isinstance(generator, Generator)]

    def _batches(self) -> Iterator[tuple[Any, Any]]:
        for number, batch in enumerate(self.X):
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                found = f"{len(batch)} values" if isinstance(batch, tuple | list) else type(batch).__name__
                raise DataError(f"batches must be (inputs, targets) to train or evaluate on, batch {number} is {found}")
            X = as_features(batch[0], f"X of batch {number}")
            yield X, as_targets(batch[1], X.shape[0], self._targets, f"y of batch {number}")

    def _look_at(self, X: Any, y: Any, key: Any) -> None:
        if key not in self._views:
            self._views[key] = view_of(X), view_of(y)
        self._inputs, self.y = self._views[key]
        look_at(self._inputs, X)
        look_at(self.y, y)
        self._check(self.y)
