"""Reverse mode: one loop over the graph, from the root to the leaves.

For a vertex ``out = p(x₁ ... xₙ)`` with gradient ``g``, the vjp rule of ``p`` gives the contribution to each xᵢ;
contributions to one vertex add up (Rumelhart, Hinton, Williams 1986; Linnainmaa 1970). The gradients are vertices
themselves, so they can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import CompilationError, GradientError
from ..graph.graph import ancestors, topological_order
from ..graph.site import made_at
from ..graph.vertex import Vertex
from ..ops.arithmetic import add
from ..ops.loop import LOOP, find_runs, loop_vjp
from ..ops.movement import reshape
from ..ops.reduction import sum_
from ..ops.source import constant
from ..types import Shape
from .compositions import log_of_sigmoid


def gradients(root: Vertex, wrt: Sequence[Vertex], cotangent: Vertex | None = None) -> list[Vertex | None]:
    """Return ∂(root · cotangent)/∂w for each w in ``wrt``; None where ``root`` does not depend on w.

    ``cotangent`` has the type of ``root`` and is 1 by default. Nothing flows through integers, conditions or
    ``stop_gradient``. Errors: `GradientError` for a root that is not of floating point, or a cotangent of another type
    than the root's.
    """
    if not root.dtype.is_floating_point:
        raise GradientError(f"only floating point values have gradients, got {root.type} (made at {root.site})")
    if cotangent is not None and cotangent.type is not root.type:
        raise GradientError(f"expected a cotangent of the root's type {root.type}, got {cotangent.type}")
    return pull_back([root], [constant(1, root.dtype, root.shape) if cotangent is None else cotangent], wrt)


def pull_back(roots: Sequence[Vertex], cotangents: Sequence[Vertex], wrt: Sequence[Vertex]) -> list[Vertex | None]:
    """Return ∂(Σ root · cotangent)/∂w for each w in ``wrt``; None where no root depends on w."""
    order = ancestors(roots[0]) if len(roots) == 1 else topological_order(roots)
    leaves = set(wrt)
    wanted = _vertices_on_the_way(order, leaves)
    total: dict[Vertex, Vertex] = {}
    _accumulate(total, wanted, zip(roots, cotangents, strict=True))
    results = {run[0]: run for run in find_runs(order).values()}  # behind the first no other result of a run is read
    for out in reversed(order):
        if out.primitive is LOOP:
            with made_at(out.site):
                _accumulate(total, wanted, _through_loop(results.get(out, ()), total, wanted))
        elif out in total and _passes_gradient(out, wanted):
            with made_at(out.site):
                together = log_of_sigmoid(total[out], out, leaves)
                pairs = (together,) if together else zip(out.inputs, _apply_rule(total[out], out), strict=True)
                _accumulate(total, wanted, pairs)
    return [total.get(vertex) for vertex in wrt]


def _accumulate(
    total: dict[Vertex, Vertex], wanted: set[Vertex], pairs: Iterable[tuple[Vertex, Vertex | None]]
) -> None:
    """Add contributions to gradients."""
    for operand, contribution in pairs:
        if contribution is not None and operand in wanted:
            contribution = unbroadcast(contribution, operand.shape)
            total[operand] = add(total[operand], contribution) if operand in total else contribution


def _through_loop(
    results: Sequence[Vertex], total: dict[Vertex, Vertex], wanted: set[Vertex]
) -> Iterable[tuple[Vertex, Vertex | None]]:
    """What flows back through a run of a loop, once all of its results have their gradients."""
    given = [vertex for vertex in results if vertex in total and _passes_gradient(vertex, wanted)]
    if not given:
        return ()
    operands = given[0].inputs
    needed = [operand in wanted for operand in operands]
    return zip(operands, loop_vjp([total[vertex] for vertex in given], given, needed, pull_back), strict=True)


def _vertices_on_the_way(order: Sequence[Vertex], leaves: set[Vertex]) -> set[Vertex]:
    """Vertices that depend on a leaf through differentiable primitives."""
    wanted: set[Vertex] = set()
    for vertex in order:
        if vertex in leaves or (vertex.inputs and _passes_gradient(vertex, wanted)):
            wanted.add(vertex)
    return wanted


def _passes_gradient(vertex: Vertex, wanted: set[Vertex]) -> bool:
    """Whether a gradient flows from ``vertex`` to one of its operands that is wanted."""
    if wanted.isdisjoint(vertex.inputs):
        return False
    return vertex.primitive.is_differentiable and vertex.dtype.is_floating_point


def _apply_rule(g: Vertex, out: Vertex) -> Sequence[Vertex | None]:
    rule = out.primitive.vjp
    if not callable(rule):
        raise CompilationError(f"{out.primitive.name!r} has no derivative rule (made at {out.site})")
    contributions: Sequence[Vertex | None] = rule(g, out, *out.inputs, **out.attributes)
    if len(contributions) != len(out.inputs):
        raise CompilationError(f"the vjp rule of {out.primitive.name!r} gave {len(contributions)} gradients")
    return contributions


def unbroadcast(g: Vertex, shape: Shape) -> Vertex:
    """Sum ``g`` over the axes along which a value of ``shape`` was repeated to the shape of ``g``."""
    if g.shape == shape:
        return g
    extra = len(g.shape) - len(shape)
    repeated = tuple(
        axis for axis, size in enumerate(g.shape) if axis < extra or (shape[axis - extra] == 1 and size != 1)
    )
    return reshape(sum_(g, repeated), shape)
