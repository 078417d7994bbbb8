"""Orders of rows: permutations, frequencies, sizes, and what is refused."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import (
    BatchSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    balanced_weights,
)
from chainrule.errors import ArgumentError


def generator():
    return cr.Generator().manual_seed(11)


def test_orders_without_replacement():
    sampler = RandomSampler(range(6), num_samples=15, generator=generator())
    rows = list(sampler)
    assert len(sampler) == len(rows) == 15
    assert sorted(rows[:6]) == sorted(rows[6:12]) == list(range(6)) and len(set(rows[12:])) == 3
    assert list(SequentialSampler(range(4))) == [0, 1, 2, 3] and len(SequentialSampler(range(4))) == 4
    subset = SubsetRandomSampler([4, 8, 9], generator())
    assert sorted(subset) == [4, 8, 9] and len(subset) == 3
    assert list(RandomSampler(range(6), generator=generator())) == rows[:6]


def test_every_order_is_equally_likely():
    sampler = RandomSampler(range(3), generator=generator())
    counts = np.unique([list(sampler) for _ in range(6000)], axis=0, return_counts=True)[1]
    assert counts.size == 6 and ((counts - 1000) ** 2 / 1000).sum() < 20.5  # chi-square, 5 degrees: 0.999 quantile


def test_frequencies_follow_the_weights():
    weights = np.array([1.0, 0.0, 3.0, 6.0])
    rows = list(WeightedRandomSampler(weights, 20_000, generator=generator()))
    found, expected = np.bincount(rows, minlength=4), 2000 * weights
    assert found[1] == 0
    assert ((found - expected)[[0, 2, 3]] ** 2 / expected[[0, 2, 3]]).sum() < 13.8  # 2 degrees
    assert sorted(WeightedRandomSampler(cr.tensor(weights), 3, replacement=False)) == [0, 2, 3]
    drawn = np.bincount(list(RandomSampler(range(4), replacement=True, num_samples=20_000, generator=generator())))
    assert ((drawn - 5000) ** 2 / 5000).sum() < 16.3  # 3 degrees


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [0, 5, 6])
def test_batches_equal_pytorch(count, drop_last):
    torch = pytest.importorskip("torch")
    ours, theirs = BatchSampler(range(count), 3, drop_last), torch.utils.data.BatchSampler(range(count), 3, drop_last)
    assert list(ours) == list(theirs) and len(ours) == len(theirs)


def test_refused():
    for make in (
        lambda: RandomSampler([]),
        lambda: RandomSampler(range(3), num_samples=0),
        lambda: BatchSampler(range(3), 0, False),
        lambda: BatchSampler(range(3), True, False),
        lambda: WeightedRandomSampler([1.0], 0),
        lambda: WeightedRandomSampler([1.0, -1.0], 1),
        lambda: WeightedRandomSampler([0.0, 0.0], 1),
        lambda: WeightedRandomSampler([np.inf, 1.0], 1),
        lambda: WeightedRandomSampler([[1.0]], 1),
        lambda: WeightedRandomSampler([1.0, 0.0], 2, replacement=False),
    ):
        with pytest.raises(ArgumentError):
            make()


def test_balanced_weights_are_those_of_scikit_learn():
    compute_sample_weight = pytest.importorskip("sklearn.utils.class_weight").compute_sample_weight
    labels = np.repeat(["rare", "common", "some"], [7, 200, 43])
    weights = balanced_weights(labels)
    np.testing.assert_allclose(weights, compute_sample_weight("balanced", labels), rtol=1e-15)
    drawn = labels[list(WeightedRandomSampler(weights, 6000, generator=generator()))]
    counts = np.unique(drawn, return_counts=True)[1]
    assert ((counts - 2000) ** 2 / 2000).sum() < 13.8  # chi-square, 2 degrees: 0.999 quantile
    for wrong in ([], np.zeros((3, 2))):
        with pytest.raises(ArgumentError, match="labels must be one class per row"):
            balanced_weights(wrong)
