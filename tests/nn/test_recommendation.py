"""Advice on activations and initial weights."""

from typing import Any

import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.nn import functional as F
from chainrule.nn.init import recommend


@pytest.mark.parametrize(
    ("arguments", "activation", "initialization"),
    [
        ({"task": "regression"}, "linear", "xavier_uniform_"),
        ({"layer": "conv2d", "task": "binary"}, "sigmoid", "xavier_uniform_"),
        ({"task": "multiclass", "depth": 30}, "softmax", "xavier_uniform_"),
        ({"depth": 1}, "tanh", "xavier_uniform_"),
        ({"depth": 20}, "relu", "kaiming_uniform_"),
        ({"layer": "convolution", "depth": 1}, "relu", "kaiming_uniform_"),
        ({"layer": nn.Linear(1, 1), "depth": 5, "units_die": True}, "leaky_relu", "kaiming_uniform_"),
        ({"layer": "GRU"}, "tanh", "orthogonal_"),
    ],
)
def test_what_is_recommended(arguments: dict[str, Any], activation: str, initialization: str) -> None:
    found = recommend(**arguments)
    assert (found.activation, found.initialization) == (activation, initialization)
    assert hasattr(nn.init, found.initialization)
    assert activation == "linear" or hasattr(F, activation)
    assert str(found).startswith(f"{activation}, {initialization}: ") and str(found).count("\n") == 0


def test_the_recommended_start_is_the_default_one() -> None:
    for layer, activation in ((nn.ReLU(), "relu"), (nn.Tanh(), "tanh")):
        advice = recommend(depth=1 if activation == "tanh" else 2)
        assert advice.activation == activation
        weight = getattr(nn.init, advice.initialization)(
            cr.zeros(300, 200), **({"nonlinearity": "relu"} if activation == "relu" else {})
        )
        default = nn.Sequential(nn.Linear(200, 300), layer)[0].weight.detach()
        assert float(default.std()) == pytest.approx(float(weight.std()), rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "conv4d"}, r"no advice for a layer 'conv4d' \(did you mean 'conv\dd'\?\)"),
        ({"layer": nn.Flatten()}, "no advice for a layer 'Flatten'"),
        ({"task": "multi-class"}, r"unknown task 'multi-class' \(did you mean 'multiclass'\?\)"),
        ({"depth": 0}, "a number of hidden layers from 1, got 0"),
    ],
)
def test_unknown_names(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        recommend(**arguments)
