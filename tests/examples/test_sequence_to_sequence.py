"""The tasks of the example have the right answers, nothing that is tested was trained on, and it learns."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[2] / "examples" / "sequence_to_sequence.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("sequence_to_sequence", PATH)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["reverse", "sort", "add"])
def test_pairs_are_right_and_unseen_ones_unseen(example: ModuleType, name: str) -> None:
    training, tests, longer = example.pairs_of(example.TASKS[name]._replace(pairs=600, tests=100))
    assert len(training) == 600 and len(tests) == 100 and not set(training) & set(tests)
    assert {len(text) for text, _ in training} >= set(range(3, 8))
    for source, answer in (*training, *tests, *longer):
        expected = {
            "reverse": lambda text: "".join(reversed(text)),
            "sort": lambda text: "".join(letter * text.count(letter) for letter in example.LETTERS),
            "add": lambda text: str(sum(map(int, text.split("+"))))[::-1],
        }[name](source)
        assert answer == expected
    limit = 7 if name == "add" else 10
    assert max(len(text) for text, _ in training) == limit < min(len(text) for text, _ in longer)


def test_an_answer_is_exact_only_as_a_whole(example: ModuleType) -> None:
    class Right:
        def answer(self, sources, length):
            texts = [example.VOCABULARY.decode(row) for row in sources.numpy()]
            answers = example.encode([f"{text[::-1]}>" for text in texts])
            assert answers.shape[1] == length
            return example.cr.tensor(answers)

    pairs = [("abc", "cba"), ("ab", "ba"), ("abc", "cbb"), ("ab", "bab")]
    assert example.exact(Right(), pairs) == 0.5


def test_it_learns(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def draw(random, is_long):
        text = example.letters(random, 2, 4)[:4]
        return text, text[::-1]

    _, matches = example.train(example.Task(draw, pairs=2560, tests=200, epochs=6), hidden=32)
    assert matches[-1] > 0.5 > matches[0]
    assert "epoch  6  loss " in capsys.readouterr().out
