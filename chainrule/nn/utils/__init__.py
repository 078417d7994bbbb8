"""What is done to networks, their parameters and their gradients, under PyTorch's names."""

from . import rnn
from .clip_grad import (
    clip_grad_norm_,
    clip_grad_norm_each_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .fusion import (
    fuse_batch_norms,
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)
from .statistics import update_bn
