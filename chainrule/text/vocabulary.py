"""Vocabularies: which tokens there are, each with its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, DataError, DTypeError, IndexOutOfRangeError, ShapeError, did_you_mean
from .tokens import tokenize_words


class Vocabulary:
    """Tokens by number: ``padding`` is 0 and ``unknown`` the next, where there are such, then the tokens given.

    Without an ``unknown`` token, others than the given ones are errors. A subclass says what the tokens of a text are.
    ``to_json`` and ``from_json`` keep it beside a network: `chainrule.training.model_file.save_model`.

    Errors: `ArgumentError` for a token that is given twice.
    """

    unit: ClassVar[str]
    separator: ClassVar[str]

    def __init__(
        self, tokens: Iterable[str], padding: str | None = "<pad>", unknown: str | None = "<unk>", **options: Any
    ) -> None:
        special = [token for token in (padding, unknown) if token is not None]
        self.tokens = [*special, *tokens]
        self.padding, self.unknown = padding, unknown
        self.options = options
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) < len(self.tokens):
            twice = next(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ArgumentError(f"the token {twice!r} is in the vocabulary twice")

    @classmethod
    def fit(
        cls,
        texts: Iterable[str | Sequence[str]],
        min_frequency: int = 1,
        padding: str | None = "<pad>",
        unknown: str | None = "<unk>",
        **options: Any,
    ) -> Self:
        """The tokens that occur at least ``min_frequency`` times in texts for training, the most frequent first.

        Texts are text, or lists of tokens; one text may stand alone. Errors: `DataError` where no token is left.
        """
        counts: Counter[str] = Counter()
        reader = cls((), padding, unknown, **options)
        for text in [texts] if isinstance(texts, str) else texts:
            counts.update(reader._tokens_of(text))
        special = {padding, unknown}
        kept = [token for token, count in counts.items() if count >= min_frequency and token not in special]
        if not kept:
            raise DataError(f"no token occurs {min_frequency} times: {len(counts)} different ones were found")
        return cls(sorted(kept, key=lambda token: (-counts[token], token)), padding, unknown, **options)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text."""
        raise NotImplementedError(f"{type(self).__name__} has no tokenize(). fix: WordVocabulary, CharacterVocabulary")

    def encode(self, text: str | Sequence[str]) -> NDArray[np.int64]:
        """The numbers of the tokens of a text, or of tokens.

        Errors: `DataError` for a token that is not in a vocabulary without ``unknown``, `DTypeError` for no text.
        """
        tokens = self._tokens_of(text)
        other = None if self.unknown is None else self._numbers[self.unknown]
        numbers = [self._numbers.get(token, other) for token in tokens]
        if None in numbers:
            place = numbers.index(None)
            raise DataError(
                f"token {place} of the text, {tokens[place]!r}, is not among the {len(self)} of the vocabulary"
                f"{did_you_mean(tokens[place], self.tokens)}. fix: a vocabulary with an unknown token"
            )
        return np.array(numbers, np.int64)

    def decode(self, numbers: Any) -> str:
        """The text of numbers (T), without padding.

        Errors: `IndexOutOfRangeError` for a number that no token has, `DTypeError` and `ShapeError` for what are not
        whole numbers in one dimension.
        """
        array = np.asarray(numbers)
        if array.ndim != 1:
            raise ShapeError(f"decode takes the numbers of one text, (T), got shape {array.shape}. fix: row by row")
        if array.size and array.dtype.kind not in "iu":
            raise DTypeError(f"decode takes whole numbers, got {array.dtype}. fix: for logits, their argmax first")
        found = array.tolist()
        for place, number in enumerate(found):
            if not 0 <= number < len(self):
                last = len(self) - 1
                raise IndexOutOfRangeError(f"number {number} at position {place}: the vocabulary has 0 to {last}")
        tokens = (self.tokens[int(number)] for number in found)
        return self.separator.join(token for token in tokens if token != self.padding)

    def _tokens_of(self, text: Any) -> Sequence[str]:
        """The tokens of a text, or these as they are."""
        if isinstance(text, str):
            return self.tokenize(text)
        if not isinstance(text, Sequence) or not all(isinstance(token, str) for token in text):
            fix = "text.decode('utf-8')" if isinstance(text, bytes) else "text, or a list of texts"
            raise DTypeError(f"expected a text or a list of tokens, got {type(text).__name__} {text!r:.40}. fix: {fix}")
        return text

    @property
    def padding_idx(self) -> int | None:
        """The number of the padding token, as `nn.Embedding` takes it; None without one."""
        return None if self.padding is None else self._numbers[self.padding]

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self._numbers

    def __getitem__(self, token: str) -> int:
        """The number of a token of the vocabulary. Errors: `DataError`."""
        if token not in self._numbers:
            raise DataError(f"{token!r} is not in the vocabulary{did_you_mean(token, self.tokens)}")
        return self._numbers[token]

    def to_json(self) -> dict[str, Any]:
        """Everything, in JSON types."""
        special = sum(token is not None for token in (self.padding, self.unknown))
        own = {"tokens": self.tokens[special:], "padding": self.padding, "unknown": self.unknown}
        return {"unit": self.unit, **own, **self.options}

    @staticmethod
    def from_json(document: Any) -> Vocabulary:
        """What `to_json` gave. Errors: `DataError` for anything else."""
        kinds: dict[Any, type[Vocabulary]] = {kind.unit: kind for kind in (WordVocabulary, CharacterVocabulary)}
        try:
            options = dict(document)
            kind = kinds[options.pop("unit")]
            if not all(isinstance(token, str) for token in options["tokens"]):
                raise TypeError("tokens are text")
            if not all(isinstance(options[name], str | None) for name in ("padding", "unknown")):
                raise TypeError("padding and unknown are text, or null")
            if not isinstance(options.get("lower", True), bool):
                raise TypeError("lower is true or false")
            return kind(**options)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this describes no vocabulary: {error!s:.300}") from None


class WordVocabulary(Vocabulary):
    """Words by number, as `tokenize_words` finds them; ``lower``: in small letters. Options as for `Vocabulary`.

    >>> vocabulary = WordVocabulary.fit(["A film.", "A good film, a good plot."], min_frequency=2)
    >>> vocabulary.tokens
    ['<pad>', '<unk>', 'a', 'film', 'good']
    >>> vocabulary.decode(vocabulary.encode("a good book"))
    'a good <unk>'
    """

    unit = "word"
    separator = " "

    def __init__(
        self,
        tokens: Iterable[str],
        padding: str | None = "<pad>",
        unknown: str | None = "<unk>",
        lower: bool = True,
    ) -> None:
        super().__init__(tokens, padding, unknown, lower=lower)
        self.lower = lower

    def tokenize(self, text: str) -> list[str]:
        return tokenize_words(text, self.lower)


class CharacterVocabulary(Vocabulary):
    """Characters by number. Options as for `Vocabulary`.

    >>> vocabulary = CharacterVocabulary.fit(["to be"], padding=None, unknown=None)
    >>> vocabulary.tokens
    [' ', 'b', 'e', 'o', 't']
    >>> vocabulary.decode(vocabulary.encode("bet"))
    'bet'
    """

    unit = "character"
    separator = ""

    def __init__(self, tokens: Iterable[str], padding: str | None = "<pad>", unknown: str | None = "<unk>") -> None:
        super().__init__(tokens, padding, unknown)

    def tokenize(self, text: str) -> list[str]:
        return list(text)
