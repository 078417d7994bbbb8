"""What ``chainrule train`` does with its defaults on two public tables with categories and missing values.

One measured unit is a whole training: a new network, optimiser and trainer, then ``EPOCHS`` epochs with the validation
loss after each and the best weights kept. PyTorch trains the same network on the same prepared rows, with the same
optimiser, batches and number of epochs, as a careful user writes it: rows gathered by a shuffled index, no loader.

``python -m benchmarks.tables`` prints the test scores instead, over three splits, beside scikit-learn's histogram
gradient boosting, which gets the columns as they are, categories as such, and the rows for validation too.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.cli import train
from chainrule.cli.network import Plan, build_network, make_plan, make_trainer
from chainrule.cli.preparing import Options, PreparedData, prepare
from chainrule.cli.program import FRACTIONS
from chainrule.cli.scores import probabilities, score
from chainrule.data import split_table
from chainrule.training.metrics import auc, r2

from .harness import Benchmark, Faster, Measure, per_step, thread_count

TABLES = {
    "adult": ("adult-income/adult-train.csv", "column_15"),
    "california": ("california-housing/housing.csv", "median_house_value"),
}
EPOCHS = 30
SEEDS = 3


@cache
def prepared(table: str, seed: int = 0) -> tuple[PreparedData, Plan]:
    """The rows as the command prepares them, and the plan that it makes."""
    file, target = TABLES[table]
    options = Options(Path(os.environ.get("CHAINRULE_DATA", ".")) / file, target, seed=seed)
    data = prepare(options)
    plan = make_plan(
        data.target, data.train.X.shape[1], len(data.train.y), hidden=options.hidden, epochs=options.epochs, seed=seed
    )
    return data, plan


def chainrule_train(table: str) -> Callable[[], Measure]:
    """The training of the command, for a fixed number of epochs."""

    def setup() -> Measure:
        data, plan = prepared(table)
        plan = dataclasses.replace(plan, epochs=EPOCHS)
        validation = data.validation.X, data.validation.y

        def run() -> None:
            trainer = make_trainer(plan, build_network(plan))
            trainer.fit(
                data.train.X, data.train.y, epochs=EPOCHS, batch_size=plan.batch_size, validation_data=validation,
                verbose=0,
            )  # fmt: skip

        return per_step(run, 1)

    return setup


def torch_train(table: str, fused: bool = False) -> Callable[[], Measure]:
    """The same in PyTorch."""

    def setup() -> Measure:
        import torch

        torch.set_num_threads(thread_count())
        return per_step(lambda: train_in_torch(*prepared(table), EPOCHS, fused), 1)

    return setup


def train_in_torch(data: PreparedData, plan: Plan, epochs: int, fused: bool) -> Any:
    """Train the network of a plan in PyTorch and return it with the weights of its best epoch."""
    import torch

    torch.manual_seed(plan.seed)
    model = torch_network(plan)
    parts = [(torch.from_numpy(part.X), torch_targets(part.y)) for part in (data.train, data.validation)]
    (X, y), (validation_X, validation_y) = parts
    loss_function = torch.nn.MSELoss() if plan.task == "regression" else torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=fused
    )
    best, weights = math.inf, None
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(X)).split(plan.batch_size):
            optimizer.zero_grad()
            loss_function(model(X[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = loss_function(model(validation_X), validation_y).item()
        if loss < best:
            best, weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return model


def torch_network(plan: Plan) -> Any:
    """The layers of `build_network`, with the same initial distributions."""
    from torch import nn

    layers: list[Any] = []
    width = plan.inputs
    for size in plan.hidden:
        layer = nn.Linear(width, size)
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU(), *([nn.Dropout(plan.dropout)] if plan.dropout else [])]
        width = size
    layers.append(nn.Linear(width, plan.outputs))
    nn.init.xavier_uniform_(layers[-1].weight)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def torch_targets(y: np.ndarray) -> Any:
    """Targets as a column of floats, for an output of one column."""
    import torch

    return torch.from_numpy(y.astype(np.float32)).reshape(-1, 1)


def chainrule_score(data: PreparedData, plan: Plan) -> tuple[float, int, float]:
    """The test score of the whole command, how many epochs it trained, and the seconds."""
    trainer = make_trainer(plan, build_network(plan))
    began = time.perf_counter()
    history = train.fit(trainer, plan, data)
    seconds = time.perf_counter() - began
    scores = score(data.target, trainer.predict(data.test.X), data.test.y, data.target.baseline())
    return scores[0].network or 0.0, len(history), seconds


def torch_score(data: PreparedData, plan: Plan, epochs: int) -> float:
    """The test score of the same training in PyTorch."""
    import torch

    model = train_in_torch(data, plan, epochs, fused=True)
    with torch.no_grad():
        output = model(torch.from_numpy(data.test.X)).numpy()
    if plan.task == "regression":
        return r2(data.target.invert(data.test.y), data.target.invert(output.reshape(-1)))
    return auc(data.test.y, probabilities(data.target, output))


def boosting_score(table: str, seed: int) -> tuple[float, float]:
    """The test score of scikit-learn's histogram gradient boosting with its defaults, and the seconds of its fit."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    data, plan = prepared(table, seed)
    X, categorical = raw_columns(data.table)
    train_rows, validation_rows, test_rows = split_table(data.table, data.target.task, FRACTIONS, seed=seed)
    rows = np.concatenate([train_rows, validation_rows])
    kind: Any = HistGradientBoostingRegressor if plan.task == "regression" else HistGradientBoostingClassifier
    model = kind(categorical_features=categorical, random_state=seed)
    began = time.perf_counter()
    model.fit(X[rows], data.target.transform(data.table, rows))
    seconds = time.perf_counter() - began
    y = data.test.y
    if plan.task == "regression":
        return r2(data.target.invert(y), data.target.invert(model.predict(X[test_rows]))), seconds
    return auc(y, model.predict_proba(X[test_rows])), seconds


