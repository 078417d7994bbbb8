"""What is done to the parameters and gradients of networks, under PyTorch's names."""

from .clip_grad import (
    clip_grad_norm_,
    clip_grad_norm_each_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
