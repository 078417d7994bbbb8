"""Initial values, under PyTorch's names. Each function overwrites its tensor at once, without gradient, and returns it.

Numbers come from ``generator``, by default the global one (`chainrule.manual_seed`). Fans: for a tensor of shape
(out, in, ...), fan_in = in · (product of the rest), fan_out = out · (product of the rest).

>>> weight = cr.zeros(2, 3)
>>> nn.init.eye_(weight)
tensor([[1., 0., 0.],
        [0., 1., 0.]])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor.generator import Generator, default_generator
from ..tensor.gradmode import no_grad
from ..tensor.recording import note_write
from ..tensor.segment import flush
from ..types import Shape
from . import traits
from .initialization import BLOCK
from .parameter import Parameter
from .recommendation import Recommendation as Recommendation
from .recommendation import recommend as recommend


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights before this activation should be larger than 1/√fan; see `Traits.gain`.

    1 for linear and sigmoid, 5/3 for tanh, √2 for relu, √(2 / (1 + slope²)) for leaky_relu (slope 0.01 by default), 3/4
    for selu. Errors: `ArgumentError` for an unknown name.

    >>> calculate_gain("tanh")
    1.6666666666666667
    """
    if nonlinearity == "leaky_relu" and param is not None:
        return math.sqrt(2 / (1 + float(param) ** 2))
    return traits.traits(nonlinearity).gain


