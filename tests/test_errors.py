"""How messages speak of types."""

import re
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, type_in_words, with_article

ROOT = Path(__file__).parent.parent


SPOKEN = {
    "a": "list dict str NoneType Linear DataLoader BatchNorm1d SmoothL1Loss GRU uint8 UserDict UUID ReLU KLDivLoss",
    "an": "int object Embedding Upsample ndarray IterableDataset LSTM RNN MLPClassifier MSELoss NLLLoss SGD EMA",
}


@pytest.mark.parametrize("article", SPOKEN)
def test_a_type_has_the_article_with_which_it_is_spoken(article: str) -> None:
    names = SPOKEN[article].split()
    assert [with_article(name) for name in names] == [f"{article} {name}" for name in names]


def test_no_message_puts_an_article_before_a_type_by_itself() -> None:
    by_hand = re.compile(r"\b[Aa]n? \{[^}]*(type\(|__name__)")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "chainrule").rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if by_hand.search(line)
    ]
    assert found == [], "fix: type_in_words(value) or with_article(name) of chainrule.errors"


def test_messages_of_saving_are_spoken_right(tmp_path: Path) -> None:
    assert type_in_words(np.zeros(2)) == "an ndarray"
    for value, said in ((object(), "an object"), ({1, 2}, "a set"), (1j, "a complex")):
        with pytest.raises(ArgumentError, match=f"the value\\['x'\\] is {said}, which cannot be saved"):
            cr.save({"x": value}, tmp_path / "x.pt")
