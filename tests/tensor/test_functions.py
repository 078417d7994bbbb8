"""The breadth of PyTorch's functions: one table of expressions, run in both libraries; values, types and gradients.

To add a case, write the expression. ``m`` is the library. Capital letters are tensors, made anew for each expression
and differentiated if they are floats: see `Names`. An expression that PyTorch refuses, chainrule must refuse too.
"""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler import programs
from chainrule.compiler.launch import forget_launches

from .against_torch import as_arrays, assert_same, tensor, torch

INF, NAN = float("inf"), float("nan")


def _grid(shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """Different numbers in (-2, 2), none of them 0."""
    count = int(np.prod(shape))
    return np.asarray((np.random.default_rng(seed).permutation(count) + 0.37) / max(count, 1) * 4 - 2).reshape(shape)


FLOATS = {
    "X": _grid((3, 4), 0), "Y": _grid((3, 4), 1), "Z": _grid((2, 3, 4), 2), "M": _grid((4, 3), 3), "V": _grid((4,), 4),
    "W": _grid((3,), 5), "S": np.array(0.7), "E": np.zeros((0, 3)), "O": np.array([[0.3]]), "L": _grid((33,), 6),
    "P": np.abs(_grid((3, 4), 7)) + 0.1, "C": _grid((3, 4), 8) / 2.5, "Q": _grid((4, 4), 9),
    "D": np.array([[1.0, 2.0, 2.0, 1.0], [3.0, 3.0, 3.0, 3.0], [0.0, -0.0, 1.0, 0.0]]),
    "N": np.array([[NAN, 1.0, INF, -INF], [2.0, NAN, NAN, 0.0], [1.0, 2.0, 3.0, -0.0]]),
    "F": np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0], [2.0, 5.0, 0.0]]),
}  # fmt: skip
OTHERS = {
    "I": np.array([[0, 2, 1], [3, 3, 0]]), "J": np.array([2, 0, 2]), "K": np.arange(12).reshape(3, 4) % 5 - 2,
    "B": np.arange(12).reshape(3, 4) % 3 == 0, "H": np.array([1, 0]),
}  # fmt: skip


class Names(dict[str, Any]):
    """The tensors of one expression by their letters. ``TX`` is X in transposed memory; ``IX`` X as whole numbers."""

    def __init__(self, module: Any, dtype: str) -> None:
        super().__init__(m=module, np=np, inf=INF, nan=NAN)
        self.module, self.dtype, self.leaves = module, dtype, []

    def __missing__(self, name: str) -> Any:
        if name in OTHERS:
            return self.setdefault(name, tensor(self.module, OTHERS[name]))
        if name[0] == "I" and name[1:] in FLOATS:
            return self.setdefault(name, tensor(self.module, (FLOATS[name[1:]] * 3).astype("int64")))
        if name not in FLOATS and name[1:] not in FLOATS:
            raise KeyError(name)
        array = FLOATS[name if name in FLOATS else name[1:]].astype(self.dtype)
        if name not in FLOATS:
            array = np.asfortranarray(array)
        leaf = self[name] = tensor(self.module, array, requires_grad=True)
        self.leaves.append(leaf)
        return leaf


def floats_of(result: Any) -> list[Any]:
    """The float tensors among the results of an expression through which a gradient flows."""
    parts = result if isinstance(result, tuple | list) else [result]
    return [part for part in parts if hasattr(part, "requires_grad") and part.requires_grad and part.numel()]


def total(module: Any, results: list[Any]) -> Any:
    """One number that depends on every element of the results in its own way; infinite ones do not count."""
    sums = []
    for part in (part for result in results for part in floats_of(result)):
        weights = tensor(module, np.cos(np.arange(part.numel())).reshape(tuple(part.shape)))
        sums.append((module.where(module.isfinite(part), part, 0.0).double() * weights).sum())
    return sum(sums) if sums else None


def run(module: Any, texts: list[str], dtype: str) -> tuple[list[Any], list[list[Any]]]:
    """Values of all expressions and gradients of their leaves; all in one program."""
    spaces = [Names(module, dtype) for _ in texts]
    results = [eval(text, {}, space) for text, space in zip(texts, spaces, strict=True)]
    number = total(module, results)
    if number is not None:
        number.backward()
    return results, [[leaf.grad for leaf in space.leaves] for space in spaces]


