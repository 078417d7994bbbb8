"""What public functions take besides their own arguments: ``out``, and NumPy's names of ``dim`` and ``keepdim``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..errors import DTypeError, GradientError, ShapeError
from .recording import set_stored, snapshot

Function = TypeVar("Function", bound=Callable[..., Any])
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
_KINDS = {"bool": 0, "int": 1, "float": 2}


def pytorch_keywords(function: Function) -> Function:
    """Let a function take ``axis`` for ``dim``, ``keepdims`` for ``keepdim``, and ``out``, as PyTorch's do."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if not options:
            return function(*arguments)
        out = options.pop("out", None)
        for name, meant in _NUMPY_NAMES.items():
            if name in options:
                options[meant] = options.pop(name)
        result = function(*arguments, **options)
        return result if out is None else write_out(result, out)

    return cast(Function, call)


def write_out(result: Any, out: Any) -> Any:
    """Write a result into the memory of ``out`` and return that; an ``out`` without elements takes on the shape.

    Errors: `ShapeError`; `DTypeError` where floats would become integers; `GradientError` where one would be lost.
    """
    if isinstance(out, tuple | list):
        return type(result)(*(write_out(part, target) for part, target in zip(result, out, strict=True)))
    if result.requires_grad or out.requires_grad:
        raise GradientError(
            "functions with out=... arguments don't support automatic differentiation, but one of the arguments "
            "requires grad. fix: with cr.no_grad(): ..., or leave out out="
        )
    if _KINDS[result.dtype.kind] > _KINDS[out.dtype.kind]:
        raise DTypeError(f"result type {result.dtype} can't be cast to the desired output type {out.dtype}")
    if out.shape == result.shape:
        return out.copy_(result)
    if out.numel():
        raise ShapeError(f"out= has shape {tuple(out.shape)}, expected the result's shape {tuple(result.shape)}")
    copy = snapshot(result.to(out.dtype)._resolved())
    set_stored(out, copy._storage, copy._address, copy._type, copy._strides, False)
    return out
