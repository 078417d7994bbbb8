"""Which network `chainrule train` chooses."""

from itertools import pairwise

import numpy as np
import pytest

from chainrule.cli.network import build_network, describe_plan, make_plan, make_trainer
from chainrule.data import TargetPreparation
from chainrule.data.encoders import Scale

BINARY = TargetPreparation("y", "binary", ("no", "yes"))
THREE = TargetPreparation("y", "multiclass", ("a", "b", "c"))
NUMBER = TargetPreparation("y", "regression", scale=Scale(0.0, 1.0))


@pytest.mark.parametrize(
    ("target", "loss", "outputs"), [(BINARY, "bce_with_logits", 1), (THREE, "cross_entropy", 3), (NUMBER, "mse", 1)]
)
def test_the_task_decides_loss_and_outputs(target: TargetPreparation, loss: str, outputs: int) -> None:
    plan = make_plan(target, 4, 500, hidden=(8,), epochs=5, seed=0)
    assert (plan.loss, plan.outputs) == (loss, outputs)
    network = build_network(plan)
    assert [tuple(p.shape) for p in network.parameters()] == [(8, 4), (8,), (outputs, 8), (outputs,)]
    assert make_trainer(plan, network).predict(np.zeros((2, 4), np.float32)).shape == (2, outputs)


def test_more_rows_mean_larger_batches_and_less_noise() -> None:
    plans = [make_plan(BINARY, 4, rows, hidden=(8,), epochs=5, seed=0) for rows in (500, 5_000, 50_000)]
    for smaller, larger in pairwise(plans):
        assert smaller.batch_size <= larger.batch_size
        assert smaller.dropout >= larger.dropout
        assert smaller.weight_decay > larger.weight_decay


def test_what_is_given_is_taken_and_a_batch_is_no_larger_than_the_data() -> None:
    plan = make_plan(BINARY, 4, 20, hidden=(), epochs=5, seed=7, batch_size=64, learning_rate=0.5, dropout=0.25)
    assert (plan.batch_size, plan.learning_rate, plan.dropout, plan.seed) == (20, 0.5, 0.25, 7)


def test_the_initial_weights_follow_the_seed_and_are_those_that_are_described() -> None:
    def weights(seed: int) -> np.ndarray:
        network = build_network(make_plan(BINARY, 300, 500, hidden=(200,), epochs=5, seed=seed))
        return np.array(network[0].weight.detach().numpy())

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    assert weights(1).std() == pytest.approx(np.sqrt(2 / 300), rel=0.02)  # He
    assert np.abs(weights(1)).max() <= np.sqrt(6 / 300)  # uniform
    said = "\n".join(describe_plan(make_plan(BINARY, 300, 500, hidden=(200,), epochs=5, seed=1), BINARY))
    assert "He (uniform) before ReLU, Glorot (uniform) before the output, biases 0" in said
    assert "the probability that y is 'yes'" in said
