"""How layers start by default: the distribution of a weight follows the activation that comes after the layer.

| activation that follows                                       | distribution of the weight                      |
|---------------------------------------------------------------|-------------------------------------------------|
| ReLU and its kin (LeakyReLU, ELU, GELU, SiLU, Softplus, ...)  | He, uniform: U(±√(6 / ((1 + slope²) · inputs))) |
| SELU                                                          | LeCun, normal: N(0, 1 / inputs)                 |
| Tanh, Sigmoid, Softmax and other symmetric ones, none         | Glorot, uniform: U(±√(6 / (inputs + outputs)))  |

Biases start at 0; the table of traits (`chainrule.nn.traits`) says which row an activation belongs to. The values are
drawn when somebody first needs them. If that is a program, what follows is found in its graph, however the user's
``forward`` is written; if Python looks at the weight before, `Sequential` knows what follows, and elsewhere it is the
last row. Either way they then stay, and are a function of the seed and the activation alone. An explicit choice
(`nn.init`, ``load_state_dict``, any write) always wins. ``settings.initialization = "pytorch"`` restores PyTorch's
U(±1/√inputs) for weights and biases.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..settings import settings
from ..tensor.generator import default_generator
from ..tensor.storage import Storage, view_array
from ..types import Shape, TensorType
from .following import Uses, activation_behind
from .parameter import Parameter
from .traits import TRAITS, activation_name

RULES = ("activation", "pytorch")

Fill = Callable[[int, float, np.ndarray[Any, Any]], None]
"""Draws an array of numbers in [-bound, bound) from the stream with a key: ``fill(key, bound, array)``."""

BLOCK = 1 << 13
"""Values drawn at once: fresh memory for a whole weight would take as long as drawing it."""


class _Source(threading.local):
    """On each thread, one generator for all weights: making a new one takes as long as drawing 5000 numbers."""

    def __init__(self) -> None:
        self.generator = np.random.Generator(np.random.Philox(key=0))


_source = _Source()


def _stream(low: int, high: int = 0) -> np.random.Generator:
    """A generator at the beginning of the stream with a key of two words; it serves until the next one is asked for."""
    none = np.zeros(4, np.uint64)
    _source.generator.bit_generator.state = {
        "bit_generator": "Philox", "state": {"counter": none, "key": np.array([low, high], np.uint64)},
        "buffer": none, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0,
    }  # fmt: skip
    return _source.generator


def _uniform(source: np.random.Generator, bound: float, size: Shape) -> np.ndarray[Any, Any]:
    """What ``source.random(size, np.float32) * (2 * bound) - bound`` gives, in half the time.

    A number has 24 bits, so two come from each word of the stream, and half of the last one is left out.
    """
    count = math.prod(size)
    bits = source.bit_generator.random_raw(-(-count // 2)).view(np.uint32)[:count]
    values = (bits >> 8).view(np.int32).astype(np.float32)
    values *= np.float32(2 * bound) * np.float32(2**-24)
    values -= np.float32(bound)
    return values.reshape(size)


class DefaultStart:
    """The default initial values of one weight: a key from which they are drawn, and the activation that follows.

    The key alone comes from the global generator, once. Copies of a weight share its start, so they have its values,
    whichever of them is needed first.
    """

    def __init__(self, rule: str) -> None:
        self.key = int(default_generator.numpy().integers(2**63))
        self.rule = rule
        self.activation: str | None = None
        self.slope = 0.0
        self.is_drawn = False

    def follow(self, activation: str | None, slope: float | None = None) -> None:
        """Note which activation follows (None: none), as long as nobody has seen a value."""
        if not self.is_drawn:
            self.activation = activation
            self.slope = TRAITS[activation or "linear"].slope if slope is None else slope

    @property
    def family(self) -> str:
        """The name of the distribution: "he", "glorot", "lecun" or "pytorch"."""
        return "pytorch" if self.rule == "pytorch" else TRAITS[self.activation or "linear"].initialization

    def sampler(self, shape: Shape) -> Callable[[Shape], np.ndarray[Any, Any]]:
        """Return what draws the initial values of a weight of this shape, from the first row on, in parts of a size.

        They are numbers of single precision, whatever the weight's: double ones take three times as long to draw.
        """
        source, bound = _stream(self.key), self._bound(shape)
        if bound is None:
            deviation = np.float32(1 / math.sqrt(max(math.prod(shape[1:]), 1)))
            return lambda size: source.standard_normal(size, np.float32) * deviation
        return lambda size: _uniform(source, bound, size)

    def _bound(self, shape: Shape) -> float | None:
        """The bound of a uniform distribution; None for the normal one."""
        outputs, inputs = shape[0] * math.prod(shape[2:]), math.prod(shape[1:])
        if self.family == "lecun":
            return None
        if self.family == "pytorch":
            return 1 / math.sqrt(max(inputs, 1))
        return math.sqrt(6 / max((1 + self.slope**2) * inputs if self.family == "he" else inputs + outputs, 1))

    def write(self, weight: np.ndarray[Any, Any], fill: Fill | None = None) -> None:
        """Write the initial values into a weight, block by block: none but the last has an odd number of values.

        A large weight is left to ``fill``, which draws the same values.
        """
        bound = self._bound(weight.shape)
        if fill is not None and bound is not None and weight.size > BLOCK:
            fill(self.key, bound, weight)
            return
        draw = self.sampler(weight.shape)
        rows = 2 * max(1, BLOCK // max(2 * math.prod(weight.shape[1:]), 1))
        for first in range(0, len(weight), rows):
            block = weight[first : first + rows]
            block[...] = draw(block.shape)

    def bias_values(self, shape: Shape, inputs: int) -> np.ndarray[Any, Any]:
        """The initial values of a bias."""
        if self.rule == "activation":
            return np.zeros(shape)
        bound = 1 / math.sqrt(max(inputs, 1))
        return _stream(self.key, 1).uniform(-bound, bound, shape)

    def describe(self, weight: Parameter) -> str:
        """What a summary says: the distribution, the activation that it follows, and whether the weight has changed."""
        text = self.family if self.activation is None else f"{self.family} ({self.activation})"
        if not self.is_drawn:
            return f"{text}, not drawn yet"
        few = weight.detach()._array()[:1]
        is_same = np.array_equal(few, self.sampler(tuple(weight.shape))(few.shape).astype(few.dtype))
        return text if is_same else f"{text}, changed"

    def __deepcopy__(self, memo: Any) -> DefaultStart:
        return self


class Undrawn(NamedTuple):
    """Stands in a weight's storage for values that nobody has needed yet."""

    start: DefaultStart
    type: TensorType
    strides: Shape | None

    def draw(self, storage: Storage, fill: Fill | None = None) -> None:
        """Write the values. From here on the activation that they follow is fixed."""
        self.start.is_drawn = True
        self.start.write(view_array(storage, storage.address, self.type, self.strides), fill)

    def follow(self, order: Iterable[Any], weights: Iterable[Any]) -> None:
        """Let ``weights``, which are as this one, follow the activations behind them in a graph's vertices."""
        follow_graph(order, weights)


