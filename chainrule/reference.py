"""NumPy evaluator, vertex by vertex: slow and obvious. It defines what a graph means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import ops as ops  # the records must be registered before a graph can be evaluated
from .graph.graph import Graph
from .graph.vertex import Vertex
from .ops.loop import LOOP, Run, find_runs, stacked_numbers

Array = np.ndarray[Any, Any]
Watcher = Callable[[Vertex, Array], None]


def evaluate(graph: Graph, values: Sequence[Array], watch: Watcher | None = None) -> tuple[list[Array], list[Array]]:
    """Return (values of the outputs, new values of the updated inputs), arrays that share no memory with ``values``.

    ``watch(vertex, value)`` sees every value as it is made; the debugger uses it.
    """
    known: dict[Vertex, Array] = {
        vertex: np.asarray(value, vertex.dtype.numpy).reshape(vertex.shape)
        for vertex, value in zip(graph.inputs, values, strict=True)
    }
    runs = find_runs(graph.order())
    with np.errstate(all="ignore"):
        for vertex in graph.order():
            if vertex in known:
                continue
            operands = [known[operand] for operand in vertex.inputs]
            if vertex.primitive is LOOP:
                run = Run.of(vertex)
                known.update(_run_loop(run, runs[run], operands, watch))
            else:
                known[vertex] = evaluate_vertex(vertex, operands)
                if watch is not None:
                    watch(vertex, known[vertex])
    # Copies: a vertex such as a transpose is a view, and the caller may write new values over old ones.
    outputs = [known[vertex].copy() for vertex in graph.outputs]
    return outputs, [known[value].copy() for _, value in graph.updates]


def _run_loop(
    run: Run, results: Sequence[Vertex], operands: Sequence[Array], watch: Watcher | None
) -> Iterable[tuple[Vertex, Array]]:
    """The results of a loop, step by step."""
    step = run.step(stacked_numbers(results))
    values = run.evaluate(results, operands, lambda inputs: evaluate(step, inputs, watch)[0])
    return zip(results, values, strict=True)


def evaluate_vertex(vertex: Vertex, operands: Sequence[Array]) -> Array:
    """Return the value of one vertex."""
    if vertex.primitive.reference is None:
        raise ValueError(f"{vertex.primitive.name} has no value of its own")
    value = vertex.primitive.reference(*operands, **vertex.attributes)
    return np.asarray(value, vertex.dtype.numpy)
