"""Padding and bucketing: against PyTorch, for loaders, the same for the same seed, and what is refused."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import DataLoader
from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.text import BucketSampler, PadSequences

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("dtype", [np.int64, np.float32, np.float64])
def test_padding_equals_pytorch(shape: tuple[int, ...], dtype: type) -> None:
    random = np.random.default_rng(0)
    rows = [(10 * random.normal(size=(length, *shape))).astype(dtype) for length in (3, 1, 5)]
    expected = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, 7).numpy()
    for given in (rows, [cr.tensor(row) for row in rows]):
        found = PadSequences(value=7)(given).numpy()
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)
    wider = PadSequences(value=7, multiple=4)(rows).numpy()
    assert wider.shape[:2] == (3, 8) and (wider[:, 5:] == 7).all()
    np.testing.assert_array_equal(wider[:, :5], expected)


def test_rows_of_several_values() -> None:
    rows = [([1, 2], 0.5, "a", np.ones(1)), ([3], 1.5, "b", np.zeros(2))]
    tokens, tokens_lengths, numbers, names, other, other_lengths = PadSequences(lengths=True)(rows)
    assert tokens.tolist() == [[1, 2], [3, 0]] and tokens_lengths.tolist() == [2, 1]
    assert numbers.tolist() == [0.5, 1.5] and list(names) == ["a", "b"]
    assert other.tolist() == [[1, 0], [0, 0]] and other_lengths.tolist() == [1, 2]


def test_bad_batches() -> None:
    with pytest.raises(DataError, match="row 1 of the batch is an empty sequence"):
        PadSequences()([[1], [], [2]])
    with pytest.raises(ShapeError, match="differ in more than their length"):
        PadSequences()([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(ArgumentError, match="multiple must be at least 1, got 0"):
        PadSequences(multiple=0)
    with pytest.raises(ArgumentError, match="pool must be a positive number"):
        BucketSampler([1], 1, pool=0)
    with pytest.raises(ArgumentError, match="batch_size must be a positive"):
        BucketSampler([1], 0)


@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_have_every_row_once_and_similar_lengths(drop_last: bool) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 1003)
    sampler = BucketSampler(lengths, 10, drop_last, pool=30, generator=cr.Generator().manual_seed(3))
    first, second = list(sampler), list(sampler)
    for batches in (first, second):
        rows = [row for batch in batches for row in batch]
        assert len(batches) == len(sampler) == (100 if drop_last else 101)
        assert len(set(rows)) == len(rows) == (1000 if drop_last else 1003)
        spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
        assert spread < 5  # 49 for ten rows at random
    assert first != second and {len(batch) for batch in first} <= {10, 3}
    assert first == list(BucketSampler(lengths, 10, drop_last, pool=30, generator=cr.Generator().manual_seed(3)))


def test_a_loader_takes_both() -> None:
    rows = [(list(range(1, 1 + length)), length) for length in (5, 2, 9, 2, 1, 6)]
    sampler = BucketSampler([len(tokens) for tokens, _ in rows], 2)
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=PadSequences(), num_workers=1)
    cr.manual_seed(1)
    seen = []
    for tokens, lengths in loader:
        assert (tokens.numpy() > 0).sum(1).tolist() == lengths.tolist()
        assert tokens.shape[1] == max(lengths.tolist())
        seen += lengths.tolist()
    assert sorted(seen) == [1, 2, 2, 5, 6, 9] and len(loader) == 3
