"""chainrule: neural networks as one recorded graph and one native program.

>>> import chainrule as cr
>>> x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

import importlib
from typing import Any

from . import autograd as autograd
from .compiler.backend import backend, debug
from .compiler.capture import compile
from .errors import did_you_mean
from .execution.threads import get_num_threads, set_num_threads
from .tensor.creation import (
    arange,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)  # fmt: skip
from .tensor.generator import Generator, manual_seed
from .tensor.gradmode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .tensor.operands import as_tensor
from .tensor.operations import (
    abs,
    absolute,
    add,
    ceil,
    clamp,
    cos,
    div,
    divide,
    eq,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    ge,
    gt,
    le,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    maximum,
    minimum,
    mul,
    multiply,
    ne,
    neg,
    negative,
    pow,
    relu,
    remainder,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    sub,
    tanh,
    true_divide,
    where,
)  # fmt: skip
from .tensor.reductions import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    norm,
    softmax,
    std,
    sum,
    var,
)  # fmt: skip
from .tensor.shaping import (
    cat,
    flatten,
    flip,
    matmul,
    permute,
    reshape,
    squeeze,
    stack,
    t,
    transpose,
    unflatten,
    unsqueeze,
)
from .tensor.tensor import Device, Size, Tensor
from .types import bool_ as bool
from .types import float32, float64, int32, int64

__version__ = "0.1.0"

# Imported when first used, so that `import chainrule` stays quick.
_LAZY = {
    "Trainer": ".training.trainer:Trainer",
    "cache_info": ".compiler.cache:cache_info",
    "clear_cache": ".compiler.cache:clear_cache",
    "data": ".data:",
    "load": ".training.model_file:load",
    "load_weights": ".training.model_file:load_weights",
    "nn": ".nn:",
    "optim": ".optim:",
    "save": ".training.model_file:save",
    "training": ".training:",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}{did_you_mean(name, __dir__())}")
    module_name, _, attribute = _LAZY[name].partition(":")
    module = importlib.import_module(module_name, __name__)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


device = Device
mm = bmm = matmul
concat = concatenate = cat
float = float32
double = float64
int = int32
long = int64