def fans(tensor: Any) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight. Errors: `ShapeError` for fewer than two dimensions."""
    shape = tuple(tensor.shape)
    if len(shape) < 2:
        raise ShapeError(
            f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {shape}"
        )
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


def _write(tensor: Any, values: Any) -> Any:
    _memory(tensor)[...] = values
    if tensor._storage is not None:
        note_write(tensor)
    return tensor


def _draw(tensor: Any, draw: Callable[[Shape], Any]) -> Any:
    """Write random numbers, some rows at a time: all at once they would take twice the memory of a large weight."""
    shape = tuple(tensor.shape)
    if not shape:
        return _write(tensor, draw(()))
    array, rows = _memory(tensor), max(1, BLOCK // max(math.prod(shape[1:]), 1))
    for first in range(0, shape[0], rows):
        block = array[first : first + rows]
        block[...] = draw(block.shape)
    note_write(tensor)
    return tensor


def _memory(tensor: Any) -> np.ndarray[Any, Any]:
    flush()
    if isinstance(tensor, Parameter):
        tensor.forget_start()
    array: np.ndarray[Any, Any] = tensor._array()
    return array


def _source(generator: Generator | None) -> np.random.Generator:
    return (generator or default_generator).numpy()


def uniform_(tensor: Any, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Any:
    """Numbers uniform in [a, b). Errors: `ArgumentError` for a > b."""
    if a > b:
        raise ArgumentError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    source = _source(generator)
    return _draw(tensor, lambda shape: source.uniform(a, b, shape))


def normal_(tensor: Any, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Any:
    """Normal numbers. Errors: `ArgumentError` for a negative standard deviation."""
    if not std >= 0:
        raise ArgumentError(f"normal expects std >= 0.0, but found std {std}")
    source = _source(generator)
    return _draw(tensor, lambda shape: mean + std * source.standard_normal(shape))


def trunc_normal_(
    tensor: Any,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Any:
    """Normal numbers, drawn again until they lie in [a, b]. Errors: `ArgumentError` if next to none would lie there."""
    low, high = (a - mean) / std, (b - mean) / std
    mass = 0.5 * (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)))
    if mass < 1e-3:
        raise ArgumentError(f"[{a}, {b}] holds {mass:.1g} of N({mean}, {std}²): too little to draw from")
    source = _source(generator)
    values = source.standard_normal(tuple(tensor.shape))
    while (outside := (values < low) | (values > high)).any():
        values[outside] = source.standard_normal(int(outside.sum()))
    return _write(tensor, np.clip(mean + std * values, a, b))


def constant_(tensor: Any, val: float) -> Any:
    """Every element ``val``: right for biases. Weights that are all equal stay equal in training."""
    return _write(tensor, val)


def ones_(tensor: Any) -> Any:
    """Every element 1."""
    return _write(tensor, 1)


def zeros_(tensor: Any) -> Any:
    """Every element 0."""
    return _write(tensor, 0)


def eye_(tensor: Any) -> Any:
    """1 on the diagonal of a matrix, 0 elsewhere."""
    if tensor.dim() != 2:
        raise ShapeError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    return _write(tensor, np.eye(*tensor.shape))


def dirac_(tensor: Any, groups: int = 1) -> Any:
    """A convolution's weight that passes its inputs on: 1 in the middle of kernel (i, i), 0 elsewhere.

    Shapes: (out, in / groups, kernel...) with 1 to 3 dimensions of kernel; with ``groups``, the inputs of each group.
    Errors: `ShapeError`, and `ArgumentError` for groups that do not divide the outputs.
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise ShapeError(f"Only tensors with 3, 4, or 5 dimensions are supported, got shape {shape}")
    if groups < 1 or shape[0] % groups:
        raise ArgumentError(f"dim 0 must be divisible by groups, got {shape[0]} and {groups}")
    values = np.zeros((groups, shape[0] // groups, *shape[1:]))
    kept = np.arange(min(values.shape[1:3]))
    values[:, kept, kept, *(size // 2 for size in shape[2:])] = 1
    return _write(tensor, values.reshape(shape))


def sparse_(tensor: Any, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Any:
    """N(0, std²), with ⌈sparsity · rows⌉ elements of every column of the matrix 0. Source: Martens 2010.

    Errors: `ShapeError` for anything but a matrix, `ArgumentError` for a sparsity outside [0, 1].
    """
    if tensor.dim() != 2:
        raise ShapeError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    if not 0 <= sparsity <= 1:
        raise ArgumentError(f"sparsity must be between 0 and 1, got {sparsity}")
    rows, columns = tensor.shape
    source = _source(generator)
    values = source.normal(0.0, std, (rows, columns))
    order = source.random((rows, columns)).argsort(axis=0)
    np.put_along_axis(values, order[: math.ceil(sparsity * rows)], 0.0, axis=0)
    return _write(tensor, values)


def naive_uniform_(tensor: Any, generator: Generator | None = None) -> Any:
    """U(±1 / √fan_in), as networks were started before 2010: the variance of the signal falls threefold per layer."""
    bound = 1 / math.sqrt(max(fans(tensor)[0], 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_uniform_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """U(±gain · √(6 / (fan_in + fan_out))). Source: Glorot, Bengio 2010."""
    bound = gain * math.sqrt(6 / max(sum(fans(tensor)), 1))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Any, gain: float = 1.0, generator: Generator | None = None) -> Any:
    """N(0, gain² · 2 / (fan_in + fan_out)). Source: Glorot, Bengio 2010."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / max(sum(fans(tensor)), 1)), generator)


def _kaiming_std(tensor: Any, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """U(±gain · √(3 / fan)); ``a`` is the slope of leaky_relu. Source: He et al. 2015."""
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Any,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Any:
    """N(0, gain² / fan); ``a`` is the slope of leaky_relu. Source: He et al. 2015."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def lecun_uniform_(tensor: Any, generator: Generator | None = None) -> Any:
    """U(±√(3 / fan_in)), which keeps the variance through linear layers. Source: LeCun et al. 1998."""
    bound = math.sqrt(3 / max(fans(tensor)[0], 1))
    return uniform_(tensor, -bound, bound, generator)


def lecun_normal_(tensor: Any, generator: Generator | None = None) -> Any:
    """N(0, 1 / fan_in). Source: LeCun et al. 1998."""
    return normal_(tensor, 0.0, 1 / math.sqrt(max(fans(tensor)[0], 1)), generator)


def orthogonal_(tensor: Any, gain: float = 1, generator: Generator | None = None) -> Any:
    """gain · a matrix with orthonormal rows or columns, whichever are fewer; further dimensions count as columns.

    The Q of a QR decomposition of normal numbers, signs made unique. Source: Saxe et al. 2013.
    """
    if tensor.dim() < 2:
        raise ShapeError(f"Only tensors with 2 or more dimensions are supported, got shape {tuple(tensor.shape)}")
    shape = tuple(tensor.shape)
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(_source(generator).standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return _write(tensor, gain * (q if rows >= columns else q.T).reshape(shape))


def lsuv_(
    module: Any, batch: Any, tolerance: float = 0.1, max_iterations: int = 10, generator: Generator | None = None
) -> Any:
    """Start a network so that every linear or convolutional layer's output has variance 1 on ``batch``; return it.

    Layer by layer in the order in which data passes: an orthogonal weight, divided by the output's standard deviation
    until the variance is within ``tolerance`` of 1. The module is called in evaluation mode; biases become 0.
    Source: Mishkin, Matas 2015, algorithm 1.

    >>> network = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> nn.init.lsuv_(network, cr.randn(64, 8)) is network
    True
    """
    outputs: dict[Any, float] = {}
    layers = [part for part in module.modules() if getattr(getattr(part, "weight", None), "start", None) is not None]
    modes = [(part, part.training) for part in module.modules()]
    for layer in layers:
        orthogonal_(layer.weight, generator=generator)
        if layer.bias is not None:
            zeros_(layer.bias)

    def note(layer: Any, inputs: Any, output: Any) -> None:
        outputs[layer] = float(np.asarray(output, float).var())

    hooks = [layer.register_forward_hook(note) for layer in layers]
    try:
        module.eval()
        with no_grad():
            module(batch)
            for layer in list(outputs):
                for _ in range(max_iterations):
                    variance = outputs[layer]
                    if abs(variance - 1) < tolerance or not 0 < variance < math.inf:
                        break
                    layer.weight.div_(math.sqrt(variance))
                    module(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for part, mode in modes:
            part.train(mode)  # parents come before their children
    return module
