"""Tokens: as Kim's code finds them; files that are not text are named with the byte."""

import random
import re
from pathlib import Path

import pytest

from chainrule.errors import DataError
from chainrule.text import read_lines, read_text, tokenize_words


def kims_clean_str(string: str) -> str:
    """`clean_str` of github.com/yoonkim/CNN_sentence, whose replacements by "\\?" a later Python writes as " ? "."""
    string = re.sub(r"[^A-Za-z0-9(),!?\'\`]", " ", string)
    for ending in (r"\'s", r"\'ve", r"n\'t", r"\'re", r"\'d", r"\'ll"):
        string = re.sub(ending, " " + ending.replace("\\", ""), string)
    for mark in (",", "!", r"\(", r"\)", r"\?"):
        string = re.sub(mark, f" {mark[-1]} ", string)
    return re.sub(r"\s{2,}", " ", string).strip()


def test_words_are_those_of_kims_code() -> None:
    draw = random.Random(0)
    pieces = ["'", "s", "ve", "n't", "'re", "'d", "'ll", "t", " ", "A", "7", *",()?!`-._\t"]
    for _ in range(2000):
        text = "".join(draw.choice(pieces) for _ in range(12))
        assert tokenize_words(text, lower=False) == kims_clean_str(text).split(), text
        assert tokenize_words(text) == kims_clean_str(text).lower().split()


def test_letters_of_all_languages_belong_to_words() -> None:
    assert tokenize_words("Ёлка très-bien 東京") == ["ёлка", "très", "bien", "東京"]
    assert tokenize_words(" .-_ ") == []


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeffone\r\n\r\n two\x85\nthree".encode())
    assert read_lines(path) == ["one", " two\x85", "three"]
    path.write_bytes(b"caf\xe9\n")
    assert read_text(path, "latin-1") == "café\n"


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"one\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"not text in utf-8: byte 0xe9 at position 7, in line 2\. fix: .*latin-1"):
        read_text(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_lines(tmp_path / "missing")
    with pytest.raises(DataError, match="no encoding 'latin-one'"):
        read_text(path, "latin-one")
