"""Three programs whose every stage is stored, and how their stored text is made."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import chainrule as cr
from chainrule import nn, optim
from chainrule.backends.native.cpu import Target
from chainrule.backends.native.driver import lower
from chainrule.compiler.capture import Loop
from chainrule.graph.graph import Graph, topological_order
from chainrule.graph.text import format_graph
from chainrule.graph.vertex import growth
from chainrule.passes.pipeline import canonical, make_plan, optimize
from chainrule.passes.text import format_plan
from chainrule.tensor.recording import vertex_of

FOLDER = Path(__file__).parent

# Written down, not detected: the text must be the same wherever the tests run. It is generated, never compiled.
TARGET = Target(
    cpu="haswell",
    features="+avx,+avx2,+fma",
    triple="x86_64-unknown-linux-gnu",
    vector_bits=256,
    has_fma=True,
)


def small_step() -> Graph:
    """The training step of 8-12-8-1, batch 10, binary cross-entropy, Adam."""
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.001)
    return training_step(model, nn.BCEWithLogitsLoss(), optimizer, cr.zeros(10, 8), cr.zeros(10, 1))


def dropout_step() -> Graph:
    """The training step of 20-32-5, batch 16, dropout, cross-entropy, SGD with Nesterov's momentum and weight decay."""
    model = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Dropout(0.25), nn.Linear(32, 5))
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return training_step(model, nn.CrossEntropyLoss(), optimizer, cr.zeros(16, 20), cr.zeros(16, dtype=cr.int64))


def training_step(
    model: nn.Module, loss_function: nn.Module, optimizer: optim.Optimizer, x: cr.Tensor, y: cr.Tensor
) -> Graph:
    """One step as a loop captures it: gradients are not kept."""

    def step() -> None:
        optimizer.zero_grad()
        loss_function(model(x), y).backward()
        optimizer.step()

    return Loop(step).recorded.graph


def reductions() -> Graph:
    """Statistics of a matrix over rows, over columns and over everything."""
    growth.new = 0  # what has been recorded before must not end the segment in the middle of this
    x = cr.zeros(40, 24)
    probabilities = x.softmax(1)
    rows = (x.logsumexp(1), (probabilities * x).sum(1), x.amax(1), x.argmax(1))
    columns = (x.mean(0), x.var(0), x.amin(0), x.abs().sum(0))
    everything = (x.sum(), (x * x).mean(), x.norm(), cr.maximum(x, x.mean(1, keepdim=True)).std())
    roots = tuple(vertex_of(value) for value in (*rows, *columns, *everything))
    inputs = [vertex for vertex in topological_order(roots) if vertex.primitive.name == "input"]
    return Graph(tuple(inputs), roots)


PROGRAMS: dict[str, Callable[[], Graph]] = {
    "small_step": small_step,
    "dropout_step": dropout_step,
    "reductions": reductions,
}


def stored_texts(name: str) -> dict[str, str]:
    """What is stored of a program, by file name: the graph, the graph after the passes, the plan, the LLVM text."""
    graph = canonical(PROGRAMS[name]())
    plan = make_plan(graph)
    return {
        f"{name}.graph.txt": format_graph(graph),
        f"{name}.passes.txt": format_graph(optimize(graph)),
        f"{name}.plan.txt": format_plan(plan),
        f"{name}.llvm.txt": shortened(lower(plan, TARGET).text),
    }


def shortened(module: str) -> str:
    """One line per function of a module, its length and its fingerprint, and the whole text of the shortest kernel."""
    functions = re.findall(r"^define .*?^}$", module, re.MULTILINE | re.DOTALL)
    lines = []
    for text in functions:
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        lines.append(f"{text[text.index('@') + 1 : text.index('(')]}: {len(text.splitlines())} lines, {fingerprint}")
    kernels = [text for text in functions if text.startswith("define internal")]
    return "\n".join(lines) + "\n\n" + min(kernels, key=lambda text: (len(text), text)) + "\n"
