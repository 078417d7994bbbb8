"""Loops that compute steps again for their derivative: the same results and gradients, from less memory."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.compiler import programs
from chainrule.errors import ArgumentError


def cell(p: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    h, c = state
    i, f, o, g = (x @ p["w"].T + h @ p["u"].T + p["b"]).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h, c), h


def train(length: int, reverse: bool, recompute: int) -> list[Any]:
    """Loss and gradients by all that a loop reads."""
    rng = np.random.default_rng(1)
    shapes = {"w": (20, 4), "u": (20, 5), "b": (20,), "x": (length, 3, 4), "h": (3, 5), "c": (3, 5)}
    p = {name: cr.nn.Parameter(cr.tensor(rng.normal(size=shape))) for name, shape in shapes.items()}
    last, ys = cr.scan(
        lambda state, x: cell(p, state, x), (p["h"], p["c"]), p["x"], reverse=reverse, recompute=recompute
    )
    weights = cr.arange(length).reshape(length, 1, 1)
    loss = (ys.square() * weights).sum() + (last[0] * last[1]).sum()
    loss.backward()
    return [loss.item(), *(parameter.grad.numpy() for parameter in p.values())]


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 6, 7, 13])
def test_the_same_gradients(length: int, reverse: bool, backend: str) -> None:
    with cr.backend(backend):
        expected = train(length, reverse, 0)
        for recompute in (1, 2, 3, 6, 20):
            for _ in range(2):  # once, and compiled
                for ours, theirs in zip(train(length, reverse, recompute), expected, strict=True):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "SRU"])
def test_layers(kind: str) -> None:
    cr.manual_seed(0)
    options = {"num_layers": 2, "bidirectional": True}
    plain = getattr(nn, kind)(3, 4, **options).double()
    saving = getattr(nn, kind)(3, 4, **options, recompute=3).double()
    saving.load_state_dict(plain.state_dict())
    x = cr.tensor(np.random.default_rng(0).normal(size=(11, 2, 3)))
    for layer in (plain, saving):
        layer(x, lengths=[11, 4])[0].square().sum().backward()
    for ours, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10, atol=1e-13)
    assert "recompute=3" in repr(saving)


def test_second_derivatives() -> None:
    def total(x: Any, recompute: int) -> Any:
        return cr.scan(lambda h, x: ((h * x).sin(), h * h), cr.tensor(0.5, dtype=cr.float64), x, recompute=recompute)[1]

    x = cr.tensor(np.random.default_rng(0).normal(size=7))
    plain, saving = (cr.autograd.functional.hessian(lambda x, k=k: total(x, k).sum(), x) for k in (0, 3))
    np.testing.assert_allclose(saving.numpy(), plain.numpy(), rtol=1e-11, atol=1e-14)


def memory(length: int, recompute: int) -> int:
    """Bytes for the temporary values of the program that trains on sequences of a length."""
    layer = nn.LSTM(2, 16, recompute=recompute)

    @cr.compile
    def gradients(x: Any) -> Any:
        layer.zero_grad()
        layer(x)[1][0].sum().backward()
        return layer.weight_hh_l0.grad.sum()

    programs._PROGRAMS.clear()
    programs._SHAPES.clear()
    gradients(cr.ones(length, 8, 2)).item()
    return max(program.layout.arena_bytes for program in programs._PROGRAMS.values())


def test_memory_grows_less_than_the_length() -> None:
    assert memory(400, 0) > 3.5 * memory(100, 0)
    assert memory(400, 20) < 0.2 * memory(400, 0)
    assert memory(1600, 40) < 2.5 * memory(400, 20)


@pytest.mark.parametrize("wrong", [-1, 2.5, True])
def test_what_is_no_number_of_steps(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="recompute must be a whole number of steps"):
        cr.scan(lambda h, x: (h + x, None), cr.tensor(0.0), cr.ones(3), recompute=wrong)
    with pytest.raises(ArgumentError, match="recompute must be a whole number of steps"):
        nn.LSTM(3, 4, recompute=wrong)
