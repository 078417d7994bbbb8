"""Vocabularies: which tokens they keep, their numbers and texts, how they are stored, and what they refuse."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from chainrule import nn
from chainrule.errors import ArgumentError, DataError, DTypeError, IndexOutOfRangeError, ShapeError
from chainrule.text import CharacterVocabulary, Vocabulary, WordVocabulary
from chainrule.training.model_file import load_model, save_model

TEXTS = ["the cat sat", "the dog sat on the cat", "A cat!"]


def test_the_most_frequent_tokens_come_first() -> None:
    counts = Counter(["the", "cat", "sat", "the", "dog", "sat", "on", "the", "cat", "a", "cat", "!"])
    vocabulary = WordVocabulary.fit(TEXTS)
    known = vocabulary.tokens[2:]
    assert vocabulary.tokens[:2] == ["<pad>", "<unk>"] and set(known) == set(counts)
    assert known == sorted(known, key=lambda word: (-counts[word], word))
    assert WordVocabulary.fit(TEXTS, min_frequency=3).tokens[2:] == ["cat", "the"]
    assert WordVocabulary.fit([["A", "b"], ["b"]], unknown=None).tokens == ["<pad>", "b", "A"]
    assert len(vocabulary) == 9 and "dog" in vocabulary and vocabulary["cat"] == 2


def test_numbers_and_back() -> None:
    vocabulary = WordVocabulary.fit(TEXTS)
    numbers = vocabulary.encode("The bird sat on a dog")
    assert numbers.dtype == np.int64 and numbers[1] == 1
    assert vocabulary.decode([*numbers, 0, 0]) == "the <unk> sat on a dog"
    assert vocabulary.encode(["The"]).tolist() == [1]
    as_written = WordVocabulary.fit(TEXTS, lower=False)
    assert as_written.encode("The A").tolist() == [1, as_written["A"]]
    assert vocabulary.encode("").shape == (0,)
    assert WordVocabulary.fit("one text alone").tokens[2:] == ["alone", "one", "text"]


def test_characters() -> None:
    text = "to be, or not\nto be: Ж"
    vocabulary = CharacterVocabulary.fit([text], padding=None, unknown=None)
    assert sorted(vocabulary.tokens) == sorted(set(text)) and vocabulary.padding_idx is None
    assert vocabulary.decode(vocabulary.encode(text)) == text


@pytest.mark.parametrize("kind", [WordVocabulary, CharacterVocabulary])
def test_they_are_stored_with_a_model(kind: type[Vocabulary], tmp_path: Path) -> None:
    options = {"lower": False} if kind is WordVocabulary else {}
    vocabulary = kind.fit(TEXTS, 2, unknown="?", **options)
    again = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    save_model(tmp_path / "model.chain", nn.Embedding(len(vocabulary), 2), vocabulary=vocabulary)
    for found in (again, load_model(tmp_path / "model.chain").vocabulary):
        assert found is not None
        assert type(found) is kind and found.to_json() == vocabulary.to_json()
        assert (found.tokens, found.padding, found.unknown) == (vocabulary.tokens, "<pad>", "?")
        np.testing.assert_array_equal(found.encode("The cat? A"), vocabulary.encode("The cat? A"))


@pytest.mark.parametrize(
    "document",
    [
        None, [], {}, {"unit": "word"}, {"unit": "syllable", "tokens": []}, {"unit": "word", "tokens": [1]},
        {"unit": "word", "tokens": ["a", "a"]}, {"unit": "word", "tokens": ["a"], "size": 3},
    ],
)  # fmt: skip
def test_documents_that_are_no_vocabulary(document: object) -> None:
    with pytest.raises(DataError, match="describes no vocabulary"):
        Vocabulary.from_json(document)


def test_tokens_outside_are_refused_or_unknown() -> None:
    strict = WordVocabulary.fit(TEXTS, unknown=None)
    with pytest.raises(DataError, match=r"token 1 of the text, 'catt', is not among the 8 .*did you mean 'cat'.*fix: "):
        strict.encode("the catt")
    with pytest.raises(DataError, match="'dogg' is not in the vocabulary .did you mean 'dog'"):
        strict["dogg"]
    for number in (-1, 8):
        with pytest.raises(IndexOutOfRangeError, match=f"number {number} at position 1: the vocabulary has 0 to 7"):
            strict.decode([0, number])
    with pytest.raises(ArgumentError, match="'a' is in the vocabulary twice"):
        WordVocabulary(["a", "b", "a"])
    with pytest.raises(DataError, match="no token occurs 9 times: 7 different ones were found"):
        WordVocabulary.fit(TEXTS, min_frequency=9)


def test_what_is_no_text() -> None:
    vocabulary = WordVocabulary.fit(TEXTS)
    with pytest.raises(DTypeError, match=r"got bytes b'the cat'\. fix: text.decode"):
        vocabulary.encode(b"the cat")  # type: ignore[arg-type]
    for wrong in (None, [1, 2], 7):
        with pytest.raises(DTypeError, match="expected a text or a list of tokens, got"):
            vocabulary.encode(wrong)  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="decode takes whole numbers, got float64"):
        vocabulary.decode([0.5])
    with pytest.raises(ShapeError, match=r"got shape \(1, 2\)"):
        vocabulary.decode([[1, 2]])
