"""Reductions that are composed of others, under PyTorch's names: moments, counts, sums without NaN."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..types import float32
from . import cumulative, elementwise, operations, partition, reductions
from .keywords import pytorch_keywords
from .operands import as_tensor
from .reductions import Axes

METHODS = ("aminmax", "corrcoef", "count_nonzero", "cov", "dist", "nanmean", "nansum", "std_mean", "var_mean")


class MinAndMax(NamedTuple):
    """What `aminmax` returns."""

    min: Any
    max: Any


@pytorch_keywords
def nansum(input: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum, with 0 for NaN."""
    x = as_tensor(input)
    x = operations.where(elementwise.isnan(x), 0.0, x) if x.dtype.is_floating_point else x
    return reductions.sum(x, dim, keepdim, dtype=dtype)


@pytorch_keywords
def nanmean(input: Any, dim: Axes = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean of the elements that are not NaN."""
    x = as_tensor(input)
    count = reductions.sum(operations.logical_not(elementwise.isnan(x)), dim, keepdim)
    return operations.div(nansum(x, dim, keepdim, dtype=dtype), count)


@pytorch_keywords
def var_mean(
    input: Any, dim: Axes = None, *, correction: int = 1, unbiased: bool | None = None, keepdim: bool = False
) -> tuple[Any, Any]:
    """(variance, mean) over ``dim``."""
    variance = reductions.var(input, dim, correction=correction, unbiased=unbiased, keepdim=keepdim)
    return variance, reductions.mean(input, dim, keepdim)


@pytorch_keywords
def std_mean(
    input: Any, dim: Axes = None, *, correction: int = 1, unbiased: bool | None = None, keepdim: bool = False
) -> tuple[Any, Any]:
    """(standard deviation, mean) over ``dim``."""
    deviation = reductions.std(input, dim, correction=correction, unbiased=unbiased, keepdim=keepdim)
    return deviation, reductions.mean(input, dim, keepdim)


@pytorch_keywords
def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """The smallest and the largest element, of all or along ``dim``."""
    return MinAndMax(reductions.amin(input, dim, keepdim), reductions.amax(input, dim, keepdim))


@pytorch_keywords
def count_nonzero(input: Any, dim: Axes = None) -> Any:
    """The number of elements that are not zero, over ``dim``.

    >>> import chainrule as cr
    >>> cr.count_nonzero(cr.tensor([0, 3, 4]))
    tensor(2)
    """
    return reductions.sum(operations.to_bool(input), dim)


@pytorch_keywords
def dist(input: Any, other: Any, p: float = 2) -> Any:
    """The p-norm of the difference of two tensors."""
    return reductions.norm(operations.sub(input, other), p)


@pytorch_keywords
def trapezoid(y: Any, x: Any = None, *, dx: float = 1, dim: int = -1) -> Any:
    """The integral along ``dim`` of the line through the points (x, y); without x they are ``dx`` apart."""
    values = as_tensor(y)
    size = values.shape[dim]
    sums = operations.add(partition.narrow(values, dim, 1, size - 1), partition.narrow(values, dim, 0, size - 1))
    if x is None:
        return operations.mul(reductions.sum(sums, dim), dx / 2)
    widths = cumulative.diff(as_tensor(x), dim=dim if as_tensor(x).dim() > 1 else 0)
    if widths.dim() == 1:
        widths = widths.reshape([-1 if axis == dim % values.dim() else 1 for axis in range(values.dim())])
    return operations.mul(reductions.sum(operations.mul(sums, widths), dim), 0.5)


trapz = trapezoid


def cov(input: Any, *, correction: int = 1) -> Any:
    """The covariance matrix of variables in rows, observations in columns; of one row its variance."""
    x = as_tensor(input)
    rows = x.reshape(1, -1) if x.dim() < 2 else x
    rows = rows if rows.dtype.is_floating_point else operations.convert(rows, float32)
    count = rows.shape[1]
    centred = operations.sub(rows, reductions.mean(rows, 1, True))
    matrix = operations.mul(centred @ centred.T, 1 / (count - correction) if count > correction else math.nan)
    return matrix if x.dim() == 2 else matrix.reshape(())


def corrcoef(input: Any) -> Any:
    """The matrix of correlation coefficients of variables in rows."""
    matrix = cov(input)
    if not matrix.dim():
        return operations.div(matrix, matrix)
    deviation = operations.sqrt(matrix.diagonal())
    return operations.clamp(operations.div(operations.div(matrix, deviation.unsqueeze(1)), deviation), -1, 1)