def raw_columns(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """The columns of a table as numbers, missing ones NaN, categories by number, and which of them are categories."""
    columns, categorical = [], []
    for column in table.features:
        is_category = column.kind == "category"
        categorical.append(is_category)
        if not is_category:
            columns.append(column.numbers(column.kind))
            continue
        _, numbers = np.unique(column.texts().astype(str), return_inverse=True)
        columns.append(np.where(column.missing, np.nan, numbers))
    return np.column_stack(columns), np.array(categorical)


def main() -> None:
    """Print the test scores over several splits."""
    print("| table | seed | chainrule train | epochs | s | PyTorch, same network | gradient boosting | s |")
    print("|---|---|---|---|---|---|---|---|")
    for table in TABLES:
        for seed in range(SEEDS):
            data, plan = prepared(table, seed)
            ours, epochs, seconds = chainrule_score(data, plan)
            theirs, (boosted, boosting_seconds) = torch_score(data, plan, epochs), boosting_score(table, seed)
            print(
                f"| {table} | {seed} | {ours:.4f} | {epochs} | {seconds:.2f} | {theirs:.4f} | {boosted:.4f} | "
                f"{boosting_seconds:.2f} |",
                flush=True,
            )


BENCHMARK = Benchmark(
    title=f"{EPOCHS} epochs of `chainrule train` on tables with categories and missing values",
    contestants={
        "chainrule, adult": chainrule_train("adult"),
        "torch, adult": torch_train("adult"),
        "torch, adult, fused AdamW": torch_train("adult", fused=True),
        "chainrule, california": chainrule_train("california"),
        "torch, california": torch_train("california"),
        "torch, california, fused AdamW": torch_train("california", fused=True),
    },
    goals=(
        Faster("chainrule, adult", "torch, adult", 5),
        Faster("chainrule, adult", "torch, adult, fused AdamW", 5),
        Faster("chainrule, california", "torch, california", 5),
        Faster("chainrule, california", "torch, california, fused AdamW", 5),
    ),
    rounds=3,
    repeats=1,
)

if __name__ == "__main__":
    main()
