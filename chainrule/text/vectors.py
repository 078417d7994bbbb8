"""Word vectors, and the text format in which word2vec and GloVe publish them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Self

import numpy as np

from .. import nn
from ..errors import DataError, ShapeError, did_you_mean
from ..files.atomic import write_atomically
from ..tensor.creation import from_numpy
from ..tensor.generator import default_generator
from .vocabulary import Vocabulary

Array = np.ndarray[Any, Any]


class WordVectors:
    """A vector for each of some tokens: ``table`` (tokens, features), float32.

    Errors: `ShapeError` for another number of rows than tokens.

    >>> vectors = WordVectors(["king", "queen", "apple"], [[1.0, 0.9], [0.9, 1.0], [-1.0, 0.0]])
    >>> vectors.nearest("king", count=1)
    [('queen', 0.9945)]
    """

    def __init__(self, tokens: Sequence[str], table: Any) -> None:
        self.tokens = list(tokens)
        self.table: Array = np.asarray(table, np.float32)
        if self.table.ndim != 2 or len(self.table) != len(self.tokens):
            raise ShapeError(
                f"word vectors are (tokens, features): got shape {self.table.shape} for {len(self.tokens)} tokens"
            )
        self._numbers = {token: number for number, token in enumerate(self.tokens)}

    @classmethod
    def read(cls, path: str | os.PathLike[str], only: Collection[str] | None = None) -> Self:
        """Read a text file of word2vec (first line: how many vectors, of how many features) or GloVe (no such line).

        A line is a token and its numbers, between spaces; a token may contain spaces. Of a token that comes again the
        first vector counts. ``only``: tokens to be kept, such as a `Vocabulary`, all others take no memory.

        Errors: `DataError` for a file that is missing, not UTF-8, empty, or damaged, with the line.
        """
        found: dict[str, Array] = {}
        features = 0
        for number, fields in _lines(path):
            if number == 1 and len(fields) == 2 and all(field.isdecimal() for field in fields):
                features = int(fields[1])
                continue
            features = features or len(fields) - 1
            token = " ".join(fields[:-features])
            if not token or not features:
                expected = f"a token and {features or 'its'} numbers"
                raise DataError(f"{path}, line {number}: expected {expected}, got {len(fields)} fields")
            if token in found or (only is not None and token not in only):
                continue
            found[token] = _numbers(path, number, fields[-features:])
        if not features:
            raise DataError(f"{path} has no word vectors: it is empty")
        return cls(list(found), np.array(list(found.values()), np.float32).reshape(len(found), features))

    def write(self, path: str | os.PathLike[str], header: bool = True) -> None:
        """Write the text format, with word2vec's first line or, as GloVe's, without; read again, it has the same bits.

        Errors: `DataError` for a token that a line cannot hold.

        >>> WordVectors(["a"], [[0.5, 1.0]]).write("vectors.txt")
        >>> open("vectors.txt").read()
        '1 2\\na 0.5 1.0\\n'
        """
        for token in self.tokens:
            if not token or token != token.strip() or "\n" in token or "\r" in token:
                raise DataError(f"the token {token!r} cannot stand in a line: it ends in a space, or has ends of lines")
        lines = [f"{len(self.tokens)} {self.table.shape[1]}"] if header else []
        lines += [" ".join([token, *map(str, row)]) for token, row in zip(self.tokens, self.table, strict=True)]
        write_atomically(path, ("\n".join(lines) + "\n").encode())

    def nearest(self, token: str, count: int = 10) -> list[tuple[str, float]]:
        """The tokens whose vectors have the largest cosine with that of ``token``, with it. Errors: `DataError`."""
        if token not in self._numbers:
            raise DataError(f"there is no vector of {token!r}{did_you_mean(token, self.tokens)}")
        lengths = np.maximum(np.linalg.norm(self.table, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        units = self.table / lengths
        own = self._numbers[token]
        cosines = units @ units[own]
        best = [row for row in np.argsort(-cosines, kind="stable").tolist() if row != own]
        return [(self.tokens[row], round(float(cosines[row]), 4)) for row in best[:count]]

    def embedding(self, vocabulary: Vocabulary, freeze: bool = False) -> nn.Embedding:
        """A layer with the vectors of a vocabulary's tokens; ``freeze``: not trained.

        Tokens without a vector get values uniform in ±a, where a gives them the variance of the others (Kim 2014); the
        padding token gets zeros. Errors: `DataError` where no token of the vocabulary has a vector.

        >>> vocabulary = Vocabulary(["king", "pawn"])
        >>> layer = WordVectors(["king"], [[0.5, 1.0]]).embedding(vocabulary)
        >>> layer.weight.detach()[:3:2], layer.padding_idx
        (tensor([[0.0000, 0.0000],
                [0.5000, 1.0000]]), 0)
        """
        rows = [(row, self._numbers[token]) for row, token in enumerate(vocabulary.tokens) if token in self._numbers]
        if not rows:
            raise DataError(f"none of the {len(vocabulary)} tokens of the vocabulary has a vector")
        here, there = np.array(rows).T
        bound = float(np.sqrt(3 * self.table[there].var(dtype=np.float64)))
        table = default_generator.numpy().uniform(-bound, bound, (len(vocabulary), self.table.shape[1]))
        table[here] = self.table[there]
        padding = vocabulary.padding_idx
        if padding is not None:
            table[padding] = 0.0
        rows_of_layer = from_numpy(table.astype(np.float32))
        return nn.Embedding.from_pretrained(rows_of_layer, freeze=freeze, padding_idx=padding)


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """The fields of every line that has some, with its number from 1."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    fields = line.decode("utf-8").strip("\r\n ").split(" ")
                except UnicodeDecodeError as error:
                    raise DataError(f"{path}, line {number} is not UTF-8: byte 0x{line[error.start]:02x}") from None
                if fields != [""]:
                    yield number, fields
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _numbers(path: str | os.PathLike[str], number: int, fields: list[str]) -> Array:
    try:
        values = np.array([float(field) for field in fields], np.float32)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {error}. fix: as many numbers in every line") from None
    if not np.isfinite(values).all():
        raise DataError(f"{path}, line {number}: a word vector with NaN or infinity")
    return values
