"""Dropout: how often, what, independently of what; the same masks everywhere. Bounds are 5 standard deviations."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import functional as F

SIZE = 40_000


def mask(layer: Any, shape: tuple[int, ...] = (SIZE,)) -> np.ndarray[Any, Any]:
    """True where ``layer`` kept a 1."""
    return np.asarray(layer(cr.ones(*shape)).numpy() != 0)


def check_share(hits: np.ndarray[Any, Any], share: float) -> None:
    """The share of hits is binomial."""
    bound = 5 * math.sqrt(share * (1 - share) / hits.size)
    assert abs(hits.mean() - share) < bound


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
def test_the_share_kept_is_one_minus_p(p: float) -> None:
    cr.manual_seed(1)
    check_share(mask(nn.Dropout(p)), 1 - p)
    check_share(mask(nn.Dropout2d(p), (200, SIZE // 200, 2, 2))[:, :, 0, 0], 1 - p)


def test_masks_of_steps_and_layers_are_independent() -> None:
    cr.manual_seed(2)
    layers = [nn.Dropout(0.3), nn.Dropout(0.3)]

    def masks(x: Any) -> Any:
        return layers[0](x), layers[1](x)

    kept = [np.asarray(y.numpy() != 0) for _ in range(3) for y in masks(cr.ones(SIZE))]
    for one, other in itertools.combinations(kept, 2):
        check_share(one == other, 0.7**2 + 0.3**2)
    check_share(kept[0][1:] == kept[0][:-1], 0.7**2 + 0.3**2)


def test_dropout_draws_anew_every_time_and_repeats_with_the_seed() -> None:
    def draw() -> list[np.ndarray]:
        cr.manual_seed(3)
        network = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
        first = network(cr.ones(1000))
        second = network(cr.ones(1000))
        third = np.array(first + second)
        return [np.array(first), np.array(second), third, np.array(network(cr.ones(1000)))]

    one, two = draw(), draw()
    assert all((a == b).all() for a, b in zip(one, two, strict=True))
    assert not (one[0] == one[1]).all() and not (one[0] == one[3]).all()
    np.testing.assert_array_equal(one[2], one[0] + one[1])


def test_dropout_masks_the_gradient_as_the_value() -> None:
    x = cr.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.4)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


@pytest.mark.parametrize("inverted", [True, False])
def test_the_mean_over_masks_is_the_output_in_evaluation(inverted: bool) -> None:
    cr.manual_seed(3)
    layer = nn.Dropout(0.4, inverted=inverted)
    x = cr.tensor(np.random.default_rng(0).normal(size=50))
    samples = np.stack([layer(x).numpy() for _ in range(2000)])
    expected = layer.eval()(x).numpy()
    np.testing.assert_array_equal(expected, x.numpy() * (1 if inverted else 0.6))
    bound = 5 * samples.std(0) / math.sqrt(len(samples))
    assert (abs(samples.mean(0) - expected) < bound).all()
    assert set(np.unique(np.round(samples[:, 0] / x.numpy()[0], 12))) == {0, round(1 / 0.6, 12) if inverted else 1}


def run_with(threads: int) -> list[np.ndarray[Any, Any]]:
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        cr.manual_seed(5)
        layers = [nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5)]
        return [layer(cr.ones(40, 30, 5, 5)).numpy() for layer in layers]
    finally:
        cr.set_num_threads(before)


def test_masks_are_the_same_on_every_backend_and_for_any_number_of_threads() -> None:
    one, two = run_with(1), run_with(2)
    with cr.backend("reference"):
        reference = run_with(1)
    for first, second, third in zip(one, two, reference, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first != first.min(), third != third.min())
        np.testing.assert_allclose(first, third, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout1d, (7, 5, 3)), (nn.Dropout1d, (5, 3)), (nn.Dropout2d, (7, 5, 3, 2)), (nn.Dropout2d, (7, 5, 3)),
        (nn.Dropout3d, (4, 5, 3, 2, 2)), (nn.Dropout3d, (5, 3, 2, 2)), (nn.FeatureAlphaDropout, (7, 5, 3, 2)),
    ],
)  # fmt: skip
def test_channels_are_dropped_whole(layer: Callable[..., Any], shape: tuple[int, ...]) -> None:
    cr.manual_seed(0)
    single = shape in ((5, 3), (5, 3, 2, 2))
    x = cr.ones(*shape, requires_grad=True)
    y = layer(0.5)(x)
    y.sum().backward()
    channels = (shape[0] if single else shape[0] * shape[1], -1)
    values, slopes = y.detach().numpy().reshape(channels), x.grad.numpy().reshape(channels)
    assert len(np.unique(values[:, 0])) == 2
    assert (values == values[:, :1]).all()
    assert ((slopes == 0) == (values == values.min())).all()


@pytest.mark.parametrize("p", [0.05, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    torch = pytest.importorskip("torch")
    cr.manual_seed(4)
    x = np.random.default_rng(0).normal(size=SIZE)
    y = nn.AlphaDropout(p)(cr.tensor(x)).numpy()
    assert abs(y.mean()) < 5 / math.sqrt(SIZE)
    assert abs(y.var() - 1) < 5 * y.var() * math.sqrt((((y - y.mean()) ** 4).mean() / y.var() ** 2 - 1) / SIZE)
    dropped = F.alpha_dropout(cr.ones(SIZE, dtype=cr.float64), p, True).numpy()
    check_share(dropped != dropped.min(), 1 - p)
    both = np.unique(dropped)
    expected = torch.nn.functional.alpha_dropout(torch.ones(1000, dtype=torch.float64), p, True).unique()
    np.testing.assert_allclose(both, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", ["Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout"])
def test_extreme_probabilities_and_empty_batches(name: str) -> None:
    x = cr.tensor([[[1.0, np.inf]]])
    layer = getattr(nn, name)
    assert layer(1.0)(x).tolist() == [[[0, 0]]]
    assert layer(0.0)(x).tolist() == x.tolist()
    assert layer(0.5).eval()(x).tolist() == x.tolist()
    assert layer(0.5)(cr.zeros(0, 2, 3)).shape == (0, 2, 3)
    assert repr(layer(0.5)) == f"{name}(p=0.5, inplace=False)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Dropout(1.5), ArgumentError, "between 0 and 1, but got 1.5.*probability of dropping"),
        (lambda: nn.Dropout(float("nan")), ArgumentError, "between 0 and 1"),
        (lambda: F.alpha_dropout(cr.ones(2), -0.1, True), ArgumentError, "between 0 and 1"),
        (lambda: nn.Dropout1d()(cr.ones(2)), ShapeError, r"Expected 2D or 3D input, but received a 1D.*test_dropout"),
        (lambda: nn.Dropout2d()(cr.ones(2, 3)), ShapeError, "Expected 3D or 4D input.*fix: dropout"),
        (lambda: nn.FeatureAlphaDropout()(cr.ones(2)), ShapeError, "at least 2 dimensions"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        make()
