"""Elementwise operations against PyTorch: values, broadcasting, and the type in which operands meet."""

import itertools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

from .against_torch import DTYPES, agree, tensor, torch, values

SHAPES = ((3, 4), (), (1,), (0, 3), (2, 1, 5))
PAIRS = (((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (3,)), ((3,), ()), ((), ()), ((0, 3), (3,)))
UNARY = (
    "abs", "absolute", "ceil", "cos", "erf", "exp", "expm1", "floor", "log", "log1p", "neg", "negative", "round",
    "rsqrt",
    "sigmoid", "sign", "sin", "sqrt", "square", "tanh", "relu", "logical_not",
)  # fmt: skip
BINARY = (
    "add",
    "sub",
    "mul",
    "div",
    "maximum",
    "minimum",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
)
DIVIDING = ("floor_divide", "remainder")
# Where chainrule computes and PyTorch refuses, or the other way round, on purpose.
LENIENT = {("neg", "bool"), ("negative", "bool"), ("sign", "bool"), ("square", "bool")} | {
    (name, "bool") for name in ("ceil", "floor", "round", "relu")
}


@pytest.fixture(params=["reference", "native"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with cr.backend(request.param):
        yield request.param


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_one_tensor(dtype: str) -> None:
    agree(
        (f"{name} {dtype}{shape}", lambda m, name=name, shape=shape: getattr(m, name)(tensor(m, values(shape, dtype))))
        for name, shape in itertools.product(UNARY, SHAPES)
        if (name, dtype) not in LENIENT
    )


def test_functions_are_methods_too_and_read_transposed_memory() -> None:
    agree(
        (name, lambda m, name=name: getattr(tensor(m, values((3, 4), "float64")).t(), name)())
        for name in UNARY
        if name != "logical_not"
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_two_tensors(dtype: str) -> None:
    def call(m: Any, name: str, a: tuple[int, ...], b: tuple[int, ...]) -> Any:
        return getattr(m, name)(tensor(m, values(a, dtype)), tensor(m, values(b, dtype, 1)))

    agree(
        (f"{name} {dtype}{a} {b}", lambda m, n=name, a=a, b=b: call(m, n, a, b))
        for name, (a, b) in itertools.product(BINARY, PAIRS)
    )


@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "lt", "where", "pow"])
def test_types_meet_as_in_pytorch(name: str) -> None:
    """Every pair of types, also with one operand, or both, without dimensions."""

    def call(m: Any, first: str, second: str, a: tuple[int, ...], b: tuple[int, ...]) -> Any:
        x, y = tensor(m, values(a, first)), tensor(m, np.abs(values(b, second, 1)))
        if name == "where":
            return m.where(tensor(m, values(a, "bool")), x, y)
        return getattr(m, name)(x, y)

    agree(
        (f"{first}{a} {second}{b}", lambda m, i=first, j=second, a=a, b=b: call(m, i, j, a, b))
        for first, second in itertools.product(DTYPES, DTYPES)
        for a, b in (((2, 3), (3,)), ((), (3,)), ((3,), ()), ((), ()))
        if not (name == "pow" and first == second == "bool")
    )


OPERATORS = (
    operator.add, operator.mul, operator.truediv, operator.eq, operator.ne, operator.lt, operator.le, operator.gt,
    operator.ge, operator.floordiv, operator.mod, operator.pow,
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES[:4])
def test_operators_with_numbers_on_either_side(dtype: str) -> None:
    def operand(m: Any, symbol: Callable[[Any, Any], Any]) -> Any:
        array = np.abs(values((3, 4), dtype)) + np.array(1, dtype)
        return tensor(m, array)

    agree(
        (f"{symbol.__name__} {number} {side}",
         lambda m, s=symbol, n=number, side=side: s(operand(m, s), n) if side == "right" else s(n, operand(m, s)))
        for symbol, number, side in itertools.product(OPERATORS, (2, 1.5, True, -1.5), ("left", "right"))
        if not (symbol is operator.pow and number == -1.5)
    )  # fmt: skip


@pytest.mark.parametrize("name", DIVIDING)
def test_division_with_remainder(name: str) -> None:
    pairs = [(dtype, number) for dtype in DTYPES[:4] for number in (2, -2, 3)]
    agree(
        (f"{name} {dtype} {number}", lambda m, d=dtype, n=number: getattr(m, name)(tensor(m, values((3, 4), d)), n))
        for dtype, number in pairs
    )


def test_numbers_of_equal_value_are_not_the_same_number() -> None:
    """0.0, -0.0 and False, 1, 1.0 and True, NaN: each keeps its own sign and type, in whatever order they come."""
    x = cr.tensor([1, 2])
    assert [str((x * n).dtype) for n in (1, 1.0, True, 0, 0.0, False)] == ["int64", "float32", "int64"] * 2
    y = cr.tensor([1.0])
    signs = [math.copysign(1.0, (y * zero).item()) for zero in (0.0, -0.0, 0.0, -0.0)]
    assert signs == [1, -1, 1, -1]
    assert math.isnan((y * math.nan).item())
    assert (y + math.inf).item() == math.inf
    assert (y / math.inf).item() == 0


def test_booleans_have_logical_operators_and_floats_none() -> None:
    masks = "a & b, a | b, a ^ b, ~a, True & b, False | b, True ^ b, a + b, a * b"
    agree([(masks, lambda m: list(eval(masks, {n: tensor(m, values((4,), "bool", i)) for i, n in enumerate("ab")})))])
    with pytest.raises(cr.errors.DTypeError, match=r"operator & needs booleans or integers, got float32 and int64"):
        cr.tensor([1.0]) & cr.tensor([3])


def test_clamp_and_where() -> None:
    names = {"X": lambda m: tensor(m, values((3, 4), "float32"))}
    from .against_torch import agree_all

    agree_all(
        ["X.clamp(-1, 2)", "X.clamp(min=0)", "X.clamp(max=m.tensor(1.0))", "X.clamp()", "m.clamp(X, 2, -1)",
         "X.clamp(m.zeros(4), m.ones(4))", "X.long().clamp(1.5, 3)", "m.where(X > 0, X, 0.0)", "m.where(X > 0, 1.0, 0)",
         "m.where(X > 0, X, m.tensor(0))", "m.where(X, X, X)", "m.where(X > 0, X, m.ones(4))", "m.where(X > 0, 1, 0)",
         "m.where(m.tensor(True), X, 2.0)", "m.clamp(X * float('nan'), 0, 1)", "X.add(X, alpha=2)",
         "X.sub(1, alpha=3)"],
        **names,
    )  # fmt: skip


def test_shapes_that_do_not_fit_name_the_line() -> None:
    with pytest.raises(cr.errors.ShapeError, match=r"axis -1 has sizes 3 and 4(.|\n)*test_operations.py:\d+"):
        cr.ones(2, 3) + cr.ones(4)


def test_arrays_lists_and_dlpack_stand_for_tensors() -> None:
    x = cr.tensor([1.0, 2.0])
    for other in ([3.0, 4.0], np.array([3.0, 4.0], np.float32), torch.tensor([3.0, 4.0])):
        assert (x + other).tolist() == [4, 6]
        assert (other + x if not isinstance(other, torch.Tensor) else x + other).tolist() == [4, 6]
    assert (np.float32(2) * x).tolist() == [2, 4]
