"""What is known of each activation, for machines: its range, where it saturates, which initial weights suit it.

One table, from which `init.calculate_gain`, the default initial weights and `init.recommend` are derived.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..errors import ArgumentError, did_you_mean

INF = math.inf


class Traits(NamedTuple):
    """One activation f.

    - ``range``: the infimum and supremum of its values;
    - ``is_zero_centred``: whether f(z) has mean 0 for symmetric z, so that layers do not shift each other's inputs;
    - ``saturates``: the sides, "below" and "above", on which f' goes to 0;
    - ``can_die``: whether f' is exactly 0 on a whole half-line, so that a unit may get no gradient for any example;
    - ``gain``: how much larger than 1/√fan weights in front of it should be. PyTorch's number where it has one; 1 for
      steps, gates and outputs; else 1/√E[f(z)²] for z ~ N(0, 1), which keeps the second moment of the signal;
    - ``initialization``: the family that suits these weights: "he", "glorot" or "lecun";
    - ``slope``: its slope far below 0, by default, where it is a leaky rectifier;
    - ``cost``: time of value and gradient in units of ReLU's (one core, AVX-512, elements in cache).
    """

    range: tuple[float, float]
    is_zero_centred: bool
    saturates: tuple[str, ...]
    can_die: bool
    gain: float
    initialization: str
    cost: float
    slope: float = 0.0


NOWHERE: tuple[str, ...] = ()
BELOW, BOTH = ("below",), ("below", "above")
ROOT_2 = math.sqrt(2)

TRAITS = {
    "linear": Traits((-INF, INF), True, NOWHERE, False, 1.0, "glorot", 0.0),
    "heaviside": Traits((0, 1), False, BOTH, True, 1.0, "glorot", 1.0),
    "sign": Traits((-1, 1), True, BOTH, True, 1.0, "glorot", 1.0),
    "piecewise_linear": Traits((0, 1), False, BOTH, True, 1.0, "glorot", 1.0),
    "sigmoid": Traits((0, 1), False, BOTH, False, 1.0, "glorot", 2.1),
    "logsigmoid": Traits((-INF, 0), False, ("above",), False, 1.0418668355550231, "he", 5.8),
    "tanh": Traits((-1, 1), True, BOTH, False, 5 / 3, "glorot", 2.1),
    "relu": Traits((0, INF), False, BELOW, True, ROOT_2, "he", 1.0),
    "relu6": Traits((0, 6), False, BOTH, True, ROOT_2, "he", 1.0),
    "leaky_relu": Traits((-INF, INF), False, NOWHERE, False, math.sqrt(2 / (1 + 0.01**2)), "he", 1.0, 0.01),
    "prelu": Traits((-INF, INF), False, NOWHERE, False, math.sqrt(2 / (1 + 0.25**2)), "he", 1.0, 0.25),
    "rrelu": Traits((-INF, INF), False, NOWHERE, False, math.sqrt(2 / (1 + (11 / 48) ** 2)), "he", 3.9, 11 / 48),
    "elu": Traits((-1, INF), False, BELOW, False, 1.2451983007242766, "he", 3.1),
    "selu": Traits((-1.7580993408473766, INF), True, BELOW, False, 3 / 4, "lecun", 3.1),
    "celu": Traits((-1, INF), False, BELOW, False, 1.2451983007242766, "he", 3.1),
    "softplus": Traits((0, INF), False, BELOW, False, 1.0418668355550231, "he", 5.9),
    "gelu": Traits((-0.16997120747990369, INF), False, BELOW, False, 1.5335304412245636, "he", 4.8),
    "silu": Traits((-0.27846454276107380, INF), False, BELOW, False, 1.6765324703628260, "he", 2.3),
    "mish": Traits((-0.3088434130172503, INF), False, BELOW, False, 1.4868475813013524, "he", 9.0),
    "hardsigmoid": Traits((0, 1), False, BOTH, True, 1.0, "glorot", 1.5),
    "hardswish": Traits((-0.375, INF), False, BELOW, True, 1.7366572127991242, "he", 1.4),
    "hardtanh": Traits((-1, 1), True, BOTH, True, 1.3920361404637810, "glorot", 1.1),
    "softsign": Traits((-1, 1), True, BOTH, False, 2.3375333631527866, "glorot", 1.9),
    "tanhshrink": Traits((-INF, INF), True, NOWHERE, False, 2.3383675301463844, "glorot", 2.3),
    "softshrink": Traits((-INF, INF), True, NOWHERE, False, 1.5443605283093667, "glorot", 1.0),
    "hardshrink": Traits((-INF, INF), True, NOWHERE, False, 1.0157963547416526, "glorot", 1.0),
    "threshold": Traits((-INF, INF), False, BELOW, True, ROOT_2, "he", 1.1),
    "maxout": Traits((-INF, INF), False, NOWHERE, False, 1.0, "glorot", 1.0),
    "softmax": Traits((0, 1), False, BOTH, False, 1.0, "glorot", 4.3),
    "log_softmax": Traits((-INF, 0), False, ("above",), False, 1.0, "glorot", 3.7),
    "softmin": Traits((0, 1), False, BOTH, False, 1.0, "glorot", 4.4),
    "glu": Traits((-INF, INF), True, NOWHERE, False, 1.8462285453735523, "glorot", 1.8),
}
"""The traits by the name of the function in `chainrule.nn.functional`."""

OTHER_NAMES = {"identity": "linear", "swish": "silu"} | {
    f"conv{kind}{rank}d": "linear" for kind in ("", "_transpose") for rank in (1, 2, 3)
}
"""Further names, of functions."""

_OF_LAYERS = {name.replace("_", ""): name for name in TRAITS if name != "linear"} | {"softmax2d": "softmax"}


def activation_name(activation: Any) -> str | None:
    """The name in the table of an activation's name or layer; None for anything else.

    >>> activation_name("swish"), activation_name(nn.LeakyReLU()), activation_name(nn.Linear(1, 1))
    ('silu', 'leaky_relu', None)
    """
    if isinstance(activation, str):
        name = OTHER_NAMES.get(activation, activation)
        return name if name in TRAITS else None
    return _OF_LAYERS.get(type(activation).__name__.lower())


def traits(activation: Any) -> Traits:
    """What is known of an activation: a name, or a layer. Errors: `ArgumentError` for an unknown one.

    >>> traits("tanh").range, traits(nn.ReLU()).can_die
    ((-1, 1), True)
    """
    name = activation_name(activation)
    if name is None:
        shown = activation if isinstance(activation, str) else type(activation).__name__
        hint = did_you_mean(shown, [*TRAITS, *OTHER_NAMES])
        raise ArgumentError(f"Unsupported nonlinearity {shown}{hint}")
    return TRAITS[name]
