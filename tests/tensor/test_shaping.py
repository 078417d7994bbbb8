"""Shapes, joining, matrix products and indexing against PyTorch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import chainrule as cr
from chainrule.compiler import launch, programs

from .against_torch import agree_all, tensor, values


@pytest.fixture(params=["reference", "native"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with cr.backend(request.param):
        yield request.param


def stored(m: Any) -> Any:
    return tensor(m, values((2, 3, 4), "float32"))


def computed(m: Any) -> Any:
    return stored(m) * 2 + 1


BOTH = pytest.mark.parametrize("make", [stored, computed])


@BOTH
def test_shapes(make: Callable[[Any], Any]) -> None:
    agree_all(
        ["X.reshape(-1)", "X.reshape(4, -1)", "X.reshape((6, 4))", "X.reshape(5, -1)", "X.reshape(-1, -1)",
         "X.view(6, 4)",
         "X.flatten()", "X.flatten(1)", "X.flatten(0, 1)", "X.flatten(2, 1)", "X.unflatten(2, (2, 2))",
         "X.unflatten(2, (2, -1))", "X.permute(2, 0, 1)", "X.permute((2, 0, 1))", "X.permute(0, 1)",
         "X.permute(0, 0, 1)", "X.transpose(0, 1)", "X.transpose(-1, 0)", "X[0].t()", "X.t()", "X[0, 0].t()", "X[0].T",
         "X.mT", "X.squeeze()", "X[:1].squeeze()", "X[:1].squeeze(0)", "X.squeeze(0)", "X[:1, :1].squeeze((0, 1))",
         "X.unsqueeze(0)", "X.unsqueeze(-1)", "X.unsqueeze(3)", "X.unsqueeze(4)", "X[:1].expand(5, 3, 4)",
         "X[:1].expand(5, -1, -1)", "X[:1].expand(2, 5, 3, 4)", "X.expand(3, 3, 4)", "X[0, 0].expand(2, -1)",
         "X[0, 0].expand(-1, 4)", "X.flip(0)", "X.flip((0, 2))", "X.flip([0])", "X.flip(0, 1)", "m.flip(X, (1,))",
         "X.view_as(X.reshape(4, 6))", "X.expand_as(m.ones(2, 2, 3, 4))", "X.reshape(3, 0)", "X[:0].reshape(0, 6)",
         "X.view(2, 12).view(-1)", "m.transpose(X, 1, 2) + 1", "X.mT.reshape(-1)"],
        X=make,
    )  # fmt: skip


@BOTH
def test_joining(make: Callable[[Any], Any]) -> None:
    agree_all(
        ["m.cat([X, X])", "m.cat((X, X), dim=1)", "m.cat([X, X * 2], -1)", "m.cat([X, X[0]])", "m.cat([])",
         "m.cat([X, X.long()])", "m.cat([m.zeros(0, 3, 4), X])", "m.cat([X])", "m.stack([X, X])", "m.stack([X, X], 1)",
         "m.stack([X, X], -1)", "m.stack([X, X[0]])", "m.stack([X.sum(), X.mean()])"],
        X=make,
    )  # fmt: skip


@BOTH
def test_matrix_products(make: Callable[[Any], Any]) -> None:
    agree_all(
        ["X @ X.mT", "X[0] @ X[0, 0]", "X[0, 0] @ X[0].t()", "X[0, 0] @ X[0, 0]", "X @ X[0].t()", "X @ m.ones(4)",
         "X @ X",
         "m.ones(3) @ X", "m.matmul(m.ones(0, 4), m.ones(4, 2))", "m.matmul(m.ones(2, 0), m.ones(0, 3))",
         "m.ones(2, 1, 3, 4) @ m.ones(5, 4, 2)", "m.tensor(1.0) @ m.ones(2)", "m.mm(X[0], X[0].t())",
         "m.bmm(X, X.mT)", "X.double() @ X.double().mT", "X.mT @ X", "m.ones(1, 1) @ m.ones(1, 1)"],
        X=make,
    )  # fmt: skip


INDICES = (
    "0", "-1", "5", "1:", "::2", "-2:", "...", "None", "0, 1", "0, 1, 2", "0, 1, 2, 3", "..., 1", "1, ..., 2",
    "None, 0",
    "0, None, 1:", "[0, 1, 1]", "[1, 0], [2, 1]", ":, [2, 0]", "0:0", "10:20", "-100:100", "m.tensor([1, 0])",
    "m.tensor([-1, 0])", "m.tensor(1)", "X > 1", "m.tensor([True, False])", ":, 1:3, ::2", "..., None", "0, X[0] > 1",
    "1, :, m.tensor([0, 2])", "m.tensor([0, 1]), :, 1", "m.tensor([[0, 1], [1, 0]])", "(0,)", "m.tensor([5])", "-3",
    "None, ..., None, 0", "1:1, 0", "np.int64(1)", "np.array([1, 0])",
)  # fmt: skip


@BOTH
def test_indexing(make: Callable[[Any], Any]) -> None:
    agree_all([f"X[{index}]" for index in INDICES], X=make)


def test_steps_backwards_are_refused() -> None:
    for x in (cr.arange(6), cr.arange(6) * 1):
        with pytest.raises(ValueError, match="step must be greater than zero"):
            x[::-1]


def test_an_index_out_of_range_says_so() -> None:
    for x in (cr.ones(2, 3), cr.ones(2, 3) * 2):
        with pytest.raises(IndexError, match="index 2 is out of bounds"):
            x[2]
        with pytest.raises(IndexError, match=r"positions must lie in \[-2, 1\]"):
            x[cr.tensor([0, 2])]


def test_slices_with_ever_new_bounds_compile_nothing_new() -> None:
    x = cr.tensor([float(i) for i in range(1000)])
    counts = set()
    for start in range(0, 900, 10):
        value = (x[start : start + 10] * 2).sum().item()
        assert value == sum(2 * i for i in range(start, start + 10))
        counts.add((len(programs._PROGRAMS), len(launch._LAUNCHES)))
    assert len(counts) <= 2, "what recurs is compiled when it is met for the second time"


def test_stacking_names_the_tensor_that_differs() -> None:
    with pytest.raises(cr.errors.ShapeError, match=r"equal size, but got \(2,\) at entry 0 and \(3,\) at entry 2"):
        cr.stack([cr.ones(2), cr.ones(2) * 2, cr.ones(3)])


ROWS_OF: dict[str, Callable[[Any], Any]] = {
    "row-major": lambda m: m.arange(24.0).reshape(4, 3, 2),
    "turned": lambda m: m.arange(24.0).reshape(3, 2, 4).permute(2, 0, 1),
    "repeated": lambda m: m.arange(2.0).expand(4, 3, 2),
    "every second": lambda m: m.arange(48.0).reshape(8, 3, 2)[::2],
    "of a row": lambda m: m.arange(48.0).reshape(2, 4, 3, 2)[1],
    "of turned rows": lambda m: m.arange(48.0).reshape(4, 2, 3, 2).transpose(0, 1)[1],
    "without elements": lambda m: m.zeros(4, 0, 2),
    "numbers": lambda m: m.arange(4),
}


@pytest.mark.parametrize("kind", ROWS_OF)
@pytest.mark.parametrize("number", [0, 1, 3, -1, -4])
def test_a_row_by_its_number_is_a_view(kind: str, number: int) -> None:
    """In memory, of memory in any order: values, strides, and what is written through it."""
    results = []
    for module in (torch, cr):
        whole = ROWS_OF[kind](module)
        row = whole[number]
        seen = (tuple(row.shape), row.is_contiguous(), row.tolist(), str(row.dtype).rpartition(".")[2])
        if kind != "repeated":
            row.mul_(3)
        results.append((*seen, whole.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("number", [4, -5])
def test_a_row_that_is_not_there(number: int) -> None:
    with pytest.raises(IndexError, match=f"index {number} is out of bounds for dimension 0 with size 4"):
        cr.zeros(4, 2)[number]
