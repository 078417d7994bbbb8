"""The compiler's passes, in order: the graph is rewritten, cut into kernels, and these are given memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..graph.graph import Graph, rebuild
from ..graph.text import format_graph
from ..graph.verify import verify
from ..graph.vertex import Vertex, make_vertex
from ..ops.loop import Run
from ..ops.source import make_input
from ..settings import settings
from ..types import Shape
from .cse import merge_equal
from .emit import Draft, emit
from .fuse import Fused, fuse
from .loops import lighten_loops
from .masks import read_masks_off_results
from .memory import lay_out
from .normalize import normalize
from .place import Placement, place
from .plan import Plan
from .products import multiply_in_steps
from .simplify import simplify
from .stacks import carry_ends, share_stacks, stack_sums
from .steps import plan_any_length
from .text import format_draft, format_groups, format_plan


class Pass(NamedTuple):
    """One stage: what it makes of the result of the stage before, and why it is there."""

    name: str
    run: Callable[[Any], Any]
    reason: str


GRAPH_PASSES = (
    Pass("simplify", simplify, "vjp rules and users write more than is needed: x·1, transposed twice, constants"),
    Pass("stack_sums", stack_sums, "a step has what it computes at hand, and its sums are few"),
    Pass("multiply_in_steps", multiply_in_steps, "few steps have both operands of a gradient of weights near"),
    Pass("share_stacks", share_stacks, "what follows from stacks that are there costs no store and load at each step"),
    Pass("carry_ends", carry_ends, "what one end of a loop has to do with need not be stacked for all steps"),
    Pass("lighten_loops", lighten_loops, "products of all steps at once are faster than one per step"),
    Pass("read_masks_off_results", read_masks_off_results, "a rectifier's result is in memory, its argument is not"),
    Pass("merge_equal", merge_equal, "forward and backward often compute the same expression"),
)


def plan_passes(output_strides: Sequence[Shape | None] | None = None) -> tuple[Pass, ...]:
    """The passes from a graph to a plan, in order; each runs once."""
    return (
        *GRAPH_PASSES,
        Pass("place", partial(place, output_strides=output_strides), "results belong in given memory; copies are seen"),
        Pass("fuse", fuse, "a value that is used where it is made need not go through memory"),
        Pass(
            "emit",
            partial(emit, make_plan=plan_step),
            "views become accesses, groups become kernels of scalar instructions",
        ),
        Pass("normalize", normalize, "loops that walk memory in steps of 1, and few of them, run fastest"),
        Pass("lay_out", lay_out, "new values replace old ones in place; temporaries share one arena"),
    )


def run_passes(passes: Sequence[Pass], graph: Graph) -> Iterator[tuple[str, Any]]:
    """Run passes one after another; yield (name, result) after each, verified if the settings say so.

    Errors: `CompilationError` naming the pass after which a graph is not well formed.
    """
    value: Any = graph
    for stage in passes:
        value = stage.run(value)
        rewritten = value.graph if isinstance(value, Placement) else value
        if settings.verify_passes and isinstance(rewritten, Graph):
            verify(rewritten, stage.name)
        yield stage.name, value


def optimize(graph: Graph) -> Graph:
    """Return the graph after all passes that make a graph of a graph."""
    for _, value in run_passes(GRAPH_PASSES, graph):
        graph = value
    return graph


def settle_sums(graph: Graph, inputs: Mapping[Vertex, Vertex] | None = None) -> Graph:
    """Return the graph after the passes on which the order of its sums depends, for whoever evaluates it to the bit.

    ``inputs``: what takes the places of inputs.
    """
    return lighten_loops(multiply_in_steps(stack_sums(simplify(graph, inputs))))


def own_inputs(graph: Graph) -> dict[Vertex, Vertex]:
    """For each input of a graph a new one."""
    return {
        vertex: make_input(vertex.type, strides=vertex.attributes["strides"], site=vertex.site)
        for vertex in graph.inputs
    }


def canonical(graph: Graph) -> Graph:
    """Return the graph over vertices of its own: what passes derive from it is not entered in recorded vertices."""
    inputs = own_inputs(graph)

    def copy(vertex: Vertex, operands: tuple[Vertex, ...]) -> Vertex | None:
        if vertex.inputs:
            return make_vertex(vertex.primitive, operands, vertex.attributes, vertex.site)
        return inputs.get(vertex)  # constants have no owner: they stay

    return rebuild(graph, copy)


def plan_step(graph: Graph) -> Plan:
    """Return the plan of one step of a loop."""
    return make_plan(canonical(graph))


def plan_any_length_of(run: Run, step: Graph) -> Plan:
    """Return the plan of a program that runs a loop with this step, for any number of steps: see `plan_any_length`."""
    return plan_any_length(run, step, plan_step)


def make_plan(graph: Graph, output_strides: Sequence[Shape | None] | None = None) -> Plan:
    """Return the plan that computes ``graph``.

    ``output_strides``: for each output how it shall lie in memory, in elements; None is row-major. Inputs lie as their
    attribute ``strides`` says. Errors: `CompilationError` if a pass is defective.

    >>> from chainrule.ops.source import make_input
    >>> from chainrule.types import float32, tensor_type
    >>> x = make_input(tensor_type(float32, (3,)))
    >>> len(make_plan(Graph((x,), (x,))).kernels)
    1
    """
    result: Plan | None = None
    for _, value in run_passes(plan_passes(output_strides), graph):
        result = value
    assert result is not None
    return result


def describe_stages(graph: Graph, output_strides: Sequence[Shape | None] | None = None) -> dict[str, str]:
    """Return the text of every stage by name, from ``"graph"`` as given to the plan."""
    texts = {"graph": format_graph(graph)}
    for name, value in run_passes(plan_passes(output_strides), graph):
        texts[name] = _format_stage(value)
    return texts


def _format_stage(value: Any) -> str:
    formats: dict[type, Callable[[Any], str]] = {
        Graph: format_graph,
        Placement: lambda placement: format_graph(placement.graph),
        Fused: lambda fused: format_groups(fused.groups),
        Draft: format_draft,
        Plan: format_plan,
    }
    return formats[type(value)](value)
