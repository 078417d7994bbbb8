"""The loader: batches of a data set, in order or shuffled, read ahead by threads on request, under PyTorch's names."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tensor.generator import Generator, default_generator
from ..tensor.segment import flush
from .collation import default_collate, default_convert
from .datasets import IterableDataset, gathers, gives_batches
from .draws import collating, reading
from .samplers import BatchSampler, RandomSampler, SequentialSampler

BATCHES_AHEAD = 2
"""Batches that are read ahead per worker."""

Job = tuple[int, Any]
"""The place in the epoch at which a batch begins, and the numbers of its rows, or how many of a stream."""

_END = object()
"""What an iterable data set gives when it has ended."""


class DataLoader:
    """Batches of a data set; one pass over it is one epoch.

    - ``batch_size`` rows (the last batch may be smaller, unless ``drop_last``) are joined by ``collate_fn``, by default
      `default_collate`: rows ``(x, y)`` become a list ``[X, Y]`` of tensors. ``batch_size=None``: single rows.
    - ``shuffle=True``: a new order in every epoch, a function of ``generator``, by default that of ``manual_seed``.
      ``sampler`` gives row numbers in an order of its own, ``batch_sampler`` lists of them.
    - A data set that gathers (`TensorDataset`, image data sets whose transform can do whole batches, and parts of
      these), or that gives batches (`StreamedTable`), is read by whole batches rather than row by row, with the same
      result.
    - ``num_workers`` threads read ahead, in the order and with the random numbers of none; ``worker_init_fn(number)``
      runs in each, and ``persistent_workers`` keeps them from epoch to epoch. One reads an `IterableDataset`.
      ``pin_memory`` changes nothing on the CPU.

    Errors: `ArgumentError` for arguments that contradict each other; errors of a data set or of a transform as they
    are, with a note of the row that was being read.

    >>> data = cr.data.TensorDataset(cr.arange(6).reshape(3, 2), cr.tensor([0, 1, 0]))
    >>> for x, y in cr.data.DataLoader(data, batch_size=2):
    ...     print(x.tolist(), y.tolist())
    [[0, 1], [2, 3]] [0, 1]
    [[4, 5]] [0]
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Sequence[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        generator: Generator | None = None,
        worker_init_fn: Callable[[int], None] | None = None,
        persistent_workers: bool = False,
    ) -> None:
        self.dataset = dataset
        self.is_iterable = isinstance(dataset, IterableDataset)
        _check(batch_size, shuffle, sampler, batch_sampler, drop_last, self.is_iterable)
        if num_workers < 0 or (persistent_workers and not num_workers):
            raise ArgumentError(f"num_workers must be at least {int(persistent_workers)}, got {num_workers}")
        if batch_sampler is not None:
            batch_size = None
        elif not self.is_iterable:
            if sampler is None:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
            batch_sampler = None if batch_size is None else BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.makes_batches = batch_size is not None or batch_sampler is not None
        self.collate_fn = collate_fn or (default_collate if self.makes_batches else default_convert)
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.generator = generator
        self.worker_init_fn = worker_init_fn
        self.persistent_workers = persistent_workers
        self._workers: _Workers | None = None

    def __len__(self) -> int:
        """Batches of one epoch. Errors: `TypeError` where the data set or the sampler has no length."""
        if not self.is_iterable:
            return len(self._order)
        size = self.batch_size
        return len(self.dataset if size is None else BatchSampler(self.dataset, size, self.drop_last))

    def __iter__(self) -> Iterator[Any]:
        seed = int((self.generator or default_generator).numpy().integers(1 << 63))
        read = _StreamReader(self, seed) if self.is_iterable else _RowReader(self, seed)
        return self._read_ahead(read) if self.num_workers else itertools.takewhile(_is_not_end, map(read, self._jobs()))

    @property
    def _order(self) -> Any:
        """What gives the numbers of rows, batch by batch if there are batches."""
        return self.batch_sampler if self.makes_batches else self.sampler

    def _jobs(self) -> Iterator[Job]:
        """What is to be read for each batch; of a stream nobody knows for how many."""
        if self.is_iterable:
            size = self.batch_size or 1
            yield from ((place, size) for place in itertools.count(0, size))
        place = 0
        for rows in self._order:
            yield place, rows
            place += len(rows) if self.makes_batches else 1

    def _read_ahead(self, read: Callable[[Job], Any]) -> Iterator[Any]:
        workers = self._workers or _Workers(1 if self.is_iterable else self.num_workers, self.worker_init_fn)
        self._workers = workers if self.persistent_workers else None
        waiting: deque[Future[Any]] = deque()
        try:
            for job in self._jobs():
                waiting.append(workers.submit(read, job))
                if len(waiting) > BATCHES_AHEAD * self.num_workers:
                    batch = waiting.popleft().result()
                    if batch is _END:
                        return
                    yield batch
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            if not self.persistent_workers:
                workers.stop()


def _check(
    batch_size: int | None, shuffle: bool, sampler: Any, batch_sampler: Any, drop_last: bool, is_iterable: bool
) -> None:
    if is_iterable and (shuffle or sampler is not None or batch_sampler is not None):
        raise ArgumentError("an IterableDataset gives its rows in its own order: no shuffle, sampler or batch_sampler")
    if sampler is not None and shuffle:
        raise ArgumentError("sampler and shuffle exclude each other: the sampler gives the order")
    if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
        raise ArgumentError("batch_sampler excludes batch_size, shuffle, sampler and drop_last: it gives whole batches")
    if batch_size is None and drop_last:
        raise ArgumentError("drop_last needs batches, and batch_size=None makes none")
    if batch_size is not None:
        BatchSampler((), batch_size, drop_last)  # refuses sizes that are none


class _Workers:
    """Threads that read, each initialised before its first batch."""

    def __init__(self, count: int, initialize: Callable[[int], None] | None) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="DataLoader worker")
        self._initialize = initialize
        self._numbers = itertools.count()
        self._own = threading.local()

    def submit(self, read: Callable[[Job], Any], job: Job) -> Future[Any]:
        return self._pool.submit(self._run, read, job)

    def _run(self, read: Callable[[Job], Any], job: Job) -> Any:
        if not hasattr(self._own, "number"):
            self._own.number = next(self._numbers)
            if self._initialize is not None:
                self._initialize(self._own.number)
        batch = read(job)
        flush()  # what was recorded on this thread has a value on no other
        return batch

    def stop(self) -> None:
        self._pool.shutdown()


class _RowReader:
    """Reads the rows of a batch by number."""

    def __init__(self, loader: DataLoader, seed: int) -> None:
        self._dataset, self._collate, self._seed = loader.dataset, loader.collate_fn, seed
        self._makes_batches = loader.makes_batches
        self._gathers = self._makes_batches and self._collate is default_collate and gathers(self._dataset)

    def __call__(self, job: Job) -> Any:
        place, rows = job
        if not self._makes_batches:
            return self._collate(self._read(place, rows))
        batch = self._gather(place, rows) if self._gathers else None
        if batch is not None:
            return batch
        read = [self._read(*row) for row in enumerate(rows, place)]
        with collating(self._seed, place):
            return self._collate(read)

    def _gather(self, place: int, rows: Sequence[int]) -> Any:
        try:
            with reading(self._seed, range(place, place + len(rows))):
                return self._dataset.gather_rows(np.asarray(rows, np.int64))
        except Exception as error:
            error.add_note(f"while a DataLoader read rows {_shorten(rows)} of {type(self._dataset).__name__}")
            raise

    def _read(self, place: int, row: Any) -> Any:
        try:
            with reading(self._seed, range(place, place + 1)):
                return self._dataset[row]
        except Exception as error:
            error.add_note(f"while a DataLoader read row {row!r} of {type(self._dataset).__name__}")
            raise


class _StreamReader:
    """Reads the next rows of an iterable data set."""

    def __init__(self, loader: DataLoader, seed: int) -> None:
        self._name, self._seed = type(loader.dataset).__name__, seed
        self._collate, self._makes_batches, self._drop_last = loader.collate_fn, loader.makes_batches, loader.drop_last
        self._gives_batches = (
            self._makes_batches and self._collate is default_collate and gives_batches(loader.dataset)
        )
        self._rows = iter(loader.dataset.batches(loader.batch_size) if self._gives_batches else loader.dataset)

    def __call__(self, job: Job) -> Any:
        place, size = job
        if self._gives_batches:
            batch = self._read(place)
            return _END if self._drop_last and batch is not _END and len(batch[0]) < size else batch
        rows = list(itertools.takewhile(_is_not_end, map(self._read, range(place, place + size))))
        if not rows or (self._drop_last and len(rows) < size):
            return _END
        with collating(self._seed, place):
            return self._collate(rows if self._makes_batches else rows[0])

    def _read(self, place: int) -> Any:
        try:
            with reading(self._seed, range(place, place + 1)):
                return next(self._rows, _END)
        except Exception as error:
            error.add_note(f"while a DataLoader read row {place} of {self._name}")
            raise


def _is_not_end(value: Any) -> bool:
    return value is not _END


def _shorten(rows: Sequence[Any]) -> str:
    return f"{list(rows[:8])}" if len(rows) <= 8 else f"{list(rows[:8])} and {len(rows) - 8} more"
