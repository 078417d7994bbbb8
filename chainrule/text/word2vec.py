"""Word vectors trained here: the skip-gram model with negative sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import nn, optim
from ..compiler.capture import compile
from ..errors import ArgumentError, NonFiniteError
from ..tensor.creation import arange
from ..tensor.generator import default_generator
from ..tensor.operands import from_array
from ..tensor.tensor import Tensor
from .corpus import Corpus

LAST_RATE = 1e-4
"""The rate at the end, as a share of that at the beginning."""


class SkipGram(nn.Module):
    """Scores u_c · v_w of tokens c for being near a token w: two tables of vectors, of which v is what is wanted.

    v starts uniform in ±1/(2 features), u at 0. Shapes: centers (N), others (N, K); result (N, K).
    Source: Mikolov, Sutskever et al. 2013, "Distributed representations of words and phrases".

    >>> import chainrule as cr
    >>> SkipGram(num_tokens=10, features=4)(cr.tensor([1, 2]), cr.tensor([[3, 4, 5], [6, 7, 8]])).shape
    Size([2, 3])
    """

    def __init__(self, num_tokens: int, features: int) -> None:
        super().__init__()
        self.centers = nn.Embedding(num_tokens, features)
        self.others = nn.Embedding(num_tokens, features)
        nn.init.uniform_(self.centers.weight, -0.5 / features, 0.5 / features)
        nn.init.zeros_(self.others.weight)

    def forward(self, centers: Any, others: Any) -> Any:
        return (self.others(others) * self.centers(centers).unsqueeze(1)).sum(2)


def negative_sampling_loss(scores: Any, others: Any, rows: Any) -> Any:
    """-ln σ(s₀) - Σ ln σ(-sₖ) for each row, summed over the first ``rows``: column 0 was near, the others were drawn.

    A token that was drawn although it is the one that was near counts nothing.

    >>> import chainrule as cr
    >>> negative_sampling_loss(cr.zeros(2, 3), cr.tensor([[1, 2, 3], [1, 2, 1]]), 2)  # 5 ln 2
    tensor(3.4657)
    """
    positive = nn.functional.softplus(-scores[:, 0])
    is_other = (others[:, 1:] != others[:, :1]).to(scores.dtype)
    losses = positive + (nn.functional.softplus(scores[:, 1:]) * is_other).sum(1)
    return (losses * (arange(scores.shape[0]) < rows).to(scores.dtype)).sum()


def train_skip_gram(
    sequences: Sequence[Any],
    num_tokens: int,
    features: int = 100,
    *,
    window: int = 5,
    negatives: int = 5,
    subsample: float = 1e-3,
    epochs: int = 5,
    lr: float = 0.025,
    batch_size: int = 1024,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Tensor:
    """Vectors (num_tokens, features) of tokens, trained to tell the tokens near each from ones drawn at random.

    ``sequences`` of token numbers, as `Vocabulary.encode` gives them. For each token a distance is drawn from 1 to
    ``window``, and all tokens up to there are near it. ``negatives`` others are drawn for each pair, in proportion to
    frequency^0.75. A token of frequency f is kept in an epoch with probability √(``subsample`` / f), where that is
    below 1; 0 keeps all. SGD, whose rate falls in a straight line, on batches of ``batch_size`` pairs in random order,
    whose losses are summed, so that a pair moves its vectors as far as if it came alone. The defaults are word2vec's,
    for hundreds of millions of tokens. From a few hundred thousand, 10 epochs at that rate leave all vectors in nearly
    one direction, and at an ``lr`` of 0.1 they do not. Random numbers follow ``manual_seed``; ``on_epoch(epoch, loss
    per pair)`` is called after every epoch.

    Errors: `ArgumentError` for sizes that are not positive, `NonFiniteError` where the training diverges, and those of
    `Corpus`. Source: Mikolov et al. 2013.

    >>> vectors = train_skip_gram([[1, 2, 1, 2], [3, 4, 3]], num_tokens=5, features=8, epochs=1, subsample=0)
    >>> vectors.shape
    Size([5, 8])
    """
    sizes = {"features": features, "window": window, "negatives": negatives, "epochs": epochs, "batch_size": batch_size}
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name} must be at least 1, got {size}")
    corpus, random = Corpus(sequences, num_tokens), default_generator.numpy()
    keep, noise = corpus.keep_probabilities(subsample), corpus.noise_table()
    training = _Training(SkipGram(num_tokens, features), lr, batch_size)
    for epoch in range(epochs):
        losses, pairs = 0.0, 0
        for done, centers, contexts in corpus.pairs(window, keep, random):
            drawn = noise[random.integers(len(noise), size=(len(centers), negatives))]
            training.set_rate(max(1 - (epoch + done) / epochs, LAST_RATE))
            losses += training.run(centers, np.concatenate([contexts[:, None], drawn], 1))
            pairs += len(centers)
        if on_epoch is not None:
            on_epoch(epoch, losses / max(pairs, 1))
    return training.model.centers.weight.detach()


class _Training:
    """Compiled steps of SGD on batches of pairs."""

    def __init__(self, model: SkipGram, lr: float, batch_size: int) -> None:
        self.model, self._lr, self._batch_size = model, lr, batch_size
        self._optimizer = optimizer = optim.SGD(model.parameters(), lr=lr)

        @compile
        def step(centers: Any, others: Any, rows: Any) -> Any:
            optimizer.zero_grad()
            loss = negative_sampling_loss(model(centers, others), others, rows)
            loss.backward()
            optimizer.step()
            return loss

        self._step = step

    def set_rate(self, share: float) -> None:
        """Go on with this share of the rate at the beginning."""
        self._optimizer.param_groups[0]["lr"] = self._lr * share

    def run(self, centers: NDArray[np.int64], others: NDArray[np.int64]) -> float:
        """Train on all of them; returns the sum of their losses. Errors: `NonFiniteError`."""
        size = self._batch_size
        total = 0.0
        for start in range(0, len(centers), size):
            rows = min(size, len(centers) - start)
            batch = [np.resize(part[start : start + rows], (size, *part.shape[1:])) for part in (centers, others)]
            total += self._step(*map(from_array, batch), from_array(np.array(rows))).item()
        if not math.isfinite(total):
            raise NonFiniteError(
                f"the training diverged: many of the {size} pairs of a batch move the same vectors. "
                f"fix: a smaller lr (it is {self._lr}), or a smaller batch_size"
            )
        return total
