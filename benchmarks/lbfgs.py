"""L-BFGS on a whole table: an 8-12-8-1 network and logistic regression, trained to the end on the Pima data.

All contestants minimise the same function, mean cross-entropy plus ½ α Σ w² / rows over the weights, in float64, from
the same starts, with 10 pairs of history. Each prints the losses it reached.

Logistic regression has one minimum, which all of them find. The network has many: line searches that differ in the
second evaluation (the first t is 1 / Σ|g| here and 1 / √Σg² in SciPy) end in different ones, and a single start
says nothing. So losses are compared pair by pair over many starts, after as many iterations; both libraries need 1.03
evaluations for one.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .harness import Benchmark, Faster, Measure, thread_count

TABLE = Path(__file__).resolve().parent.parent / "examples" / "data" / "diabetes.csv"
NETWORK, LINE = (8, 12, 8, 1), (8, 1)
STARTS = 100
PENALTY = {NETWORK: 0.1, LINE: 1.0}
ITERATIONS = 300
BUDGETS = (75, ITERATIONS)
"""Iterations after which losses are compared."""

Layers = list[tuple[np.ndarray, np.ndarray]]
Fit = Callable[[Layers, int], float]
"""Trains from a start for at most so many iterations and returns the final loss."""
Prepare = Callable[[tuple[int, ...]], Fit]


@cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Standardised inputs, and labels 0 or 1."""
    table = np.genfromtxt(TABLE, delimiter=",", skip_header=1)
    inputs = table[:, :8]
    return (inputs - inputs.mean(0)) / inputs.std(0), table[:, 8]


def start(sizes: Sequence[int], seed: int) -> Layers:
    """Weights (inputs × outputs) and biases in Glorot's range; zeros for a single layer."""
    random, scale = np.random.default_rng(seed), float(len(sizes) > 2)
    layers = []
    for m, n in pairwise(sizes):
        bound = scale * np.sqrt(6 / (m + n))
        layers.append((random.uniform(-bound, bound, (m, n)), random.uniform(-bound, bound, n)))
    return layers


def loss_of(layers: Layers, alpha: float) -> float:
    """The function that everybody minimises, in NumPy."""
    x, labels = data()
    for weight, bias in layers[:-1]:
        x = np.tanh(x @ weight + bias)
    scores = (x @ layers[-1][0] + layers[-1][1]).ravel()
    entropy = np.logaddexp(0, np.where(labels > 0, -scores, scores)).mean()
    return float(entropy + 0.5 * alpha * sum((weight**2).sum() for weight, _ in layers) / len(labels))


def contestant(prepare: Prepare, sizes: tuple[int, ...], against: Prepare | None = None) -> Callable[[], Measure]:
    """A contestant whose unit of work is one training, from one start after another."""

    def setup() -> Measure:
        warnings.filterwarnings("ignore")  # "maximum iterations reached": that is what is asked for
        fit, count = prepare(sizes), 10 if len(sizes) > 2 else 1
        losses = [fit(start(sizes, seed), ITERATIONS) for seed in range(count)]
        print(f"{prepare.__name__} {'-'.join(map(str, sizes))}: final loss {statistics.median(losses):.8f}")
        if against is not None:
            compare(fit, against(sizes), sizes)
        turn = 0

        def measure() -> float:
            nonlocal turn
            layers, turn = start(sizes, turn % count), turn + 1
            began = time.perf_counter()
            fit(layers, ITERATIONS)
            return time.perf_counter() - began

        return measure

    return setup


def compare(peer: Fit, ours: Fit, sizes: tuple[int, ...]) -> None:
    """Print how final losses differ over many starts, and how likely a difference so large is if there is none."""
    from scipy.stats import wilcoxon

    for iterations in BUDGETS:
        starts = [start(sizes, seed) for seed in range(STARTS)]
        losses, others = (np.array([fit(layers, iterations) for layers in starts]) for fit in (ours, peer))
        print(
            f"{STARTS} starts, {iterations} iterations: median loss of chainrule {np.median(losses):.4f}, of the peer "
            f"{np.median(others):.4f}; chainrule's is not above it in {np.mean(losses <= others):.0%}; mean difference "
            f"{np.mean(losses - others):+.4f} ± {np.std(losses - others, ddof=1) / np.sqrt(STARTS):.4f}, "
            f"p = {wilcoxon(losses - others).pvalue:.2f} (Wilcoxon's signed ranks)"
        )


