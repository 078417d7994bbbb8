"""Interpolation: values and gradients equal PyTorch's over a sweep of modes and sizes; layers, programs, errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.nn import functional as F

TOLERANCE = {"float64": 1e-11, "float32": 2e-5}
MODES = [
    ("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 1), ("nearest-exact", 2), ("nearest-exact", 3),
    ("linear", 1), ("bilinear", 2), ("trilinear", 3), ("bicubic", 2), ("area", 1), ("area", 2), ("area", 3),
]  # fmt: skip


def check_against_pytorch(values: Any, **options: Any) -> None:
    """Values and gradients of both."""
    torch = pytest.importorskip("torch")
    x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    ours, theirs = F.interpolate(x, **options), torch.nn.functional.interpolate(x_torch, **options)
    about = f"{values.shape} {options}"
    assert tuple(ours.shape) == tuple(theirs.shape), about
    weights = np.cos(np.arange(math.prod(theirs.shape))).reshape(tuple(theirs.shape)).astype(values.dtype)
    (ours * cr.tensor(weights)).sum().backward()
    (theirs * torch.tensor(weights)).sum().backward()
    tolerance = TOLERANCE[str(values.dtype)]
    for found, expected in ((ours.detach(), theirs.detach()), (x.grad, x_torch.grad)):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=tolerance, atol=tolerance, err_msg=about)


def draw_options(random: Any, mode: str, axes: tuple[int, ...]) -> dict[str, Any]:
    """A size or a factor, and corners where the mode has them."""
    options: dict[str, Any] = {"mode": mode}
    if random.random() < 0.5:
        options["size"] = tuple(int(size * random.choice([1, 2, 3])) for size in axes)
        if random.random() < 0.6:
            options["size"] = tuple(map(int, random.integers(1, 12, len(axes))))
    else:
        # none that gives twice the size without being 2: there PyTorch's gradient is not that of its own values
        factors = tuple(float(random.choice([1.0, 2.0, 3.0, 4.0, 1.5, 2.6, 0.6, 0.5])) for _ in axes)
        factors = tuple(factor if int(factor * size) else 2.0 for factor, size in zip(factors, axes, strict=True))
        options["scale_factor"] = factors if random.random() < 0.5 or len(set(factors)) > 1 else factors[0]
        if random.random() < 0.3:
            options["recompute_scale_factor"] = True
    if mode not in ("nearest", "nearest-exact", "area"):
        options["align_corners"] = [None, True, False][random.integers(3)]
    return options


@pytest.mark.parametrize(("mode", "rank"), MODES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_interpolation_equals_pytorch(mode: str, rank: int, dtype: str) -> None:
    random = np.random.default_rng(rank)
    for _ in range(25 if rank < 3 else 12):
        axes = tuple(map(int, random.integers(1, 7, rank)))
        values = random.normal(size=(2, 3, *axes)).astype(dtype)
        check_against_pytorch(values, **draw_options(random, mode, axes))


def test_large_factors_equal_pytorch() -> None:
    values = np.random.default_rng(3).normal(size=(2, 3, 1, 2))
    for mode in ("nearest", "bilinear", "bicubic"):
        check_against_pytorch(values, size=(33, 40), mode=mode)


@pytest.mark.parametrize("scale", [2, 3])
def test_integers_are_repeated(scale: int) -> None:
    x = np.arange(6).reshape(1, 1, 2, 3)
    found = F.interpolate(cr.tensor(x), scale_factor=scale)
    assert found.dtype is cr.int64
    np.testing.assert_array_equal(found.numpy(), x.repeat(scale, 2).repeat(scale, 3))


def test_an_infinite_element_stays_among_its_neighbours() -> None:
    x = np.zeros((1, 1, 6))
    x[0, 0, 1] = np.inf
    for size in (12, 9):
        finite = np.isfinite(F.interpolate(cr.tensor(x), size, mode="linear").numpy())[0, 0]
        assert finite[size // 2 :].all() and not finite.all()


def test_derivatives_equal_differences() -> None:
    x = cr.tensor(np.random.default_rng(0).normal(size=(1, 2, 3, 4)), requires_grad=True)
    assert cr.autograd.gradcheck(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), (x,))
    assert cr.autograd.gradcheck(lambda x: F.interpolate(x, (5, 3), mode="bilinear", align_corners=True), (x,))


def step(x: Any) -> Any:
    """All modes of images, and their gradient."""
    results = [
        F.interpolate(x, scale_factor=2),
        F.interpolate(x, (7, 5), mode="nearest-exact"),
        F.interpolate(x, scale_factor=2, mode="bilinear"),
        F.interpolate(x, (7, 5), mode="bilinear", align_corners=True),
        F.interpolate(x, scale_factor=3, mode="bicubic"),
        F.interpolate(x, (2, 9), mode="area"),
    ]
    (gradient,) = cr.autograd.grad(sum(result.square().sum() for result in results), x)
    return *results, gradient


def test_every_backend_computes_the_same() -> None:
    x = cr.tensor(np.random.default_rng(1).normal(size=(2, 3, 4, 5)), requires_grad=True)
    recorded = [each.detach().numpy() for each in step(x)]
    compiled = [each.detach().numpy() for each in cr.compile(step)(x)]
    with cr.backend("reference"):
        reference = [each.detach().numpy() for each in step(x)]
    for one, two, three in zip(recorded, compiled, reference, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, three, rtol=1e-12, atol=1e-14)


def test_whole_factors_need_no_positions() -> None:
    """Neither forward nor backward: sums of slices, which kernels fuse."""
    for mode in ("nearest", "bilinear", "bicubic"):

        def gradient(x: Any, mode: str = mode) -> Any:
            return cr.autograd.grad(F.interpolate(x, scale_factor=2, mode=mode).square().sum(), x)[0]

        function = cr.compile(gradient)
        function(cr.ones(2, 3, 4, 4, requires_grad=True))
        assert "take" not in function.ir("graph") and "scatter" not in function.ir("graph")


LAYERS: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
    (lambda n: n.Upsample(scale_factor=2), (2, 3, 5)),
    (lambda n: n.Upsample((4, 7)), (2, 3, 2, 3)),
    (lambda n: n.Upsample(scale_factor=(1, 2.5), mode="bilinear"), (2, 3, 2, 4)),
    (lambda n: n.Upsample(size=5, mode="linear", align_corners=True), (2, 3, 4)),
    (lambda n: n.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 2, 3, 2)),
    (lambda n: n.UpsamplingNearest2d(scale_factor=2), (2, 3, 2, 3)),
    (lambda n: n.UpsamplingBilinear2d(size=5), (2, 3, 2, 3)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers_equal_pytorch(make: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    values = np.random.default_rng(2).normal(size=shape)
    for _ in range(2):  # the second call is remembered
        np.testing.assert_allclose(ours(cr.tensor(values)).numpy(), theirs(torch.tensor(values)).numpy(), rtol=1e-11)


def test_a_layer_before_upsampling_starts_for_the_activation_behind_it() -> None:
    starts = []
    for layers in ((nn.Upsample(scale_factor=2), nn.ReLU()), (nn.ReLU(),)):
        cr.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(2, 3, 3), *layers)
        network(cr.ones(1, 2, 4, 4)).sum().item()
        starts.append(network[0].weight.detach().numpy())
    np.testing.assert_array_equal(*starts)


X = cr.zeros(2, 3, 4, 4)
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.interpolate(X), ArgumentError, "either size or scale_factor"),
    (lambda: F.interpolate(X, 2, 2.0), ArgumentError, "either size or scale_factor"),
    (lambda: F.interpolate(X, 2, mode="bilinaer"), ArgumentError, "unknown mode 'bilinaer'.*bilinear"),
    (lambda: F.interpolate(X, 2, mode="linear"), ShapeError, "3 dimensions.*'bilinear', 'bicubic', 'area'"),
    (lambda: F.interpolate(X[0, 0], 2), ShapeError, "3 or 4 or 5 dimensions"),
    (lambda: F.interpolate(X, 2, align_corners=True), ArgumentError, "align_corners is an option of the modes linear"),
    (lambda: F.interpolate(X, (2, 3, 4)), ArgumentError, "size must be a whole number, or 2 of them"),
    (lambda: F.interpolate(X, 0), ArgumentError, "size must be at least 1"),
    (lambda: F.interpolate(X, 2.5), ArgumentError, "size must be a whole number"),
    (lambda: F.interpolate(X, scale_factor=0.1), ShapeError, "have none left"),
    (lambda: F.interpolate(X.long(), 2, mode="bilinear"), DTypeError, "'bilinear' needs floats, got .*int64"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors_say_what_where_and_the_fix(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}") as caught:
        call()
    assert "test_interpolation.py" in str(caught.value)
