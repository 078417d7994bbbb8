"""Optimisers, under PyTorch's names; written with tensors only."""

from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD
