"""Networks for text: outputs and gradients against PyTorch, what they must not depend on, and that they learn."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import models
from chainrule.errors import ArgumentError, IndexOutOfRangeError, ShapeError

torch = pytest.importorskip("torch")
F = torch.nn.functional

TOKENS, FEATURES = 11, 6
VECTORS = np.random.default_rng(0).normal(size=(TOKENS, FEATURES)) * (np.arange(TOKENS)[:, None] > 0)
SENTENCES = np.array([[3, 1, 4, 1, 5, 9, 2], [6, 5, 3, 5, 0, 0, 0], [8, 0, 0, 0, 0, 0, 0]])


def sentence_cnn(variant: str, **options: Any) -> Any:
    vectors = None if variant == "rand" else VECTORS
    return models.sentence_cnn(TOKENS, 3, variant, vectors, features=FEATURES, maps=4, **options).double()


def randomized(model: Any) -> dict[str, Any]:
    """Weights of its own for everything that is not a table of vectors; the state in PyTorch, ready for gradients."""
    random = np.random.default_rng(1)
    for name, parameter in model.named_parameters():
        if "embedding" not in name and "static" not in name:
            parameter.write(random.normal(size=tuple(parameter.shape)))
    weights = model.named_parameters()
    return {name: torch.tensor(p.detach().numpy(), requires_grad=p.requires_grad) for name, p in weights}


def kim_in_torch(state: dict[str, Any], x: Any) -> Any:
    """Kim's network as his paper has it: a convolution over pairs of channels with one filter for both."""
    tables = [state[f"{name}.weight"] for name in ("embedding", "static") if f"{name}.weight" in state]
    words = torch.stack([F.embedding(x, table, padding_idx=0) for table in tables], 1)  # (N, channels, T, features)
    found = []
    for number, window in enumerate((3, 4, 5)):
        weight = state[f"convolutions.{number}.weight"].transpose(1, 2)[:, None]  # (maps, 1, window, features)
        filters = weight.expand(-1, len(tables), -1, -1)
        maps = F.conv2d(words, filters, state[f"convolutions.{number}.bias"], padding=(window, 0))
        found.append(torch.relu(maps).squeeze(3).max(2).values)
    return F.linear(torch.cat(found, 1), state["classifier.weight"], state["classifier.bias"])


def check(model: Any, expected: Any, found: Any, state: dict[str, Any]) -> None:
    """Outputs, and the gradients of a weighted sum of them."""
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    weights = np.cos(np.arange(expected.numel())).reshape(tuple(expected.shape))
    (found * cr.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            gradient = state[name].grad.numpy()
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-7, atol=1e-10, err_msg=name)
        else:
            assert parameter.grad is None


@pytest.mark.parametrize("variant", ["rand", "static", "non-static", "multichannel"])
def test_sentence_cnn_equals_pytorch(variant: str) -> None:
    model = sentence_cnn(variant).eval()
    state = randomized(model)
    assert [name for name, value in state.items() if not value.requires_grad] == {
        "static": ["embedding.weight"],
        "multichannel": ["static.weight"],
    }.get(variant, [])
    check(model, kim_in_torch(state, torch.tensor(SENTENCES)), model(cr.tensor(SENTENCES)), state)


def test_sentence_cnn_counts_and_starts_as_in_the_paper() -> None:
    model = models.sentence_cnn(1000)
    count = 1000 * 300 + sum(100 * (300 * window + 1) for window in (3, 4, 5)) + 300 * 2 + 2
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    rows = model.embedding.weight.detach().numpy()
    assert not rows[0].any() and np.abs(rows).max() <= 0.25 and rows[1:].std() == pytest.approx(0.25 / 3**0.5, rel=0.01)
    assert np.abs(model.convolutions[1].weight.detach().numpy()).max() <= 0.01
    assert not model.classifier.weight.detach().numpy().any()


@pytest.mark.parametrize("variant", ["rand", "multichannel"])
def test_padding_changes_nothing(variant: str) -> None:
    model = sentence_cnn(variant).eval()
    randomized(model)
    wide = np.concatenate([SENTENCES, np.zeros((3, 9), np.int64)], 1)
    outputs = [model(cr.tensor(x)).detach().numpy() for x in (SENTENCES, wide)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-12)


