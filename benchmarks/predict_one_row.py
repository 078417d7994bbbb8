"""One call of predict with one row: what a service that answers single requests pays."""

from __future__ import annotations

import numpy as np

from . import peers
from .contestants import chainrule_trainer
from .harness import AtMost, Benchmark, Measure, per_step, thread_count
from .programs import SMALL, network

CALLS = 500


def chainrule_predict() -> Measure:
    trainer = chainrule_trainer(SMALL)
    row = SMALL.data()[0][:1]
    return per_step(lambda: [trainer.predict(row) for _ in range(CALLS)], CALLS)


def torch_call() -> Measure:
    import torch

    torch.set_num_threads(thread_count())
    model = network(torch.nn, SMALL).eval()
    row = SMALL.data()[0][:1]

    def run() -> None:
        with torch.inference_mode():
            for _ in range(CALLS):
                model(torch.from_numpy(row)).numpy()

    return per_step(run, CALLS)


def sklearn_predict() -> Measure:
    inputs, labels = SMALL.data()
    model = peers.sklearn_classifier(SMALL, 1).fit(inputs, labels.ravel())
    return per_step(lambda: [model.predict_proba(inputs[:1]) for _ in range(CALLS)], CALLS)


def jax_call() -> Measure:
    import jax

    layers = [(np.zeros((m, n), np.float32), np.zeros(n, np.float32)) for m, n in ((8, 12), (12, 8), (8, 1))]

    def forward(x: jax.Array) -> jax.Array:
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return jax.nn.sigmoid(x @ layers[-1][0] + layers[-1][1])

    model = jax.jit(forward)
    row = SMALL.data()[0][:1]
    return per_step(lambda: [np.asarray(model(row)) for _ in range(CALLS)], CALLS)


BENCHMARK = Benchmark(
    title="predict for one row with 8-12-8-1, from array to array",
    contestants={
        "chainrule Trainer.predict": chainrule_predict,
        "torch inference mode": torch_call,
        "scikit-learn predict_proba": sklearn_predict,
        "jax jit": jax_call,
    },
    goals=(AtMost("chainrule Trainer.predict", 20e-6),),
)
