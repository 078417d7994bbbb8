"""Default initial values: they follow the activation behind a layer."""

import copy
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.nn import init
from chainrule.nn.initialization import DefaultStart
from chainrule.settings import settings


def values(tensor: cr.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def assert_uniform(array: np.ndarray, bound: float) -> None:
    """Within ±bound, filling the interval, with the variance bound²/3 (within 5 standard errors)."""
    assert np.abs(array).max() <= bound * (1 + 1e-6) and np.abs(array).max() > 0.99 * bound
    variance = bound**2 / 3
    assert abs(array.var() / variance - 1) < 5 * math.sqrt(0.8 / array.size)


@pytest.mark.parametrize(
    ("after", "bound"),
    [
        ([nn.ReLU()], math.sqrt(6 / 200)),
        ([nn.Dropout(0.5), nn.Identity(), nn.ReLU()], math.sqrt(6 / 200)),
        ([nn.LeakyReLU(0.5)], math.sqrt(6 / 1.25 / 200)),
        ([nn.GELU()], math.sqrt(6 / 200)),
        ([nn.Sequential(nn.ReLU())], math.sqrt(6 / 200)),
        ([nn.Tanh()], math.sqrt(6 / 500)),
        ([nn.Sigmoid()], math.sqrt(6 / 500)),
        ([nn.Linear(300, 2), nn.ReLU()], math.sqrt(6 / 500)),
        ([], math.sqrt(6 / 500)),
    ],
    ids=lambda value: ", ".join(type(layer).__name__ for layer in value) if isinstance(value, list) else "",
)
def test_the_default_follows_the_activation(after: list, bound: float) -> None:
    cr.manual_seed(0)
    layer = nn.Sequential(nn.Linear(200, 300), *after)[0]
    assert_uniform(values(layer.weight), bound)
    assert not values(layer.bias).any()


def test_selu_gets_lecun_normal() -> None:
    drawn = values(nn.Sequential(nn.Linear(200, 300), nn.SELU())[0].weight)
    assert abs(drawn.std() * math.sqrt(200) - 1) < 0.02 and np.abs(drawn).max() > 3.5 / math.sqrt(200)


@pytest.mark.parametrize("shape", [(300, 200), (3, 20_000), (20_000, 3), (4, 5, 3, 3), (301, 201), (5, 20_001)])
def test_values_are_one_stream_whatever_is_drawn_at_once(shape: tuple[int, ...]) -> None:
    """Large weights are written in blocks; NumPy draws the same values in one go."""
    start = DefaultStart("activation")
    start.follow("relu")
    weight = np.empty(shape, np.float32)
    start.write(weight)
    bound = math.sqrt(6 / math.prod(shape[1:]))
    stream = np.random.Generator(np.random.Philox(key=start.key))
    width, low = np.float32(2 * bound), np.float32(-bound)
    np.testing.assert_array_equal(weight, stream.random(shape, np.float32) * width + low)


@pytest.mark.parametrize("dtype", [cr.float32, cr.float64])
def test_a_program_draws_the_values_that_python_sees(dtype: object) -> None:
    def build() -> nn.Module:
        cr.manual_seed(3)
        return nn.Sequential(nn.Linear(150, 131), nn.ReLU(), nn.Linear(131, 70), nn.SELU(), nn.Linear(70, 2)).to(dtype)

    network, other = build(), build()
    network(cr.ones(4, 150, dtype=dtype)).sum().item()
    for mine, seen in zip(network.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(values(mine), values(seen))


def test_values_whose_drawing_was_interrupted_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> nn.Module:
        cr.manual_seed(3)
        return nn.Sequential(nn.Linear(150, 131), nn.ReLU())

    def interrupted(key: int, bound: float, out: np.ndarray) -> None:
        out[:] = np.nan
        raise KeyboardInterrupt

    network, other = build(), build()
    with monkeypatch.context() as patched:
        patched.setattr("chainrule.compiler.build.draw_uniform", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network(cr.ones(4, 150)).sum().item()
    np.testing.assert_array_equal(values(network[0].weight), values(other[0].weight))


def test_the_default_is_a_function_of_the_seed_alone() -> None:
    def build(nested: bool) -> list[np.ndarray]:
        cr.manual_seed(7)
        layers = [nn.Linear(5, 6), nn.Linear(6, 7)]
        if nested:
            inner = nn.Sequential(layers[0], nn.Tanh())
            inner[1] = nn.ReLU()
            network = nn.Sequential(inner, nn.Sequential(layers[1]), nn.ReLU())
        else:
            network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())
        return [values(parameter) for parameter in network.parameters()]

    for a, b in zip(build(False), build(True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "choose",
    [
        lambda layer: init.constant_(layer.weight, 0.5),
        lambda layer: layer.load_state_dict({"weight": np.full((2, 3), 0.5), "bias": np.zeros(2)}),
        lambda layer: layer.weight.data.fill_(0.5),
        lambda layer: setattr(layer, "weight", nn.Parameter(cr.full((2, 3), 0.5))),
    ],
)
def test_an_explicit_choice_wins(choose: object) -> None:
    layer = nn.Linear(3, 2)
    choose(layer)
    assert (values(nn.Sequential(layer, nn.ReLU())[0].weight) == 0.5).all()


def test_a_trained_network_is_not_drawn_again() -> None:
    layer = nn.Linear(3, 2)
    with cr.no_grad():
        layer.weight.mul_(1.5)
    before = values(layer.weight)
    made = nn.Sequential(copy.deepcopy(layer), nn.ReLU())
    np.testing.assert_array_equal(values(made[0].weight), before)


@pytest.mark.parametrize(
    "write",
    [
        lambda layer: layer.weight.copy_(cr.full((2, 3), 0.5)),
        lambda layer: init.constant_(layer.weight, 0.5),
        lambda layer: layer.weight.data.fill_(0.5),
    ],
)
@pytest.mark.parametrize("copied", [copy.deepcopy, nn.Module.double])
def test_what_was_written_but_not_computed_yet_is_copied(write: object, copied: object) -> None:
    layer = nn.Linear(3, 2)
    with cr.no_grad():
        write(layer)
    made = copied(layer)
    assert (values(made.weight) == 0.5).all() and (values(layer.weight) == 0.5).all()


def test_a_bias_that_was_set_stays() -> None:
    layer = nn.Linear(3, 2)
    init.constant_(layer.bias, 1.0)
    assert (values(nn.Sequential(layer, nn.ReLU())[0].bias) == 1).all()


def test_reset_parameters_draws_anew() -> None:
    layer = nn.Linear(3, 2)
    before = values(layer.weight)
    layer.reset_parameters()
    assert (values(layer.weight) != before).all()


def test_pytorchs_default_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "initialization", "pytorch")
    cr.manual_seed(0)
    layer = nn.Sequential(nn.Linear(200, 300), nn.ReLU())[0]
    assert_uniform(values(layer.weight), 1 / math.sqrt(200))
    assert values(layer.bias).any() and np.abs(values(layer.bias)).max() <= 1 / math.sqrt(200)
    monkeypatch.setattr(settings, "initialization", "torch")
    with pytest.raises(ArgumentError, match="'activation' or 'pytorch'"):
        nn.Linear(2, 2)
