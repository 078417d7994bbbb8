"""Initial values: distributions, and the default that follows the activation behind a layer."""

import copy
import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import init
from chainrule.settings import settings


def values(tensor: cr.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def assert_uniform(array: np.ndarray, bound: float) -> None:
    """Within ±bound, filling the interval, with the variance bound²/3 (within 5 standard errors)."""
    assert np.abs(array).max() <= bound * (1 + 1e-6) and np.abs(array).max() > 0.99 * bound
    variance = bound**2 / 3
    assert abs(array.var() / variance - 1) < 5 * math.sqrt(0.8 / array.size)


@pytest.mark.parametrize(
    ("initialize", "std"),
    [
        (lambda w: init.normal_(w, 0.0, 0.3), 0.3),
        (lambda w: init.uniform_(w, -0.3, 0.3), 0.3 / math.sqrt(3)),
        (lambda w: init.xavier_uniform_(w, 2.0), 2 * math.sqrt(2 / 500)),
        (lambda w: init.xavier_normal_(w), math.sqrt(2 / 500)),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(2 / 200)),
        (lambda w: init.kaiming_normal_(w, a=0.5), math.sqrt(2 / 1.25 / 200)),
        (lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="linear"), math.sqrt(1 / 300)),
        (lambda w: init.lecun_normal_(w), math.sqrt(1 / 200)),
        (lambda w: init.lecun_uniform_(w), math.sqrt(1 / 200)),
        (lambda w: init.trunc_normal_(w, 0.0, 0.1, -10.0, 10.0), 0.1),
    ],
)
def test_spread(initialize: object, std: float) -> None:
    cr.manual_seed(0)
    weight = nn.Parameter(cr.zeros(300, 200))
    assert initialize(weight) is weight and weight.requires_grad
    drawn = values(weight)
    assert abs(drawn.mean()) < 5 * std / math.sqrt(drawn.size)
    assert abs(drawn.std() / std - 1) < 0.02


def test_fans_count_the_kernel() -> None:
    assert init.fans(cr.zeros(8, 4, 3, 3)) == (36, 72)
    with pytest.raises(ShapeError, match="fewer than 2 dimensions"):
        init.xavier_uniform_(cr.zeros(3))


def test_fixed_values() -> None:
    weight = cr.zeros(2, 3)
    assert values(init.constant_(weight, 2.5)).tolist() == [[2.5] * 3] * 2
    assert values(init.ones_(weight)).sum() == 6 and values(init.zeros_(weight)).sum() == 0
    np.testing.assert_array_equal(values(init.eye_(weight)), np.eye(2, 3))
    with pytest.raises(ShapeError):
        init.eye_(cr.zeros(2))


def test_truncated_normal_stays_inside() -> None:
    drawn = values(init.trunc_normal_(cr.zeros(10000), 0.0, 1.0, -0.5, 1.0))
    assert -0.5 <= drawn.min() < -0.49 and 0.99 < drawn.max() <= 1.0
    with pytest.raises(ArgumentError, match="too little to draw from"):
        init.trunc_normal_(cr.zeros(3), 0.0, 1.0, 8.0, 9.0)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 2, 3)])
def test_orthogonal(shape: tuple) -> None:
    matrix = values(init.orthogonal_(cr.zeros(shape, dtype=cr.float64), gain=2.0)).reshape(shape[0], -1)
    product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_equal_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    with pytest.raises(ArgumentError, match=r"did you mean 'relu'"):
        init.calculate_gain("rellu")


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
