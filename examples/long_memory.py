"""Long memory: which recurrent networks solve the adding and the copying problem, and what gradients do through time.

    python examples/long_memory.py [OUTPUT_FOLDER]

Adding: 200 steps of a number in [0, 1] and a mark; the answer is the sum of the two marked numbers. The mean squared
error of always saying 1 is 1/6. Copying: ten symbols of eight kinds, 100 blank steps, and then the symbols are asked
for; the cross-entropy of remembering nothing is 10 ln 8 / 120. Copying is learned with 10 blanks first, and with half
as many more whenever those are learned. Every batch is new, and networks are tested on new rows of the full length.
Gates start as memories of all lengths up to that of the sequence. Then the norm of the loss's gradient by the inputs
of each step, for a plain network whose recurrent weights are orthogonal times a scale; and training from large ones,
with and without clipping. Prints tables; with an output folder it draws there (PNG). Figures: docs/experiments.md.

Sources: Hochreiter & Schmidhuber 1997 (both problems); Arjovsky, Shah, Bengio 2016, section 5 (their form here);
Tallec & Ollivier 2018 (the start of gates); Bengio, Louradour, Collobert, Weston 2009 (easier problems first);
Pascanu, Mikolov, Bengio 2013 (gradients through time, clipping).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
from chainrule import nn

Array = np.ndarray[Any, Any]
SYMBOLS, LENGTH = 8, 10
"""Kinds of symbols to copy, and how many of them; then come a blank and the sign to begin."""


def adding(rows: int, steps: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Numbers and marks (steps, rows, 2), one mark in each half, and the sums (rows, 1) of the marked numbers."""
    numbers = random.random((steps, rows), np.float32)
    marks = np.zeros_like(numbers)
    places = random.integers(0, steps // 2, (2, rows)) + np.array([[0], [steps - steps // 2]])
    marks[places, np.arange(rows)] = 1
    return np.stack([numbers, marks], 2), (numbers * marks).sum(0)[:, None]


def copying(rows: int, blanks: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Symbols, blanks and the sign to begin, one-hot (steps, rows, 10); what to say, as numbers (steps, rows)."""
    blank, begin = SYMBOLS, SYMBOLS + 1
    symbols = random.integers(0, SYMBOLS, (LENGTH, rows))
    tokens = np.full((blanks + 2 * LENGTH, rows), blank)
    tokens[:LENGTH] = symbols
    tokens[-LENGTH - 1] = begin
    answers = np.full_like(tokens, blank)
    answers[-LENGTH:] = symbols
    return np.eye(SYMBOLS + 2, dtype=np.float32)[tokens], answers


class Problem(NamedTuple):
    """How to draw rows of a length, sizes, the loss, what it is without memory at a length; how it is trained.

    ``first`` is the length of the first rows, ``steps`` that of the problem. It is solved below ``solved``, a share of
    the loss without memory. ``right`` says which share of the answers is exact, where they are symbols.
    """

    name: str
    draw: Callable[[int, int, np.random.Generator], tuple[Array, Array]]
    first: int
    steps: int
    inputs: int
    outputs: int
    loss: Callable[[Any, Any], Any]
    chance: Callable[[int], float]
    solved: float
    most: int
    hidden: int
    rate: float
    right: Callable[[Any, Any], Any] | None = None


def adding_loss(outputs: Any, sums: Any) -> Any:
    """Squared error of the last step's output."""
    return nn.functional.mse_loss(outputs[-1], sums)


def copying_loss(outputs: Any, answers: Any) -> Any:
    """Cross-entropy of all steps."""
    return nn.functional.cross_entropy(outputs.flatten(0, 1), answers.flatten())


def copied(outputs: Any, answers: Any) -> Any:
    """The share of symbols that are said right."""
    return (outputs[-LENGTH:].argmax(-1) == answers[-LENGTH:]).float().mean()


def copying_chance(blanks: int) -> float:
    """The cross-entropy of a network that knows when to say symbols, but not which."""
    return LENGTH * math.log(SYMBOLS) / (blanks + 2 * LENGTH)


ADDING = Problem("adding", adding, 200, 200, 2, 1, adding_loss, lambda _: 1 / 6, 0.06, 1000, 64, 5e-3)
COPYING = Problem("copying", copying, 10, 100, 10, 10, copying_loss, copying_chance, 0.04, 10_000, 128, 1e-2, copied)
NETWORKS = ("RNN", "LSTM", "GRU", "SRU")
LEARNED = 0.1
"""Rows grow longer when the loss is below this share of that without memory."""


class Network(nn.Module):
    """A recurrent layer and a linear one on every step."""

    def __init__(self, kind: str, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        layers = 2 if kind == "SRU" else 1  # the second one's gates see what the first one remembers
        self.recurrent = getattr(nn, kind)(inputs, hidden, layers)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, x: Any) -> Any:
        return self.output(self.recurrent(x)[0])


def remember_up_to(layer: nn.Module, steps: int) -> None:
    """Start the gates of a layer so that its units forget within all times up to so many steps (Tallec & Ollivier)."""
    size = layer.hidden_size
    block = {"LSTM": 1, "GRU": 1, "SRU": 0}.get(type(layer).__name__)
    if block is None:
        return
    with cr.no_grad():
        for number in range(layer.num_layers):
            bias = getattr(layer, f"bias_ih_l{number}")
            keep = (cr.rand(size) * (steps - 2) + 1).log()
            bias[block * size : (block + 1) * size] = keep
            if isinstance(layer, nn.LSTM):
                bias[:size] = -keep


class Run(NamedTuple):
    """How many steps were made, and mean losses of equal parts of them as shares of those without memory.

    Then after which step it was solved (None: not), the loss and the share of right answers on new rows of the full
    length (None where answers are no symbols), and seconds of the processor.
    """

    steps: int
    losses: list[float]
    solved_after: int | None
    loss: float
    right: float | None
    seconds: float


def train(problem: Problem, kind: str, rows: int = 32) -> Run:
    """Adam with gradients clipped to norm 1, until the mean loss of a hundredth of the steps says that it is solved."""
    cr.manual_seed(0)
    network = Network(kind, problem.inputs, problem.hidden, problem.outputs)
    remember_up_to(network.recurrent, problem.steps)
    optimizer = cr.optim.Adam(network.parameters(), lr=problem.rate)

    @cr.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = problem.loss(network(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return loss

    random, started, losses = np.random.default_rng(0), time.process_time(), []
    length, share, solved_after = problem.first, max(1, problem.most // 100), None
    for number in range(share, problem.most + 1, share):
        batches = (problem.draw(rows, length, random) for _ in range(share))
        mean = np.mean([step(*map(cr.tensor, batch)).item() for batch in batches])
        losses.append(float(mean) / problem.chance(length))
        if length == problem.steps and losses[-1] < problem.solved:
            solved_after = number
            break
        if losses[-1] < LEARNED:
            length = min(problem.steps, length + length // 2)
    seconds = time.process_time() - started
    return Run(number, losses, solved_after, *evaluate(problem, network), seconds)


def evaluate(problem: Problem, network: Network, rows: int = 500) -> tuple[float, float | None]:
    """The loss, and the share of right answers, on new rows."""
    x, answers = map(cr.tensor, problem.draw(rows, problem.steps, np.random.default_rng(1)))
    with cr.no_grad():
        outputs = network(x)
        right = None if problem.right is None else problem.right(outputs, answers).item()
        return problem.loss(outputs, answers).item(), right


SCALES = (0.7, 1.0, 1.5)
"""Of the recurrent weights of the plain network, whose gradients are measured."""


def scaled_network(scale: float, hidden: int) -> Network:
    """A plain network with recurrent weights that are orthogonal times a scale, near 0, where tanh is linear."""
    cr.manual_seed(0)
    network = Network("RNN", 2, hidden, 1)
    with cr.no_grad():
        network.recurrent.weight_hh_l0.mul_(scale)  # they start orthogonal
        network.recurrent.weight_ih_l0.mul_(1e-3)
    return network


def gradients_through_time(scale: float, steps: int = 100, hidden: int = 64, rows: int = 32) -> Array:
    """The norm of the gradient of the last output by the input of each step, as a share of that of the last step."""
    network = scaled_network(scale, hidden)
    network.recurrent.weight_ih_l0.requires_grad_(False)
    x = cr.tensor(adding(rows, steps, np.random.default_rng(0))[0] * 1e-9, requires_grad=True)
    network(x)[-1].sum().backward()
    norms = np.sqrt((x.grad.numpy().astype(float) ** 2).sum((1, 2)))
    return norms / norms[-1]


class Clipping(NamedTuple):
    """Losses, and norms of gradients before clipping, of every step of a training."""

    losses: list[float]
    norms: list[float]


def train_from_large_weights(
    clip: float | None, steps: int = 300, scale: float = 1.5, hidden: int = 64, rate: float = 0.05
) -> Clipping:
    """Gradient descent on the adding problem over 50 steps, from recurrent weights at which gradients explode."""
    network = scaled_network(scale, hidden)
    optimizer = cr.optim.SGD(network.parameters(), lr=rate)

    @cr.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = adding_loss(network(x), y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), math.inf if clip is None else clip)
        optimizer.step()
        return loss, norm

    random, found = np.random.default_rng(0), Clipping([], [])
    for _ in range(steps):
        loss, norm = step(*map(cr.tensor, adding(32, 50, random)))
        found.losses.append(loss.item())
        found.norms.append(norm.item())
    return found


class Found(NamedTuple):
    """Everything that the script measures."""

    runs: dict[tuple[str, str], Run]
    gradients: dict[float, Array]
    clipped: dict[float | None, Clipping]


def report(found: Found) -> None:
    """Print the tables in Markdown."""
    print("\n| problem | network | without memory | loss | right | solved after | seconds |")
    print("|---|---|---|---|---|---|---|")
    chances = {problem.name: problem.chance(problem.steps) for problem in (ADDING, COPYING)}
    for (problem, kind), run in found.runs.items():
        solved = "not" if run.solved_after is None else f"{run.solved_after} steps"
        right = "" if run.right is None else f"{100 * run.right:.2f} %"
        figures = f"{chances[problem]:.4f} | {run.loss:.4f} | {right} | {solved} | {run.seconds:.0f}"
        print(f"| {problem} | {kind} | {figures} |")
    print("\n| recurrent weights | gradient 10 steps back | 50 | 99 |\n|---|---|---|---|")
    for scale, norms in found.gradients.items():
        print(f"| {scale} · orthogonal |", " | ".join(f"{norms[-1 - back]:.1e}" for back in (10, 50, 99)), "|")
    print("\n| clipped at | largest gradient | mean loss of the last 50 steps |\n|---|---|---|")
    for clip, run in found.clipped.items():
        print(f"| {clip or 'not'} | {np.nanmax(run.norms):.3g} | {np.mean(run.losses[-50:]):.3g} |")


def draw(found: Found, folder: Path) -> Path:
    """Draw losses, gradients through time and trainings with and without clipping; return the file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    for problem, place in zip((ADDING, COPYING), axes[0], strict=True):
        place.axhline(1, color="grey", linestyle="--", linewidth=0.8, label="without memory")
        for (name, kind), run in found.runs.items():
            if name == problem.name:
                place.semilogy(np.linspace(0, 1, len(run.losses) + 1)[1:] * run.steps, run.losses, label=kind)
        title = f"{problem.name}, T = {problem.steps}"
        place.set(title=title, xlabel="training step", ylabel="loss, without memory = 1")
    for scale, norms in found.gradients.items():
        axes[1, 0].semilogy(norms, label=f"{scale} · orthogonal")
    axes[1, 0].set(title="gradient by the input of each step", xlabel="step", ylabel="norm, last step = 1")
    for clip, run in found.clipped.items():
        axes[1, 1].semilogy(run.losses, linewidth=0.8, label="not clipped" if clip is None else f"clipped at {clip}")
    axes[1, 1].set(title="plain network from 1.5 · orthogonal", xlabel="training step", ylabel="loss")
    for place in axes.flat:
        place.legend(fontsize=8)
    path = folder / "long_memory.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def main(output: str | None = None) -> None:
    """All trainings, with the time they take."""
    started = time.perf_counter()
    runs = {}
    for problem in (ADDING, COPYING):
        for kind in NETWORKS:
            runs[problem.name, kind] = run = train(problem, kind)
            print(problem.name, kind, run.steps, f"steps, loss {run.loss:.4f}, {run.seconds:.0f} s", flush=True)
    gradients = {scale: gradients_through_time(scale) for scale in SCALES}
    found = Found(runs, gradients, {clip: train_from_large_weights(clip) for clip in (None, 1.0)})
    report(found)
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
        print(draw(found, Path(output)))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:2])
