"""Einstein's sums: products of tensors whose dimensions have names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from . import reductions, shaping
from .operands import as_tensor


def einsum(equation: str, *operands: Any) -> Any:
    """The sum of products that ``equation`` says: letters name dimensions, those behind the arrow are kept.

    Without an arrow the letters that occur once are kept, in the order of the alphabet. A letter twice in one operand
    is its diagonal; ``...`` stands for dimensions that broadcast. Two operands at a time are multiplied as matrices,
    from left to right.

    Errors: `ArgumentError`, `ShapeError`.

    >>> import chainrule as cr
    >>> cr.einsum("ij,j->i", cr.ones(2, 3), cr.ones(3))
    tensor([3., 3.])
    """
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    tensors = [as_tensor(operand) for operand in given]
    inputs, output = _read_equation(equation, [tensor.dim() for tensor in tensors])
    sizes: dict[str, int] = {}
    for names, tensor in zip(inputs, tensors, strict=True):
        for name, size in zip(names, tensor.shape, strict=True):
            if sizes.setdefault(name, size) != size and 1 not in (size, sizes[name]):
                raise ShapeError(f"einsum: dimension {name!r} of {equation!r} has sizes {sizes[name]} and {size}")
            sizes[name] = max(sizes[name], size) if 0 not in (size, sizes[name]) else 0
    terms = [_diagonals(names, tensor) for names, tensor in zip(inputs, tensors, strict=True)]
    names, result = terms[0]
    for i, (other_names, other) in enumerate(terms[1:], 1):
        later = set(output).union(*(names for names, _ in terms[i + 1 :]))
        names, result = _contract(names, result, other_names, other, later)
    summed = tuple(axis for axis, name in enumerate(names) if name not in output)
    if summed:
        result = reductions.sum(result, summed, dtype=result.dtype)
        names = [name for name in names if name in output]
    return shaping.permute(result, *(names.index(name) for name in output)) if output else result


def _read_equation(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The names of the dimensions of each operand and of the result; those under dots are numbers."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ArgumentError(f"einsum: {equation!r} names {len(terms)} operands, got {len(ranks)}")
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks, strict=True)
    ]
    most = max(hidden, default=0)
    dots = [str(number) for number in range(most)]
    inputs = []
    for term, rank, count in zip(terms, ranks, hidden, strict=True):
        before, _, after = term.partition("...")
        names = [*before, *dots[most - count :], *after] if "..." in term else list(term)
        if len(names) != rank or not all(name.isalpha() or name in dots for name in names):
            raise ArgumentError(f"einsum: {term!r} in {equation!r} does not fit a tensor of {rank} dimensions")
        inputs.append(names)
    everything = [name for names in inputs for name in names]
    if not arrow:
        return inputs, [*dots, *sorted(n for n in set(everything) - set(dots) if everything.count(n) == 1)]
    before, has_dots, after = right.partition("...")
    output = [*before, *(dots if has_dots else []), *after]
    if len(set(output)) < len(output) or not set(output) <= set(everything) | set(dots):
        raise ArgumentError(f"einsum: the result {right!r} of {equation!r} needs different letters of the operands")
    return inputs, output


def _diagonals(names: list[str], x: Any) -> tuple[list[str], Any]:
    """The operand with each letter once."""
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            first = names.index(name)
            second = names.index(name, first + 1)
            x = shaping.diagonal(x, 0, first, second)
            names = [n for axis, n in enumerate(names) if axis not in (first, second)] + [name]
    return names, x


def _contract(a_names: list[str], a: Any, b_names: list[str], b: Any, later: set[str]) -> tuple[list[str], Any]:
    """The product of two operands, summed over what neither the result nor a later operand needs."""
    a, a_names = _sum_out(a, a_names, later | set(b_names))
    b, b_names = _sum_out(b, b_names, later | set(a_names))
    shared = [name for name in a_names if name in b_names]
    batch = [name for name in shared if name in later]
    summed = [name for name in shared if name not in later]
    rows, columns = [n for n in a_names if n not in shared], [n for n in b_names if n not in shared]

    def arrange(x: Any, names: list[str], order: list[str], groups: list[list[str]]) -> Any:
        x = shaping.permute(x, *(names.index(name) for name in order)) if order else x
        wide = [size_of[name] if name in shared else x.shape[axis] for axis, name in enumerate(order)]
        x = shaping.expand(x, *wide) if tuple(wide) != tuple(x.shape) else x
        return x.reshape([math.prod(size_of[name] for name in group) for group in groups])

    size_of = dict(zip(a_names, a.shape, strict=True))
    for name, size in zip(b_names, b.shape, strict=True):
        size_of[name] = size if size_of.get(name, 1) == 1 else size_of[name]
    left = arrange(a, a_names, [*batch, *rows, *summed], [batch, rows, summed])
    right = arrange(b, b_names, [*batch, *summed, *columns], [batch, summed, columns])
    names = [*batch, *rows, *columns]
    return names, shaping.matmul(left, right).reshape([size_of[name] for name in names])


def _sum_out(x: Any, names: list[str], needed: set[str]) -> tuple[Any, list[str]]:
    gone = tuple(axis for axis, name in enumerate(names) if name not in needed)
    kept = [name for name in names if name in needed]
    return (reductions.sum(x, gone, dtype=x.dtype) if gone else x), kept
