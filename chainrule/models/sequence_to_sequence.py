"""From one sequence to another: an encoder, a decoder, and attention between them."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import nn
from ..errors import ArgumentError, ShapeError, did_you_mean
from ..nn.modes import mode
from ..optim import Adam
from ..tensor import operations
from ..tensor.creation import full, zeros
from ..tensor.gradmode import no_grad
from ..tensor.loop import scan
from ..tensor.shaping import cat
from ..types import bool_
from .recipe import Recipe

KINDS = ("GRU", "LSTM")


class SequenceToSequence(nn.Module):
    """A recurrent network of both directions reads a sequence; one that starts from its states says another.

    With ``attention``, a step of the decoder at state h also sees the mean of the encoder's outputs e_s, weighted by
    softmax_s(hᵀ W e_s): its output is tanh(W_c [mean, h]); without, h itself. Then a linear layer.

    Tokens: ``padding_idx`` stands behind shorter sequences; answers begin with ``begin`` and end with ``end``.
    Shapes: sources (N, S) and answers (N, T), from ``begin`` on; result (N, num_tokens, T): logits of the next token of
    the answer, as `cross_entropy` takes them. Errors: `ArgumentError` for an unknown kind or an odd hidden_size,
    `ShapeError`. Sources: Sutskever, Vinyals, Le 2014; Luong, Pham, Manning 2015, "Effective approaches to
    attention-based neural machine translation" (global attention, score "general").

    >>> import chainrule as cr
    >>> model = cr.models.sequence_to_sequence(num_tokens=13)
    >>> model(cr.tensor([[5, 6, 7], [8, 0, 0]]), cr.tensor([[1, 7], [1, 8]])).shape
    Size([2, 13, 2])
    >>> model.answer(cr.tensor([[5, 6, 7], [8, 0, 0]]), length=4).shape
    Size([2, 4])
    """

    recipe = Recipe(
        optimizer=partial(Adam, lr=2e-3),
        batch_size=64,
        epochs=20,
        clip_norm=1.0,
        source="chainrule; Luong 2015 has SGD at 1.0, halved in every epoch from the eighth on, and clips at 5",
    )

    def __init__(
        self,
        num_tokens: int,
        features: int = 32,
        hidden_size: int = 128,
        num_layers: int = 1,
        kind: str = "GRU",
        attention: bool = True,
        padding_idx: int = 0,
        begin: int = 1,
        end: int = 2,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ArgumentError(f"kind {kind!r} is unknown{did_you_mean(kind, KINDS)}; expected {', '.join(KINDS)}")
        if hidden_size % 2:
            raise ArgumentError(f"hidden_size must be even, half for each direction of the encoder, got {hidden_size}")
        self.num_tokens, self.features, self.hidden_size = num_tokens, features, hidden_size
        self.num_layers, self.kind, self.attention = num_layers, kind, attention
        self.padding_idx, self.begin, self.end = padding_idx, begin, end
        layer = partial(getattr(nn, kind), features, num_layers=num_layers, batch_first=True)
        self.embedding = nn.Embedding(num_tokens, features, padding_idx)
        self.encoder = layer(hidden_size=hidden_size // 2, bidirectional=True)
        self.decoder = layer(hidden_size=hidden_size)
        if attention:
            self.score = nn.Linear(hidden_size, hidden_size, bias=False)
            self.combine = nn.Linear(2 * hidden_size, hidden_size, bias=False)
        self.output = nn.Linear(hidden_size, num_tokens)

    def forward(self, sources: Any, answers: Any) -> Any:
        if len(sources.shape) != 2 or len(answers.shape) != 2:
            raise ShapeError(
                f"expected sources (N, S) and answers (N, T), got shapes {tuple(sources.shape)} and "
                f"{tuple(answers.shape)}. fix: x.unsqueeze(0) for a single sequence"
            )
        encoded, states = self._encode(sources)
        return self._decode(answers, encoded, states)[0].transpose(1, 2)

    def answer(self, sources: Any, length: int) -> Any:
        """The most probable next token, again and again: (N, length), with padding behind ``end``.

        Errors: `ArgumentError` for a length below 1.
        """
        if length < 1:
            raise ArgumentError(f"length must be at least 1, got {length}")
        rows = sources.shape[0]
        with no_grad(), mode(self, lambda part: False):
            encoded, states = self._encode(sources)

            def step(carry: Any, _: Any) -> Any:
                token, states, is_over = carry
                logits, states = self._decode(token.unsqueeze(1), encoded, states)
                token = operations.where(is_over, self.padding_idx, logits[:, 0].argmax(-1))
                return (token, states, operations.logical_or(is_over, operations.eq(token, self.end))), token

            first = full((rows,), self.begin), states, zeros(rows, dtype=bool_)
            return scan(step, first, length=length)[1].T

    def _encode(self, sources: Any) -> tuple[Any, Any]:
        """The encoder's outputs (N, S, hidden_size) with where there are any (N, 1, S), and states for the decoder."""
        is_there = operations.ne(sources, self.padding_idx)
        outputs, states = self.encoder(self.embedding(sources), lengths=is_there.sum(1).clamp(min=1))
        joined = tuple(self._joined(state) for state in (states if isinstance(states, tuple) else (states,)))
        return (outputs, is_there.unsqueeze(1)), joined if self.kind == "LSTM" else joined[0]

    def _joined(self, state: Any) -> Any:
        """The states of both directions (2 · layers, N, hidden_size / 2) side by side (layers, N, hidden_size)."""
        rows = state.shape[1]
        both = state.reshape(self.num_layers, 2, rows, self.hidden_size // 2)
        return both.transpose(1, 2).reshape(self.num_layers, rows, self.hidden_size)

    def _decode(self, answers: Any, encoded: Any, states: Any) -> tuple[Any, Any]:
        """Logits (N, T, num_tokens) and the states behind."""
        hidden, states = self.decoder(self.embedding(answers), states)
        if self.attention:
            outputs, is_there = encoded
            scores = self.score(hidden) @ outputs.transpose(1, 2)
            mean = scores.masked_fill(~is_there, -1e9).softmax(-1) @ outputs
            hidden = self.combine(cat([mean, hidden], -1)).tanh()
        return self.output(hidden), states


def sequence_to_sequence(num_tokens: int, **options: Any) -> SequenceToSequence:
    """`SequenceToSequence`."""
    return SequenceToSequence(num_tokens, **options)
