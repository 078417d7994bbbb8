"""The convolutional network for sentences of 2014: windows of words, and the maximum of each feature over time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import nn
from ..errors import ArgumentError, ShapeError, did_you_mean
from ..optim import Adadelta
from ..tensor.gradmode import no_grad
from ..tensor.operands import as_tensor
from ..tensor.shaping import cat
from .recipe import Recipe

VARIANTS = ("rand", "static", "non-static", "multichannel")


def _is_classifier(name: str, parameter: Any) -> bool:
    return name == "classifier.weight"


class SentenceCNN(nn.Module):
    """Word vectors, convolutions over windows of 3, 4 and 5 words with ReLU, maxima over time, dropout, a linear layer.

    ``variant`` says where the word vectors come from:

    - ``"rand"``: drawn at random, uniform in ±0.25, and trained.
    - ``"static"``: ``vectors`` (num_tokens, features), not trained.
    - ``"non-static"``: ``vectors``, trained further.
    - ``"multichannel"``: both of these; each filter is applied to both and the results are added.

    Row ``padding_idx`` of the vectors is 0 and stays it. What a network says of a sentence does not depend on how far
    it is padded: as many zeros as a window has are put around it in any case.

    Shapes: input (N, T) of token numbers, result (N, num_classes), logits. Names of weights: ``embedding``, ``static``,
    ``convolutions.0`` ..., ``classifier``. Errors: `ArgumentError` for an unknown variant, or vectors that are missing
    or not wanted; `ShapeError` for vectors or an input of another shape. Source: Kim 2014, "Convolutional neural
    networks for sentence classification", and his code, from which initial values and the rate of decay are.

    >>> import chainrule as cr
    >>> model = cr.models.sentence_cnn(num_tokens=1000)
    >>> model(cr.tensor([[5, 2, 7, 0], [9, 3, 4, 1]])).shape
    Size([2, 2])
    """

    recipe = Recipe(
        optimizer=partial(Adadelta, rho=0.95),
        regularizers=(nn.regularizers.MaxNorm(3.0, _is_classifier),),
        batch_size=50,
        epochs=25,
        source="Kim 2014, section 3.1: Adadelta, batches of 50, max-norm 3 on the last layer, dropout 0.5, the epoch "
        "that is best on development data; 76.1 % on MR and 91.2 % on TREC with random vectors",
    )

    def __init__(
        self,
        num_tokens: int,
        num_classes: int = 2,
        variant: str = "rand",
        vectors: Any = None,
        features: int = 300,
        windows: Sequence[int] = (3, 4, 5),
        maps: int = 100,
        dropout: float = 0.5,
        padding_idx: int = 0,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ArgumentError(
                f"variant {variant!r} is unknown{did_you_mean(variant, VARIANTS)}; expected {', '.join(VARIANTS)}"
            )
        if (vectors is None) != (variant == "rand"):
            if vectors is None:
                fix = "vectors=cr.text.WordVectors.read(path).embedding(vocabulary).weight"
                raise ArgumentError(f"the variant {variant!r} needs vectors. fix: {fix}")
            raise ArgumentError("the variant 'rand' draws its vectors. fix: no vectors, or variant='non-static'")
        if vectors is not None:
            vectors = as_tensor(vectors).detach()
            if vectors.dim() != 2 or vectors.shape[0] != num_tokens:
                raise ShapeError(f"vectors must be ({num_tokens}, features), got shape {tuple(vectors.shape)}")
            features = vectors.shape[1]
        self.variant = variant
        self.embedding = self._table(num_tokens, features, padding_idx, vectors, trains=variant != "static")
        self.static = None
        if variant == "multichannel":
            self.static = self._table(num_tokens, features, padding_idx, vectors, trains=False)
        self.convolutions = nn.ModuleList([nn.Conv1d(features, maps, window, padding=window) for window in windows])
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(maps * len(windows), num_classes)
        for convolution in self.convolutions:
            nn.init.uniform_(convolution.weight, -0.01, 0.01)
            nn.init.zeros_(convolution.bias)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    @staticmethod
    def _table(num_tokens: int, features: int, padding_idx: int, vectors: Any, trains: bool) -> nn.Embedding:
        """A layer of word vectors, random ones if there are none."""
        layer = nn.Embedding(num_tokens, features, padding_idx)
        if vectors is None:
            nn.init.uniform_(layer.weight, -0.25, 0.25)
        else:
            layer.weight.write(vectors)
        with no_grad():
            layer.weight[layer.padding_idx].zero_()
        layer.weight.requires_grad_(trains)
        return layer

    def forward(self, x: Any) -> Any:
        if len(x.shape) != 2:
            raise ShapeError(f"expected tokens (N, T), got shape {tuple(x.shape)}. fix: x.unsqueeze(0) for one text")
        words = self.embedding(x)
        if self.static is not None:
            words = words + self.static(x)
        words = words.transpose(1, 2)
        found = [convolution(words).amax(2).relu() for convolution in self.convolutions]
        return self.classifier(self.dropout(cat(found, 1)))


def sentence_cnn(
    num_tokens: int, num_classes: int = 2, variant: str = "rand", vectors: Any = None, **options: Any
) -> SentenceCNN:
    """`SentenceCNN`."""
    return SentenceCNN(num_tokens, num_classes, variant, vectors, **options)
