"""Making tensors: PyTorch's constructors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..devices import Device
from ..errors import ArgumentError
from ..memory import spend
from ..types import NUMPY_DTYPES, DType, Shape, as_dtype, broadcast_shapes, float32, int64
from . import random
from .generator import Generator, default_generator
from .keywords import pytorch_keywords, write_out
from .operands import as_tensor, check_range, from_array
from .operations import convert
from .segment import state

METHODS = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")


def _shape(sizes: tuple[Any, ...]) -> Shape:
    if len(sizes) == 1 and isinstance(sizes[0], tuple | list):
        sizes = tuple(sizes[0])
    shape = tuple(int(size) for size in sizes)
    if min(shape, default=0) < 0:
        raise ArgumentError(f"sizes must not be negative, got {shape}")
    return shape


def _finish(array: np.ndarray[Any, Any], dtype: Any, requires_grad: bool, device: Any = None) -> Any:
    if device is not None:
        Device(device)
    result: Any = from_array(np.asarray(array), None if dtype is None else as_dtype(dtype))
    return result.requires_grad_() if requires_grad else result


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor with a copy of ``data``: a number, an array, nested lists, anything with DLPack.

    Python floats become float32; arrays keep their type unless ``dtype`` is given.
    """
    if data.__class__ is np.ndarray and data.dtype in NUMPY_DTYPES and dtype is device is None and not requires_grad:
        return from_array(data)
    if device is not None:
        Device(device)
    made = as_tensor(data, None if dtype is None else as_dtype(dtype))
    if made is data:
        made = made.detach().clone()
    result: Any = made if dtype is None else made.to(as_dtype(dtype))._resolved()
    return result.requires_grad_() if requires_grad else result


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """A tensor without dimensions."""
    return tensor(s, dtype=dtype or float32, device=device, requires_grad=requires_grad)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """A tensor of anything array-like; with ``copy=True`` in memory of its own."""
    return (
        tensor(obj, dtype=dtype, device=device) if copy else as_tensor(obj, None if dtype is None else as_dtype(dtype))
    )


def clone(input: Any) -> Any:
    """A copy; gradients flow through it."""
    return as_tensor(input).clone()


def detach(input: Any) -> Any:
    """The same values, through which no gradient flows."""
    return as_tensor(input).detach()


def from_numpy(array: np.ndarray[Any, Any]) -> Any:
    """A tensor that shares memory with ``array`` where its type allows, and a copy of one that must not be written."""
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"from_numpy expected a numpy.ndarray, got {type(array).__name__}. fix: use tensor(...)")
    result: Any = from_array(array, shares_memory=array.flags.writeable)
    return result


def _sized(create: Callable[..., Any]) -> Callable[..., Any]:
    """Let a constructor take its sizes one by one, as one sequence, or as ``size``; and PyTorch's further keywords."""

    @functools.wraps(create)
    def call(
        *sizes: Any, size: Any = None, out: Any = None, layout: Any = None, pin_memory: bool = False, **options: Any
    ) -> Any:
        made = create(*(sizes if size is None else (size,)), **options)
        return made if out is None else write_out(made, out)

    return call


