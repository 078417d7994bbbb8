"""What ``chainrule train`` did, as a Python program that does the same and prints the same figures."""

from __future__ import annotations

from pathlib import Path

from ..data.target import TargetPreparation
from .network import PATIENCE, Plan

FRACTIONS = (0.7, 0.15, 0.15)

MEASURES = {
    "binary": """\
from chainrule.training.metrics import accuracy, auc

probabilities = 1 / (1 + np.exp(-output[:, 0].astype(np.float64)))
print(f"AUC       {auc(y_test, probabilities):.4f}")
print(f"accuracy  {accuracy(y_test, probabilities):.4f}")
""",
    "multiclass": """\
from chainrule.training.metrics import accuracy, f1

print(f"accuracy  {accuracy(y_test, output):.4f}")
print(f"macro F1  {f1(y_test, output.argmax(axis=1)):.4f}")
""",
    "regression": """\
from chainrule.training.metrics import r2, rmse

truth, predicted = target.invert(y_test), target.invert(output[:, 0])
print(f"R²    {r2(truth, predicted):.4f}")
print(f"RMSE  {rmse(truth, predicted):.6g}")
""",
}


def equivalent_program(data: Path, target: TargetPreparation, plan: Plan) -> str:
    """Return the program; run where the command was, it trains the same network to the bit."""
    layers = []
    width = plan.inputs
    for size in plan.hidden:
        layers += [
            f"nn.Linear({width}, {size})",
            "nn.ReLU()",
            *([f"nn.Dropout({plan.dropout!r})"] if plan.dropout else []),
        ]
        width = size
    layers.append(f"nn.Linear({width}, {plan.outputs})")
    stacked = "".join(f"    {layer},\n" for layer in layers)
    metrics = f"\n    metrics={plan.metrics!r}," if plan.metrics else ""
    settings = f"parameters, lr={plan.learning_rate!r}, weight_decay={plan.weight_decay!r}"
    imports, _, printed = MEASURES[plan.task].partition("\n\n")
    return f"""\
import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.data import Preparation, TargetPreparation, read_table, split_table
from chainrule.training import EarlyStopping
{imports}

table = read_table({str(data)!r}, target={target.name!r})
train, validation, test = split_table(table, {plan.task!r}, {FRACTIONS}, seed={plan.seed})
target = TargetPreparation.fit(table, train, task={plan.task!r})
preparation = Preparation.fit(table, train)  # fitted on the training rows alone
X, y = preparation.transform(table, train), target.transform(table, train)
X_validation, y_validation = preparation.transform(table, validation), target.transform(table, validation)
X_test, y_test = preparation.transform(table, test), target.transform(table, test)

cr.manual_seed({plan.seed})
network = nn.Sequential(
{stacked})
trainer = cr.Trainer(
    network,
    loss={plan.loss!r},
    optimizer=lambda parameters: cr.optim.AdamW({settings}),{metrics}
    callbacks=[EarlyStopping(patience={PATIENCE})],
    seed={plan.seed},
)
trainer.fit(X, y, epochs={plan.epochs}, batch_size={plan.batch_size}, validation_data=(X_validation, y_validation))

output = trainer.predict(X_test)
{printed}"""
