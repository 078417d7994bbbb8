"""A network as a table: its layers, their output shapes, initial values and numbers of parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph.graph import topological_order
from ..tensor.gradmode import no_grad
from ..tensor.recording import Handle, type_of
from .initialization import follow_graph
from .modes import mode


class Layer(NamedTuple):
    """One row: a module without children, or one with parameters of its own.

    ``start`` says how its weight was drawn: the distribution, and the activation that it follows.
    """

    name: str
    output: str
    start: str
    parameters: int


class Summary:
    """The table that ``Module.summary`` returns; printing it shows the text."""

    def __init__(self, layers: list[Layer], parameters: int, trainable: int) -> None:
        self.layers = layers
        self.parameters = parameters
        self.trainable = trainable

    def __repr__(self) -> str:
        heads = ("Layer", "Output", "Start", "Param #")
        rows = [(layer.name, layer.output, layer.start, f"{layer.parameters:,}") for layer in self.layers]
        columns = [column for column in range(4) if any(row[column] for row in rows)]
        widths = {column: max(len(row[column]) for row in [heads, *rows]) for column in columns}
        rule = "-" * (sum(widths.values()) + 2 * (len(columns) - 1))
        lines = [_line(heads, widths), rule, *(_line(row, widths) for row in rows), rule]
        frozen = self.parameters - self.trainable
        lines.append(f"{self.parameters:,} parameters" + (f", {frozen:,} of them frozen" if frozen else ""))
        return "\n".join(lines)


def _line(cells: tuple[str, ...], widths: dict[int, int]) -> str:
    text = [cells[i].rjust(width) if i == 3 else cells[i].ljust(width) for i, width in widths.items()]
    return "  ".join(text).rstrip()


def summarize(module: Any, inputs: tuple[Any, ...]) -> Summary:
    """Build the table; with example ``inputs``, call the module once to see the shapes."""
    shapes = _output_shapes(module, inputs) if inputs else {}
    layers = []
    for path, part in module.named_modules():
        own = sum(parameter.numel() for parameter in part.parameters(recurse=False))
        if own or not part._modules:
            kind = f"{type(part).__name__}({part.extra_repr()})"
            name = f"{path}: {kind}" if path else kind
            layers.append(Layer(name, shapes.get(part, ""), _start(part), own))
    everything = list(module.parameters())
    trainable = sum(parameter.numel() for parameter in everything if parameter.requires_grad)
    return Summary(layers, sum(parameter.numel() for parameter in everything), trainable)


def _start(module: Any) -> str:
    """How the weight of a layer was drawn; empty if somebody has given it a parameter of their own."""
    weight = module._parameters.get("weight")
    start = getattr(weight, "start", None)
    return "" if start is None else start.describe(weight)


def _output_shapes(module: Any, inputs: tuple[Any, ...]) -> dict[Any, str]:
    """Call the module once. What it records also shows which activations follow layers that are not drawn yet."""
    shapes: dict[Any, str] = {}
    roots: list[Any] = []

    def note(part: Any, arguments: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Handle) and output._vertex is not None:
            roots.append(output._vertex)
        shapes[part] = str(type_of(output).shape) if isinstance(output, Handle) else type(output).__name__

    handles = [part.register_forward_hook(note) for part in module.modules()]
    try:
        with no_grad(), mode(module, lambda part: False):  # running statistics stay as they are
            module(*inputs)
        undrawn = [weight for weight in module.parameters() if weight._storage.undrawn is not None]
        follow_graph(topological_order(roots), undrawn)
    finally:
        for handle in handles:
            handle.remove()
    return shapes
