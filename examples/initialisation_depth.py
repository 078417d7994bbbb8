"""Deep networks on MNIST, started naively, by Glorot's and by He's rule: which of them learn, and in what order.

    CHAINRULE_DATA=folder python examples/initialisation_depth.py

The naive U(±1/√n) divides the variance of the signal by three in every linear layer, Glorot's rule keeps it where the
activation is nearly linear at 0 (tanh), and He's makes up for the half that ReLU sets to 0. Sources: Glorot, Bengio
2010; He et al. 2015, section 2.2. Prints the losses epoch by epoch, the signal before training, and whether the order
is the published one. Figures: docs/experiments.md.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.data import load_mnist

STARTS = {
    "naive": nn.init.naive_uniform_,
    "Glorot": nn.init.xavier_uniform_,
    "He": lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"),
}
NETWORKS = {"ReLU": (nn.ReLU, 20), "tanh": (nn.Tanh, 8)}
"""The activation and the number of hidden layers."""


class Figures(NamedTuple):
    """One training: the standard deviation of the last hidden layer's output at the start, and losses per epoch."""

    signal: float
    losses: list[float]
    validation_losses: list[float]
    accuracy: float


def make_network(activation: type[nn.Module], depth: int, width: int, inputs: int, start: str) -> nn.Sequential:
    """A network with ``depth`` hidden layers of ``width`` units, every weight started by the same rule."""
    layers: list[Any] = [nn.Flatten()]
    for size in [inputs] + [width] * (depth - 1):
        layers += [nn.Linear(size, width), activation()]
    network = nn.Sequential(*layers, nn.Linear(width, 10))
    for layer in network:
        if isinstance(layer, nn.Linear):
            STARTS[start](layer.weight)
    return network


def train(network: Any, training: Any, validation: Any, epochs: int, learning_rate: float = 0.005) -> Figures:
    """Plain stochastic gradient descent with momentum, batches of 64."""
    with cr.no_grad():
        signal = float(network[:-1](training[0][:500]).std())
    trainer = cr.Trainer(
        network,
        loss="cross_entropy",
        optimizer=lambda parameters: cr.optim.SGD(parameters, lr=learning_rate, momentum=0.9),
        metrics=["accuracy"],
        seed=0,
    )
    history = trainer.fit(*training, epochs=epochs, batch_size=64, validation_data=validation, verbose=0)
    return Figures(signal, history["loss"], history["val_loss"], history["val_accuracy"][-1])


def experiment(
    training: Any, validation: Any, epochs: int = 5, width: int = 64, networks: Any = None
) -> dict[tuple[str, str], Figures]:
    """Train every network from every start; the figures by (activation, start)."""
    found = {}
    for activation, (layer, depth) in (networks or NETWORKS).items():
        for start in STARTS:
            cr.manual_seed(0)
            network = make_network(layer, depth, width, training[0][0].size, start)
            found[activation, start] = train(network, training, validation, epochs)
    return found


def holds(found: dict[tuple[str, str], Figures]) -> dict[str, bool]:
    """The published order, by the validation loss after the last epoch."""
    last = {key: figures.validation_losses[-1] for key, figures in found.items()}
    return {
        "deep ReLU: He learns fastest": last["ReLU", "He"] < min(last["ReLU", "naive"], last["ReLU", "Glorot"]),
        "deep ReLU: naive does not learn": last["ReLU", "naive"] > 2.29,  # log 10 is chance
        "deep tanh: Glorot learns faster than naive": last["tanh", "Glorot"] < last["tanh", "naive"],
    }


def report(found: dict[tuple[str, str], Figures]) -> None:
    """Print the tables in Markdown."""
    epochs = len(next(iter(found.values())).losses)
    print("| network | start | signal |", " | ".join(f"epoch {n + 1}" for n in range(epochs)), "| accuracy |")
    print("|---|---|---|" + "---|" * (epochs + 1))
    for (activation, start), figures in found.items():
        losses = zip(figures.losses, figures.validation_losses, strict=True)
        cells = " | ".join(f"{training:.3f} / {validation:.3f}" for training, validation in losses)
        print(f"| {activation} | {start} | {figures.signal:.2g} | {cells} | {100 * figures.accuracy:.1f} % |")
    for claim, is_true in holds(found).items():
        print(f"{claim}: {'yes' if is_true else 'no'}")


def main(rows: int = 20_000) -> None:
    """Train on the first ``rows`` images, validate on the next 2000; pixels standardised by the training part."""
    images, labels, _, _ = load_mnist()
    mean, deviation = images[:rows].mean(), images[:rows].std()
    scaled = ((images[: rows + 2000] - mean) / deviation).astype(np.float32)
    classes = labels[: rows + 2000].astype(np.int64)
    started = time.perf_counter()
    report(experiment((scaled[:rows], classes[:rows]), (scaled[rows:], classes[rows:])))
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
