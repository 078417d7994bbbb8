"""Prediction with dropout left on: mean and spread against what can be counted, and the modes of the network."""

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.training.monte_carlo import predict_with_spread

X = np.random.default_rng(0).normal(1, 2, (7, 4)).astype(np.float32)


def network() -> nn.Sequential:
    cr.manual_seed(0)
    return nn.Sequential(nn.Dropout(0.25), nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh())


def test_mean_and_spread_are_those_of_all_thinned_networks() -> None:
    model = network().eval()
    outputs, shares = [], []
    for kept in itertools.product([0, 1], repeat=4):
        outputs.append(model(cr.tensor(X * np.float32(kept) / np.float32(0.75))).detach().numpy().astype(float))
        shares.append(0.75 ** sum(kept) * 0.25 ** (4 - sum(kept)))
    expected = np.tensordot(shares, outputs, 1)
    deviation = np.sqrt(np.tensordot(shares, (outputs - expected) ** 2, 1))
    samples = 4000
    mean, spread = predict_with_spread(model, X, samples)
    assert mean.dtype == spread.dtype == np.float32
    assert (abs(mean - expected) < 5 * deviation / np.sqrt(samples) + 1e-6).all()
    np.testing.assert_allclose(spread, deviation, rtol=0.15)


def test_the_network_keeps_its_modes_and_statistics() -> None:
    model = network().train()
    model[2].eval()
    before = np.array(model[2].running_mean)
    predict_with_spread(model, X, 3)
    assert [part.training for part in model] == [True, True, False, True]
    np.testing.assert_array_equal(np.array(model[2].running_mean), before)


def test_it_repeats_with_the_seed_on_both_backends_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = cr.Trainer(network())
    cr.manual_seed(1)
    first = trainer.predict_with_spread(X, samples=5)
    cr.manual_seed(1)
    with cr.backend("reference"):
        second = predict_with_spread(trainer.model, cr.tensor(X), 5)
    np.testing.assert_allclose(second.mean, first.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second.spread, first.spread, rtol=1e-4, atol=1e-6)
    assert (first.mean != trainer.predict(X)).any()
    monkeypatch.setattr("chainrule.training.monte_carlo.BLOCK_ROWS", 3)
    assert predict_with_spread(trainer.model, X, 5).mean.shape == (7, 3)


def test_what_cannot_be_sampled() -> None:
    with pytest.raises(ArgumentError, match="at least 2, got 1"):
        predict_with_spread(network(), X, 1)
    with pytest.raises(ArgumentError, match="no dropout layer"):
        predict_with_spread(nn.Linear(4, 2), X)
