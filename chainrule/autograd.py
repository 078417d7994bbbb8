"""Derivatives as functions: `grad`, `gradcheck`, and ``functional`` with Jacobians, Hessians and products with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from .autodiff.check import check_gradient
from .autodiff.reverse import gradients
from .errors import GradientError
from .graph.graph import Graph, topological_order
from .ops.elementwise import stop_gradient
from .tensor import operations, shaping
from .tensor.creation import zeros_like
from .tensor.gradmode import enable_grad
from .tensor.operands import as_tensor, enter_all
from .tensor.recording import pending
from .tensor.segment import Segment, flush, state

Tensors = Any


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def grad(
    outputs: Tensors,
    inputs: Tensors,
    grad_outputs: Tensors = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Return Σ ∂(output · grad_output)/∂input for each input, without touching ``.grad``.

    With ``create_graph`` the results can be differentiated again. ``retain_graph`` is accepted: graphs are always kept;
    so is ``only_inputs``, which is always true.
    Errors: `GradientError` for an input on which no output depends, unless ``allow_unused`` (then None).

    >>> import chainrule as cr
    >>> x = cr.tensor([1.0, 2.0], requires_grad=True)
    >>> cr.autograd.grad((x ** 3).sum(), x)
    (tensor([ 3., 12.]),)
    """
    roots, wrt = _as_tuple(outputs), _as_tuple(inputs)
    cotangents = _as_tuple(grad_outputs) if grad_outputs is not None else (None,) * len(roots)
    given = [as_tensor(cotangent) for cotangent in cotangents if cotangent is not None]
    segment, entered = enter_all(*roots, *wrt, *given)
    root_vertices, wrt_vertices = entered[: len(roots)], entered[len(roots) : len(roots) + len(wrt)]
    remaining = iter(entered[len(roots) + len(wrt) :])
    total: list[Any] = [None] * len(wrt)
    for root, vertex, cotangent in zip(roots, root_vertices, cotangents, strict=True):
        if cotangent is None and vertex.type.size != 1:
            shape = tuple(root.shape)
            raise GradientError(f"grad can be implicitly created only for scalar outputs, got shape {shape}")
        found = gradients(vertex, wrt_vertices, None if cotangent is None else next(remaining))
        for position, gradient in enumerate(found):
            if gradient is not None:
                handle = pending(gradient if create_graph else stop_gradient(gradient), segment)
                total[position] = handle if total[position] is None else operations.add(total[position], handle)
    if not allow_unused and any(gradient is None for gradient in total):
        raise GradientError(
            "One of the differentiated Tensors appears to not have been used in the graph. fix: allow_unused=True"
        )
    return tuple(total)


