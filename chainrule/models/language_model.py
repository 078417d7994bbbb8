"""The recurrent language model of characters or words: the next token from all before, and text written with it."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..errors import ArgumentError, ShapeError, did_you_mean
from ..nn.modes import mode
from ..optim import Adam
from ..tensor.creation import rand, tensor
from ..tensor.gradmode import no_grad
from ..tensor.loop import scan
from ..tensor.operands import as_tensor
from .recipe import Recipe

KINDS = ("LSTM", "GRU", "SRU", "RNN")


class LanguageModel(nn.Module):
    """Vectors of tokens, dropout, ``num_layers`` recurrent layers of a ``kind``, dropout, a linear layer.

    ``tied``: the linear layer has the table of vectors as its weight (Press & Wolf 2017), so ``features`` must be
    ``hidden_size``. ``kind``: "LSTM", "GRU", "SRU" or "RNN".

    Shapes: input (N, T) of token numbers, result (N, num_tokens, T): logits of the next token, as `cross_entropy` takes
    them with targets (N, T), and so `Trainer`; states are 0 before the first token. `run` goes on from other states.
    Names of weights: ``embedding``, ``recurrent``, ``output``. Errors: `ArgumentError` for an unknown kind or sizes
    that cannot be tied, `ShapeError`, `IndexOutOfRangeError` for a token that is not there. Sources: Mikolov et al.
    2010; Karpathy 2015, "The unreasonable effectiveness of recurrent neural networks"; dropout: Zaremba et al. 2014.

    >>> import chainrule as cr
    >>> model = cr.models.language_model(num_tokens=65)
    >>> model(cr.tensor([[1, 2, 3]])).shape
    Size([1, 65, 3])
    >>> model.generate([1, 2, 3], length=5).shape
    Size([5])
    """

    recipe = Recipe(
        optimizer=partial(Adam, lr=2e-3),
        batch_size=32,
        epochs=10,
        clip_norm=1.0,
        source="chainrule; Karpathy 2015 has RMSprop at 2e-3, which falls from the tenth epoch on, and clips at 5",
    )

    def __init__(
        self,
        num_tokens: int,
        features: int = 64,
        hidden_size: int = 256,
        num_layers: int = 1,
        kind: str = "LSTM",
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ArgumentError(f"kind {kind!r} is unknown{did_you_mean(kind, KINDS)}; expected {', '.join(KINDS)}")
        if tied and features != hidden_size:
            raise ArgumentError(f"tied weights need features ({features}) equal to hidden_size ({hidden_size})")
        self.num_tokens, self.features, self.hidden_size = num_tokens, features, hidden_size
        self.num_layers, self.kind, self.dropout, self.tied = num_layers, kind, dropout, tied
        self.embedding = nn.Embedding(num_tokens, features)
        between = dropout if num_layers > 1 else 0.0
        self.recurrent = getattr(nn, kind)(features, hidden_size, num_layers, dropout=between)
        self.output = nn.Linear(hidden_size, num_tokens)
        self.drop = nn.Dropout(dropout)
        if tied:
            nn.init.normal_(self.embedding.weight, std=features**-0.5)
            self.output.weight = self.embedding.weight

    def forward(self, x: Any) -> Any:
        return self.run(x)[0]

    def run(self, x: Any, states: Any = None) -> tuple[Any, Any]:
        """The logits (N, num_tokens, T) behind tokens (N, T), and the states behind the last, from which to go on.

        Truncated back-propagation: give each stretch of a text the detached states of the stretch before.
        """
        if len(x.shape) != 2:
            raise ShapeError(f"expected tokens (N, T), got shape {tuple(x.shape)}. fix: x.unsqueeze(0) for one text")
        hidden, states = self.recurrent(self.drop(self.embedding(x.T)), states)
        return self.output(self.drop(hidden)).permute(1, 2, 0), states

    def generate(self, prompt: Any, length: int, temperature: float = 1.0, top_k: int | None = None) -> Any:
        """Tokens (length) behind a prompt (T) of tokens, each drawn from softmax(logits / temperature).

        ``top_k``: only from the so many most probable ones. A low temperature prefers the probable ones, and top_k=1
        takes the most probable. Random numbers follow ``manual_seed``; dropout is off.
        Errors: `ArgumentError` for an empty prompt, a length or top_k below 1, and a temperature that is not positive;
        `IndexOutOfRangeError` for a token that is not there.

        >>> import chainrule as cr
        >>> cr.models.language_model(num_tokens=4).generate([0, 1], length=3, top_k=1).dtype
        int64
        """
        tokens = as_tensor(prompt)
        if tokens.dim() != 1 or not tokens.numel():
            raise ArgumentError(
                f"the prompt must be at least one token, (T), got shape {tuple(tokens.shape)}. "
                "fix: vocabulary.encode(text), with a line break to begin from nothing"
            )
        self._check(length, temperature, top_k)
        count = top_k or self.num_tokens
        with no_grad(), mode(self, lambda part: False):
            logits, states = self.run(tokens.unsqueeze(0))
            noise = -(-rand(length, count, dtype=logits.dtype).log()).log()  # Gumbel's: its largest sum is a draw
            heat = tensor(temperature, dtype=logits.dtype)  # stored: another one is not another program

            def step(carry: Any, noise: Any) -> Any:
                scores, states = carry
                values, order = (scores, None) if top_k is None else scores.topk(count)
                drawn = (values / heat + noise).argmax(-1)
                token = drawn if order is None else order.gather(0, drawn.unsqueeze(0)).squeeze(0)
                logits, states = self.run(token.reshape(1, 1), states)
                return (logits[0, :, 0], states), token

            return scan(step, (logits[0, :, -1], states), noise)[1]

    def _check(self, length: int, temperature: float, top_k: int | None) -> None:
        if length < 1:
            raise ArgumentError(f"length must be at least 1, got {length}")
        if not temperature > 0:
            raise ArgumentError(f"temperature must be positive, got {temperature}. fix: top_k=1 for the most probable")
        if top_k is not None and not 1 <= top_k <= self.num_tokens:
            raise ArgumentError(f"top_k must lie between 1 and the {self.num_tokens} tokens there are, got {top_k}")


def language_model(num_tokens: int, **options: Any) -> LanguageModel:
    """`LanguageModel`."""
    return LanguageModel(num_tokens, **options)
