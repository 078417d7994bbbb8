"""Making tensors: PyTorch's constructors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..types import Shape, as_dtype, float32, int64
from .generator import Generator, default_generator
from .operands import as_tensor, from_array
from .tensor import Device, Tensor


def _shape(sizes: tuple[Any, ...]) -> Shape:
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    shape = tuple(int(size) for size in sizes)
    if min(shape, default=0) < 0:
        raise ArgumentError(f"sizes must not be negative, got {shape}")
    return shape


def _finish(array: np.ndarray[Any, Any], dtype: Any, requires_grad: bool, device: Any = None) -> Tensor:
    if device is not None:
        Device(device)
    result: Tensor = from_array(np.asarray(array), None if dtype is None else as_dtype(dtype))
    return result.requires_grad_() if requires_grad else result


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``: a number, an array, nested lists, anything with DLPack.

    Python floats become float32; arrays keep their type unless ``dtype`` is given.
    """
    if device is not None:
        Device(device)
    made = as_tensor(data, None if dtype is None else as_dtype(dtype))
    if made is data:
        made = made.detach().clone()
    result: Tensor = made if dtype is None else made.to(as_dtype(dtype))._resolved()
    return result.requires_grad_() if requires_grad else result


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor that shares memory with ``array`` where its type allows."""
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy expected a numpy.ndarray, got {type(array).__name__}. fix: use tensor(...)")
    result: Tensor = from_array(array, shares_memory=True)
    return result


def full(size: Any, fill_value: float, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Every element ``fill_value``."""
    default = float32 if isinstance(fill_value, float) else as_dtype(type(fill_value))
    return _finish(np.full(_shape((size,)), fill_value), dtype or default, requires_grad, device)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Every element 0."""
    return full(_shape(size), 0, dtype=dtype or float32, device=device, requires_grad=requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Every element 1."""
    return full(_shape(size), 1, dtype=dtype or float32, device=device, requires_grad=requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Elements of no particular value (zeros here, so that programs repeat)."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """start, start + step, ... below ``end``; with one argument, from 0."""
    first, last = (0, start) if end is None else (start, end)
    default = int64 if all(isinstance(value, int) for value in (first, last, step)) else float32
    return _finish(np.arange(first, last, step), dtype or default, False, device)


def linspace(start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None) -> Tensor:
    """``steps`` numbers from start to end, both included, at equal distances."""
    return _finish(np.linspace(start, end, steps), dtype or float32, False, device)


def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """1 on the diagonal, 0 elsewhere."""
    return _finish(np.eye(n, m), dtype or float32, requires_grad, device)


def _random(draw: Callable[[np.random.Generator, Shape], Any]) -> Callable[..., Tensor]:
    def create(
        *size: Any,
        generator: Generator | None = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Tensor:
        source = (generator or default_generator).numpy()
        return _finish(draw(source, _shape(size)), dtype or float32, requires_grad, device)

    return create


rand = _random(lambda source, shape: source.random(shape))
rand.__doc__ = "Numbers uniform in [0, 1)."
randn = _random(lambda source, shape: source.standard_normal(shape))
randn.__doc__ = "Numbers from the standard normal distribution."


def randint(low: int, high: Any, size: Any = None, *, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """Whole numbers from ``low`` (0 if only one bound is given) to ``high`` - 1."""
    if size is None:
        low, high, size = 0, low, high
    source = (generator or default_generator).numpy()
    return _finish(source.integers(low, high, _shape((size,))), dtype or int64, False)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None) -> Tensor:
    """0 ... n-1 in random order."""
    return _finish((generator or default_generator).numpy().permutation(n), dtype or int64, False)


def _like(create: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def create_like(input: Any, *arguments: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
        source = as_tensor(input)
        made = create(tuple(source.shape), *arguments, dtype=dtype or source.dtype)
        return made.requires_grad_() if requires_grad else made

    create_like.__doc__ = f"As `{create.__name__}`, with the shape and type of ``input``."
    return create_like


zeros_like, ones_like, empty_like, full_like = _like(zeros), _like(ones), _like(empty), _like(full)
rand_like, randn_like = _like(rand), _like(randn)
