"""Gradient checking: the analytic gradient of a graph against central differences, in float64.

``∂f/∂xᵢ ≈ (f(x + ε·eᵢ) - f(x - ε·eᵢ)) / 2ε``, with an error of order ε² and rounding of order 10⁻¹⁶/ε. Both sides are
computed by the reference evaluator, so that a failure blames a derivative rule and no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ArgumentError
from ..graph.graph import Graph
from ..graph.vertex import Vertex
from ..ops.source import make_input, zeros_like
from ..reference import Array, evaluate
from ..types import float64, tensor_type
from .reverse import gradients


@dataclass(frozen=True)
class Mismatch:
    """One element of a Jacobian on which the analytic and the numeric derivative disagree.

    ``argument`` and ``index`` name the input's element, ``output`` and ``output_index`` the element that depends on it.
    """

    argument: int
    index: tuple[int, ...]
    output: int
    output_index: tuple[int, ...]
    analytic: float
    numeric: float

    def __str__(self) -> str:
        return (
            f"derivative of output {self.output} at index {self.output_index} by argument {self.argument} at index "
            f"{self.index}: analytic {self.analytic:.10g}, numeric {self.numeric:.10g}"
        )


def trace(build: Callable[..., Vertex], arrays: Sequence[Array]) -> Graph:
    """Return the graph of ``build(*inputs)`` on one new input per array."""
    inputs = tuple(make_input(tensor_type(float64, array.shape), requires_grad=True) for array in arrays)
    return Graph(inputs, (build(*inputs),))


def check_gradient(
    graph: Graph,
    values: Sequence[Array],
    arguments: Sequence[int] | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> list[Mismatch]:
    """Return every element of the Jacobians for which ``|analytic - numeric| > atol + rtol·|numeric|``.

    ``arguments`` are positions among the graph's inputs, by default those of floating point; the other inputs are held
    fixed. Outputs that are not of floating point are left out. NaN agrees with nothing.
    Errors: `ArgumentError` for an argument that is not float64.

    >>> from chainrule.ops.arithmetic import multiply
    >>> check_gradient(trace(multiply, [np.ones(3), np.ones(3)]), [np.arange(3.0), np.ones(3)])
    []
    """
    if arguments is None:
        arguments = [place for place, vertex in enumerate(graph.inputs) if vertex.dtype.is_floating_point]
    for place in arguments:
        if graph.inputs[place].dtype is not float64:
            raise ArgumentError(
                f"a gradient is checked in float64, but argument {place} is {graph.inputs[place].type}. "
                f"fix: convert it, e.g. with .double()"
            )
    outputs = [place for place, vertex in enumerate(graph.outputs) if vertex.dtype.is_floating_point]
    mismatches: list[Mismatch] = []
    for argument in arguments:
        numeric = _numeric_jacobians(graph, values, argument, outputs, eps)
        for output in outputs:
            analytic = _analytic_jacobian(graph, values, argument, output)
            wrong = ~np.isclose(analytic, numeric[output], rtol, atol)
            for element in np.argwhere(wrong):
                where = tuple(int(i) for i in element)
                rank = graph.outputs[output].type.rank
                pair = float(analytic[where]), float(numeric[output][where])
                mismatches.append(Mismatch(argument, where[rank:], output, where[:rank], *pair))
    return mismatches


def _numeric_jacobians(
    graph: Graph, values: Sequence[Array], argument: int, outputs: Sequence[int], eps: float
) -> dict[int, Array]:
    """Central differences of each output, in arrays of the shape (output..., argument...)."""
    point = [np.array(value) for value in values]
    moved = point[argument]
    jacobians = {output: np.empty((*graph.outputs[output].shape, *moved.shape)) for output in outputs}
    for index in np.ndindex(moved.shape):
        middle = moved[index]
        moved[index] = middle + eps
        above = evaluate(graph, point)[0]
        moved[index] = middle - eps
        below = evaluate(graph, point)[0]
        moved[index] = middle
        for output, jacobian in jacobians.items():
            jacobian[(..., *index)] = (above[output] - below[output]) / (2 * eps)
    return jacobians


def _analytic_jacobian(graph: Graph, values: Sequence[Array], argument: int, output: int) -> Array:
    """One reverse pass per element of the output; shape (output..., argument...)."""
    root, leaf = graph.outputs[output], graph.inputs[argument]
    cotangent = make_input(root.type)
    (gradient,) = gradients(root, [leaf], cotangent)
    backward = Graph((*graph.inputs, cotangent), (zeros_like(leaf) if gradient is None else gradient,))
    jacobian = np.empty((*root.shape, *leaf.shape))
    for index in np.ndindex(root.shape):
        unit = np.zeros(root.shape, root.dtype.numpy)
        unit[index] = 1
        jacobian[index] = evaluate(backward, [*values, unit])[0][0]
    return jacobian


def directional_derivatives(
    graph: Graph, values: Sequence[Array], generator: np.random.Generator, eps: float = 1e-6
) -> tuple[float, float]:
    """Return (analytic, numeric) of ``vᵀ·J·u`` for the first output and random directions u, v: one check of any size.

    All inputs of type float64 move at once along ``u``.
    """
    root = graph.outputs[0]
    leaves = [vertex for vertex in graph.inputs if vertex.dtype is float64]
    directions = {vertex: generator.uniform(-1, 1, vertex.shape) for vertex in leaves}
    weights = generator.uniform(-1, 1, root.shape)

    def along(step: float) -> Array:
        pairs = zip(graph.inputs, values, strict=True)
        moved = [value + step * directions[vertex] if vertex in directions else value for vertex, value in pairs]
        return evaluate(graph, moved)[0][0]

    numeric = np.sum(weights * (along(eps) - along(-eps))) / (2 * eps)
    cotangent = make_input(root.type)
    found = [
        (vertex, gradient)
        for vertex, gradient in zip(leaves, gradients(root, leaves, cotangent), strict=True)
        if gradient is not None
    ]
    backward = Graph((*graph.inputs, cotangent), tuple(gradient for _, gradient in found))
    values_of = evaluate(backward, [*values, weights])[0]
    analytic = sum(np.sum(directions[vertex] * value) for (vertex, _), value in zip(found, values_of, strict=True))
    return float(analytic), float(numeric)
