"""Which activation and which initial weights suit a layer, and why: derived from the table of traits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..errors import ArgumentError, did_you_mean
from .traits import TRAITS, Traits

INITIALIZERS = {"he": "kaiming_uniform_", "glorot": "xavier_uniform_", "lecun": "lecun_normal_"}
"""The function in `chainrule.nn.init` for a family of initial weights."""

OUTPUTS = {
    "regression": ("linear", "the prediction may be any number, so nothing must bound it"),
    "binary": ("sigmoid", "the output is a probability in (0, 1); train on its logit, with BCEWithLogitsLoss"),
    "multiclass": (
        "softmax",
        "the outputs are probabilities that add up to 1; train on their logits, with CrossEntropyLoss",
    ),
}
"""What stands behind the last layer, by task."""

LAYERS = {
    "linear": "linear", "dense": "linear", "bilinear": "linear", "convolution": "convolution", "recurrent": "recurrent",
    "rnn": "recurrent", "lstm": "recurrent", "gru": "recurrent", "rnncell": "recurrent", "lstmcell": "recurrent",
    "grucell": "recurrent", "sru": "recurrent",
} | {f"conv{kind}{rank}d": "convolution" for kind in ("", "transpose") for rank in (1, 2, 3)}  # fmt: skip
"""Kinds of layers, by what they are called."""

PREFERRED = ("relu", "leaky_relu", "tanh")
"""Hidden activations in order of preference, as far as their traits allow."""


class Recommendation(NamedTuple):
    """An activation (its name in `chainrule.nn.functional`), the name of an initialiser in `nn.init`, and why."""

    activation: str
    initialization: str
    reason: str

    def __str__(self) -> str:
        return f"{self.activation}, {self.initialization}: {self.reason}"


def recommend(
    layer: Any = "linear", task: str | None = None, depth: int = 2, units_die: bool = False
) -> Recommendation:
    """Which activation behind a layer, and which initial weights in it, and why, in one sentence.

    ``layer``: a module, or "linear", "convolution", "recurrent" or the name of such a layer; ``task``: for the last
    layer "regression", "binary" or "multiclass", None for a hidden one; ``depth``: the number of hidden layers;
    ``units_die``: rectifiers were seen to get no gradient. Errors: `ArgumentError` for unknown names.

    >>> nn.init.recommend("conv2d").activation, nn.init.recommend("lstm").initialization
    ('relu', 'orthogonal_')
    >>> print(nn.init.recommend("linear", task="multiclass").activation)
    softmax
    """
    kind = _kind(layer)
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise ArgumentError(f"recommend: depth is a number of hidden layers from 1, got {depth!r}")
    if task is not None:
        if task not in OUTPUTS:
            raise ArgumentError(f"unknown task {task!r}{did_you_mean(task, OUTPUTS)}; expected one of {list(OUTPUTS)}")
        activation, reason = OUTPUTS[task]
        return Recommendation(activation, INITIALIZERS[TRAITS[activation].initialization], reason)
    if kind == "recurrent":
        activation = _first(lambda traits: traits.is_zero_centred and math.isfinite(traits.range[1]))
        reason = (
            "the state is fed back, so it must stay bounded and zero-centred, and an orthogonal matrix keeps its norm "
            "from step to step"
        )
        return Recommendation(activation, "orthogonal_", reason)
    if kind == "linear" and depth == 1:
        activation = _first(lambda traits: traits.is_zero_centred)
        reason = "through one hidden layer the gradient cannot vanish, so smooth and zero-centred is best"
    elif units_die:
        activation = _first(lambda traits: not traits.can_die and not traits.saturates)
        reason = "its derivative is 0 nowhere, so every unit gets a gradient; where slopes may be learned, PReLU"
    else:
        activation = _first(lambda traits: "above" not in traits.saturates)
        reason = "it is the cheapest that does not saturate for large inputs, so the gradient reaches deep layers"
    family = TRAITS[activation].initialization
    purpose = {"he": "makes up for the half that it sets to 0", "glorot": "keeps variances both ways"}[family]
    return Recommendation(activation, INITIALIZERS[family], f"{reason}; {family.capitalize()} {purpose}")


def _kind(layer: Any) -> str:
    name = layer if isinstance(layer, str) else type(layer).__name__
    kind = LAYERS.get(name.lower())
    if kind is None:
        hint = did_you_mean(name.lower(), LAYERS)
        raise ArgumentError(f"no advice for a layer {name!r}{hint}; expected one of {sorted(set(LAYERS.values()))}")
    return kind


def _first(suits: Callable[[Traits], bool]) -> str:
    return next(name for name in PREFERRED if suits(TRAITS[name]))
