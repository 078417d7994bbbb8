"""chainrule: neural networks as one recorded graph and one native program.

>>> import chainrule as cr
>>> x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

import importlib
from math import e, inf, nan, pi
from typing import Any

from . import autograd as autograd
from . import backends as backends
from .compiler.backend import backend, debug
from .compiler.capture import compile
from .devices import Device, accelerator, cuda
from .errors import did_you_mean
from .execution.threads import get_num_threads, set_num_threads
from .tensor.bitwise import bitwise_and, bitwise_left_shift, bitwise_not, bitwise_or, bitwise_right_shift, bitwise_xor
from .tensor.creation import (
    arange,
    asarray,
    clone,
    detach,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    logspace,
    meshgrid,
    normal,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)  # fmt: skip
from .tensor.cumulative import cummax, cummin, cumprod, cumsum, diff, logcumsumexp
from .tensor.einsum import einsum
from .tensor.elementwise import (
    acos,
    acosh,
    addcdiv,
    addcmul,
    allclose,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctanh,
    asin,
    asinh,
    atan,
    atanh,
    clamp_max,
    clamp_min,
    copysign,
    cosh,
    deg2rad,
    equal,
    exp2,
    fix,
    float_power,
    fmax,
    fmin,
    fmod,
    frac,
    greater,
    greater_equal,
    heaviside,
    hypot,
    isclose,
    isfinite,
    isinf,
    isnan,
    isneginf,
    isposinf,
    ldexp,
    lerp,
    less,
    less_equal,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    logit,
    nan_to_num,
    not_equal,
    positive,
    rad2deg,
    reciprocal,
    sgn,
    signbit,
    sinc,
    sinh,
    tan,
    trunc,
    xlogy,
)  # fmt: skip
from .tensor.gathering import (
    argwhere,
    gather,
    index_select,
    masked_fill,
    masked_select,
    nonzero,
    take,
    take_along_dim,
)  # fmt: skip
from .tensor.generator import Generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from .tensor.gradmode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .tensor.linear_algebra import (
    addbmm,
    addmm,
    addmv,
    addr,
    baddbmm,
    block_diag,
    cdist,
    chain_matmul,
    cross,
    diag,
    diag_embed,
    diagflat,
    dot,
    ger,
    inner,
    kron,
    matrix_power,
    mv,
    outer,
    tensordot,
    trace,
    tril,
    tril_indices,
    triu,
    triu_indices,
    vdot,
)  # fmt: skip
from .tensor.loop import scan
from .tensor.operands import as_tensor
from .tensor.operations import (
    abs,
    absolute,
    add,
    arctan2,
    atan2,
    ceil,
    clamp,
    clip,
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
    rsub,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    sub,
    subtract,
    tanh,
    true_divide,
    where,
)  # fmt: skip
from .tensor.partition import (
    atleast_1d,
    atleast_2d,
    broadcast_tensors,
    broadcast_to,
    cartesian_prod,
    chunk,
    column_stack,
    diagonal,
    dstack,
    fliplr,
    flipud,
    hsplit,
    hstack,
    moveaxis,
    movedim,
    narrow,
    ravel,
    repeat_interleave,
    roll,
    rot90,
    row_stack,
    select,
    split,
    split_with_sizes,
    swapaxes,
    swapdims,
    tensor_split,
    tile,
    unbind,
    vsplit,
    vstack,
)  # fmt: skip
from .tensor.properties import (
    BoolTensor,
    DoubleTensor,
    FloatTensor,
    IntTensor,
    LongTensor,
    broadcast_shapes,
    can_cast,
    finfo,
    get_default_dtype,
    iinfo,
    is_complex,
    is_floating_point,
    is_nonzero,
    is_same_size,
    is_signed,
    is_tensor,
    numel,
    promote_types,
    result_type,
    typename,
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
    prod,
    softmax,
    std,
    sum,
    var,
)  # fmt: skip
from .tensor.sampling import bernoulli, multinomial
from .tensor.scattering import (
    bincount,
    diagonal_scatter,
    histc,
    index_add,
    index_copy,
    index_fill,
    masked_scatter,
    scatter,
    scatter_add,
    scatter_reduce,
    select_scatter,
    slice_scatter,
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
from .tensor.sorting import (
    argsort,
    bucketize,
    isin,
    kthvalue,
    median,
    mode,
    msort,
    nanmedian,
    nanquantile,
    quantile,
    searchsorted,
    sort,
    topk,
    unique,
    unique_consecutive,
)  # fmt: skip
from .tensor.special import erfc, erfinv, lgamma
from .tensor.statistics import (
    aminmax,
    corrcoef,
    count_nonzero,
    cov,
    dist,
    nanmean,
    nansum,
    std_mean,
    trapezoid,
    trapz,
    var_mean,
)  # fmt: skip
from .tensor.tensor import Size, Tensor
from .types import bool_ as bool
from .types import float32, float64, int32, int64

__version__ = "0.1.0"

# Imported when first used, so that `import chainrule` stays quick.
_LAZY = {
    "MLPClassifier": ".estimators:MLPClassifier",
    "MLPRegressor": ".estimators:MLPRegressor",
    "NeuralClassifier": ".estimators:NeuralClassifier",
    "NeuralRegressor": ".estimators:NeuralRegressor",
    "Trainer": ".training.trainer:Trainer",
    "cache_info": ".compiler.cache:cache_info",
    "clear_cache": ".compiler.cache:clear_cache",
    "data": ".data:",
    "estimators": ".estimators:",
    "load": ".training.model_file:load",
    "load_weights": ".training.model_file:load_weights",
    "models": ".models:",
    "nn": ".nn:",
    "optim": ".optim:",
    "save": ".training.model_file:save",
    "series": ".series:",
    "text": ".text:",
    "training": ".training:",
    "utils": ".utils:",
    "vision": ".vision:",
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