def default_rule() -> str:
    """The rule in the settings. Errors: `ArgumentError` for an unknown one."""
    if settings.initialization not in RULES:
        raise ArgumentError(
            f"settings.initialization must be 'activation' or 'pytorch', got {settings.initialization!r}"
        )
    return settings.initialization


def start_by_default(weight: Parameter, bias: Parameter | None) -> None:
    """Give a layer of shape (outputs, inputs, ...) its default initial values, or anew if it has had some.

    Errors: `ArgumentError` for an unknown rule in the settings.
    """
    rule = default_rule()
    before: DefaultStart | None = weight.start
    weight.start = start = DefaultStart(rule)
    if bias is not None:
        bias.write(start.bias_values(tuple(bias.shape), math.prod(weight.shape[1:])))
    if before is not None:
        start.follow(before.activation, before.slope)
    if before is None or not before.is_drawn:
        weight.postpone(Undrawn(start, weight._type, weight._strides))
    else:  # there may be programs that read this memory
        start.is_drawn = True
        shape = tuple(weight.shape)
        weight.write(start.sampler(shape)(shape))


def follow_activations(layers: Iterable[Any]) -> None:
    """Let every layer with a default start, in the order in which data passes, follow what comes after it.

    Dropout and changes of shape pass the question on to the next module.
    """
    waiting = None
    for layer in layers:
        if getattr(layer, "is_transparent", False):
            continue
        if waiting is not None:
            name = activation_name(layer)
            waiting.follow(name, getattr(layer, "negative_slope", None))
        waiting = getattr(getattr(layer, "weight", None), "start", None)


def follow_graph(order: Iterable[Any], weights: Iterable[Any]) -> None:
    """Let weights follow the activations behind them in a recorded graph, whose vertices come in topological order.

    Where there is none, nothing changes.
    """
    uses = Uses(order)
    for weight in weights:
        found = activation_behind(weight._slot, uses)
        if found is not None:
            weight._storage.undrawn.start.follow(*found)
