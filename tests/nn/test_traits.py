"""The table of traits says what the functions do: ranges, saturation, dying and gains are measured here."""

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.nn import functional as F
from chainrule.nn.traits import TRAITS, activation_name, traits

OVER_AN_AXIS = {"softmax", "log_softmax", "softmin", "glu", "maxout"}
ELEMENTWISE = sorted(set(TRAITS) - OVER_AN_AXIS - {"linear"})
GRID = np.concatenate([np.linspace(-12, 12, 48001), [-1e4, -1e3, -60.0, 60.0, 1e3, 1e4]])
PYTORCH_GAINS = {"sigmoid", "tanh", "relu", "leaky_relu", "selu"}
NO_SIGNAL = {"heaviside", "sign", "piecewise_linear", "hardsigmoid", "relu6", "threshold", "prelu", "rrelu"}


def on_grid(name: str) -> tuple[np.ndarray, np.ndarray]:
    """The values and derivatives of an activation."""
    x = cr.tensor(GRID, requires_grad=True)
    extra: dict[str, tuple[Any, ...]] = {
        "threshold": (0.0, 0.0), "prelu": (cr.tensor([0.25], dtype=cr.float64),), "leaky_relu": (0.01,),
    }  # fmt: skip
    y = getattr(F, name)(x, *extra.get(name, ()))
    y.sum().backward()
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_table_describes_the_function(name: str) -> None:
    known = traits(name)
    y, slope = on_grid(name)
    inside = abs(GRID) <= 1e3
    if name != "threshold":  # whose range depends on its arguments
        low, high = known.range
        assert y.min() >= low - 1e-12 and y.max() <= high + 1e-12
        assert y.min() == pytest.approx(low, abs=2e-3) if math.isfinite(low) else y[inside].min() < -9
        assert y.max() == pytest.approx(high, abs=2e-3) if math.isfinite(high) else y[inside].max() > 9
    assert ("below" in known.saturates) == bool(abs(slope[GRID == -1e4]).max() < 1e-6)
    assert ("above" in known.saturates) == bool(abs(slope[GRID == 1e4]).max() < 1e-6)
    is_flat = (slope[GRID <= -6] == 0).all() or (slope[GRID >= 6] == 0).all()
    assert known.can_die == bool(is_flat)
    if math.isfinite(known.slope) and known.slope:
        assert slope[0] == pytest.approx(known.slope)


@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE) - PYTORCH_GAINS - NO_SIGNAL))
def test_gains_keep_the_second_moment(name: str) -> None:
    y, _ = on_grid(name)
    z, y = GRID[:48001], y[:48001]
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    assert traits(name).gain == pytest.approx(1 / math.sqrt(np.sum(y**2 * density) * (z[1] - z[0])), rel=1e-4)


@pytest.mark.parametrize("name", sorted(set(ELEMENTWISE)))
def test_zero_centred_means_mean_zero(name: str) -> None:
    y, _ = on_grid(name)
    density = np.exp(-(GRID[:48001] ** 2) / 2)
    mean = np.average(y[:48001], weights=density)
    assert traits(name).is_zero_centred == (abs(mean) < 1e-4)


def test_every_activation_is_in_the_table() -> None:
    layers = [getattr(nn, name) for name in dir(nn) if isinstance(getattr(nn, name), type)]
    activations = [layer for layer in layers if issubclass(layer, nn.activations.Activation)]
    assert len(activations) > 25
    for layer in activations:
        arguments = (0.0, 0.0) if layer is nn.Threshold else ()
        assert activation_name(layer(*arguments)) is not None, layer


def test_names() -> None:
    assert activation_name(nn.Linear(1, 1)) is None and activation_name("identity") == "linear"
    with pytest.raises(ArgumentError, match=r"Unsupported nonlinearity geli \(did you mean 'gelu'\?\)"):
        traits("geli")
    with pytest.raises(ArgumentError, match="Unsupported nonlinearity Flatten"):
        traits(nn.Flatten())
