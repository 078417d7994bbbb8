"""Encoder and decoder equal PyTorch's layers put together by hand, with and without attention, and they learn."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import models
from chainrule.errors import ArgumentError, ShapeError

TOKENS, HIDDEN = 9, 6
SOURCES = np.array([[3, 1, 4, 1, 5], [6, 5, 3, 0, 0], [8, 0, 0, 0, 0]])
ANSWERS = np.array([[1, 4, 3], [1, 5, 6], [1, 8, 2]])


def network(**options: Any) -> Any:
    cr.manual_seed(0)
    return models.sequence_to_sequence(TOKENS, **{"features": 4, "hidden_size": HIDDEN, **options}).double().eval()


def in_torch(torch: Any, model: Any, state: dict[str, Any], sources: Any, answers: Any) -> Any:
    """Row by row, without padding; the attention of Luong 2015, equations 5, 7 and 8."""
    kind = getattr(torch.nn, model.kind)
    encoder = kind(4, HIDDEN // 2, model.num_layers, bidirectional=True).double()
    decoder = kind(4, HIDDEN, model.num_layers).double()
    table, logits = state["embedding.weight"], []

    def run(layer: Any, name: str, *inputs: Any) -> Any:
        weights = {key: state[f"{name}.{key}"] for key, _ in layer.named_parameters()}
        return torch.func.functional_call(layer, weights, inputs)

    def join(last: Any) -> Any:
        pairs = [torch.cat((last[2 * layer], last[2 * layer + 1])) for layer in range(model.num_layers)]
        return torch.stack(pairs)

    for source, answer in zip(sources, answers, strict=True):
        encoded, last = run(encoder, "encoder", table[source[source != 0]])
        first = tuple(map(join, last)) if isinstance(last, tuple) else join(last)
        hidden, _ = run(decoder, "decoder", table[answer], first)
        if model.attention:
            scores = torch.einsum("th,hk,sk->ts", hidden, state["score.weight"].T, encoded)
            mean = scores.softmax(1) @ encoded
            hidden = torch.tanh(torch.cat((mean, hidden), 1) @ state["combine.weight"].T)
        logits.append(state["output.weight"] @ hidden.T + state["output.bias"][:, None])
    return torch.stack(logits)


@pytest.mark.parametrize(("kind", "layers"), [("GRU", 1), ("LSTM", 2)])
@pytest.mark.parametrize("attention", [False, True])
def test_it_equals_pytorch(kind: str, layers: int, attention: bool) -> None:
    torch = pytest.importorskip("torch")
    model = network(kind=kind, num_layers=layers, attention=attention)
    state = {name: torch.tensor(p.detach().numpy(), requires_grad=True) for name, p in model.named_parameters()}
    expected = in_torch(torch, model, state, torch.tensor(SOURCES), torch.tensor(ANSWERS))
    found = model(cr.tensor(SOURCES), cr.tensor(ANSWERS))
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    weights = np.cos(np.arange(expected.numel())).reshape(tuple(expected.shape))
    (found * cr.tensor(weights)).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for name, parameter in model.named_parameters():
        if name != "embedding.weight":  # the padding row has no gradient here
            gradient = state[name].grad.numpy()
            np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-7, atol=1e-11, err_msg=name)
    rows = state["embedding.weight"].grad.numpy()[1:]
    np.testing.assert_allclose(model.embedding.weight.grad.numpy()[1:], rows, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("attention", [False, True])
def test_padding_changes_nothing(attention: bool) -> None:
    model = network(attention=attention)
    wide = np.concatenate([SOURCES, np.zeros((3, 4), np.int64)], 1)
    outputs = [model(cr.tensor(x), cr.tensor(ANSWERS)).detach().numpy() for x in (SOURCES, wide)]
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-12)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_answers_are_the_most_probable_tokens_one_after_the_other(kind: str) -> None:
    model = network(kind=kind, num_layers=2)
    for end in model.answer(cr.tensor(SOURCES), 3)[:, -1].tolist():
        model.end = end
        expected = []
        for source in SOURCES:
            answer = [model.begin]
            while len(answer) < 6 and model.end not in answer[1:]:
                logits = model(cr.tensor(source[None]), cr.tensor([answer]))
                answer.append(int(logits[0, :, -1].argmax()))
            expected.append(answer[1:] + [model.padding_idx] * (6 - len(answer)))
        assert model.answer(cr.tensor(SOURCES), 5).tolist() == expected


def test_it_learns_to_reverse() -> None:
    random = np.random.default_rng(1)
    sources = random.integers(3, TOKENS, (1200, 4))
    answers = np.concatenate([np.full((1200, 1), 1), sources[:, ::-1], np.full((1200, 1), 2)], 1)
    cr.manual_seed(0)
    model = models.sequence_to_sequence(TOKENS, features=16, hidden_size=32)
    optimizer = cr.optim.Adam(model.parameters(), lr=0.01)

    @cr.compile
    def step(x: Any, y: Any) -> None:
        optimizer.zero_grad()
        cr.nn.functional.cross_entropy(model(x, y[:, :-1]), y[:, 1:]).backward()
        optimizer.step()

    for _ in range(12):
        for start in range(0, 1000, 50):
            step(cr.tensor(sources[start : start + 50]), cr.tensor(answers[start : start + 50]))
    found = model.answer(cr.tensor(sources[1000:]), 5).numpy()
    assert (found == answers[1000:, 1:]).all(1).mean() > 0.95


def test_what_it_refuses() -> None:
    model = network()
    with pytest.raises(ArgumentError, match="kind 'GRUU' is unknown .did you mean 'GRU'"):
        network(kind="GRUU")
    with pytest.raises(ArgumentError, match="hidden_size must be even, .* got 7"):
        network(hidden_size=7)
    with pytest.raises(ShapeError, match=r"expected sources \(N, S\) and answers \(N, T\), got shapes \(3,\)"):
        model(cr.tensor([1, 2, 3]), cr.tensor([[1]]))
    with pytest.raises(ArgumentError, match="length must be at least 1, got 0"):
        model.answer(cr.tensor(SOURCES), 0)
