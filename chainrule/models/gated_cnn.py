"""The gated convolutional language model: the next token from a window of the ones before, without recurrence."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..errors import ShapeError
from ..optim import Adam
from .recipe import Recipe


class GatedCNN(nn.Module):
    """Vectors of tokens, ``depth`` residual blocks of a causal convolution with a gated linear unit, a linear layer.

    A block is x + (X ∗ W + b) ⊙ σ(X ∗ V + c), where X is x with ``kernel_size`` - 1 zeros in front, so that no output
    sees a token behind it. An output sees (kernel_size - 1) · depth tokens before its own.

    Shapes: input (N, T) of token numbers, result (N, num_tokens, T): logits of the next token, as `cross_entropy` takes
    them with targets (N, T). Left out of the paper's network are bottlenecks, weight normalisation and the adaptive
    softmax, which serve its size. Errors: `ShapeError` for an input of another shape. Source: Dauphin, Fan, Auli,
    Grangier 2017, "Language modeling with gated convolutional networks".

    >>> import chainrule as cr
    >>> cr.models.gated_cnn(num_tokens=65)(cr.tensor([[1, 2, 3]])).shape
    Size([1, 65, 3])
    """

    recipe = Recipe(
        optimizer=partial(Adam, lr=2e-3),
        batch_size=32,
        epochs=10,
        source="chainrule; the paper uses Nesterov's momentum 0.99 with clipping at 0.1 and weight normalisation",
    )

    def __init__(
        self, num_tokens: int, features: int = 128, depth: int = 6, kernel_size: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_tokens, features)
        self.blocks = nn.Sequential(*(_block(features, kernel_size, dropout) for _ in range(depth)))
        self.output = nn.Conv1d(features, num_tokens, 1)

    def forward(self, x: Any) -> Any:
        if len(x.shape) != 2:
            raise ShapeError(f"expected tokens (N, T), got shape {tuple(x.shape)}. fix: x.unsqueeze(0) for one text")
        return self.output(self.blocks(self.embedding(x).transpose(1, 2)))


def _block(features: int, kernel_size: int, dropout: float) -> nn.Residual:
    return nn.Residual(
        nn.Dropout(dropout),
        nn.ConstantPad1d((kernel_size - 1, 0), 0.0),
        nn.Conv1d(features, 2 * features, kernel_size),
        nn.GLU(1),
    )


def gated_cnn(
    num_tokens: int, features: int = 128, depth: int = 6, kernel_size: int = 4, dropout: float = 0.1
) -> GatedCNN:
    """`GatedCNN`."""
    return GatedCNN(num_tokens, features, depth, kernel_size, dropout)
