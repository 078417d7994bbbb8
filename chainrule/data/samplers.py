"""In which order the rows of a data set are read, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..tensor.generator import Generator, default_generator

Item = TypeVar("Item", covariant=True)


class Sampler(Generic[Item]):
    """The order of rows: a subclass has ``__iter__()``, which gives row numbers, and ``__len__()``."""

    def __iter__(self) -> Iterator[Item]:
        raise NotImplementedError(f"{type(self).__name__} has no __iter__()")


class SequentialSampler(Sampler[int]):
    """Rows in their order.

    >>> list(cr.data.SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Rows in a new random order in every epoch, a function of the generator (by default that of ``manual_seed``).

    ``num_samples`` (by default all) may be more than there are rows: then one order follows another. With
    ``replacement`` every row is drawn from all.

    Errors: `ArgumentError` for a ``num_samples`` that is not positive, also if the data set is empty.

    >>> sorted(cr.data.RandomSampler("abc"))
    [0, 1, 2]
    """

    def __init__(
        self,
        data_source: Any,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if self.num_samples < 1 or not len(data_source):
            raise ArgumentError(
                f"num_samples must be a positive number, got {self.num_samples} of {len(data_source)} rows"
            )

    @property
    def num_samples(self) -> int:
        """The number of rows of one epoch."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        numbers, rows, left = (self.generator or default_generator).numpy(), len(self.data_source), self.num_samples
        if self.replacement:
            yield from numbers.integers(rows, size=left).tolist()
            return
        while left > 0:
            yield from numbers.permutation(rows)[:left].tolist()
            left -= rows

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given rows, in a new random order in every epoch.

    >>> sorted(cr.data.SubsetRandomSampler([5, 7]))
    [5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = (self.generator or default_generator).numpy().permutation(len(self.indices))
        return iter([self.indices[place] for place in order.tolist()])

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Row i is drawn with a probability in proportion to ``weights[i]``: for rare classes, larger weights.

    Errors: `ArgumentError` for weights that are negative, not finite or all 0, and, without ``replacement``, for more
    rows than have a weight.

    >>> list(cr.data.WeightedRandomSampler([0.0, 1.0, 0.0], 2))
    [1, 1]
    """

    def __init__(
        self, weights: Any, num_samples: int, replacement: bool = True, generator: Generator | None = None
    ) -> None:
        self.weights = np.asarray(weights, np.float64)
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator
        if num_samples < 1:
            raise ArgumentError(f"num_samples must be a positive number, got {num_samples}")
        total = self.weights.sum()
        if self.weights.ndim != 1 or (self.weights < 0).any() or not (np.isfinite(total) and total > 0):
            raise ArgumentError(
                "weights must be one finite number per row, none negative and not all 0; "
                f"got shape {self.weights.shape} with sum {total:g}"
            )
        drawable = np.count_nonzero(self.weights)
        if not replacement and num_samples > drawable:
            raise ArgumentError(f"{num_samples} rows without replacement, but only {drawable} have a weight above 0")

    def __iter__(self) -> Iterator[int]:
        numbers, share = (self.generator or default_generator).numpy(), self.weights / self.weights.sum()
        return iter(numbers.choice(len(share), self.num_samples, self.replacement, share).tolist())

    def __len__(self) -> int:
        return self.num_samples


def balanced_weights(labels: Any) -> NDArray[np.float64]:
    """A weight for every row with which all classes count the same: rows / (classes · rows of this class).

    For `WeightedRandomSampler`, so that a batch has as many rows of a rare class as of a common one, and for
    ``sample_weight``. ``labels`` has the class of every row, shape (rows,); shape and sum of the weights: rows.
    The same as scikit-learn's ``compute_sample_weight("balanced", labels)``.

    Errors: `ArgumentError` for labels of another shape, or none.

    >>> cr.data.balanced_weights(["no", "no", "no", "yes"]).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0]
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not len(array):
        raise ArgumentError(f"labels must be one class per row, got shape {array.shape}")
    classes, which, counts = np.unique(array, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = (len(array) / (len(classes) * counts))[which]
    return weights


class BatchSampler(Sampler[list[int]]):
    """Batches of what another sampler gives; the last one is smaller, or left out with ``drop_last``.

    >>> list(cr.data.BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ArgumentError(f"batch_size must be a positive whole number, got {batch_size!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        rows = iter(self.sampler)
        while batch := list(islice(rows, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self) -> int:
        rows = len(self.sampler)  # type: ignore[arg-type]
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)
