"""How layers start by default: the distribution of a weight follows the activation that comes after the layer.

| activation that follows                               | distribution of the weight                              |
|-------------------------------------------------------|---------------------------------------------------------|
| ReLU, LeakyReLU, ELU, GELU, SiLU, Softplus             | He, uniform: U(±√(6 / ((1 + slope²) · inputs)))         |
| SELU                                                  | LeCun, normal: N(0, 1 / inputs)                         |
| Tanh, Sigmoid, Softmax, none                          | Glorot, uniform: U(±√(6 / (inputs + outputs)))          |

Biases start at 0. `Sequential` finds what follows; a layer used elsewhere takes the last row. An explicit choice
(`nn.init`, ``load_state_dict``, any write) always wins. ``settings.initialization = "pytorch"`` restores PyTorch's
U(±1/√inputs) for weights and biases.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..settings import settings
from ..tensor.generator import default_generator
from .parameter import Parameter
from .traits import TRAITS, activation_name

Array = np.ndarray[Any, Any]


class DefaultStart:
    """The default initial values of one layer: a key from which they can be drawn again, and what was written.

    The key alone comes from the global generator, once, so the values are a function of the seed and of the activation
    that follows, however often the latter is found out.
    """

    def __init__(self) -> None:
        self.key = int(default_generator.numpy().integers(2**63))
        self.activation: Any = None
        self.fingerprint = 0

    def draw(self, weight: Parameter, bias: Parameter | None, activation: Any) -> None:
        """Write the initial values for a layer that ``activation`` (a module or None) follows."""
        if settings.initialization not in ("activation", "pytorch"):
            raise ArgumentError(
                f"settings.initialization must be 'activation' or 'pytorch', got {settings.initialization!r}"
            )
        source = np.random.Generator(np.random.Philox(key=self.key))
        outputs, inputs = weight.shape[0], math.prod(weight.shape[1:])
        if settings.initialization == "pytorch":
            bound = 1 / math.sqrt(inputs) if inputs else 0.0
            weight.write(source.uniform(-bound, bound, tuple(weight.shape)))
            if bias is not None:
                bias.write(source.uniform(-bound, bound, tuple(bias.shape)))
        else:
            weight.write(_variance_preserving(source, tuple(weight.shape), inputs, outputs, activation))
            if bias is not None:
                bias.write(0.0)
        self.activation = activation
        self.fingerprint = _fingerprint(weight)

    def follow(self, weight: Parameter, bias: Parameter | None, activation: Any) -> None:
        """Draw again for another activation, unless somebody has written to the weight since."""
        same = _rule(activation) == _rule(self.activation) or settings.initialization == "pytorch"
        if not same and _fingerprint(weight) == self.fingerprint:
            bias_is_default = bias is not None and not bias.detach()._array().any()
            self.draw(weight, bias if bias_is_default else None, activation)


def _fingerprint(weight: Parameter) -> int:
    return zlib.crc32(np.ascontiguousarray(weight._array().T).data)


def _rule(activation: Any) -> tuple[str, float]:
    """The name of the distribution for what follows, and the slope of a leaky rectifier."""
    name = None if activation is None else activation_name(activation)
    known = TRAITS[name or "linear"]
    return known.initialization, getattr(activation, "negative_slope", known.slope)


def _variance_preserving(
    source: np.random.Generator, shape: tuple[int, ...], inputs: int, outputs: int, activation: Any
) -> Array:
    name, slope = _rule(activation)
    if name == "lecun":
        return source.normal(0.0, 1 / math.sqrt(max(inputs, 1)), shape)
    terms = (1 + slope**2) * inputs if name == "he" else inputs + outputs
    bound = math.sqrt(6 / max(terms, 1))
    return source.uniform(-bound, bound, shape)


def follow_activations(layers: Iterable[Any]) -> None:
    """Let every layer with a default start, in the order in which data passes, follow what comes after it.

    Dropout and changes of shape pass the question on to the next module.
    """
    waiting = None
    for layer in layers:
        start = getattr(layer, "start", None)
        if getattr(layer, "is_transparent", False):
            continue
        if waiting is not None:
            waiting.start.follow(waiting.weight, waiting.bias, layer if start is None else None)
        waiting = layer if isinstance(start, DefaultStart) else None
