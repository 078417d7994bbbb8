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
)
from .binary import binary_cross_entropy, binary_cross_entropy_with_logits
from .class_margin import multi_margin_loss, multilabel_margin_loss, multilabel_soft_margin_loss
from .classification import cross_entropy, kl_div, nll_loss, one_hot
from .convolution import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .distance import cosine_embedding_loss, cosine_similarity, pairwise_distance, triplet_margin_loss
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from .embedding import embedding
from .folding import fold, unfold
from .interpolation import interpolate
from .linear import bilinear, linear
from .margin import (
    exponential_loss,
    hinge_embedding_loss,
    hinge_loss,
    margin_ranking_loss,
    perceptron_loss,
    soft_margin_loss,
    squared_hinge_loss,
)
from .normalization import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
)
from .padding import pad
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
)
from .pixels import pixel_shuffle, pixel_unshuffle
from .pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from .regression import (
    epsilon_insensitive_loss,
    gaussian_nll_loss,
    half_mse_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    poisson_nll_loss,
    quantile_loss,
    smooth_l1_loss,
)
