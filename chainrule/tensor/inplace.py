"""Operations that change a tensor instead of making a new one. What shares its elements sees the change.

A tensor in memory is written at once, which compiles nothing however its place varies; one that is pending, carries
gradients or is used in a captured function gets a new vertex (see `chainrule.tensor.views`); a tensor that programs
overwrite gets its new value when the segment runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, CaptureError, DTypeError, GradientError, ShapeError
from ..graph.vertex import Vertex
from ..ops.elementwise import cast, stop_gradient
from ..ops.movement import broadcast
from ..types import DType, Shape, float64
from . import random, shaping
from .generator import Generator, default_generator
from .indexing import basic_view, is_basic, is_same_view, positions_of, put, split_index, take_basic
from .operands import as_tensor, enter_all, from_array
from .operations import add, convert, lt, mul
from .recording import is_detached, note_write, overwrite, resolve, type_of, vertex_of
from .segment import flush, state
from .strided import overlaps
from .views import base_of, is_functional, write_through

_KINDS = {"bool": 0, "int": 1, "float": 2}


def assign(tensor: Any, value: Any) -> Any:
    """Make ``tensor`` hold ``value`` (a tensor that broadcasts to it) and return it.

    Errors: `GradientError` for a leaf that requires a gradient, or a view of one; `ShapeError`; `ArgumentError` for a
    tensor that shows one element several times.
    """
    base = base_of(tensor)
    _check_writable(tensor, base)
    source = as_tensor(value)
    if is_functional(base, source):
        segment, (old, new) = enter_all(tensor, source)
        new = _fitted(new, old)
        write_through(tensor, new if state.is_grad_enabled else _without_gradient(new), segment)
    elif base._slot is None or tensor._type.size != base._type.size or not _write_later(tensor, base, source):
        _write_now(tensor, base, source)
    return tensor


def _check_writable(tensor: Any, base: Any) -> None:
    if state.is_grad_enabled and base._slot is not None and base.requires_grad and not is_detached(tensor):
        kind = "a leaf Variable" if tensor is base else "a view of a leaf Variable"
        raise GradientError(
            f"{kind} that requires grad is being used in an in-place operation. fix: with cr.no_grad(): ..."
        )
    if overlaps(type_of(tensor).shape, tensor._strides if base is not tensor or tensor._storage is not None else None):
        raise ArgumentError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "fix: clone() the tensor before performing the operation"
        )


def _without_gradient(vertex: Vertex) -> Vertex:
    return stop_gradient(vertex) if vertex.requires_grad else vertex


def _fitted(new: Vertex, old: Vertex) -> Vertex:
    _check_shape(new.shape, old.shape)
    return broadcast(cast(new, old.dtype), old.shape)


def _fits(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    return len(new) <= len(old) and all(a in (1, b) for a, b in zip(new[::-1], old[::-1], strict=False))


def _check_shape(new: tuple[int, ...], old: tuple[int, ...]) -> None:
    if not _fits(new, old):
        raise ShapeError(f"output with shape {list(old)} doesn't match the broadcast shape {list(new)}")


def _write_later(tensor: Any, base: Any, source: Any) -> bool:
    """Record a new value for all of a tensor that programs overwrite, unless other readers need its order kept."""
    segment, (old, new) = enter_all(tensor, source)
    vertex_of(base)
    storage = base._storage
    if state.segment is not segment or storage.read_by != id(base) or storage.is_read_by_many or storage.is_exported:
        return False
    write_through(tensor, _without_gradient(_fitted(new, old)), segment)
    return True


def _write_now(tensor: Any, base: Any, source: Any) -> None:
    values = source._array()
    storage = tensor._storage
    if base._slot is not None or storage.read_in is state.segment or storage.written_in is state.segment:
        flush()
    _check_shape(values.shape, type_of(tensor).shape)
    tensor._array()[...] = values
    note_write(tensor)


def computed(tensor: Any, result: Any) -> Any:
    """Assign the result of an operation.

    Errors: `DTypeError` where floats would become integers, or numbers booleans.
    """
    found, own = type_of(result).dtype, type_of(tensor).dtype
    if _KINDS[found.kind] > _KINDS[own.kind]:
        raise DTypeError(f"result type {found} can't be cast to the desired output type {own}. fix: x = x.to({found})")
    return assign(tensor, result)


def setitem(tensor: Any, index: Any, value: Any) -> None:
    """``tensor[index] = value``."""
    items = split_index(tensor, index)
    source = as_tensor(value)
    if all(is_basic(item) for item in items):
        part = basic_view(tensor, items)
        _check_writable(part, base_of(part))
        if source is value and is_same_view(part, value):
            return  # tensor[index] += ... has written already
        source = _leading_ones_dropped(source, part.dim())
        if not _fits(type_of(source).shape, type_of(part).shape):
            raise ShapeError(
                f"a value of shape {tuple(source.shape)} does not fit into this part, of shape {tuple(part.shape)}, of "
                f"a tensor of shape {tuple(tensor.shape)}"
            )
        assign(part, source)
        return
    part, indices = take_basic(tensor, items)
    base = base_of(part)
    _check_writable(part, base)
    if is_functional(base, source):
        assign(part, put(part, indices, source))
    else:
        _put_now(part, base, indices, source)


def _leading_ones_dropped(value: Any, rank: int) -> Any:
    extra = value.dim() - rank
    if extra > 0 and all(size == 1 for size in value.shape[:extra]):
        return shaping.reshape(value, value.shape[extra:])
    return value


def _put_now(part: Any, base: Any, indices: list[Any], source: Any) -> None:
    """Write to single elements of memory."""
    arrays = tuple(slice(None) if item is None else item._array() for item in positions_of(part, indices))
    values = source._array()
    storage = part._storage
    if base._slot is not None or storage.read_in is state.segment or storage.written_in is state.segment:
        flush()
    array = part._array()
    try:
        array[arrays] = values
    except ValueError:
        raise ShapeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of "
            f"shape {list(array[arrays].shape)}"
        ) from None
    note_write(part)


IN_PLACE = (
    "abs", "absolute", "acos", "acosh", "add", "addbmm", "addcdiv", "addcmul", "addmm", "addmv", "addr", "arccos",
    "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan", "atan2", "atanh",
    "baddbmm", "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor",
    "ceil", "clamp", "clamp_max", "clamp_min", "clip", "copysign", "cos", "cosh", "cumprod", "cumsum", "deg2rad", "div",
    "divide", "eq", "erf", "erfc", "erfinv", "exp", "exp2", "expm1", "fix", "float_power", "floor", "floor_divide",
    "fmod", "frac", "ge",
    "greater", "greater_equal", "gt", "heaviside", "hypot", "index_add", "index_copy", "index_fill", "index_put", "le",
    "lerp", "less", "less_equal", "lgamma", "log", "log10", "log1p", "log2", "logical_and", "logical_not", "logical_or",
    "logical_xor", "logit", "lt", "masked_fill", "masked_scatter", "mul", "multiply", "nan_to_num", "ne", "neg",
    "negative", "not_equal", "pow", "rad2deg", "reciprocal", "relu", "remainder", "round", "rsqrt", "scatter",
    "scatter_add", "scatter_reduce", "sgn", "sigmoid", "sign", "sin", "sinc", "sinh", "sqrt", "square", "sub",
    "subtract", "tan", "tanh", "tril", "triu", "true_divide", "trunc", "xlogy",
)  # fmt: skip
"""Methods that there are with an underscore behind the name, too."""
OPERATORS = {
    "__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div", "__ifloordiv__": "floor_divide",
    "__imod__": "remainder", "__ipow__": "pow", "__iand__": "bitwise_and", "__ior__": "bitwise_or",
    "__ixor__": "bitwise_xor", "__ilshift__": "bitwise_left_shift", "__irshift__": "bitwise_right_shift",
}  # fmt: skip


def in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The method ``name_`` for a function whose first argument is the tensor."""

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        return computed(self, function(self, *arguments, **options))

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"`{name}` in place: the tensor takes on the result, as its own type, and is returned."
    return method


