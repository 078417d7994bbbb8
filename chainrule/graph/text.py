"""Graphs as text that can be read back.

One line per vertex: ``%3: float32[4,2] = matmul(%1, %2)``, attributes after the operands, the user's line as a comment.
A graph that is an attribute, the body of a loop, stands before the first vertex that has it, as a block with a name:
``body @0 {`` ... ``}``.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
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
    bodies: dict[Graph, str] = {}
    lines = []
    for number, vertex in enumerate(graph.members):
        names[vertex] = f"%{number}"
        arguments = [names[operand] for operand in vertex.inputs]
        for name, value in vertex.attributes.items():
            if isinstance(value, Graph) and value not in bodies:
                bodies[value] = f"@{len(bodies)}"
                lines += [f"body {bodies[value]} {{", *_indented(format_graph(value, sites)), "}"]
            arguments.append(f"{name}={bodies[value] if isinstance(value, Graph) else _format_value(value)}")
        line = f"{names[vertex]}: {vertex.type} = {vertex.primitive.name}({', '.join(arguments)})"
        lines.append(f"{line}  # {vertex.site}" if sites and vertex.site is not UNKNOWN else line)
    lines.append(f"inputs {' '.join(names[vertex] for vertex in graph.inputs)}".rstrip())
    lines.append(f"outputs {' '.join(names[vertex] for vertex in graph.outputs)}".rstrip())
    lines += [f"update {names[target]} = {names[value]}" for target, value in graph.updates]
    return "\n".join(lines) + "\n"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


_LINE = re.compile(r"(%\d+): (.*?) = (\w+)\((.*)\)$")


class _Names:
    """What the names in the text of one graph stand for."""

    def __init__(self) -> None:
        self.vertices: dict[str, Vertex] = {}
        self.bodies: dict[str, Graph] = {}


def _parse_attribute(name: str, node: ast.expr, names: _Names) -> Any:
    if isinstance(node, ast.Name):
        return names.bodies["@" + node.id[1:]]
    value = ast.literal_eval(node)
    if name == "dtype":
        return DTYPES[value]
    if name == "type":
        return tensor_type(DTYPES[value[0]], value[1])
    if name == "value" and isinstance(value, str):
        return float(value)
    return value


def _parse_vertex(line: str, names: _Names) -> tuple[str, Vertex]:
    match = _LINE.match(line)
    if match is None:
        raise ValueError("not a line of a graph")
    name, type, primitive, arguments = match.groups()
    call = ast.parse(f"f({arguments.replace('%', '_').replace('@', '_')})", mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError("not a line of a graph")
    operands = tuple(names.vertices["%" + ast.unparse(node)[1:]] for node in call.args)
    attributes = {str(k.arg): _parse_attribute(str(k.arg), k.value, names) for k in call.keywords}
    vertex = make_vertex(find_primitive(primitive), operands, attributes, UNKNOWN)
    if str(vertex.type) != type:
        raise ValueError(f"the operands give {vertex.type}")
    return name, vertex


def parse_graph(text: str) -> Graph:
    """Read the text that `format_graph` writes.

    Whether an input requires a gradient is not part of the text. Errors: ``ValueError`` naming the line that does not
    read.
    """
    return _parse_lines(enumerate(text.splitlines(), 1))


def _parse_lines(numbered: Iterator[tuple[int, str]]) -> Graph:
    """Read a graph to the end, or to that of its block."""
    names = _Names()
    lists: dict[str, tuple[Vertex, ...]] = {"inputs": (), "outputs": ()}
    updates: list[tuple[Vertex, Vertex]] = []
    for number, full_line in numbered:
        line = full_line.split("  # ")[0].strip()
        keyword, *words = line.split() or [""]
        if keyword == "}":
            break
        if keyword == "body":
            names.bodies[words[0]] = _parse_lines(numbered)
            continue
        try:
            if keyword in lists:
                lists[keyword] = tuple(names.vertices[word] for word in words)
            elif keyword == "update":
                target, _, value = words
                updates.append((names.vertices[target], names.vertices[value]))
            elif keyword:
                name, vertex = _parse_vertex(line, names)
                names.vertices[name] = vertex
        except (LookupError, SyntaxError, TypeError, ValueError, ChainruleError) as error:
            raise ValueError(f"line {number} of the graph, {line!r}, does not read: {error}") from error
    return Graph(lists["inputs"], lists["outputs"], tuple(updates))
