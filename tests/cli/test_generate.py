"""``chainrule generate`` goes on from a prompt, the same way with the same seed, and refuses what cannot write."""

from pathlib import Path

import pytest

import chainrule as cr
from chainrule.cli import main
from chainrule.text import CharacterVocabulary, WordVocabulary
from chainrule.training.model_file import save_model


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained to count: 0123456789012..."""
    path = tmp_path_factory.mktemp("model") / "counting.chain"
    vocabulary = CharacterVocabulary.fit(["0123456789"], padding=None, unknown=None)
    windows = [[(start + step) % 10 for step in range(9)] for start in range(10)] * 8
    cr.manual_seed(0)
    model = cr.models.language_model(10, features=8, hidden_size=16, kind="GRU")
    x = cr.tensor(windows)
    cr.Trainer(model, "cross_entropy", lambda p: cr.optim.Adam(p, lr=0.02), seed=0).fit(
        x[:, :-1], x[:, 1:], epochs=30, batch_size=16, verbose=0
    )
    save_model(path, model, vocabulary=vocabulary)
    return path


def test_it_goes_on_from_the_prompt(counting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--length", "12", "--temperature", "0.2", "--top-k", "3", "--seed", "1"]
    assert main(["generate", str(counting), "--prompt", "345", *options]) == 0
    assert capsys.readouterr().out == "345678901234567\n"


def test_a_seed_writes_the_same_text_again(counting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for seed in ("1", "1", "2"):
        assert main(["generate", str(counting), "--prompt", "3", "--temperature", "50", "--seed", seed]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]
    assert len(texts[0]) == len("3") + 500 + len("\n")


def test_words_are_written_with_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary = WordVocabulary.fit(["to be or not"])
    save_model(tmp_path / "words.chain", cr.models.language_model(len(vocabulary)), vocabulary=vocabulary)
    assert main(["generate", str(tmp_path / "words.chain"), "--prompt", "To be", "--length", "5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("To be ") and set(out.lower().split()) <= set(vocabulary.tokens)


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 1) -> str:
    assert main(["generate", *arguments]) == status
    captured = capsys.readouterr()
    assert not captured.out and "Traceback" not in captured.err
    return captured.err


def test_what_it_refuses(counting: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linear, silent = str(tmp_path / "linear.chain"), str(tmp_path / "silent.chain")
    save_model(linear, cr.nn.Linear(2, 1))
    save_model(silent, cr.models.language_model(5))
    assert "holds a Linear without a vocabulary, which cannot write text. fix:" in fails(capsys, linear)
    assert "holds a LanguageModel without a vocabulary" in fails(capsys, silent)
    assert "missing.chain" in fails(capsys, str(tmp_path / "missing.chain"))
    model = str(counting)
    assert "the prompt '' has no token to begin from" in fails(capsys, model, "--prompt", "")
    assert "token 1 of the text, 'x', is not among the 10 of the vocabulary" in fails(capsys, model, "--prompt", "3x")
    assert "top_k must lie between 1 and the 10 tokens" in fails(capsys, model, "--prompt", "3", "--top-k", "11")
    for option, value in (("--temperature", "0"), ("--top-k", "0"), ("--length", "0")):
        assert option in fails(capsys, model, "--prompt", "3", option, value, status=2)