def write(tensor: Any, value: Any) -> None:
    """Let the program leave ``value`` in a parameter or state tensor; read afterwards, the tensor has that value."""
    segment, (old, new) = enter_all(tensor, value)
    overwrite(tensor, cast(new, old.dtype), segment)


class InPlaceMethods:
    """Methods whose names end in an underscore, and indexed assignment. Each returns the tensor itself."""

    __slots__ = ()

    def copy_(self: Any, source: Any, non_blocking: bool = False) -> Any:
        """Take over the elements of ``source``, which broadcasts, as this tensor's type."""
        return assign(self, source)

    def fill_(self: Any, value: Any) -> Any:
        """Set every element to ``value``."""
        filling = as_tensor(value)
        if filling.dim():
            raise ShapeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {filling.dim()} dimensions"
            )
        return assign(self, filling)

    def zero_(self: Any) -> Any:
        """Set every element to 0."""
        return assign(self, as_tensor(0))

    def fill_diagonal_(self: Any, fill_value: Any, wrap: bool = False) -> Any:
        """Set the elements whose indices are all equal; with ``wrap`` a tall matrix has its diagonal again and again.

        Errors: `ShapeError` for fewer than two dimensions, and for more of unequal sizes.
        """
        shape = type_of(self).shape
        if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
            raise ShapeError(f"fill_diagonal_ expects a matrix, or more dimensions of equal size, got shape {shape}")
        every = shape[1] + 1 if wrap and len(shape) == 2 else max(shape[0], 1)
        for first in range(0, shape[0], every):
            diagonal = self[first : first + every]
            while diagonal.dim() > 1:
                diagonal = shaping.diagonal(diagonal)
            diagonal.fill_(fill_value)
        return self

    def uniform_(self: Any, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Any:
        """Fill with numbers uniform in [from_, to)."""
        return _fill_random(
            self, generator, lambda source, shape: source.uniform(from_, to, shape),
            lambda source, shape, dtype: add(mul(random.uniform(source, shape, dtype), to - from_), from_),
        )  # fmt: skip

    def normal_(self: Any, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Any:
        """Fill with normal numbers."""
        return _fill_random(
            self, generator, lambda source, shape: source.normal(mean, std, shape),
            lambda source, shape, dtype: add(mul(random.standard_normal(source, shape, dtype), std), mean),
        )  # fmt: skip

    def bernoulli_(self: Any, p: Any = 0.5, *, generator: Generator | None = None) -> Any:
        """Fill with 1 where a random number is below p (a number, or a tensor that broadcasts), else 0."""
        return _fill_random(
            self, generator, lambda source, shape: source.random(shape) < (p._array() if hasattr(p, "_array") else p),
            lambda source, shape, dtype: lt(random.uniform(source, shape, dtype), p),
        )  # fmt: skip

    def random_(self: Any, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Any:
        """Fill with whole numbers from ``from_`` up to ``to`` - 1; with one argument, from 0 up to that."""
        dtype = self.dtype
        if to is None:
            limit = 2 if dtype.kind == "bool" else 2 ** {"float32": 24, "float64": 53, "int32": 31}.get(dtype.name, 62)
            from_, to = (0, from_) if from_ else (0, limit)
        return _fill_random(
            self, generator, lambda source, shape: source.integers(from_, to, shape),
            lambda source, shape, dtype: random.integers(source, from_, to, shape),
        )  # fmt: skip

    def t_(self: Any) -> Any:
        """The transpose of a matrix, in place."""
        return _turn_into(self, shaping.t(self))

    def transpose_(self: Any, dim0: int, dim1: int) -> Any:
        """Two dimensions exchanged, in place."""
        return _turn_into(self, shaping.transpose(self, dim0, dim1))

    swapaxes_ = swapdims_ = transpose_

    def squeeze_(self: Any, dim: Any = None) -> Any:
        """Dimensions of size 1 removed, in place."""
        return _turn_into(self, shaping.squeeze(self, dim))

    def unsqueeze_(self: Any, dim: int) -> Any:
        """A dimension of size 1 put in, in place."""
        return _turn_into(self, shaping.unsqueeze(self, dim))

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        setitem(self, index, value)


def _fill_random(
    tensor: Any,
    generator: Generator | None,
    draw: Callable[[np.random.Generator, Shape], Any],
    record: Callable[[Generator, Shape, DType], Any],
) -> Any:
    """Fill with numbers drawn at once, or in every run of the function that is being captured."""
    source, shape, dtype = generator or default_generator, tuple(tensor.shape), tensor.dtype
    if not state.segment.is_capturing:
        return assign(tensor, from_array(np.asarray(draw(source.numpy(), shape)), dtype))
    drawn = record(source, shape, dtype if dtype.is_floating_point else float64)
    return assign(tensor, convert(drawn, dtype))


def _turn_into(tensor: Any, seen: Any) -> Any:
    """Let a tensor look at its elements as a view of it does."""
    if tensor._slot is not None:
        raise GradientError(
            "the shape of a tensor that programs overwrite cannot be changed in place. fix: p.data = p.data.t()"
        )
    segment = state.segment
    has_views = any(other._base is tensor and other is not seen for other in segment.handles)
    if tensor._storage is None and tensor._base is None and has_views:
        if segment.is_capturing:
            raise CaptureError("compile() cannot capture a change of shape in place of a tensor that has views")
        resolve(tensor)
        resolve(seen)
    if tensor._storage is not None and tensor.requires_grad:
        tensor._vertex, tensor._segment, tensor._storage = vertex_of(seen), state.segment, None
        state.segment.handles.append(tensor)
    elif tensor._storage is not None:
        tensor._type, tensor._strides = seen._type, seen._strides
        tensor._vertex = tensor._segment = None
    else:
        tensor._vertex = seen._vertex
        if tensor._base is not None:
            tensor._type, tensor._strides = seen._type, seen._strides
        seen._base = None
    return tensor
