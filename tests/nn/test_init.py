"""Initial values: the distributions are what their formulas say, the fixed ones are PyTorch's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import init


def values(tensor: cr.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


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
        (lambda w: init.naive_uniform_(w), math.sqrt(1 / 3 / 200)),
        (lambda w: init.sparse_(w, 0.75, std=0.4), 0.4 * math.sqrt(0.25)),
    ],
)
def test_spread(initialize: Callable[[Any], Any], std: float) -> None:
    cr.manual_seed(0)
    weight = nn.Parameter(cr.zeros(300, 200))
    assert initialize(weight) is weight and weight.requires_grad
    drawn = values(weight)
    assert abs(drawn.mean()) < 5 * std / math.sqrt(drawn.size)
    assert abs(drawn.std() / std - 1) < 0.02


@pytest.mark.parametrize(
    ("initialize", "bound"),
    [
        (lambda w: init.uniform_(w, -0.3, 0.3), 0.3),
        (lambda w: init.naive_uniform_(w), 1 / math.sqrt(200)),
        (lambda w: init.lecun_uniform_(w), math.sqrt(3 / 200)),
        (lambda w: init.xavier_uniform_(w, gain=2.0), 2 * math.sqrt(6 / 500)),
        (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(6 / 200)),
        (lambda w: init.kaiming_uniform_(w, a=1.0, mode="fan_out"), math.sqrt(3 / 300)),
    ],
)
def test_bounds(initialize: Callable[[Any], Any], bound: float) -> None:
    """Within ±bound, filling the interval evenly: the share of each tenth is within 5 standard errors."""
    cr.manual_seed(0)
    drawn = values(initialize(cr.zeros(300, 200, dtype=cr.float64))).ravel()
    assert np.abs(drawn).max() <= bound
    shares = np.histogram(drawn, bins=10, range=(-bound, bound))[0] / drawn.size
    assert np.abs(shares - 0.1).max() < 5 * math.sqrt(0.09 / drawn.size)


def test_the_naive_start_loses_two_thirds_of_the_variance_in_every_layer() -> None:
    cr.manual_seed(0)
    x, variances = cr.randn(2000, 256, dtype=cr.float64), []
    for initialize in (init.naive_uniform_, init.lecun_uniform_, init.lecun_normal_):
        y = x
        for _ in range(3):
            y = y @ initialize(cr.zeros(256, 256, dtype=cr.float64)).T
        variances.append(float(y.var()))
    assert variances[0] == pytest.approx(1 / 27, rel=0.1)
    assert variances[1:] == pytest.approx([1, 1], rel=0.1)


def test_he_keeps_the_second_moment_through_rectifiers() -> None:
    cr.manual_seed(0)
    for slope in (0.0, 0.5):
        y = cr.randn(2000, 256, dtype=cr.float64)
        for _ in range(4):
            weight = init.kaiming_normal_(cr.zeros(256, 256, dtype=cr.float64), a=slope)
            y = nn.functional.leaky_relu(y, slope) @ weight.T
        assert float(y.var()) == pytest.approx(1, rel=0.15)


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


@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 4, 5), 1), ((4, 3, 2), 1), ((6, 2, 3, 3), 3), ((4, 2, 3, 2, 3), 2), ((2, 1, 4, 4), 2)]
)
def test_dirac_equals_pytorch(shape: tuple[int, ...], groups: int) -> None:
    torch = pytest.importorskip("torch")
    expected = torch.nn.init.dirac_(torch.ones(shape), groups).numpy()
    np.testing.assert_array_equal(values(init.dirac_(cr.ones(shape), groups)), expected)


def test_sparse_leaves_the_wanted_share_of_every_column() -> None:
    cr.manual_seed(0)
    drawn = values(init.sparse_(cr.ones(10, 2000), sparsity=0.25, std=1.0))
    assert ((drawn == 0).sum(axis=0) == 3).all()  # ceil(2.5)
    assert drawn[drawn != 0].std() == pytest.approx(1, rel=0.03)
    assert np.abs((drawn == 0).mean(axis=1) - 0.3).max() < 5 * math.sqrt(0.21 / 2000)


def test_truncated_normal_has_the_right_moments() -> None:
    cr.manual_seed(0)
    drawn = values(init.trunc_normal_(cr.zeros(100_000, dtype=cr.float64), 1.0, 2.0, -1.0, 3.0))
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * density / math.erf(1 / math.sqrt(2))  # of N(0, 1) within ±1
    assert drawn.mean() == pytest.approx(1, abs=5 * 2 * math.sqrt(variance / drawn.size))
    assert drawn.var() == pytest.approx(4 * variance, rel=0.02)


def test_truncated_normal_stays_inside() -> None:
    drawn = values(init.trunc_normal_(cr.zeros(10000), 0.0, 1.0, -0.5, 1.0))
    assert -0.5 <= drawn.min() < -0.49 and 0.99 < drawn.max() <= 1.0
    with pytest.raises(ArgumentError, match="too little to draw from"):
        init.trunc_normal_(cr.zeros(3), 0.0, 1.0, 8.0, 9.0)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 2, 3), (1, 4), (3, 3)])
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


def test_gains_of_other_names_and_slopes() -> None:
    assert init.calculate_gain("leaky_relu", 1.0) == pytest.approx(1.0)
    assert init.calculate_gain("conv_transpose2d") == init.calculate_gain("identity") == 1.0
    assert init.calculate_gain("swish") == pytest.approx(1.6765, abs=1e-4)


def test_a_generator_of_ones_own() -> None:
    functions = [
        init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_, init.xavier_normal_, init.lecun_normal_,
        init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_, init.naive_uniform_, init.lecun_uniform_,
    ]  # fmt: skip
    for function in functions:
        first, second, other = (
            values(function(cr.zeros(3, 4), generator=cr.Generator().manual_seed(seed))) for seed in (5, 5, 6)
        )
        np.testing.assert_array_equal(first, second)
        assert (first != other).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda w: init.xavier_uniform_(w), lambda w: init.orthogonal_(w), lambda w: init.kaiming_normal_(w),
        lambda w: init.sparse_(w, 0.5), lambda w: init.eye_(w), lambda w: init.trunc_normal_(w),
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1)])
def test_empty_and_single_weights(call: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    weight = cr.zeros(shape)
    assert call(weight) is weight and np.isfinite(values(weight)).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.dirac_(cr.ones(2, 2)), ShapeError, "3, 4, or 5 dimensions"),
        (lambda: init.dirac_(cr.ones(3, 2, 2), 2), ArgumentError, "dim 0 must be divisible by groups"),
        (lambda: init.sparse_(cr.ones(2), 0.5), ShapeError, "2 dimensions"),
        (lambda: init.sparse_(cr.ones(2, 2), 1.5), ArgumentError, "between 0 and 1, got 1.5"),
        (lambda: init.orthogonal_(cr.ones(2)), ShapeError, "2 or more dimensions"),
        (lambda: init.kaiming_normal_(cr.ones(2, 2), mode="fan"), ArgumentError, "Mode fan not supported"),
        (lambda: init.uniform_(cr.ones(2), 1.0, 0.0), ArgumentError, "found from=1.0 > to=0.0"),
        (lambda: init.normal_(cr.ones(2), 0.0, -1.0), ArgumentError, "std >= 0.0, but found std -1.0"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.ELU])
def test_lsuv_gives_every_layer_unit_variance(activation: Any) -> None:
    cr.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(20, 30), activation(), nn.Dropout(0.9), nn.Linear(30, 40), activation(), nn.Linear(40, 5)
    )
    network[2].eval()
    network[0].bias.data.fill_(7.0)
    batch = cr.randn(400, 20) * 3 + 1
    assert init.lsuv_(network, batch, tolerance=0.02) is network
    assert network.training and not network[2].training and not values(network[0].bias).any()
    y = batch
    for layer in network.eval():
        y = layer(y)
        if isinstance(layer, nn.Linear):
            assert float(y.var(unbiased=False)) == pytest.approx(1, abs=0.021)
            columns = values(layer.weight) if layer.weight.shape[0] <= layer.weight.shape[1] else values(layer.weight).T
            product = columns @ columns.T
            np.testing.assert_allclose(product / product[0, 0], np.eye(len(product)), atol=1e-5)


def test_lsuv_leaves_layers_without_a_signal() -> None:
    network = init.lsuv_(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), cr.zeros(5, 3))
    assert all(np.isfinite(values(parameter)).all() for parameter in network.parameters())


@pytest.mark.parametrize("shape", [(), (5,), (700, 30), (3, 4, 100, 50)])
def test_numbers_drawn_some_rows_at_a_time_are_those_of_one_draw(shape: tuple[int, ...]) -> None:
    for function, draw in (
        (nn.init.normal_, lambda source: 1 + 2 * source.standard_normal(shape)),
        (nn.init.uniform_, lambda source: source.uniform(1, 2, shape)),
    ):
        weight = function(cr.zeros(*shape, dtype=cr.float64), 1, 2, generator=cr.Generator().manual_seed(3))
        np.testing.assert_array_equal(weight.numpy(), draw(cr.Generator().manual_seed(3).numpy()))


def test_default_values_that_are_written_over_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(3, 4)

    def refuse(*arguments: object) -> None:
        raise AssertionError("drawn")

    monkeypatch.setattr(type(layer.weight.start), "write", refuse)
    nn.init.constant_(layer.weight, 2.0)
    assert layer.weight.tolist() == [[2.0] * 3] * 4
    assert layer.weight.start.describe(layer.weight).endswith("changed")
