"""From files of text to tokens."""

from __future__ import annotations

import os
import re

from ..errors import DataError

NO_TOKEN = re.compile(r"[^\w(),!?'`]|_")
"""Characters that only separate."""

BREAKS = re.compile(r"(?='s|'ve|'re|'d|'ll)|(?=n't)|([(),!?])")
"""Where words are taken apart: before English's short forms, and around these marks."""


def tokenize_words(text: str, lower: bool = True) -> list[str]:
    """The words of a text; brackets, commas, ! and ? are words too, and so are the ends of English's short forms.

    Everything else but letters, digits, apostrophes and backquotes separates words. ``lower``: in small letters.
    Source: Kim 2014, his code, which knows only the letters of ASCII.

    >>> tokenize_words("It isn't bad, it's GOOD!")
    ['it', 'is', "n't", 'bad', ',', 'it', "'s", 'good', '!']
    """
    words = BREAKS.sub(r" \1 ", NO_TOKEN.sub(" ", text)).split()
    return [word.lower() for word in words] if lower else words


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    """The text of a file, with ends of lines as "\\\\n".

    Errors: `DataError` for a file that is missing or not in this encoding, with the place of the byte.

    >>> _ = open("review.txt", "w", encoding="utf-8").write("très bien")
    >>> read_text("review.txt")
    'très bien'
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path} is not text in {encoding}: byte 0x{content[error.start]:02x} at position {error.start}, in line "
            f"{line}. fix: the encoding it is written in, such as encoding='latin-1' for Western European texts"
        ) from None
    except LookupError:
        raise DataError(f"{path}: there is no encoding {encoding!r}. fix: 'utf-8' or 'latin-1'") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def read_lines(path: str | os.PathLike[str], encoding: str = "utf-8") -> list[str]:
    """The lines of a file, without their ends and without empty ones. Errors: as for `read_text`.

    >>> _ = open("reviews.txt", "w", encoding="utf-8").write("good\\nbad\\n")
    >>> read_lines("reviews.txt")
    ['good', 'bad']
    """
    return [line for line in read_text(path, encoding).split("\n") if line.strip()]
