"""The example reads its data, trains by its recipe, and tells sentences apart that are easy to tell apart."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[2] / "examples" / "sentence_cnn.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("sentence_cnn", PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_folds_of_reviews_and_kinds_of_questions(example: ModuleType, tmp_path: Path) -> None:
    for folder in ("movie-review-polarity", "trec-questions"):
        (tmp_path / folder).mkdir()
    for name in ("pos", "neg"):
        text = "".join(f"{name} caf\xe9 {number} .\n" for number in range(200))
        (tmp_path / "movie-review-polarity" / f"rt-polarity.{name}").write_text(text, encoding="latin-1")
    folds = list(example.movie_reviews(tmp_path, 10))
    tests = [tuple(tokens) for fold in folds for tokens, _ in fold.test]
    assert len(folds) == 10 and len(tests) == len(set(tests)) == 400
    for fold in folds:
        assert len(fold.training) + len(fold.test) == 400
        assert all((label == 1) == (tokens[0] == "pos") and tokens[1] == "café" for tokens, label in fold.training)
    for name in ("train_5500.label", "TREC_10.label"):
        (tmp_path / "trec-questions" / name).write_text("NUM:dist How far is it ?\nHUM:desc Who ?\n")
    (fold,) = example.questions(tmp_path)
    assert fold.training == fold.test == [(["How", "far", "is", "it", "?"], 5), (["Who", "?"], 3)]


@pytest.mark.parametrize("variant", ["rand", "non-static"])
def test_it_learns(example: ModuleType, variant: str) -> None:
    random = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(30)]).reshape(2, 15)
    sentences = []
    for number in range(240):
        tokens = random.choice(words[number % 2], random.integers(2, 9)).tolist()
        tokens[random.integers(len(tokens))] = ("good", "bad")[number % 2]
        sentences.append((tokens, number % 2))
    fold = example.Fold(sentences[:200], sentences[200:])
    held_out, accuracy = example.train(fold, variant, epochs=12, pretraining=100, features=16)
    assert held_out > 0.9 and accuracy > 0.9
