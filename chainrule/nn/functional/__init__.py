"""Layers without parameters as functions, under PyTorch's names."""

from .activation import (
    celu,
    elu,
    gelu,
    glu,
    log_softmax,
    logsigmoid,
    mish,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softsign,
    tanh,
    tanhshrink,
)  # fmt: skip
from .classification import cross_entropy, nll_loss
from .linear import dropout, linear, one_hot
from .loss import binary_cross_entropy, binary_cross_entropy_with_logits, l1_loss, mse_loss
from .piecewise import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    heaviside,
    leaky_relu,
    piecewise_linear,
    prelu,
    relu,
    relu6,
    rrelu,
    sign,
    softshrink,
    threshold,
)  # fmt: skip
