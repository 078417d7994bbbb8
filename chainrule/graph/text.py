"""Graphs as text that can be read back.

One line per vertex: ``%3: float32[4,2] = matmul(%1, %2)``, attributes after the operands, the user's line as a comment.
"""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from ..errors import ChainruleError
from ..types import DTYPES, DType, TensorType, tensor_type
from .graph import Graph
from .primitive import find_primitive
from .site import UNKNOWN
from .vertex import Vertex, make_vertex


def _format_value(value: Any) -> str:
    if isinstance(value, DType):
        return f"'{value.name}'"
    if isinstance(value, TensorType):
        return f"('{value.dtype.name}', {value.shape!r})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"'{value}'"  # 'nan', 'inf', '-inf' in quotes: as bare words they would not read back
    return repr(value)


def format_graph(graph: Graph, sites: bool = False) -> str:
    """Return the text of ``graph``; with ``sites``, each line ends in the user's file and line."""
    names: dict[Vertex, str] = {}
    order = list(dict.fromkeys((*graph.inputs, *graph.order())))
    lines = []
    for number, vertex in enumerate(order):
        names[vertex] = f"%{number}"
        arguments = [names[operand] for operand in vertex.inputs]
        arguments += [f"{name}={_format_value(value)}" for name, value in vertex.attributes.items()]
        line = f"{names[vertex]}: {vertex.type} = {vertex.primitive.name}({', '.join(arguments)})"
        lines.append(f"{line}  # {vertex.site}" if sites and vertex.site is not UNKNOWN else line)
    lines.append(f"inputs {' '.join(names[vertex] for vertex in graph.inputs)}".rstrip())
    lines.append(f"outputs {' '.join(names[vertex] for vertex in graph.outputs)}".rstrip())
    lines += [f"update {names[target]} = {names[value]}" for target, value in graph.updates]
    return "\n".join(lines) + "\n"


_LINE = re.compile(r"(%\d+): (.*?) = (\w+)\((.*)\)$")


def _parse_attribute(name: str, node: ast.expr) -> Any:
    value = ast.literal_eval(node)
    if name == "dtype":
        return DTYPES[value]
    if name == "type":
        return tensor_type(DTYPES[value[0]], value[1])
    if name == "value" and isinstance(value, str):
        return float(value)
    return value


def _parse_vertex(line: str, vertices: dict[str, Vertex]) -> tuple[str, Vertex]:
    match = _LINE.match(line)
    if match is None:
        raise ValueError("not a line of a graph")
    name, type, primitive, arguments = match.groups()
    call = ast.parse(f"f({arguments.replace('%', '_')})", mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError("not a line of a graph")
    operands = tuple(vertices["%" + ast.unparse(node)[1:]] for node in call.args)
    attributes = {str(k.arg): _parse_attribute(str(k.arg), k.value) for k in call.keywords}
    vertex = make_vertex(find_primitive(primitive), operands, attributes, UNKNOWN)
    if str(vertex.type) != type:
        raise ValueError(f"the operands give {vertex.type}")
    return name, vertex


def parse_graph(text: str) -> Graph:
    """Read the text that `format_graph` writes.

    Whether an input requires a gradient is not part of the text. Errors: ``ValueError`` naming the line that does not
    read.
    """
    vertices: dict[str, Vertex] = {}
    lists: dict[str, tuple[Vertex, ...]] = {"inputs": (), "outputs": ()}
    updates: list[tuple[Vertex, Vertex]] = []
    for number, full_line in enumerate(text.splitlines(), 1):
        line = full_line.split("  # ")[0].rstrip()
        keyword, *words = line.split() or [""]
        try:
            if keyword in lists:
                lists[keyword] = tuple(vertices[word] for word in words)
            elif keyword == "update":
                target, _, value = words
                updates.append((vertices[target], vertices[value]))
            elif keyword:
                name, vertex = _parse_vertex(line, vertices)
                vertices[name] = vertex
        except (LookupError, SyntaxError, TypeError, ValueError, ChainruleError) as error:
            raise ValueError(f"line {number} of the graph, {line!r}, does not read: {error}") from error
    return Graph(lists["inputs"], lists["outputs"], tuple(updates))
