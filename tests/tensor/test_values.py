"""Getting values out: printing, conversion to Python and NumPy, sharing memory, copying, pickling."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, DTypeError, GradientError

from .against_torch import agree_all, torch

PRINTED = (
    "m.tensor(1.5)", "m.tensor(3)", "m.tensor(True)", "m.tensor([])", "m.tensor([1.0, 2.0])", "m.tensor([0.1, 22.25])",
    "m.tensor([1, 20, -3])", "m.tensor([True, False])", "m.ones(2, 3)", "m.arange(24).reshape(2, 3, 4)",
    "m.tensor([1.0, 2.0], dtype=m.float64)", "m.tensor([1], dtype=m.int32)",
    "m.tensor([float('nan'), float('inf'), 1.0])",
    "m.tensor([1e-5, 1.0])", "m.tensor([1e10, 1.0])", "m.tensor([1e-7])", "m.tensor([0.0, -0.0])",
    "m.tensor([-1.5, 2.25])",
    "m.zeros(0, 3)", "m.tensor([1.0], requires_grad=True)", "m.arange(2000)", "m.arange(2000.0).reshape(50, 40)",
    "m.tensor([123456.0, 1.0])", "m.tensor([12345.5, 1.0])", "m.tensor([[0.5, 100.25], [3.0, 4.0]])", "m.tensor(1e20)",
    "m.tensor(-0.001)", "m.tensor([1000000.0])", "m.tensor([99999.5])", "m.zeros(1, 0)",
)  # fmt: skip


@pytest.mark.parametrize("text", PRINTED)
def test_printed_as_pytorch_prints(text: str) -> None:
    expected = repr(eval(text, {"m": torch})).replace("torch.", "")
    assert repr(eval(text, {"m": cr})) == expected


def test_what_has_a_gradient_says_so() -> None:
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    assert repr(w * 2) == "tensor([2., 4.], grad_fn=<multiply>)"
    assert repr(cr.ones(2, 3).shape) == "Size([2, 3])"
    assert cr.ones(2, 3).shape == (2, 3)


def test_properties() -> None:
    agree_all(
        ["X.size(1)", "X.size(-1)", "tuple(X.shape)", "X.dim()", "X.ndim", "X.numel()", "X.element_size()", "len(X)",
         "X.tolist()", "X.sum().item()", "X.item()", "float(X.sum())", "int(X.sum())", "bool(X.sum())", "bool(X)",
         "bool(m.zeros(()))", "list(range(m.tensor(3)))", "[1, 2, 3][m.tensor(1)]", "list(X[0])", "list(m.tensor(1))",
         "5 in X", "500 in X", "m.tensor(5.0) in X", "X.shape.numel()", "X.is_leaf", "X.requires_grad",
         "X == None", "X != None", "X.is_floating_point()", "len(m.tensor(1))", "[1][m.tensor(0.0)]"],
        X=lambda m: m.arange(24).reshape(2, 3, 4).to(m.float32),
    )  # fmt: skip


def test_conversions() -> None:
    agree_all(
        ["X.to(m.float64)", "X.to('cpu')", "X.to(m.ones(1, dtype=m.int64))", "X.double()", "X.long()", "X.int()",
         "X.bool()",
         "X.float()", "X.cpu()", "X.clone()", "X.to('cpu', m.int32)", "X.to(dtype=m.int32)", "X.type(m.int64)",
         "X.data",
         "X.detach().numpy()", "np.asarray(X)", "np.array(X, dtype=np.float64)"],
        X=lambda m: m.tensor([[-1.5, 0.0, 2.75]]),
    )  # fmt: skip
    x = cr.ones(2)
    assert x.to(cr.float32) is x
    assert x.dtype is cr.float32


@pytest.mark.parametrize(
    ("text", "value"),
    [("{:.2f}", 1.234), ("{}", 1.5), ("{}", 3), ("{:5d}", 3), ("{:>10.3e}", 12345.678), ("{:%}", 0.25), ("{!r}", 2.5)],
)
def test_formatting(text: str, value: Any) -> None:
    x = text.format(cr.tensor(value))
    assert x == text.format(torch.tensor(value))


def test_one_number_only() -> None:
    with pytest.raises(ArgumentError, match="3 elements cannot be converted"):
        cr.ones(3).item()
    with pytest.raises(ArgumentError, match=r"ambiguous. fix: use \.any\(\)"):
        bool(cr.ones(3))
    with pytest.raises(DTypeError, match="0-d"):
        list(cr.tensor(1.0))
    with pytest.raises(DTypeError, match="index"):
        [1][cr.tensor(0.0)]


def test_numpy_shares_memory_in_both_directions() -> None:
    x = cr.ones(3)
    array = x.numpy()
    array[0] = 5
    assert (x * 2).tolist() == [10, 2, 2]
    x[1] = 7
    assert array.tolist() == [5, 7, 1]
    view = cr.ones(2, 3).T
    assert view.numpy().shape == (3, 2)
    with pytest.raises(GradientError, match="detach"):
        cr.ones(1, requires_grad=True).numpy()


def test_a_copy_from_array_protocol() -> None:
    x = cr.ones(3)
    array = np.asarray(x)
    array[0] = 9
    assert x.tolist() == [1, 1, 1]
    assert np.add(x, 1).tolist() == [2, 2, 2]
    assert np.asarray(cr.ones(1, requires_grad=True) * 2).tolist() == [2]


def test_dlpack_both_ways() -> None:
    x = cr.tensor([1.0, 2.0])
    there = torch.from_dlpack(x)
    there[0] = 5
    assert x.tolist() == [5, 2]
    assert cr.tensor(torch.arange(3)).tolist() == [0, 1, 2]
    assert np.from_dlpack(x).tolist() == [5, 2]


def test_copies_and_pickles() -> None:
    w = cr.tensor([[1.0, 2.0]], requires_grad=True)
    for again in (copy.deepcopy(w), pickle.loads(pickle.dumps(w))):
        assert (again.tolist(), again.requires_grad, again.is_leaf) == (w.tolist(), True, True)
        with cr.no_grad():
            again.zero_()
    assert w.tolist() == [[1, 2]]
    assert copy.deepcopy({"a": cr.arange(3)})["a"].tolist() == [0, 1, 2]
    shared = cr.ones(2)
    both = copy.deepcopy([shared, shared])
    assert both[0] is both[1]
    with pytest.raises(GradientError, match="leaf"):
        copy.deepcopy(w * 2)
    transposed = pickle.loads(pickle.dumps(cr.arange(6).reshape(2, 3).T))
    assert transposed.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_tensors_are_hashed_by_identity() -> None:
    a, b = cr.ones(2), cr.ones(2)
    assert len({a: 1, b: 2}) == 2


def test_numpy_may_ask_for_shared_memory_or_for_a_copy() -> None:
    x = cr.ones(3)
    shared, copied = np.array(x, copy=False), np.array(x)
    shared[0] = 5.0
    assert x.tolist() == [5.0, 1.0, 1.0] and copied.tolist() == [1.0, 1.0, 1.0]
