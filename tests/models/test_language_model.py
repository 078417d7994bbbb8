"""The recurrent language model equals PyTorch's, learns by its recipe, writes by its probabilities, and is stored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import models
from chainrule.errors import ArgumentError, IndexOutOfRangeError, ShapeError

TOKENS = 11
TEXTS = np.random.default_rng(0).integers(0, TOKENS, (3, 7))


def language_model(**options: Any) -> Any:
    cr.manual_seed(0)
    return models.language_model(TOKENS, **{"features": 6, "hidden_size": 6, **options})


@pytest.mark.parametrize(("kind", "tied"), [("LSTM", False), ("LSTM", True), ("GRU", False), ("RNN", False)])
def test_language_model_equals_pytorch(kind: str, tied: bool) -> None:
    torch = pytest.importorskip("torch")
    model = language_model(kind=kind, tied=tied, num_layers=2).double().eval()
    state = {name: torch.tensor(p.detach().numpy(), requires_grad=True) for name, p in model.named_parameters()}
    layer = getattr(torch.nn, kind)(6, 6, 2).double()
    names = dict(layer.named_parameters())
    for name, parameter in names.items():
        parameter.data.copy_(state[f"recurrent.{name}"].data)
    hidden, _ = layer(torch.nn.functional.embedding(torch.tensor(TEXTS.T), state["embedding.weight"]))
    weight = state["embedding.weight" if tied else "output.weight"]
    expected = torch.nn.functional.linear(hidden, weight, state["output.bias"]).permute(1, 2, 0)
    found = model(cr.tensor(TEXTS))
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    targets = np.roll(TEXTS, -1, 1)
    cr.nn.functional.cross_entropy(found, cr.tensor(targets)).backward()
    torch.nn.functional.cross_entropy(expected, torch.tensor(targets)).backward()
    for name, parameter in model.named_parameters():
        short = name.removeprefix("recurrent.")
        gradient = (names[short] if short in names else state[name]).grad.numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-7, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SRU", "RNN"])
def test_a_text_in_stretches_is_the_text_at_once(kind: str) -> None:
    model = language_model(kind=kind, num_layers=2).double().eval()
    x = cr.tensor(TEXTS)
    first, states = model.run(x[:, :3])
    second, _ = model.run(x[:, 3:], states)
    both = np.concatenate([first.detach().numpy(), second.detach().numpy()], 2)
    np.testing.assert_allclose(both, model(x).detach().numpy(), rtol=1e-12)


def test_it_learns_by_its_recipe_in_a_trainer() -> None:
    """The next token is the last one plus the one before, modulo 7; chance is ln 7."""
    x = np.random.default_rng(1).integers(0, 7, (288, 17))
    for time in range(2, 17):
        x[:, time] = (x[:, time - 1] + x[:, time - 2]) % 7
    cr.manual_seed(0)
    model = models.language_model(7, features=16, hidden_size=48)
    recipe = model.recipe
    trainer = cr.Trainer(model, recipe.loss, recipe.optimizer, ["accuracy"], clip_norm=recipe.clip_norm, seed=0)
    held_out = x[256:, :-1], x[256:, 1:]
    history = trainer.fit(
        x[:256, :-1], x[:256, 1:], epochs=80, batch_size=recipe.batch_size, validation_data=held_out, verbose=0
    )
    assert history["loss"][0] > 1.8
    assert history["val_accuracy"][-1] > 0.9  # the first of 16 cannot be known
    losses = cr.nn.functional.cross_entropy(model(cr.tensor(held_out[0])), cr.tensor(held_out[1])).item()
    assert history["val_loss"][-1] == pytest.approx(losses, rel=1e-5)


def logits_only(scores: Any) -> Any:
    """A model whose logits are these, whatever was written before."""
    model = models.language_model(len(scores), features=2, hidden_size=2)
    with cr.no_grad():
        model.output.weight.zero_()
        model.output.bias.copy_(cr.tensor(scores))
    return model


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, None), (0.5, None), (2.0, None), (1.0, 3), (1.5, 2)])
def test_tokens_are_drawn_by_their_probabilities(temperature: float, top_k: int | None) -> None:
    cr.manual_seed(3)
    scores = np.array([0.3, 2.0, -0.5, 1.0])
    drawn = logits_only(scores).generate([0], 4000, temperature, top_k).numpy()
    kept = np.argsort(-scores)[:top_k]
    weights = np.zeros(4)
    weights[kept] = np.exp(scores[kept] / temperature)
    counts = np.bincount(drawn, minlength=4)
    expected = len(drawn) * weights / weights.sum()
    assert not counts[expected == 0].any()
    square = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    assert square < 16.3  # χ² of three degrees of freedom exceeds it in 1 of 1000 draws


def test_generation_is_what_the_model_says_token_after_token() -> None:
    model = language_model(kind="GRU", num_layers=2, dropout=0.5).double()
    text = [3, 1, 4]
    for _ in range(6):
        text.append(int(model.eval()(cr.tensor([text]))[0, :, -1].argmax()))
    model.train()
    assert model.generate([3, 1, 4], 6, top_k=1).tolist() == text[3:]
    assert model.generate([3, 1, 4], 6, temperature=1e-6).tolist() == text[3:]
    assert model.training and model.drop.training


def test_the_same_seed_writes_the_same_text() -> None:
    model, texts = language_model(), []
    for seed in (1, 1, 2):
        cr.manual_seed(seed)
        texts.append(model.generate([1], 30).tolist())
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_stored_and_made_again(tmp_path: Path, tied: bool) -> None:
    model = language_model(kind="SRU", num_layers=2, dropout=0.3, tied=tied).eval()
    cr.save(model, tmp_path / "model.chain")
    again = cr.load(tmp_path / "model.chain")
    assert (again.output.weight is again.embedding.weight) == tied and again.drop.p == 0.3
    x = cr.tensor(TEXTS)
    np.testing.assert_array_equal(again(x).detach().numpy(), model(x).detach().numpy())


def test_what_it_refuses() -> None:
    model = language_model()
    with pytest.raises(ArgumentError, match="kind 'LSTN' is unknown .did you mean 'LSTM'"):
        language_model(kind="LSTN")
    with pytest.raises(ArgumentError, match=r"tied weights need features \(6\) equal to hidden_size \(8\)"):
        language_model(tied=True, hidden_size=8)
    with pytest.raises(ShapeError, match=r"expected tokens \(N, T\), got shape \(3,\)"):
        model(cr.tensor([1, 2, 3]))
    with pytest.raises(IndexOutOfRangeError, match="index 11 .* the table has 11 rows"):
        model(cr.tensor([[1, 11]]))
    with pytest.raises(IndexOutOfRangeError, match="index 11 .* the table has 11 rows"):
        model.generate([1, 11], 3)
    with pytest.raises(ArgumentError, match=r"the prompt must be at least one token, \(T\), got shape \(0,\)"):
        model.generate(np.zeros(0, np.int64), 3)
    with pytest.raises(ArgumentError, match="temperature must be positive, got 0. fix: top_k=1"):
        model.generate([1], 3, temperature=0)
    with pytest.raises(ArgumentError, match="top_k must lie between 1 and the 11 tokens there are, got 0"):
        model.generate([1], 3, top_k=0)
    with pytest.raises(ArgumentError, match="length must be at least 1, got 0"):
        model.generate([1], 0)