def pytorch_program(torch: Any, sizes: tuple[int, ...], compile: Callable[[Any], Any] = lambda closure: closure) -> Fit:
    """The training as a PyTorch program; chainrule runs the same lines."""
    layers: list[Any] = []
    for m, n in pairwise(sizes):
        layers += [torch.nn.Linear(m, n), torch.nn.Tanh()]
    model = torch.nn.Sequential(*layers[:-1]).to(torch.float64)
    inputs, labels = (torch.tensor(array) for array in data())
    labels = labels.reshape(-1, 1)
    loss_function = torch.nn.BCEWithLogitsLoss()
    factor = 0.5 * PENALTY[sizes] / len(labels)
    weights = [p for p in model.parameters() if p.dim() > 1]

    @compile
    def closure() -> Any:
        model.zero_grad()
        loss = loss_function(model(inputs), labels) + factor * sum((weight * weight).sum() for weight in weights)
        loss.backward()
        return loss

    def fit(layers: Layers, iterations: int) -> float:
        for parameter, array in zip(model.parameters(), (a for layer in layers for a in layer), strict=True):
            parameter.data = torch.tensor(array.T.copy())
        optimizer = torch.optim.LBFGS(
            model.parameters(), max_iter=iterations, max_eval=15000, history_size=10, tolerance_grad=1e-4,
            tolerance_change=0, line_search_fn="strong_wolfe",
        )  # fmt: skip
        optimizer.step(closure)
        values = [np.array(p.detach().numpy()).T for p in model.parameters()]
        return loss_of(list(zip(values[::2], values[1::2], strict=True)), PENALTY[sizes])

    return fit


def chainrule(sizes: tuple[int, ...]) -> Fit:
    import chainrule

    return pytorch_program(chainrule, sizes)


def chainrule_compiled(sizes: tuple[int, ...]) -> Fit:
    """The same with ``@compile`` above the closure."""
    import chainrule

    return pytorch_program(chainrule, sizes, chainrule.compile)


def torch(sizes: tuple[int, ...]) -> Fit:
    import torch

    torch.set_num_threads(thread_count())
    return pytorch_program(torch, sizes)


def scikit_learn(sizes: tuple[int, ...]) -> Fit:
    """``MLPClassifier(solver="lbfgs")``, which goes on from the weights that it finds."""
    from sklearn.neural_network import MLPClassifier

    inputs, labels = data()
    model = MLPClassifier(
        sizes[1:-1], activation="tanh", solver="lbfgs", alpha=PENALTY[sizes], tol=1e-4, max_iter=1, warm_start=True
    ).fit(inputs, labels)

    def fit(layers: Layers, iterations: int) -> float:
        model.max_iter = iterations
        model.coefs_, model.intercepts_ = ([layer[i].copy() for layer in layers] for i in (0, 1))
        model.fit(inputs, labels)
        return loss_of(list(zip(model.coefs_, model.intercepts_, strict=True)), PENALTY[sizes])

    return fit


def scikit_learn_logistic_regression(sizes: tuple[int, ...]) -> Fit:
    """``LogisticRegression``, which starts from zeros as well."""
    from sklearn.linear_model import LogisticRegression

    inputs, labels = data()
    model = LogisticRegression(C=1 / PENALTY[sizes], tol=1e-4)

    def fit(layers: Layers, iterations: int) -> float:
        model.max_iter = iterations
        model.fit(inputs, labels)
        return loss_of([(model.coef_.T, model.intercept_)], PENALTY[sizes])

    return fit


BENCHMARK = Benchmark(
    title="training with L-BFGS on the whole Pima table, 768 rows",
    contestants={
        "chainrule, network": contestant(chainrule, NETWORK),
        "chainrule, network, closure in compile": contestant(chainrule_compiled, NETWORK),
        "torch, network": contestant(torch, NETWORK),
        "scikit-learn MLPClassifier": contestant(scikit_learn, NETWORK, against=chainrule),
        "chainrule, logistic": contestant(chainrule, LINE),
        "torch, logistic": contestant(torch, LINE),
        "scikit-learn LogisticRegression": contestant(scikit_learn_logistic_regression, LINE),
    },
    goals=(
        Faster("chainrule, network", "scikit-learn MLPClassifier", 3),
        Faster("chainrule, network", "torch, network", 10),
        Faster("chainrule, network, closure in compile", "scikit-learn MLPClassifier", 3),
        Faster("chainrule, network, closure in compile", "torch, network", 10),
        Faster("chainrule, logistic", "scikit-learn LogisticRegression", 1),
    ),
)
