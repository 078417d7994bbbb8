"""Layers without parameters as functions, under PyTorch's names."""

from .activation import elu, gelu, leaky_relu, log_softmax, relu, selu, sigmoid, silu, softmax, softplus, tanh
from .classification import cross_entropy, nll_loss
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from .embedding import embedding
from .linear import bilinear, linear, one_hot
from .loss import binary_cross_entropy, binary_cross_entropy_with_logits, l1_loss, mse_loss
from .normalization import batch_norm, group_norm, instance_norm, layer_norm, normalize, rms_norm
