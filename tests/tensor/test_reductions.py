"""Reductions against PyTorch."""

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr

from .against_torch import DTYPES, agree, agree_all, tensor, values

NAMES = (
    "sum",
    "mean",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "max",
    "min",
    "any",
    "all",
    "var",
    "std",
    "logsumexp",
    "norm",
)
OF_SEVERAL = ("sum", "mean", "amax", "amin", "any", "all", "var", "std", "logsumexp", "norm")
FLOATS_ONLY = ("mean", "var", "std", "norm")  # PyTorch refuses other types, chainrule computes in float32
NO_BOOLEANS = ("argmax", "argmin")


@pytest.fixture(params=["reference", "native"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with cr.backend(request.param):
        yield request.param


def _is_common(name: str, dtype: str) -> bool:
    return dtype.startswith("float") or (name not in FLOATS_ONLY and not (dtype == "bool" and name in NO_BOOLEANS))


def _large(m: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Without equal elements, whose order PyTorch does not define."""
    array = np.random.default_rng(5).permutation(int(np.prod(shape))).reshape(shape) - 7
    return tensor(m, np.asarray(array > 0 if dtype == "bool" else array, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_over_one_dimension_or_all(dtype: str) -> None:
    cases = [
        (name, shape, options)
        for name, shape in itertools.product(NAMES, [(3, 4), (), (1,), (2, 3, 5)])
        for options in [
            {},
            *({"dim": d, "keepdim": k} for d in range(-len(shape), len(shape)) for k in (False, True)),
        ]
        if _is_common(name, dtype) and (name != "logsumexp" or options)
    ]
    agree((f"{n} {dtype}{s} {o}", lambda m, n=n, s=s, o=o: getattr(_large(m, s, dtype), n)(**o)) for n, s, o in cases)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool"])
def test_over_several_dimensions(dtype: str) -> None:
    agree(
        (f"{n} {dims}", lambda m, n=n, d=dims: getattr(_large(m, (2, 3, 5), dtype), n)(dim=d, keepdim=True))
        for n, dims in itertools.product(OF_SEVERAL, [(0, 2), (-1, 0), (0, 1, 2)])
        if _is_common(n, dtype) and not (n == "norm" and len(dims) == 3)  # PyTorch's is a matrix norm there
    )


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_over_nothing(dtype: str) -> None:
    """A sum over nothing is 0; an extremum over nothing is refused."""
    cases = [
        (n, options)
        for n, options in itertools.product(NAMES, [{}, {"dim": 0}, {"dim": 1}, {"dim": 9}])
        if _is_common(n, dtype) and (n != "logsumexp" or options)
    ]
    agree((f"{n} {o}", lambda m, n=n, o=o: getattr(tensor(m, values((0, 3), dtype)), n)(**o)) for n, o in cases)


def test_options() -> None:
    agree_all(
        ["X.sum(dtype=m.float64)", "X.long().sum(dtype=m.float32)", "X.long().mean(dtype=m.float64)", "X.sum((0, 1))",
         "X.var(1, unbiased=False)", "X.var(dim=1, correction=0)", "m.std(X, dim=1, correction=2)", "X.norm(p=1)",
         "X.norm(3, dim=1)", "X.norm(float('inf'), dim=1)", "X.max(X * 2)", "m.min(X, X * 2)", "X.sum([0])",
         "m.softmax(X, 1)", "m.softmax(X, dim=0)", "X.softmax(-1)", "m.log_softmax(X, dim=-1)", "X.log_softmax(0)",
         "m.softmax(X[:0], dim=1)", "m.softmax(m.tensor(2.0), dim=0)", "X.sum(dim=(0, 0))", "X.softmax(5)",
         "m.logsumexp(m.tensor([float('-inf'), float('-inf')]), 0)", "m.logsumexp(m.tensor([1e4, 1e4]), 0)",
         "m.softmax(m.tensor([[1.0, -float('inf')]]), dim=1)", "m.tensor([True, True]).sum()"],
        X=lambda m: tensor(m, values((3, 4), "float32")),
    )  # fmt: skip


def test_the_first_of_equal_elements_and_nan_are_found() -> None:
    assert cr.tensor([1.0, 3.0, 3.0]).argmax().item() == 1
    assert cr.tensor([1.0, float("nan"), 3.0]).argmax().item() == 1
    assert np.isnan(cr.tensor([1.0, float("nan"), 3.0]).amin().item())
    value, index = cr.tensor([[2.0, 5.0], [7.0, 1.0]]).max(dim=0)
    assert (value.tolist(), index.tolist()) == ([7, 5], [1, 0])


@pytest.mark.parametrize("p", [2, 1, 3, 0.5, -1, float("inf"), -float("inf"), 1.5])
@pytest.mark.parametrize("numbers", [[0.0, 0.0, 0.0], [0.0, 1.0, -2.0], [2.0, 2.0, -2.0]])
def test_norms_of_zeros_and_of_equal_elements(numbers: list[float], p: float) -> None:
    def run(m: Any) -> Any:
        x = m.tensor(numbers, dtype=m.float64, requires_grad=True)
        norm = x.norm(p)
        norm.backward()
        return norm.detach(), x.grad

    agree([(f"norm {p} of {numbers}", run)])