@pytorch_keywords
def full(size: Any, fill_value: float, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Every element ``fill_value``."""
    value = fill_value.item() if hasattr(fill_value, "item") else fill_value
    default = float32 if isinstance(value, float) else as_dtype(type(value))
    shape = _shape((size,))
    spend(math.prod(shape) * 8)
    if dtype is not None:
        check_range(np.asarray(value), as_dtype(dtype))
    return _finish(np.full(shape, value), dtype or default, requires_grad, device)


@_sized
def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Every element 0."""
    return full(_shape(size), 0, dtype=dtype or float32, device=device, requires_grad=requires_grad)


@_sized
def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Every element 1."""
    return full(_shape(size), 1, dtype=dtype or float32, device=device, requires_grad=requires_grad)


@_sized
def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Elements of no particular value (zeros here, so that programs repeat)."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


@pytorch_keywords
def arange(
    start: Any, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """start, start + step, ... below ``end``; with one argument, from 0."""
    first, last = (0, start) if end is None else (start, end)
    default = int64 if all(isinstance(value, int) for value in (first, last, step)) else float32
    return _finish(np.arange(first, last, step), dtype or default, requires_grad, device)


@pytorch_keywords
def linspace(
    start: float, end: float, steps: int, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Any:
    """``steps`` numbers from start to end, both included, at equal distances."""
    return _finish(np.linspace(start, end, steps), dtype or float32, requires_grad, device)


@pytorch_keywords
def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Any:  # fmt: skip
    """``steps`` powers of ``base``, whose exponents go from start to end at equal distances."""
    return _finish(np.logspace(start, end, steps, base=base), dtype or float32, requires_grad, device)


@pytorch_keywords
def eye(n: int, m: int | None = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """1 on the diagonal, 0 elsewhere."""
    return _finish(np.eye(n, m), dtype or float32, requires_grad, device)


def _random(
    draw: Callable[[np.random.Generator, Shape], Any], record: Callable[[Generator, Shape, DType], Any]
) -> Callable[..., Any]:
    """A constructor of random tensors, which draws at once, or in every run of the function that is being captured."""

    def create(
        *size: Any,
        generator: Generator | None = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> Any:
        source, shape = generator or default_generator, _shape(size)
        if not state.segment.is_capturing:
            return _finish(draw(source.numpy(), shape), dtype or float32, requires_grad, device)
        if device is not None:
            Device(device)
        made = record(source, shape, as_dtype(dtype or float32))
        return made.requires_grad_() if requires_grad else made

    return _sized(create)


rand = _random(lambda source, shape: source.random(shape), random.uniform)
rand.__doc__ = "Numbers uniform in [0, 1)."
randn = _random(lambda source, shape: source.standard_normal(shape), random.standard_normal)
randn.__doc__ = "Numbers from the standard normal distribution."


def randint(low: int, high: Any, size: Any = None, *, generator: Generator | None = None, dtype: Any = None) -> Any:
    """Whole numbers from ``low`` (0 if only one bound is given) to ``high`` - 1."""
    if size is None:
        low, high, size = 0, low, high
    source, shape = generator or default_generator, _shape((size,))
    if state.segment.is_capturing:
        return convert(random.integers(source, int(low), int(high), shape), as_dtype(dtype or int64))
    return _finish(source.numpy().integers(low, high, shape), dtype or int64, False)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None) -> Any:
    """0 ... n-1 in random order."""
    source = generator or default_generator
    if state.segment.is_capturing:
        return convert(random.permutation(source, n), as_dtype(dtype or int64))
    return _finish(source.numpy().permutation(n), dtype or int64, False)


@pytorch_keywords
def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None
) -> Any:
    """Normal numbers of the given mean and standard deviation: numbers with a ``size``, or tensors that broadcast."""
    if size is None:
        size = broadcast_shapes(*(tuple(as_tensor(value).shape) for value in (mean, std)))
    return randn(size, generator=generator, dtype=dtype) * std + mean


def _like(create: Callable[..., Any]) -> Callable[..., Any]:
    def create_like(
        input: Any, *arguments: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **ignored: Any
    ) -> Any:
        source = as_tensor(input)
        made = create(tuple(source.shape), *arguments, dtype=dtype or source.dtype, device=device)
        return made.requires_grad_() if requires_grad else made

    create_like.__name__ = create_like.__qualname__ = f"{create.__name__}_like"
    create_like.__doc__ = f"As `{create.__name__}`, with the shape and type of ``input``."
    return create_like


zeros_like, ones_like, empty_like, full_like = _like(zeros), _like(ones), _like(empty), _like(full)
rand_like, randn_like = _like(rand), _like(randn)


def randint_like(input: Any, low: int, high: Any = None, *, dtype: Any = None) -> Any:
    """As `randint`, with the shape and type of ``input``."""
    first, end = (0, low) if high is None else (low, high)
    return randint(first, end, tuple(input.shape), dtype=dtype or input.dtype)


def _new(create: Callable[..., Any]) -> Callable[..., Any]:
    def create_new(self: Any, *arguments: Any, dtype: Any = None, **options: Any) -> Any:
        return create(*arguments, dtype=dtype or self.dtype, **options)

    create_new.__name__ = create_new.__qualname__ = f"new_{create.__name__}"
    create_new.__doc__ = f"As `{create.__name__}`, with the element type of this tensor."
    return create_new


new_zeros, new_ones, new_empty, new_full, new_tensor = _new(zeros), _new(ones), _new(empty), _new(full), _new(tensor)


@pytorch_keywords
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Any, ...]:
    """Vectors as coordinates of a grid: one tensor per vector, all of the grid's shape.

    ``indexing``: "ij", dimension i for vector i, or "xy", the first two exchanged.

    >>> import chainrule as cr
    >>> [grid.tolist() for grid in cr.meshgrid(cr.tensor([1, 2]), cr.tensor([3, 4]), indexing="ij")]
    [[[1, 1], [2, 2]], [[3, 4], [3, 4]]]
    """
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    vectors = [as_tensor(vector).reshape(-1) for vector in given]
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing must be one of 'xy' or 'ij', but received: {indexing!r}")
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[:2] = 1, 0
    shape = tuple(vectors[i].numel() for i in order)
    places = [order.index(i) for i in range(len(vectors))]
    return tuple(
        vector.reshape((1,) * place + (-1,) + (1,) * (len(shape) - place - 1)).expand(*shape)
        for vector, place in zip(vectors, places, strict=True)
    )