def test_sentence_cnn_learns_by_its_recipe() -> None:
    """The class is which of two words comes directly before a third; wherever, and among others."""
    random = np.random.default_rng(2)
    labels = random.integers(0, 2, 400)
    x = random.integers(4, 20, (400, 12))
    places = random.integers(0, 11, 400)
    x[np.arange(400), places], x[np.arange(400), places + 1] = 1 + labels, 3
    cr.manual_seed(0)
    model = models.sentence_cnn(20, features=16, maps=8)
    recipe = model.recipe
    trainer = cr.Trainer(model, recipe.loss, recipe.optimizer, ["accuracy"], regularizers=recipe.regularizers, seed=0)
    trainer.fit(x[:300], labels[:300], epochs=recipe.epochs, batch_size=recipe.batch_size, verbose=0)
    assert trainer.evaluate(x[300:], labels[300:])["accuracy"] > 0.95
    norms = np.linalg.norm(model.classifier.weight.detach().numpy(), axis=1)
    assert norms.max() <= 3.0001
    assert not model.embedding.weight.detach().numpy()[0].any()


def test_what_sentence_cnn_refuses() -> None:
    with pytest.raises(ArgumentError, match="variant 'nonstatic' is unknown .did you mean 'non-static'"):
        models.sentence_cnn(TOKENS, variant="nonstatic")
    with pytest.raises(ArgumentError, match="the variant 'static' needs vectors. fix: vectors="):
        models.sentence_cnn(TOKENS, variant="static")
    with pytest.raises(ArgumentError, match="'rand' draws its vectors"):
        models.sentence_cnn(TOKENS, vectors=VECTORS)
    with pytest.raises(ShapeError, match=r"vectors must be \(12, features\), got shape \(11, 6\)"):
        models.sentence_cnn(TOKENS + 1, variant="static", vectors=VECTORS)
    for model in (models.sentence_cnn(TOKENS), models.gated_cnn(TOKENS)):
        with pytest.raises(ShapeError, match=r"expected tokens \(N, T\), got shape \(3,\)"):
            model(cr.tensor([1, 2, 3]))
        with pytest.raises(IndexOutOfRangeError, match="index 11 in row 0, position 1, but the table has 11 rows"):
            model(cr.tensor([[1, 11]]))


def dauphin_in_torch(state: dict[str, Any], x: Any, depth: int, kernel_size: int) -> Any:
    h = F.embedding(x, state["embedding.weight"]).transpose(1, 2)
    for number in range(depth):
        weight, bias = (state[f"blocks.{number}.body.2.{part}"] for part in ("weight", "bias"))
        linear, gate = F.conv1d(F.pad(h, (kernel_size - 1, 0)), weight, bias).chunk(2, 1)
        h = h + linear * torch.sigmoid(gate)
    return torch.einsum("vf,nft->nvt", state["output.weight"].squeeze(2), h) + state["output.bias"][:, None]


def test_gated_cnn_equals_pytorch() -> None:
    model = models.gated_cnn(TOKENS, features=5, depth=3, kernel_size=3).double().eval()
    state = randomized(model)
    check(model, dauphin_in_torch(state, torch.tensor(SENTENCES), 3, 3), model(cr.tensor(SENTENCES)), state)


def test_gated_cnn_sees_no_later_token_and_as_many_earlier_ones_as_it_says() -> None:
    model = models.gated_cnn(TOKENS, features=5, depth=2, kernel_size=3).double().eval()
    randomized(model)
    x = np.random.default_rng(3).integers(0, TOKENS, (1, 12))
    changed = x.copy()
    changed[0, 6] = (x[0, 6] + 1) % TOKENS
    outputs = [model(cr.tensor(each)).detach().numpy()[0] for each in (x, changed)]
    differs = np.abs(outputs[0] - outputs[1]).max(0) > 1e-9
    assert differs.nonzero()[0].tolist() == [6, 7, 8, 9, 10]  # (3 - 1) · 2 tokens before its own


def test_gated_cnn_learns_by_its_recipe() -> None:
    """Every token is the sum of the last two, modulo 7: with two of them known the third is certain."""
    random = np.random.default_rng(4)
    x = random.integers(0, 7, (256, 17))
    for time in range(2, 17):
        x[:, time] = (x[:, time - 1] + x[:, time - 2]) % 7
    cr.manual_seed(0)
    model = models.gated_cnn(7, features=32, depth=2, dropout=0.0)
    optimizer = model.recipe.optimizer(model.parameters())

    @cr.compile
    def step(inputs: Any, targets: Any) -> None:
        optimizer.zero_grad()
        cr.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    for _ in range(60):
        for start in range(0, 224, model.recipe.batch_size):
            rows = cr.tensor(x[start : start + model.recipe.batch_size])
            step(rows[:, :-1], rows[:, 1:])
    logits = model.eval()(cr.tensor(x[224:, :-1])).detach().numpy()
    assert logits.shape == (32, 7, 16)
    assert (logits.argmax(1)[:, 1:] == x[224:, 2:]).mean() > 0.98
