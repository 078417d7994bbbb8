"""Splits: a partition, the right sizes, every class in proportion, and the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.splits import split_groups, split_in_time, split_rows, train_validation_test_split
from chainrule.errors import ArgumentError, DataError


@given(count=st.integers(10, 500), seed=st.integers(0, 2**32), classes=st.integers(0, 4))
def test_parts_are_a_partition(count, seed, classes):
    labels = np.random.default_rng(seed).integers(0, classes, count) if classes else None
    parts = train_validation_test_split(count, seed=seed, labels=labels)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(count))
    assert [len(part) for part in parts[1:]] == [max(1, round(0.15 * count))] * 2
    again = train_validation_test_split(count, seed=seed, labels=labels)
    for part, same in zip(parts, again, strict=True):
        np.testing.assert_array_equal(part, same)


def test_seed_changes_the_split():
    first, second = (split_rows(100, (0.5, 0.5), seed=seed)[0] for seed in (0, 1))
    assert not np.array_equal(first, second)


@given(
    sizes=st.lists(st.integers(1, 80), min_size=2, max_size=5).filter(lambda sizes: sum(sizes) >= 20),
    seed=st.integers(0, 1000),
)
def test_classes_are_spread_in_proportion(sizes, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat([f"class {i}" for i in range(len(sizes))], sizes))
    fractions = (0.6, 0.2, 0.2)
    parts = split_rows(len(labels), fractions, seed=seed, labels=labels)
    for number, size in enumerate(sizes):
        for part, fraction in zip(parts, fractions, strict=True):
            found = np.count_nonzero(labels[part] == f"class {number}")
            # each class is laid out evenly; rounding the parts to whole rows moves at most a few of them
            assert abs(found - fraction * size) <= 2 + len(sizes)
        assert f"class {number}" in labels[parts[0]]


def test_shares_are_exact_for_two_large_classes():
    labels = np.repeat([0, 1], [700, 300])
    for part in train_validation_test_split(1000, seed=3, labels=labels):
        assert np.mean(labels[part]) == pytest.approx(0.3, abs=0.01)


def test_a_rare_class_reaches_every_part_for_some_seed():
    labels = np.array([1] * 3 + [0] * 97)
    reached = {
        part
        for seed in range(40)
        for part, rows in enumerate(split_rows(100, (0.6, 0.2, 0.2), seed=seed, labels=labels))
        if labels[rows].any()
    }
    assert reached == {0, 1, 2}


def test_bad_arguments():
    with pytest.raises(ArgumentError, match="add up to 1"):
        split_rows(10, (0.5, 0.2))
    with pytest.raises(ArgumentError, match="positive"):
        split_rows(10, (1.5, -0.5))
    with pytest.raises(DataError, match="2 rows are too few to be split into 3 parts"):
        train_validation_test_split(2)
    with pytest.raises(ArgumentError, match="one label per row"):
        split_rows(10, (0.5, 0.5), labels=[1, 2])


@given(groups=st.lists(st.integers(0, 12), min_size=30, max_size=200), seed=st.integers(0, 1000))
def test_groups_stay_together_as_in_scikit_learn(groups, seed):
    GroupShuffleSplit = pytest.importorskip("sklearn.model_selection").GroupShuffleSplit
    names = np.array([f"group {number}" for number in [*groups, *range(5)]])
    kept, held = split_groups(names, (0.75, 0.25), seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(names)))
    assert not set(names[kept]) & set(names[held])
    ((_, theirs),) = GroupShuffleSplit(1, test_size=0.25, random_state=seed).split(names, groups=names)
    assert abs(len(set(names[held])) - len(set(names[theirs]))) <= 1  # scikit-learn rounds up


def test_groups_that_cannot_be_split():
    with pytest.raises(ArgumentError, match="one group per row"):
        split_groups(np.zeros((3, 2)), (0.5, 0.5))
    with pytest.raises(DataError, match="1 rows are too few to be split into 2 parts"):
        split_groups(["a", "a", "a"], (0.5, 0.5))
    assert not np.array_equal(*(split_groups(np.arange(50), (0.5, 0.5), seed=seed)[0] for seed in (0, 1)))


@given(count=st.integers(10, 500))
def test_what_is_learned_from_lies_before_as_in_scikit_learn(count):
    train_test_split = pytest.importorskip("sklearn.model_selection").train_test_split
    earlier, later = split_in_time(count, (0.75, 0.25))
    theirs = train_test_split(np.arange(count), test_size=len(later), shuffle=False)
    assert [list(earlier), list(later)] == [part.tolist() for part in theirs]
