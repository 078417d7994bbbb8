"""Sequences of different lengths, padded and packed, against PyTorch."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, CaptureError, DTypeError, ShapeError
from chainrule.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
    pad_sequence,
    unpack_sequence,
    unpad_sequence,
)

LENGTHS = [3, 5, 1, 3]


def values(tensor: Any) -> np.ndarray[Any, Any]:
    return np.array(tensor.detach())


def equal(ours: Any, theirs: Any) -> None:
    if theirs is None:
        assert ours is None
    else:
        assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(values(ours), theirs.detach().numpy())


@pytest.fixture
def theirs() -> Any:
    return pytest.importorskip("torch").nn.utils.rnn


@pytest.mark.parametrize("kind", ["float64", "int64", "bool"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    ("lengths", "enforce_sorted"), [(LENGTHS, False), ([5, 3, 3, 1], True), ([5, 3, 3, 1], False), ([2, 2, 2, 2], True)]
)
def test_packing_equals_pytorch(
    theirs: Any, lengths: list[int], enforce_sorted: bool, batch_first: bool, kind: str
) -> None:
    torch = pytest.importorskip("torch")
    x = (np.random.default_rng(0).normal(size=(4, 6, 2) if batch_first else (6, 4, 2)) * 9).astype(kind)
    ours = pack_padded_sequence(cr.tensor(x), lengths, batch_first, enforce_sorted)
    other = theirs.pack_padded_sequence(torch.tensor(x), torch.tensor(lengths), batch_first, enforce_sorted)
    for mine, yours in zip(ours, other, strict=True):
        equal(mine, yours)
    for options in ({}, {"batch_first": True, "total_length": 8}, {"padding_value": 1}):
        for mine, yours in zip(
            pad_packed_sequence(ours, **options), theirs.pad_packed_sequence(other, **options), strict=True
        ):
            equal(mine, yours)
    again = PackedSequence(*ours)
    equal(pad_packed_sequence(again)[0], theirs.pad_packed_sequence(other)[0])
    for mine, yours in zip(unpack_sequence(ours), theirs.unpack_sequence(other), strict=True):
        equal(mine, yours)


def test_sequences_are_padded_as_in_pytorch(theirs: Any) -> None:
    torch = pytest.importorskip("torch")
    arrays = [np.random.default_rng(length).normal(size=(length, 2)) for length in LENGTHS]
    ours, others = [cr.tensor(array) for array in arrays], [torch.tensor(array) for array in arrays]
    for options in ({}, {"batch_first": True, "padding_value": -1.0}, {"padding_side": "left"}):
        equal(pad_sequence(ours, **options), theirs.pad_sequence(others, **options))
    padded = pad_sequence(ours, batch_first=True)
    for mine, array in zip(unpad_sequence(padded, cr.tensor(LENGTHS), batch_first=True), arrays, strict=True):
        np.testing.assert_array_equal(values(mine), array)
    packed, other = pack_sequence(ours, enforce_sorted=False), theirs.pack_sequence(others, enforce_sorted=False)
    for mine, yours in zip(packed, other, strict=True):
        equal(mine, yours)
    equal(pad_sequence([cr.tensor([3, 1]), cr.tensor([2])]), torch.tensor([[3, 2], [1, 0]]))


def test_gradients_pass_through_packing() -> None:
    x = cr.randn(4, 5, 2, dtype=cr.float64).requires_grad_()

    def there_and_back(x: Any) -> Any:
        packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(packed._replace(data=packed.data.sin()), batch_first=True)[0]

    assert cr.autograd.gradcheck(there_and_back, (x,))
    assert cr.autograd.gradcheck(lambda a, b: pad_sequence([a, b]), (x[0].detach().requires_grad_(), x[1, :2].detach()))


def test_an_embedding_of_packed_words(theirs: Any) -> None:
    """The idiom ``PackedSequence(embedding(packed.data), packed.batch_sizes, ...)``, into a layer and out of it."""
    torch = pytest.importorskip("torch")
    words = np.random.default_rng(0).integers(0, 9, size=(4, 5))
    table, layer = torch.nn.Embedding(9, 3).double(), torch.nn.GRU(3, 2, bidirectional=True).double()
    our_table, our_layer = nn.Embedding(9, 3).double(), nn.GRU(3, 2, bidirectional=True).double()
    our_table.load_state_dict(table.state_dict())
    our_layer.load_state_dict(layer.state_dict())
    packed = theirs.pack_padded_sequence(torch.tensor(words), torch.tensor(LENGTHS), True, False)
    expected, last = layer(theirs.PackedSequence(table(packed.data), *packed[1:]))
    ours = pack_padded_sequence(cr.tensor(words), LENGTHS, True, False)
    found, our_last = our_layer(PackedSequence(our_table(ours.data), *ours[1:]))
    np.testing.assert_allclose(values(found.data), expected.data.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(values(our_last), last.detach().numpy(), rtol=1e-9)


def test_what_is_packed_does_not_change_with_its_source() -> None:
    x = cr.ones(3, 2, 1)
    packed = pack_padded_sequence(x, [3, 1])
    x.fill_(5.0)
    assert values(packed.data).ravel().tolist() == [1.0] * 4


def test_packing_inside_a_compiled_function() -> None:
    """Lengths that are known are part of the program; those that are not are refused."""
    x = cr.arange(6.0).reshape(3, 2)
    known = cr.compile(lambda x: pack_padded_sequence(x, [3, 1]).data)
    for _ in range(2):
        assert known(x).tolist() == [0.0, 1.0, 2.0, 4.0]
    with pytest.raises(CaptureError, match="fix: leave the rows padded, and call the layer with lengths="):
        cr.compile(lambda x, lengths: pack_padded_sequence(x, lengths).data)(x, cr.tensor([3, 1]))


X = cr.ones(5, 3, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pack_padded_sequence(X, [5, 6, 1], enforce_sorted=False), ArgumentError, "row 1 has length 6"),
        (lambda: pack_padded_sequence(X, [5, 0, 1], enforce_sorted=False), ArgumentError, "row 1 has length 0"),
        (lambda: pack_padded_sequence(X, [1, 2, 3]), ArgumentError, "must be sorted in decreasing order"),
        (lambda: pack_padded_sequence(X, [5, 4]), ShapeError, r"lengths of shape \(2,\) for 3 rows"),
        (lambda: pack_padded_sequence(X, [5.0, 4.0, 3.0]), DTypeError, "lengths must be whole numbers"),
        (lambda: pack_padded_sequence(X[0, 0], [1, 1]), ShapeError, "expected a tensor of shape"),
        (lambda: pad_sequence([]), ArgumentError, "empty list of sequences"),
        (lambda: pad_sequence([X[:, 0], X[:, :1, 0].reshape(5, 1)]), ShapeError, r"got shapes \(5, 2\) and \(5, 1\)"),
        (lambda: pad_sequence([X[:, 0]], padding_side="top"), ArgumentError, "either 'right' or 'left'"),
        (lambda: pack_sequence([X[:0, 0], X[:, 0]], enforce_sorted=False), ArgumentError, "row 0 has length 0"),
        (
            lambda: pad_packed_sequence(pack_padded_sequence(X, [5, 4, 3]), total_length=4),
            ArgumentError,
            "total_length=4 and max sequence length being 5",
        ),
        (lambda: PackedSequence(X[:, 0]), ArgumentError, "needs batch_sizes"),
        (lambda: PackedSequence(X[:, 0], cr.tensor([2, 1])), ShapeError, "add up to 3 steps, but data has shape"),
    ],
)
def test_bad_sequences_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