def _trace(function: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Graph, list[Any]]:
    """The graph of ``function`` over the inputs, in float64, and the values of all its inputs."""
    flush()
    segment = Segment()
    segment.is_symbolic = True
    before, state.segment = state.segment, segment
    try:
        arguments = [as_tensor(np.asarray(value._array(), float)).requires_grad_() for value in inputs]
        with enable_grad():
            outputs = _as_tuple(function(*arguments))
        vertices = enter_all(*arguments, *outputs)[1]
    finally:
        state.segment = before
    roots = tuple(vertices[len(arguments) :])
    known: dict[Any, Any] = dict(zip(vertices, arguments, strict=False))
    sources = [
        vertex for vertex in topological_order(roots) if vertex.primitive.name == "input" and vertex not in known
    ]
    for vertex in sources:
        number: Any = vertex.users.get("leaf number")
        known[vertex] = segment.slots[vertex] if number is None else segment.leaves[number]
    order = (*vertices[: len(arguments)], *sources)
    return Graph(order, roots), [known[vertex]._array() for vertex in order]


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensors,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of ``func`` with central differences in float64.

    Errors: `GradientError` naming the argument, the index and both values, unless ``raise_exception`` is False.

    >>> import chainrule as cr
    >>> cr.autograd.gradcheck(lambda x: (x.sin() * x).sum(), cr.randn(3, dtype=cr.float64))
    True
    """
    arguments = [as_tensor(value) for value in _as_tuple(inputs)]
    graph, values = _trace(func, arguments)
    mismatches = check_gradient(graph, values, range(len(arguments)), eps=eps, atol=atol, rtol=rtol)
    if mismatches and raise_exception:
        listed = "\n  ".join(str(mismatch) for mismatch in mismatches[:5])
        raise GradientError(f"gradcheck found {len(mismatches)} wrong derivative(s):\n  {listed}")
    return not mismatches


def _differentiable(inputs: Tensors) -> tuple[Any, ...]:
    return tuple(as_tensor(value).detach().clone().requires_grad_() for value in _as_tuple(inputs))


def _like(inputs: Tensors, results: tuple[Any, ...]) -> Any:
    """One result for one tensor, a tuple for a tuple."""
    return results if isinstance(inputs, tuple | list) else results[0]


def vjp(func: Callable[..., Any], inputs: Tensors, v: Any = None) -> tuple[Any, Any]:
    """Return (func(inputs), vᵀ J); ``v`` may be left out for a scalar result."""
    arguments = _differentiable(inputs)
    output = func(*arguments)
    found = grad(output, arguments, v, allow_unused=True)
    filled = tuple(zeros_like(x) if g is None else g for x, g in zip(arguments, found, strict=True))
    return output.detach(), _like(inputs, filled)


def jvp(func: Callable[..., Any], inputs: Tensors, v: Any) -> tuple[Any, Any]:
    """Return (func(inputs), J v), by differentiating uᵀ J with respect to u."""
    arguments = _differentiable(inputs)
    output = func(*arguments)
    dual = zeros_like(output.detach()).requires_grad_()
    pulled = grad(output, arguments, dual, create_graph=True, allow_unused=True)
    pairs = [(g, as_tensor(d)) for g, d in zip(pulled, _as_tuple(v), strict=True) if g is not None]
    (pushed,) = grad([g for g, _ in pairs], dual, [d for _, d in pairs], allow_unused=True)
    return output.detach(), zeros_like(output.detach()) if pushed is None else pushed


def jacobian(func: Callable[..., Any], inputs: Tensors) -> Any:
    """Return ∂func/∂input with the shape (output's shape, input's shape), one per input."""
    arguments = _differentiable(inputs)
    output = func(*arguments)
    flat = shaping.reshape(output, -1)
    rows = [grad(flat[i], arguments, create_graph=False, allow_unused=True) for i in range(flat.numel())]
    results = []
    for position, argument in enumerate(arguments):
        column = [zeros_like(argument.detach()) if row[position] is None else row[position] for row in rows]
        results.append(shaping.reshape(shaping.stack(column), *output.shape, *argument.shape))
    return _like(inputs, tuple(results))


def hvp(func: Callable[..., Any], inputs: Tensors, v: Any) -> tuple[Any, Any]:
    """Return (func(inputs), H v) for a scalar ``func``, without forming the Hessian."""
    arguments = _differentiable(inputs)
    output = func(*arguments)
    first = grad(output, arguments, create_graph=True, allow_unused=True)
    pairs = [(g, as_tensor(d)) for g, d in zip(first, _as_tuple(v), strict=True) if g is not None and g.requires_grad]
    second = (
        grad([g for g, _ in pairs], arguments, [d for _, d in pairs], allow_unused=True)
        if pairs
        else (None,) * len(arguments)
    )
    filled = tuple(zeros_like(x.detach()) if h is None else h for x, h in zip(arguments, second, strict=True))
    return output.detach(), _like(inputs, filled)


def hessian(func: Callable[..., Any], inputs: Any) -> Any:
    """Return the matrix of second derivatives of a scalar ``func`` of one tensor."""

    def first(x: Any) -> Any:
        (gradient,) = grad(func(x), x, create_graph=True)
        return gradient

    return jacobian(first, inputs)


functional = SimpleNamespace(jacobian=jacobian, hessian=hessian, hvp=hvp, vjp=vjp, jvp=jvp)