def compare(texts: list[str], dtype: str) -> None:
    accepted = []
    for text in texts:
        try:
            eval(text, {}, Names(torch, dtype))
        except Exception:
            with pytest.raises(cr.errors.ChainruleError):
                as_arrays(eval(text, {}, Names(cr, dtype)))
                pytest.fail(f"PyTorch refuses {text}, chainrule does not")
        else:
            accepted.append(text)
    (found, slopes), (wanted, expected) = run(cr, accepted, dtype), run(torch, accepted, dtype)
    for text, *pairs in zip(accepted, found, wanted, slopes, expected, strict=True):
        result, value, gradients, references = pairs
        assert_same(detached(result), value, text)
        for gradient, reference in zip(gradients, references, strict=True):
            if gradient is None or reference is None:
                reference_size = 0 if reference is None else float(np.abs(reference.numpy()).sum())
                size = 0 if gradient is None else float(np.abs(gradient.numpy()).sum())
                assert reference_size == size == 0, text
            else:
                assert_same(gradient, reference, f"gradient of {text}")


def detached(result: Any) -> Any:
    if isinstance(result, tuple | list):
        return [detached(part) for part in result]
    return result.detach() if hasattr(result, "detach") else result


TABLE: dict[str, str] = {
    "gather": """
        m.gather(X, 1, I.T[:, :2] % 4) ; X.gather(0, I % 3) ; TM.gather(1, I[:, :2] % 3) ; Z.gather(2, Z.long().abs())
        m.gather(X, -1, I[:, :1].repeat(2, 1)[:3] * 0 + 3) ; X.gather(1, m.tensor([[4]])) ; X.gather(1, J)
        X.gather(2, I) ; S.gather(0, H[0]) ; X.gather(1, K.float()) ; V.gather(0, J)
        m.take_along_dim(X, X.argsort(1), 1) ; m.take_along_dim(X, K.abs() % 4, dim=-1) ; m.take_along_dim(X, J)
        X.take_along_dim(I[:1, :1], 1) ; m.index_select(X, 0, J) ; X.index_select(1, J) ; TX.index_select(-1, H)
        X.index_select(0, I) ; X.take(J) ; X.index_select(0, m.tensor([5])) ; m.take(X, H - 5) ; X.take(I)
        X.take(m.tensor([20])) ; X.masked_fill(B, 0.5) ; X.masked_fill(B, -inf) ; m.masked_fill(X, B[0], S)
        X.masked_fill(K, 0) ; IX.masked_fill(B, 3) ; X.masked_fill(B, V) ; m.masked_select(X, B)
        X.masked_select(B[0]) ; X.masked_select(X > 5) ; X.masked_select(K) ; m.nonzero(B) ; K.nonzero()
        m.nonzero(K, as_tuple=True) ; S.nonzero() ; E.nonzero() ; m.where(B) ; m.argwhere(B)
    """,
    "scatter": """
        X.scatter_add(1, I[:2] % 4, Y[:2, :3]) ; m.scatter_add(X, 0, I % 3, M.T[:2, :3]) ; V.scatter_add(0, J, W)
        V.scatter_add(0, J, X) ; V.scatter_add(0, m.tensor([1, 2, 4]), W) ; V.scatter_add(0, J, W.double().float())
        TX.scatter_add(-1, I[:2], M.T[:2, :3]) ; V.scatter(0, H, W[:2]) ; X.scatter(1, H.reshape(2, 1), 7.0)
        m.scatter(X, 0, H.reshape(1, 2), Y[:1, :2]) ; m.zeros(3, 5).scatter(1, J.reshape(3, 1), 1.0)
        V.detach().scatter(0, J, W.detach(), reduce="add") ; V.scatter(0, H, value=2) ; V.index_add(0, H, W[:2])
        X.index_add(0, J, Y) ; m.index_add(X, 1, H, Y[:, :2], alpha=2) ; X.index_add(0, J, V)
        X.index_copy(0, H, Y[:2]) ; TX.index_copy(1, H, Y[:, :2]) ; X.index_fill(1, H, 3.0)
        m.index_fill(X, 0, J, -1) ; V.scatter_reduce(0, J, W, "sum") ; V.scatter_reduce(0, J, W, "mean")
        V.scatter_reduce(0, J, W, "amax") ; V.scatter_reduce(0, J, W, "amin", include_self=False)
        V.scatter_reduce(0, J, W, "sum", include_self=False) ; V.scatter_reduce(0, J, W, "mean", include_self=False)
        X.masked_scatter(B, Y) ; X.masked_scatter(B, W) ; m.select_scatter(X, V, 0, 1)
        m.slice_scatter(X, Y[:2], 0, 1) ; m.diagonal_scatter(X, W) ; m.bincount(J) ; m.bincount(J, W.detach())
        m.bincount(J, minlength=6) ; m.bincount(J - 1) ; m.bincount(H[:0]) ; m.histc(X.detach(), 5)
        m.histc(X.detach(), bins=4, min=-1, max=1) ; m.scatter_reduce(V, 0, J, W, "median")
    """,
    "parts": """
        m.split(X, 2) ; m.split(X, 3, 1) ; X.split([1, 3], dim=1) ; X.split([1, 1], 1) ; X.split(0) ; S.split(1)
        m.chunk(X, 2) ; X.chunk(3, -1) ; X.chunk(9, 1) ; E.chunk(2) ; X.chunk(0) ; m.tensor_split(X, 3, dim=1)
        X.tensor_split([1, 2], 1) ; X.tensor_split((5,), 1) ; X.hsplit(2) ; X.vsplit(3) ; X.hsplit(3) ; V.vsplit(2)
        m.unbind(X) ; X.unbind(1) ; TX.unbind(-1) ; X.unbind(2) ; X.select(1, 2) ; m.select(X, 0, -1) ; X.select(0, 3)
        X.narrow(1, 1, 2) ; m.narrow(X, 0, -2, 1) ; X.narrow(0, 2, 2) ; X.narrow(0, 0, 0) ; X.narrow(1, 0, -1)
        m.cat([m.tensor([]), X]) ; m.cat([X, m.tensor([]), X], 1) ; m.cat([m.tensor([]), X.long()]) ; m.cat([E, X])
        m.cat([m.tensor([]), m.tensor([])]) ; m.cat([m.tensor([]), X], 2)
        m.hstack([X, Y]) ; m.hstack([V, W]) ; m.hstack([S, S]) ; m.vstack([X, Y]) ; m.vstack([V, V])
        m.dstack([X, Y]) ; m.dstack([V, V]) ; m.column_stack([V, V]) ; m.column_stack([M, V]) ; m.row_stack([V, X])
        m.hstack([X, M]) ; X.repeat(2, 1) ; V.repeat(2) ; V.repeat(2, 3) ; X.repeat(2) ; S.repeat(3) ; TX.repeat(1, 2)
        X.repeat(0, 1) ; m.tile(X, (2, 2)) ; X.tile(2) ; V.tile((2, 1, 2)) ; m.repeat_interleave(X, 2)
        X.repeat_interleave(2, dim=1) ; X.repeat_interleave(J, dim=0) ; X.repeat_interleave(H, dim=0)
        m.repeat_interleave(J) ; X.repeat_interleave(0, 0) ; m.broadcast_to(V, (3, 4)) ; V.broadcast_to(2, 3)
        m.broadcast_tensors(V, O) ; m.atleast_1d(S) ; m.atleast_2d(V, S) ; m.roll(X, 1) ; X.roll(-1, 1)
        m.roll(X, (1, 2), (0, 1)) ; X.roll(5, 0) ; m.roll(X, (1, 2), 0) ; E.roll(1, 0) ; X.fliplr() ; X.flipud()
        V.fliplr() ; m.rot90(X) ; X.rot90(2) ; X.rot90(-1, (1, 0)) ; Z.rot90(1, (1, 2)) ; m.movedim(Z, 0, 2)
        Z.movedim((0, 1), (2, 0)) ; Z.moveaxis(-1, 0) ; Z.movedim(0, 3) ; Z.movedim((0, 0), (1, 2)) ; Z.swapaxes(0, 2)
        m.swapdims(Z, 0, 1) ; X.diagonal() ; X.diagonal(1) ; X.diagonal(-2) ; Z.diagonal(0, 1, 2)
        Z.diagonal(1, dim1=0, dim2=2) ; X.diagonal(9) ; V.diagonal() ; TX.diagonal() ; V.unfold(0, 2, 1)
        X.unfold(1, 2, 2) ; Z.unfold(1, 2, 1) ; V.unfold(0, 5, 1) ; V.unfold(0, 2, 0) ; m.cartesian_prod(V, W)
        m.meshgrid(V, W, indexing="ij") ; m.meshgrid(V, W, indexing="xy") ; m.meshgrid([V, W, V], indexing="xy")
        m.ravel(X) ; X.expand_as(Z) ; X.view_as(M)
    """,
    "cumulative": """
        m.cumsum(X, 0) ; X.cumsum(1) ; X.cumsum(dim=-1) ; TX.cumsum(1) ; S.cumsum(0) ; E.cumsum(0) ; K.cumsum(1)
        B.cumsum(0) ; X.cumsum(2) ; N.cumsum(1) ; K.cumsum(0, dtype=m.float32) ; m.cumprod(X, 0) ; X.cumprod(1)
        F.cumprod(1) ; S.cumprod(0) ; F.cumprod(0) ; K.cumprod(1) ; m.cummax(X, 1) ; m.cummax(D, 1) ; m.cummin(D, 1)
        X.cummin(0) ; N.cummax(1) ; N.cummin(1) ; K.cummax(1) ; S.cummax(0) ; m.logcumsumexp(X, 1) ; m.diff(X)
        X.diff(2) ; X.diff(dim=0) ; m.diff(V, prepend=W) ; Z.cumsum(1) ; Z.cumprod(0) ; L.cumsum(0) ; X.cumsum(axis=0)
        m.cumsum(X * 2, 1, dtype=m.float64)
    """,
    "sorting": """
        m.sort(X) ; X.sort(0) ; X.sort(1, descending=True) ; m.sort(D, stable=True)
        m.sort(D, descending=True, stable=True) ; N.sort(1) ; N.sort(1, descending=True) ; K.sort(stable=True)
        B.sort(stable=True) ; S.sort() ; E.sort(0) ; X.sort(2) ; TX.sort(1) ; Z.sort(1) ; L.sort() ; m.argsort(X)
        X.argsort(0, True) ; m.argsort(D, dim=1, stable=True) ; X.msort() ; m.topk(X, 2) ; X.topk(1)
        X.topk(1, 1, True) ; X.topk(2, 0, largest=False) ; X.topk(5) ; X.topk(0) ; S.topk(1) ; V.topk(4)
        X.topk(k=2, dim=-1) ; m.kthvalue(X, 2) ; X.kthvalue(1, 0) ; X.kthvalue(3, dim=1, keepdim=True) ; X.kthvalue(5)
        S.kthvalue(1) ; m.median(X) ; X.median(1) ; X.median(0, keepdim=True) ; N.median() ; S.median()
        m.nanmedian(N) ; N.nanmedian(1) ; X.median(dim=-1) ; m.quantile(X, 0.3) ; X.quantile(0.5, dim=1)
        X.quantile(0.9, 0, True) ; m.quantile(X, m.tensor([0.1, 0.7], dtype=X.dtype), dim=1)
        X.quantile(0.3, interpolation="nearest") ; X.quantile(1.5) ; X.quantile(0.3, dim=1, interpolation="lower")
        X.quantile(0.3, 1, interpolation="higher") ; X.quantile(1.0) ; X.quantile(0.3, 1, interpolation="midpoint")
        N.quantile(0.5, dim=1) ; m.nanquantile(N[1:], 0.5, dim=1) ; X.quantile(0.3, interpolation="middle")
        m.mode(D, 1) ; m.mode(K, 0) ; m.searchsorted(V.sort().values, X)
        m.searchsorted(L.sort().values, X, right=True) ; m.bucketize(X, m.tensor([-1.0, 0.0, 1.0]))
        m.bucketize(S, V[:0]) ; m.searchsorted(X.sort().values, Y) ; m.searchsorted(X.sort().values, Y, side="right")
        m.isin(K, m.tensor([1, 2])) ; m.searchsorted(m.tensor([1, 3, 3, 5]), K)
        m.searchsorted(m.tensor([1, 3, 3, 5]), K, right=True)
        m.bucketize(K, m.tensor([0, 1]), right=True, out_int32=True) ; m.searchsorted(X, W) ; m.unique(K)
        K.unique(return_inverse=True, return_counts=True) ; m.unique(K, dim=0) ; m.unique_consecutive(K)
        m.unique_consecutive(J.repeat(2), return_inverse=True, return_counts=True) ; X.detach().unique()
    """,
    "reductions": """
        m.trapezoid(X) ; m.trapezoid(X, dx=0.5, dim=0) ; m.trapz(X, V) ; m.trapezoid(X, W[:, None], dim=0) ; m.prod(X)
        X.prod(1) ; X.prod(0, keepdim=True) ; F.prod(1) ; F.prod() ; K.prod() ; B.prod(1) ; E.prod(0) ; E.prod()
        K.prod(dtype=m.float32) ; S.prod() ; X.prod(2) ; m.nansum(N) ; N.nansum(1) ; m.nanmean(N[1:], dim=1)
        K.nansum() ; m.var_mean(X) ; m.var_mean(X, 1) ; m.std_mean(X, dim=0, keepdim=True)
        m.std_mean(X, dim=1, unbiased=False) ; m.aminmax(X) ; m.aminmax(D, dim=1) ; m.count_nonzero(K)
        K.count_nonzero(1) ; m.count_nonzero(K, dim=(0, 1)) ; m.dist(X, Y) ; m.dist(X, Y, 1) ; m.cov(X)
        m.corrcoef(X) ; m.cov(V) ; X.sum(axis=1) ; X.mean(axis=0, keepdims=True) ; X.max(axis=1) ; X.argmax(axis=0)
        m.sum(X, dim=(0, 1)) ; X.sum(0, dtype=m.float64) ; X.std(axis=1) ; m.all(B, dim=1) ; m.logsumexp(X, dim=1)
        X.amax(axis=(0, 1)) ; m.trace(Q) ; X.trace() ; V.trace() ; X.any() ; m.any(B, 0)
    """,
    "elementwise": """
        m.erfc(X) ; m.erfc(X * 6) ; m.erfc(N) ; m.erfc(K) ; m.erfc(L * 13.7) ; m.erfc(D) ; m.erfinv(C) ; m.lgamma(P)
        m.erfinv(C * 0.1) ; m.erfinv(N) ; m.erfinv(K) ; m.lgamma(X * 3) ; m.lgamma(P * 1e6) ; m.lgamma(K) ; m.lgamma(N)
        m.logaddexp2(X, Y) ; m.ldexp(X.detach(), K) ; X.where(B, Y) ; X.where(B, 0.5) ; m.clone(X) ; m.detach(X)
        m.reciprocal(P) ; m.exp2(X) ; m.log2(P) ; m.log10(P) ; m.tan(C) ; m.sinh(X) ; m.cosh(X) ; m.asinh(X)
        m.acosh(P + 1) ; m.atanh(C) ; m.asin(C) ; m.acos(C) ; m.atan(X) ; m.arctan(N) ; m.atan2(X, Y) ; X.atan2(O)
        m.asin(X) ; N.atan2(Y) ; m.sinh(K) ; m.cosh(N) ; m.sinh(N) ; m.asinh(N) ; m.exp2(K) ; m.tan(K) ; m.atan(K)
        m.log2(N) ; m.atan2(K, K) ; m.asinh(X * 1e15) ; m.sinh(X * 30) ; m.sinh(X * 1e-5) ; m.asinh(X * 1e-5)
        m.acosh(P * 1e12) ; m.cosh(X * 44) ; m.hypot(X, Y) ; m.hypot(X * 1e30, Y * 1e30) ; m.logaddexp(X, Y)
        m.logaddexp(X, X) ; m.logaddexp(X * 1000, Y * 1000) ; m.logaddexp(N.detach(), N.detach()) ; m.xlogy(K, P)
        m.xlogy(D, D + 1) ; m.logit(P / 3) ; m.logit(C, eps=0.4) ; m.sinc(X) ; m.sinc(D) ; m.trunc(X) ; m.frac(X)
        m.fix(IX) ; m.fmod(X, 0.7) ; m.fmod(X, Y) ; m.fmod(K, 3) ; m.fmod(-K, 3) ; m.fmod(K, -3) ; m.copysign(X, Y)
        m.copysign(P, -1.0) ; m.signbit(D) ; m.signbit(K) ; m.fmax(N, X) ; m.fmin(N, X) ; m.sgn(X.detach())
        m.clamp_min(X, 0.1) ; X.clamp_max(0.1) ; m.clip(X, -1, 1) ; X.clip(min=0)
        m.heaviside(D.detach(), S.detach()) ; m.heaviside(X.detach(), V.detach()) ; m.lerp(X, Y, 0.3)
        m.lerp(X, Y, 0.8) ; X.lerp(Y, P) ; m.addcmul(X, Y, V) ; m.addcmul(X, Y, Y, value=0.5) ; m.rsub(X, 2)
        m.addcdiv(X, Y, P) ; X.addcdiv(Y, P, value=-2) ; m.float_power(P, 2) ; m.rad2deg(X) ; m.deg2rad(K)
        m.rsub(X, Y, alpha=2) ; m.isnan(N) ; m.isinf(N) ; m.isfinite(N) ; N.isposinf() ; N.isneginf() ; m.isnan(K)
        m.isinf(K) ; m.isfinite(K) ; m.nan_to_num(N) ; N.nan_to_num(1.0, 2.0, 3.0) ; K.nan_to_num()
        m.isclose(X, X + 1e-9) ; m.isclose(N, N) ; m.isclose(N, N, equal_nan=True) ; m.isclose(K, K + 1, atol=1)
        m.isclose(X, K) ; m.isclose(X, X, rtol=-1) ; m.allclose(X, X + 1e-9) ; m.allclose(X, Y) ; m.equal(X, X)
        m.equal(X, M) ; X.equal(Y) ; m.less(X, Y) ; m.greater(X, 0) ; m.maximum(D, D.detach().flip(1))
        m.minimum(X, O) ; m.less_equal(D, D) ; m.not_equal(D, 1) ; m.greater_equal(X, V)
        m.div(X, Y, rounding_mode="floor") ; m.div(X, 0.3, rounding_mode="trunc") ; m.div(K, 2, rounding_mode="trunc")
        m.div(K, -2, rounding_mode="floor") ; X.div(2, rounding_mode="up") ; m.subtract(X, Y) ; m.positive(X)
        m.square(X)
    """,
    "linear algebra": """
        m.matrix_power(Q, 3) ; Q.matrix_power(0) ; m.matrix_power(Z[:, :, :3], 2) ; X.matrix_power(2)
        m.matrix_power(Q, 1) ; m.cross(X.T[:3], Y.T[:3], dim=0) ; m.cross(X[:, :3], W, dim=1) ; X.cross(Y, dim=1)
        m.cdist(X, Y) ; m.cdist(X, X) ; m.cdist(Z, Y, p=1.0) ; m.cdist(X, M) ; m.dot(V, V) ; V.dot(W) ; X.dot(V)
        K[0].dot(K[1]) ; m.mv(X, V) ; X.mv(W) ; m.outer(V, W) ; m.outer(X, V) ; V.inner(X) ; m.inner(X, Y)
        m.inner(V, V) ; m.inner(X, W) ; m.addmm(W, X, M) ; m.addmm(Y[:, :3], X, M, beta=0.5, alpha=2)
        m.addmm((W * nan).detach(), X, M, beta=0) ; m.addmv(W, X, V) ; m.addr(X, W, V) ; m.baddbmm(O, Z, Z.mT)
        m.addbmm(O, Z, Z.mT) ; m.addmm(W, X, Y) ; m.tensordot(X, M, 1) ; m.tensordot(X, Y, 2) ; m.tensordot(V, W, 0)
        m.tensordot(Z, X, ([1, 2], [0, 1])) ; m.tensordot(X, Y, 1) ; m.kron(X, O) ; m.kron(V, W) ; m.kron(X, M)
        m.kron(Z, V) ; m.vdot(V, V) ; m.chain_matmul(X, M, X) ; m.tril(X) ; m.triu(X) ; X.tril(1) ; X.triu(-1)
        Z.tril() ; B.tril() ; K.triu(1) ; V.tril() ; m.triu(X, diagonal=2) ; m.diag(V) ; m.diag(X) ; m.diag(V, 1)
        V.diag(-2) ; m.diag(X, 1) ; Z.diag() ; m.diag_embed(X) ; m.diag_embed(X, 1, 0, 2) ; m.diagflat(X)
        m.block_diag(X, V, S) ; m.tril_indices(3, 4) ; m.triu_indices(3, 3, 1) ; K @ K.T ; K.T @ K[:, 0] ; m.mm(K, IM)
        m.bmm(Z, Z.mT) ; m.matmul(X, M) ; m.einsum("ij,jk->ik", X, M) ; m.einsum("ij->ji", X) ; m.einsum("ii", Q)
        m.einsum("ii->i", Q) ; m.einsum("ij,ij->", X, Y) ; m.einsum("i,j->ij", V, W)
        m.einsum("bij,bjk->bik", Z, Z.mT) ; m.einsum("...ij,jk->...ik", Z, M) ; m.einsum("bij,ij->b", Z, X)
        m.einsum("ij", TX) ; m.einsum("ij,j", X, V) ; m.einsum("i,i,i->i", V, V, V)
        m.einsum("ij,jk,kl->il", X, M, X) ; m.einsum("ij,k->", X, V) ; m.einsum("...,...", X, O)
        m.einsum("ij,jk->ik", X, Y) ; m.einsum("ij->ijk", X) ; m.einsum("ijk->", X) ; m.einsum("ij,jk->ki", [X, M])
        m.einsum("i->", V) ; m.einsum("ij,kj->ik", K, K) ; m.einsum("iji->j", Z[:, :, :2]) ; m.einsum("i...->...", Z)
        m.einsum("b i j -> b j", Z)
    """,
    "bits": """
        K & 3 ; K | 4 ; K ^ K.flip(1) ; ~K ; K << 2 ; K >> 1 ; B & B.flip(0) ; ~B ; B ^ True
        m.bitwise_and(K, K.int()) ; 5 & K ; m.bitwise_or(B, B) ; m.bitwise_xor(K, 7) ; m.bitwise_not(K.int()) ; X & 1
        ~X ; B & K ; m.bitwise_left_shift(K, 3) ; m.bitwise_right_shift(K - 9, 2) ; K.bitwise_and(1) ; -K | 1
    """,
    "creation": """
        X.ndimension() ; X.nelement() ; X.is_cuda ; X.is_cpu ; X.itemsize ; X.nbytes ; X.get_device()
        X.is_same_size(M) ; m.is_signed(X) ; m.scalar_tensor(2) ; m.asarray([1, 2]) ; X.cuda() ; X.is_sparse
        B.is_signed() ; X.new_zeros(2, 3) ; X.new_ones((2,)) ; X.new_full((2, 2), 7) ; K.new_full((2,), 7)
        X.new_tensor([1, 2]) ; K.new_ones(2) ; X.new_zeros(2, dtype=m.int64) ; m.zeros(size=(2, 3))
        m.full((2,), True) ; m.full((), 3) ; m.full_like(X, 2) ; m.eye(2, 3) ; m.ones_like(X, dtype=m.int64)
        m.zeros_like(K) ; m.logspace(0, 2, 3) ; m.linspace(0, 1, 5) ; m.arange(1, 2, 0.25) ; m.arange(5.0)
        m.arange(5, dtype=m.float64) ; m.zeros(2, 0) ; m.FloatTensor([1, 2]) ; m.LongTensor([[1], [2]]) ; X.type_as(K)
        X.type(m.float64) ; K.type("torch.FloatTensor") ; m.tensor(3).type_as(X) ; X.numel() ; m.numel(E)
        m.full((2,), 1.5, requires_grad=True) * 2 ; m.full_like(K, 3, dtype=m.float32)
    """,
}


