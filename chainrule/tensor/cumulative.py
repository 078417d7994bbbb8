"""Sums, products and extrema of all elements up to each one, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph.vertex import Vertex
from ..ops import scan
from ..types import as_dtype, bool_, int64, normalize_axis
from . import gathering, operations, partition, shaping
from .keywords import pytorch_keywords
from .operands import as_tensor, enter_all
from .recording import pending
from .reductions import ValuesAndIndices

METHODS = ("cummax", "cummin", "cumprod", "cumsum", "diff", "logcumsumexp")


def record_scan(build: Callable[..., Vertex], x: Any, dim: int, *attributes: Any) -> Any:
    """Record a scan of a tensor along ``dim``; a tensor without dimensions is a line of one element."""
    axis = normalize_axis(dim, x.dim())
    line = x if x.dim() else x.reshape(1)
    segment, (vertex,) = enter_all(line)
    key = (build, axis, *attributes)
    found = vertex.users.get(key)
    if found is None:
        found = vertex.users[key] = build(vertex, axis, *attributes)
    result = pending(found, segment)
    return result if x.dim() else result.reshape(())


def _accumulated(build: Callable[..., Vertex], input: Any, dim: int, dtype: Any) -> Any:
    x = as_tensor(input)
    if dtype is not None:
        x = operations.convert(x, as_dtype(dtype))
    elif not x.dtype.is_floating_point:
        x = operations.convert(x, int64)
    return record_scan(build, x, dim)


@pytorch_keywords
def cumsum(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """out[i] = Σ input[j] over j ≤ i along ``dim``. Booleans and integers are added as int64.

    >>> import chainrule as cr
    >>> cr.cumsum(cr.tensor([1, 2, 3]), 0)
    tensor([1, 3, 6])
    """
    return _accumulated(scan.cumulative_sum, input, dim, dtype)


@pytorch_keywords
def cumprod(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """out[i] = Π input[j] over j ≤ i along ``dim``. Booleans and integers are multiplied as int64.

    >>> import chainrule as cr
    >>> cr.cumprod(cr.tensor([1, 2, 3]), 0)
    tensor([1, 2, 6])
    """
    return _accumulated(scan.cumulative_product, input, dim, dtype)


@pytorch_keywords
def cummax(input: Any, dim: int) -> ValuesAndIndices:
    """The largest element so far along ``dim``, and where it is: of equal ones the last. NaN is the largest.

    >>> import chainrule as cr
    >>> cr.cummax(cr.tensor([1, 3, 2]), 0).values
    tensor([1, 3, 3])
    """
    x = as_tensor(input)
    return _extrema(x, x, dim)


@pytorch_keywords
def cummin(input: Any, dim: int) -> ValuesAndIndices:
    """The smallest element so far along ``dim``, and where it is: of equal ones the last. NaN is the smallest."""
    x = as_tensor(input)
    return _extrema(x, operations.neg(x) if x.dtype is not bool_ else operations.logical_not(x), dim)


def _extrema(x: Any, ranked: Any, dim: int) -> ValuesAndIndices:
    ranked = ranked if ranked.dtype is not bool_ else operations.convert(ranked, int64)
    indices = record_scan(scan.cumulative_argmax, ranked, dim)
    return ValuesAndIndices(gathering.gather_known(x, dim, indices), indices)


@pytorch_keywords
def logcumsumexp(input: Any, dim: int) -> Any:
    """log Σ e^input[j] over j ≤ i along ``dim``, relative to the largest element of each line."""
    x = as_tensor(input)
    largest = x.amax(dim, True).detach() if x.numel() else x
    shift = operations.where(operations.eq(operations.abs(largest), float("inf")), 0.0, largest)
    return operations.add(operations.log(cumsum(operations.exp(operations.sub(x, shift)), dim)), shift)


@pytorch_keywords
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours along ``dim``, taken ``n`` times.

    >>> import chainrule as cr
    >>> cr.diff(cr.tensor([1, 3, 6]))
    tensor([2, 3])
    """
    x = shaping.cat([part for part in (prepend, as_tensor(input), append) if part is not None], dim)
    for _ in range(min(n, x.shape[dim])):
        size = x.shape[dim]
        later, earlier = partition.narrow(x, dim, 1, size - 1), partition.narrow(x, dim, 0, size - 1)
        x = operations.ne(later, earlier) if x.dtype is bool_ else operations.sub(later, earlier)
    return x
