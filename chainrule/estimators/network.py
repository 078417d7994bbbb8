"""The multi-layer perceptron of scikit-learn: its layers, and the weights with which it starts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import nn
from ..errors import ArgumentError, did_you_mean
from ..nn.activations import Activation
from ..types import DType
from .learner import Array, Learner

ACTIVATIONS = {"identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
"""Activations under scikit-learn's names."""

OTHERS = {
    name.lower(): layer
    for name, layer in vars(nn).items()
    if isinstance(layer, type) and issubclass(layer, Activation) and layer is not Activation
}


def make_activation(activation: Any) -> nn.Module:
    """The layer of a name (scikit-learn's, or a layer's of `chainrule.nn`), a class or function, or a copy of a layer.

    Errors: `ArgumentError` for an unknown name, and for what makes no layer.
    """
    if isinstance(activation, nn.Module):
        return copy.deepcopy(activation)
    if isinstance(activation, str):
        name = activation.replace("_", "").lower()
        found = ACTIVATIONS.get(activation) or OTHERS.get(name)
        if found is None:
            known = [*ACTIVATIONS, *OTHERS]
            hint = did_you_mean(name, known)
            raise ArgumentError(f"unknown activation {activation!r}{hint}; expected one of {', '.join(known)}")
        return found()
    made = activation() if callable(activation) else None
    if not isinstance(made, nn.Module):
        raise ArgumentError(f"activation must be a name or a layer such as nn.GELU(), got {activation!r}")
    return made


def make_network(sizes: Sequence[int], activation: Any, dropout: float, batch_norm: bool) -> nn.Sequential:
    """Linear layers; behind each hidden one batch normalisation, the activation and dropout, as far as asked for."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes[:-1]):
        layers.append(nn.Linear(inputs, outputs))
        if batch_norm:
            layers.append(nn.BatchNorm1d(outputs))
        layers.append(make_activation(activation))
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class PerceptronLearner(Learner):
    """A learner whose weights are those of linear layers, and of what else there may be: normalisations, slopes."""

    def __init__(self, network: nn.Module, loss: Any, make_optimizer: Callable[[list[Any]], Any], dtype: DType) -> None:
        self.layers: list[Any] = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
        weights = [layer.weight for layer in self.layers]
        super().__init__(network, loss, make_optimizer, weights, self.layers[-1].out_features, dtype)
        shown = {id(tensor) for layer in self.layers for tensor in (layer.weight, layer.bias)}
        self._others = [tensor for tensor in self._tensors() if id(tensor) not in shown]
        self._first_others = self.shown()[2]

    def show(self, coefs: Sequence[Array], intercepts: Sequence[Array], others: Sequence[Array] | None) -> None:
        """Take over weights as scikit-learn has them; ``others`` is None for a network that starts."""
        for layer, coef, intercept in zip(self.layers, coefs, intercepts, strict=True):
            layer.weight._array()[...] = coef.T
            layer.bias._array()[...] = intercept
        for tensor, value in zip(self._others, self._first_others if others is None else others, strict=True):
            tensor._array()[...] = value

    def shown(self) -> tuple[list[Array], list[Array], list[Array]]:
        """Copies of the weights (inputs, outputs) and biases of the linear layers, and of everything else."""
        coefs = [layer.weight._array().T.copy() for layer in self.layers]
        return coefs, [layer.bias._array().copy() for layer in self.layers], [t._array().copy() for t in self._others]


def draw_weights(
    sizes: Sequence[int], activation: Any, random: np.random.RandomState, dtype: Any
) -> tuple[list[Array], list[Array]]:
    """Initial weights (inputs, outputs) and biases: U(±√(6 / (inputs + outputs))), √2 in place of √6 for "logistic".

    Drawn as scikit-learn draws them, so that one ``random_state`` gives both the same start. Source: Glorot, Bengio
    2010, of which the factor of the sigmoid is scikit-learn's form.
    """
    factor = 2.0 if activation == "logistic" else 6.0
    weights, biases = [], []
    for inputs, outputs in pairwise(sizes):
        bound = np.sqrt(factor / (inputs + outputs))
        weights.append(random.uniform(-bound, bound, (inputs, outputs)).astype(dtype))
        biases.append(random.uniform(-bound, bound, outputs).astype(dtype))
    return weights, biases
