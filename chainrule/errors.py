"""Exceptions for users. Each message says what went wrong, where, what was expected and got, and the fix.

Every class also derives from the built-in exception that a caller would expect (``ValueError``, ``TypeError`` ...),
so that ``except`` clauses written for other libraries keep working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ChainruleError(Exception):
    """Base of all errors that chainrule raises on purpose."""


class ShapeError(ChainruleError, RuntimeError, ValueError):
    """Shapes do not fit together."""


class DTypeError(ChainruleError, TypeError, RuntimeError):
    """Element types do not fit together or are not supported by an operation."""


class ArgumentError(ChainruleError, ValueError, TypeError):
    """An argument has a value that the function does not accept."""


class IndexOutOfRangeError(ChainruleError, IndexError):
    """An index or a label lies outside the axis it points into."""


class MissingKeyError(ChainruleError, KeyError):
    """A container has nothing under a name."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0]) if self.args else ""


class GradientError(ChainruleError, RuntimeError):
    """A gradient was asked for where none exists."""


class CaptureError(ChainruleError, RuntimeError):
    """Python asked for a value while ``compile`` was capturing a function."""


class CompilationError(ChainruleError, RuntimeError):
    """A compiler pass or a backend met a graph it cannot turn into a program (a defect of chainrule)."""


class NonFiniteError(ChainruleError, FloatingPointError):
    """A computation produced NaN or infinity where ``debug`` or training watches for it."""


class DataError(ChainruleError, ValueError):
    """A data file, table or column cannot be used as it is."""


class TargetError(DataError):
    """Targets do not fit the loss, the task or the network's output."""


class ModelFileError(ChainruleError, ValueError):
    """A model or weights file is truncated, foreign or does not fit the network."""


class StateDictError(ChainruleError, RuntimeError, KeyError):
    """A state dict does not fit the module."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0]) if self.args else ""


class MissingExtraError(ChainruleError, ImportError):
    """An optional library is needed that is not installed."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f'this needs {library}: pip install "chainrule[{extra}]"')


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the known name closest to ``name``, or an empty string.

    >>> did_you_mean("outcme", ["age", "outcome"])
    " (did you mean 'outcome'?)"
    """
    close = difflib.get_close_matches(str(name), [str(item) for item in known], n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def with_article(name: str) -> str:
    """Return the name of a type behind "a" or "an", as it is spoken: the letters of an acronym, "you" in uint.

    >>> [with_article(name) for name in ("list", "object", "uint8", "LSTM", "SGD", "Linear")]
    ['a list', 'an object', 'a uint8', 'an LSTM', 'an SGD', 'a Linear']
    """
    if name[:2].isupper():
        return f"{'an' if name[0] in 'AEFHILMNORSX' else 'a'} {name}"
    begins_with_vowel = name[:1].lower() in "aeiou" and not name.lower().startswith(("uint", "uni", "use"))
    return f"{'an' if begins_with_vowel or name.startswith('nd') else 'a'} {name}"


def type_in_words(value: object) -> str:
    """Return the type of a value with its article, for messages.

    >>> type_in_words([]), type_in_words(3)
    ('a list', 'an int')
    """
    return with_article(type(value).__name__)
