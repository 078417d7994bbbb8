"""Running the same expression in chainrule and in PyTorch, and comparing values, types and shapes."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

import chainrule as cr

torch = pytest.importorskip("torch")

DTYPES = ("float32", "float64", "int32", "int64", "bool")
Expression = Callable[[Any], Any]
"""A function of the module: ``cr`` or ``torch``."""


def values(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    """Numbers in [-3, 3] of a type, the same in every run; some of them equal, none of them 0 where they are floats."""
    numbers = np.asarray(np.random.default_rng((seed, *shape)).integers(-3, 4, shape))
    if dtype == "bool":
        return np.asarray(numbers > 0)
    return np.asarray(numbers + 0.25 if dtype.startswith("float") else numbers, dtype)


def tensor(module: Any, array: np.ndarray[Any, Any], requires_grad: bool = False) -> Any:
    """The array as a tensor of either library."""
    made = torch.from_numpy(np.array(array)) if module is torch else cr.tensor(array)
    return made.requires_grad_() if requires_grad else made


def as_arrays(result: Any) -> list[np.ndarray[Any, Any]]:
    """The values of what an expression gives: a tensor, a number, or a sequence of them."""
    if isinstance(result, tuple | list):
        return [array for part in result for array in as_arrays(part)]
    if isinstance(result, torch.Tensor):
        return [result.detach().numpy()]
    return [np.asarray(result)]


def assert_same(result: Any, expected: Any, label: str) -> None:
    """Compare values, element types and shapes."""
    found, wanted = as_arrays(result), as_arrays(expected)
    assert len(found) == len(wanted), label
    for a, b in zip(found, wanted, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), label
        precision = 1e-5 if a.dtype == np.float32 else 1e-11
        np.testing.assert_allclose(a, b, rtol=precision, atol=precision, err_msg=label)


def agree(expressions: Iterable[tuple[str, Expression]]) -> None:
    """Record all expressions, compute them in one program, and compare with PyTorch; both may refuse one."""
    wanted: list[tuple[str, Any, Any]] = []
    for label, expression in expressions:
        try:
            expected = expression(torch)
        except Exception:
            with pytest.raises(cr.errors.ChainruleError):
                as_arrays(expression(cr))
                pytest.fail(f"PyTorch refuses {label}, chainrule does not")
            continue
        wanted.append((label, expression(cr), expected))
    assert wanted
    for label, result, expected in wanted:
        assert_same(result, expected, label)


def agree_all(texts: Iterable[str], **names: Callable[[Any], Any]) -> None:
    """As `agree`, for expressions in ``m``, the module, and names that are made anew for each."""

    def expression(text: str) -> Expression:
        return lambda m: eval(text, {"m": m, "np": np, **{name: make(m) for name, make in names.items()}})

    agree((text, expression(text)) for text in texts)
