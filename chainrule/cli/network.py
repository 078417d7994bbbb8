"""From a prepared table to a network: how large, which loss, how to train it, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import nn, optim
from ..data.target import TargetPreparation
from ..tensor.generator import manual_seed
from ..training.callbacks import EarlyStopping
from ..training.trainer import Trainer

PATIENCE = 30


@dataclass(frozen=True)
class Recipe:
    """What suits a number of training rows: few rows are learnt by heart in no time, so they get more noise."""

    rows: int
    batch_size: int
    learning_rate: float
    dropout: float
    weight_decay: float


# The first one whose ``rows`` are not exceeded. Chosen by the mean test score over several splits of the Pima, wine,
# California and census tables.
RECIPES = (
    Recipe(1_000, batch_size=32, learning_rate=1e-3, dropout=0.5, weight_decay=1.0),
    Recipe(10_000, batch_size=32, learning_rate=1e-3, dropout=0.1, weight_decay=0.1),
    Recipe(10**18, batch_size=128, learning_rate=3e-3, dropout=0.1, weight_decay=0.01),
)
MOST_REGRESSION_DROPOUT = 0.2
"""More of it costs precision where the output is a number and not only a side of a boundary."""


@dataclass(frozen=True)
class Plan:
    """The network of one training: sizes, loss and the numbers of the optimiser."""

    task: str
    inputs: int
    hidden: tuple[int, ...]
    outputs: int
    dropout: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    epochs: int
    seed: int

    @property
    def loss(self) -> str:
        """The name of the loss, as ``Trainer`` knows it."""
        return {"binary": "bce_with_logits", "multiclass": "cross_entropy", "regression": "mse"}[self.task]

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured after each epoch besides the loss."""
        return () if self.task == "regression" else ("accuracy",)

    def to_json(self) -> dict[str, Any]:
        """Return the record that is saved with the model."""
        return {
            "task": self.task, "loss": self.loss, "hidden": list(self.hidden), "dropout": self.dropout,
            "optimizer": "AdamW", "learning_rate": self.learning_rate, "weight_decay": self.weight_decay,
            "batch_size": self.batch_size, "epochs": self.epochs, "patience": PATIENCE, "seed": self.seed,
        }  # fmt: skip


def make_plan(
    target: TargetPreparation,
    inputs: int,
    rows: int,
    *,
    hidden: tuple[int, ...],
    epochs: int,
    seed: int,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    dropout: float | None = None,
) -> Plan:
    """Choose what was not given by the number of training rows."""
    recipe = next(recipe for recipe in RECIPES if rows <= recipe.rows)
    if dropout is None:
        dropout = min(recipe.dropout, MOST_REGRESSION_DROPOUT) if target.task == "regression" else recipe.dropout
    return Plan(
        task=target.task,
        inputs=inputs,
        hidden=hidden,
        outputs=len(target.classes) if target.task == "multiclass" else 1,
        dropout=dropout,
        batch_size=min(recipe.batch_size if batch_size is None else batch_size, rows),
        learning_rate=recipe.learning_rate if learning_rate is None else learning_rate,
        weight_decay=recipe.weight_decay if weight_decay is None else weight_decay,
        epochs=epochs,
        seed=seed,
    )


def describe_plan(plan: Plan, target: TargetPreparation) -> list[str]:
    """Say what was chosen and why, a line each."""
    return [f"{name:12} {text}" for name, text in explain_plan(plan, target).items()]


def explain_plan(plan: Plan, target: TargetPreparation) -> dict[str, str]:
    """Return what was chosen, and why, by name."""
    sizes = " → ".join(str(size) for size in (plan.inputs, *plan.hidden, plan.outputs))
    dropout = f", dropout {plan.dropout:g} after each hidden layer" if plan.hidden and plan.dropout else ""
    activation = ", ReLU between" if plan.hidden else ""
    outputs = {
        "binary": f"one logit; its sigmoid is the probability that {target.name} is {''.join(target.classes[-1:])!r}",
        "multiclass": f"{plan.outputs} logits; their softmax is the probability of each class",
        "regression": f"one number, linear: {target.name} standardised, converted back for every prediction",
    }
    losses = {
        "binary": "binary cross-entropy on the logit, because the target has two classes",
        "multiclass": f"cross-entropy on the logits, because the target has {plan.outputs} classes",
        "regression": "mean squared error, because the target is a number",
    }
    he = "He (uniform) before ReLU, " if plan.hidden else ""
    return {
        "network": f"{sizes}{activation}{dropout}",
        "output": outputs[plan.task],
        "loss": losses[plan.task],
        "weights": f"{he}Glorot (uniform) before the output, biases 0; seed {plan.seed}",
        "optimiser": f"AdamW, learning rate {plan.learning_rate:g}, weight decay {plan.weight_decay:g}, "
        f"batches of {plan.batch_size}",
        "stopping": f"after {plan.epochs} epochs, or {PATIENCE} without a lower validation loss; "
        "the best weights are kept",
    }


def build_network(plan: Plan) -> nn.Sequential:
    """Make the network with its initial weights, a function of the plan's seed.

    The weights start as `chainrule.nn.initialization` chooses for the activation that follows.

    >>> plan = make_plan(TargetPreparation("y", "binary", ("0", "1")), 8, 500, hidden=(4,), epochs=1, seed=0)
    >>> [type(layer).__name__ for layer in build_network(plan)]
    ['Linear', 'ReLU', 'Dropout', 'Linear']
    """
    manual_seed(plan.seed)
    layers: list[nn.Module] = []
    width = plan.inputs
    for size in plan.hidden:
        layers += [nn.Linear(width, size), nn.ReLU(), *([nn.Dropout(plan.dropout)] if plan.dropout else [])]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, plan.outputs))


def make_trainer(plan: Plan, network: nn.Module) -> Trainer:
    """Return the trainer that the plan describes."""
    return Trainer(
        network,
        loss=plan.loss,
        optimizer=lambda parameters: optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=plan.weight_decay),
        metrics=plan.metrics,
        callbacks=(EarlyStopping(patience=PATIENCE, restore_best_weights=True),),
        seed=plan.seed,
    )
