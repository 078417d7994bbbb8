"""How the same training is written for JAX and scikit-learn, each in the form that suits it best."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from .programs import Task


def jax_epoch(task: Task) -> Callable[[], None]:
    """An epoch of JAX: one jitted ``lax.scan`` over the batches, with Adam written out."""
    import jax

    inputs, labels = task.data()
    batches = (
        jax.numpy.asarray(inputs.reshape(task.steps, task.batch, -1)),
        jax.numpy.asarray(labels.reshape(task.steps, task.batch, *labels.shape[1:])),
    )
    step = _jax_step(task)
    scan = jax.jit(lambda state: jax.lax.scan(step, state, batches), donate_argnums=0)
    state = _jax_state(task)

    def run() -> None:
        nonlocal state
        state, losses = scan(state)
        losses[-1].item()

    return run


def _jax_state(task: Task) -> Any:
    """Parameters, Adam's two moments, the number of steps done, and the random key."""
    import jax

    generator = np.random.default_rng(1)

    def new(fill: Callable[[int, int], np.ndarray]) -> Any:
        return [(jax.numpy.asarray(fill(m, n), "float32"), jax.numpy.zeros(n)) for m, n in pairwise(task.sizes)]

    parameters = new(lambda m, n: generator.standard_normal((m, n)) * np.sqrt(2 / m))
    moments = [new(lambda m, n: np.zeros((m, n))) for _ in range(2)]
    return parameters, *moments, jax.numpy.float32(0), jax.random.key(0)


def _jax_loss(task: Task) -> Callable[..., Any]:
    import jax

    def loss(parameters: Any, batch: Any, key: Any) -> Any:
        x, labels = batch
        for weight, bias in parameters[:-1]:
            x = jax.nn.relu(x @ weight + bias)
            if task.dropout:
                key, draw = jax.random.split(key)
                x = jax.numpy.where(jax.random.bernoulli(draw, 1 - task.dropout, x.shape), x / (1 - task.dropout), 0)
        weight, bias = parameters[-1]
        x = x @ weight + bias
        if task.is_binary:
            chosen = -jax.nn.softplus(jax.numpy.where(labels > 0, -x, x))
        else:
            chosen = jax.numpy.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1)
        return -chosen.mean()

    return loss


def _jax_step(task: Task) -> Callable[..., Any]:
    import jax

    gradient_of_loss = jax.value_and_grad(_jax_loss(task))
    each = jax.tree.map

    def step(state: Any, batch: Any) -> Any:
        parameters, first, second, count, key = state
        key, draw = jax.random.split(key)
        loss, gradient = gradient_of_loss(parameters, batch, draw)
        count += 1
        first = each(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = each(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate = 1e-3 * jax.numpy.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        parameters = each(lambda p, m, v: p - rate * m / (jax.numpy.sqrt(v) + 1e-8), parameters, first, second)
        return (parameters, first, second, count, key), loss

    return step


def sklearn_classifier(task: Task, epochs: int) -> Any:
    """scikit-learn's MLPClassifier, which trains for exactly ``epochs`` epochs without dropout."""
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore")  # "maximum iterations reached": that is what is asked for
    return MLPClassifier(
        task.sizes[1:-1], batch_size=task.batch, max_iter=epochs, tol=0.0, n_iter_no_change=epochs + 1, random_state=0
    )
