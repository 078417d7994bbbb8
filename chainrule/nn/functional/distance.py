"""How far apart vectors are, and losses that pull them together or push them apart."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError
from ...graph.site import find_site
from ...tensor import operations, reductions
from ...tensor.recording import type_of
from ...tensor.remembered import remembered
from .checks import check_reduction, check_same_shape
from .loss import positive_part, reduced


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x₁·x₂ / (max(‖x₁‖, eps) max(‖x₂‖, eps)) along ``dim``; shapes broadcast.

    >>> import chainrule as cr
    >>> cr.nn.functional.cosine_similarity(cr.tensor([[3.0, 4.0]]), cr.tensor([[1.0, 0.0]]))
    tensor([0.6000])
    """
    return _cosine_similarity(x1, x2, dim=dim, eps=float(eps))


@remembered
def _cosine_similarity(x1: Any, x2: Any, *, dim: int, eps: float) -> Any:
    products = operations.mul(
        operations.div(x1, _safe_norm(x1, dim, eps)), operations.div(x2, _safe_norm(x2, dim, eps))
    )
    return reductions.sum(products, dim)


def _safe_norm(x: Any, dim: int, eps: float) -> Any:
    """max(‖x‖, eps), with the gradient of ‖x‖ in both cases, as PyTorch's."""
    norm = reductions.norm(x, 2, dim, keepdim=True)
    lifted = operations.add(norm, operations.reverse_subtract(norm, eps).detach())
    return operations.where(operations.lt(norm, eps), lifted, norm)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    """‖x₁ - x₂ + eps‖_p over the last dimension; shapes broadcast.

    >>> import chainrule as cr
    >>> cr.nn.functional.pairwise_distance(cr.tensor([[3.0, 4.0]]), cr.zeros(1, 2))
    tensor([5.0000])
    """
    return _pairwise_distance(x1, x2, p=float(p), eps=float(eps), keepdim=bool(keepdim))


@remembered
def _pairwise_distance(x1: Any, x2: Any, *, p: float, eps: float, keepdim: bool) -> Any:
    return reductions.norm(operations.add(operations.sub(x1, x2), eps), p, -1, keepdim)


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """1 - cos(x₁, x₂) where the target is 1, (cos(x₁, x₂) - margin)₊ where it is -1.

    Shapes: inputs (N, D) and target (N), or (D) and (). Errors: `ShapeError`.

    >>> import chainrule as cr
    >>> x, y = cr.tensor([[3.0, 4.0]]), cr.tensor([[1.0, 0.0]])
    >>> round(cr.nn.functional.cosine_embedding_loss(x, y, cr.tensor([1])).item(), 4)
    0.4
    """
    return _cosine_embedding_loss(input1, input2, target, margin=float(margin), reduction=reduction)


@remembered
def _cosine_embedding_loss(input1: Any, input2: Any, target: Any, *, margin: float, reduction: str) -> Any:
    check_reduction(reduction)
    check_same_shape("cosine_embedding_loss", input1, input2, "input2")
    shape, signs = type_of(input1).shape, type_of(target).shape
    if len(shape) not in (1, 2) or signs != shape[:-1]:
        raise ShapeError(
            f"cosine_embedding_loss got inputs of shape {shape} and target of shape {signs}: expected (N, D) and (N), "
            f"or (D) and ()\n  where: {find_site()}"
        )
    first, second = (operations.add(reductions.sum(operations.square(x), -1), 1e-12) for x in (input1, input2))
    product = reductions.sum(operations.mul(input1, input2), -1)
    cosine = operations.div(product, operations.sqrt(operations.mul(first, second)))
    near = operations.where(operations.eq(target, 1), operations.reverse_subtract(cosine, 1), 0.0)
    far = operations.where(operations.eq(target, -1), positive_part(operations.sub(cosine, margin)), 0.0)
    return reduced(operations.add(near, far), reduction)


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Any:
    """(d(a, p) - d(a, n) + margin)₊ with d = `pairwise_distance`: the positive should lie nearer than the negative.

    ``swap`` takes for d(a, n) the smaller of d(a, n) and d(p, n). Shapes: (N, D) or (D) each; sizes of 1 broadcast.
    Errors: `ArgumentError` for a margin that is not positive, `ShapeError`. Source: Balntas et al. 2016.

    >>> import chainrule as cr
    >>> a, b, c = cr.tensor([[0.0]]), cr.tensor([[1.0]]), cr.tensor([[1.5]])
    >>> round(cr.nn.functional.triplet_margin_loss(a, b, c).item(), 4)
    0.5
    """
    check_margin(margin)
    return _triplet_margin_loss(
        anchor, positive, negative, margin=float(margin), p=float(p), eps=float(eps), swap=bool(swap),
        reduction=reduction,
    )  # fmt: skip


def check_margin(margin: float) -> None:
    """Errors: `ArgumentError` for a margin that is not positive."""
    if not margin > 0:
        raise ArgumentError(f"margin must be greater than 0, got {margin}")


@remembered
def _triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, *, margin: float, p: float, eps: float, swap: bool, reduction: str
) -> Any:
    check_reduction(reduction)
    ranks = [len(type_of(value).shape) for value in (anchor, positive, negative)]
    if len(set(ranks)) > 1:
        raise ShapeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {ranks[0]}D, positive {ranks[1]}D, and negative {ranks[2]}D inputs\n  where: {find_site()}"
        )
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = operations.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(positive_part(operations.add(operations.sub(near, far), margin)), reduction)