def cases(family: str) -> list[str]:
    lines = TABLE[family].strip().split("\n")
    return [text.strip() for line in lines for text in line.split(" ; ") if text.strip()]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("family", TABLE)
def test_agrees_with_pytorch(family: str, dtype: str) -> None:
    compare(cases(family), dtype)


def is_accepted(text: str, dtype: str) -> bool:
    try:
        as_arrays(eval(text, {}, Names(cr, dtype)))
    except cr.errors.ChainruleError:
        return False
    return True


def as_bits(result: Any) -> Any:
    """What a result is, to the bit; any NaN is like any other."""
    if isinstance(result, tuple | list):
        return [as_bits(part) for part in result]
    if not hasattr(result, "detach"):
        return repr(result)
    array = result.detach().numpy()
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return str(array.dtype), array.shape, array.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("family", TABLE)
def test_running_once_and_compiled_give_the_same_bits(family: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients, vertex by vertex and as a compiled program."""
    accepted = [text for text in cases(family) if is_accepted(text, dtype)]
    both = []
    for is_once in (True, False):
        forget_launches()
        programs._PROGRAMS.clear()
        monkeypatch.setattr(programs, "_recurs", lambda *graph, is_once=is_once: not is_once)
        both += map(as_bits, run(cr, accepted, dtype))
        assert bool(programs._PROGRAMS) != is_once
    values, slopes, compiled_values, compiled_slopes = both
    for text, *pairs in zip(accepted, values, compiled_values, slopes, compiled_slopes, strict=True):
        assert pairs[0] == pairs[1], text
        assert pairs[2] == pairs[3], f"gradient of {text}"
