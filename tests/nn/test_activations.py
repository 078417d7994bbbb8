"""Activations as functions and layers: values, gradients, messages and text are PyTorch's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, GradientError, ShapeError
from chainrule.nn import functional as F

INFINITIES = [-math.inf, math.inf]
KINKS = [-6.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 6.0]
FAR = [-1e4, -700.0, -90.0, -30.0, -12.0, 12.0, 21.0, 90.0, 700.0, 1e4]
POINTS = [*KINKS, *FAR, 1e-8, -1e-8, *np.random.default_rng(0).normal(0, 2, 24).tolist()]

FUNCTIONS: list[tuple[str, tuple[Any, ...]]] = [
    ("celu", ()), ("celu", (0.5,)), ("elu", ()), ("elu", (1.5,)), ("gelu", ()), ("hardshrink", ()),
    ("hardshrink", (1.0,)), ("hardsigmoid", ()), ("hardswish", ()), ("hardtanh", ()), ("hardtanh", (-3.0, 0.5)),
    ("leaky_relu", ()), ("leaky_relu", (-0.2,)), ("logsigmoid", ()), ("mish", ()), ("relu", ()), ("relu6", ()),
    ("rrelu", ()), ("rrelu", (0.1, 0.4)), ("selu", ()), ("sigmoid", ()), ("silu", ()), ("softplus", ()),
    ("softplus", (2.0, 1.0)), ("softshrink", ()), ("softshrink", (3.0,)), ("softsign", ()), ("tanh", ()),
    ("tanhshrink", ()), ("threshold", (0.5, 7.0)),
]  # fmt: skip

NO_SLOPE_AT_NAN = {"hardsigmoid", "hardswish"}
"""Where PyTorch's gradient at NaN is a number."""


def both(name: str, arguments: tuple[Any, ...], points: Any, dtype: str, **options: Any) -> tuple[Any, Any, Any, Any]:
    """Value and gradient from chainrule, value and gradient from PyTorch."""
    torch = pytest.importorskip("torch")
    x, x_torch = (module.tensor(np.asarray(points, dtype), requires_grad=True) for module in (cr, torch))
    y = getattr(F, name)(x, *arguments, **options)
    y_torch = getattr(torch.nn.functional, name)(x_torch, *arguments, **options)
    y.sum().backward()
    y_torch.sum().backward()
    return y.detach().numpy(), x.grad.numpy(), y_torch.detach().numpy(), x_torch.grad.numpy()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "arguments"), FUNCTIONS, ids=str)
def test_values_and_gradients_equal_pytorch(name: str, arguments: tuple[Any, ...], dtype: str) -> None:
    special = [math.nan] if name == "gelu" and dtype == "float32" else [*INFINITIES, math.nan]
    y, gradient, y_torch, gradient_torch = both(name, arguments, [*POINTS, *special], dtype)
    assert y.dtype == y_torch.dtype
    tolerance = {"rtol": 1e-11, "atol": 1e-15} if dtype == "float64" else {"rtol": 2e-6, "atol": 1e-6}
    np.testing.assert_allclose(y, y_torch, **tolerance)
    known = -1 if name in NO_SLOPE_AT_NAN else None
    if name == "hardsigmoid":  # whose 1/6 PyTorch rounds to single precision
        tolerance["rtol"] = 5e-8
    np.testing.assert_allclose(gradient[:known], gradient_torch[:known], **tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gelu_by_tanh(dtype: str) -> None:
    y, gradient, y_torch, gradient_torch = both("gelu", (), POINTS, dtype, approximate="tanh")
    atol = {"float64": 1e-15, "float32": 2e-6}[dtype]
    np.testing.assert_allclose(y, y_torch, rtol=1e-6, atol=atol)
    np.testing.assert_allclose(gradient, gradient_torch, rtol=1e-6, atol=atol)


@pytest.mark.parametrize(
    ("name", "true_value"),
    [
        ("softplus", lambda x: np.logaddexp(0, x)),
        ("logsigmoid", lambda x: -np.logaddexp(0, -x)),
        ("sigmoid", lambda x: np.exp(-np.logaddexp(0, -x))),
        ("silu", lambda x: x * np.exp(-np.logaddexp(0, -x))),
        ("mish", lambda x: x * np.tanh(np.logaddexp(0, x))),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        ("softsign", lambda x: x / (1 + np.abs(x))),
    ],
)
def test_relative_accuracy_far_out_in_single_precision(name: str, true_value: Callable[[Any], Any]) -> None:
    x = np.concatenate([np.linspace(-85, 85, 2001), [-1e30, 1e30, -1e-30, 1e-30]]).astype(np.float32)
    found = getattr(F, name)(cr.tensor(x)).numpy().astype(float)
    np.testing.assert_allclose(found, true_value(x.astype(float)), rtol=2e-6, atol=1e-38)


def test_gelu_is_as_accurate_as_the_precision_allows() -> None:
    x = np.linspace(-12, 12, 999).astype(np.float32)
    exact = np.array([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.astype(float)])
    assert (np.abs(F.gelu(cr.tensor(x)).numpy() - exact) <= 2.5e-7 * np.maximum(np.abs(x), 1e-3)).all()


def test_the_gradient_of_elu_keeps_its_digits_far_below_zero() -> None:
    x = cr.tensor([-80.0, -20.0, -3.0], requires_grad=True)
    F.elu(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([-80.0, -20.0, -3.0]), rtol=1e-6)


STEPS = [
    ("heaviside", (), lambda x: np.where(x == 0, 0.5, (np.sign(x) + 1) / 2)),
    ("heaviside", (1.0,), lambda x: np.where(x == 0, 1.0, (np.sign(x) + 1) / 2)),
    ("sign", (), np.sign),
    ("piecewise_linear", (), lambda x: np.clip(x + 0.5, 0, 1)),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), STEPS, ids=lambda value: str(value)[:20])
def test_functions_beyond_pytorch(name: str, arguments: tuple[Any, ...], expected: Callable[[Any], Any]) -> None:
    points = np.array([*POINTS, *INFINITIES, math.nan])
    x = cr.tensor(points, requires_grad=True)
    y = getattr(F, name)(x, *arguments)
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), expected(points))
    slope = (np.abs(points) < 0.5) | np.isnan(points) if name == "piecewise_linear" else np.zeros_like(points)
    np.testing.assert_array_equal(x.grad.numpy(), slope)


@pytest.mark.parametrize("name", sorted({name for name, _ in FUNCTIONS} | {"heaviside", "sign", "piecewise_linear"}))
def test_numbers_and_empty_tensors(name: str) -> None:
    arguments = (0.5, 7.0) if name == "threshold" else ()
    function = getattr(F, name)
    assert function(cr.zeros(0, 3), *arguments).shape == (0, 3)
    number = function(cr.tensor(2.0), *arguments)
    assert number.shape == () and number.item() == function(cr.tensor([2.0]), *arguments).item()


SHAPED = [
    ("softmax", (1,), (4, 5)), ("softmax", (0,), (4, 5)), ("softmax", (0,), (3,)), ("softmin", (1,), (4, 5)),
    ("softmin", (-1,), (2, 3, 4)), ("log_softmax", (1,), (2, 3, 4)), ("glu", (), (3, 4)), ("glu", (0,), (6, 3)),
    ("glu", (1,), (2, 4, 3)), ("glu", (-2,), (2, 4, 3)), ("glu", (), (2, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "shape"), SHAPED, ids=str)
def test_functions_over_an_axis(name: str, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(1).normal(0, 3, shape)
    x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, y_torch = getattr(F, name)(x, *arguments), getattr(torch.nn.functional, name)(x_torch, *arguments)
    weights = np.random.default_rng(2).normal(size=tuple(y_torch.shape))
    (y * cr.tensor(weights)).sum().backward()
    (y_torch * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), rtol=1e-11, atol=1e-14)


def test_softmax_without_an_axis_takes_the_classes() -> None:
    x = cr.tensor(np.random.default_rng(0).normal(size=(2, 3, 4)))
    assert (F.softmax(x) == F.softmax(x, 1)).all() and (F.softmin(x[0, 0]) == F.softmin(x[0, 0], 0)).all()


def test_softmax_of_extreme_values() -> None:
    torch = pytest.importorskip("torch")
    rows = [[1e30, 1e30, 0.0], [-math.inf, 0.0, 1.0], [-1e30, -2e30, -1e30], [math.nan, 0.0, 0.0], [math.inf, 0.0, 0.0]]
    for name in ("softmax", "log_softmax", "softmin"):
        found, expected = (getattr(f, name)(m.tensor(rows), 1) for f, m in ((F, cr), (torch.nn.functional, torch)))
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)
    assert F.softmax(cr.tensor([1.0]), 0, dtype=cr.float64).dtype is cr.float64


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (6,), ()])
@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu_equals_pytorch(shape: tuple[int, ...], slopes: int) -> None:
    torch = pytest.importorskip("torch")
    if slopes == 3 and len(shape) < 2:
        with pytest.raises(ShapeError, match="Found parameter numbers = 3 and channel size = 1"):
            F.prelu(cr.ones(shape), cr.ones(3))
        return
    values = np.random.default_rng(3).normal(0, 2, shape)
    if shape:
        values.flat[:3] = [0.0, math.inf, -1.0]
    a = np.linspace(0.1, 0.5, slopes)
    x, w = cr.tensor(values, requires_grad=True), cr.tensor(a, requires_grad=True)
    x_torch, w_torch = torch.tensor(values, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, y_torch = F.prelu(x, w), torch.nn.functional.prelu(x_torch, w_torch)
    y.sum().backward()
    y_torch.sum().backward()
    for found, expected in ((y.detach(), y_torch.detach()), (x.grad, x_torch.grad), (w.grad, w_torch.grad)):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


def test_prelu_learns_its_slope() -> None:
    layer = nn.PReLU(3, init=0.5)
    assert [(name, tuple(p.shape)) for name, p in layer.named_parameters()] == [("weight", (3,))]
    assert layer.weight.tolist() == [0.5] * 3
    layer(-cr.ones(2, 3)).sum().backward()
    assert layer.weight.grad.tolist() == [-2.0] * 3
    with pytest.raises(ArgumentError, match="must be positive"):
        nn.PReLU(0)


def test_randomised_relu_draws_slopes_in_training_only() -> None:
    cr.manual_seed(0)
    layer = nn.RReLU(0.2, 0.6)
    x = cr.tensor(np.concatenate([-np.ones(20000), np.ones(5), [0.0, math.nan]]), requires_grad=True)
    y = layer(x)
    y.sum().backward()
    slopes = -y.detach().numpy()[:20000]
    assert slopes.min() >= 0.2 and slopes.max() < 0.6 and y.dtype is cr.float64
    assert abs(slopes.mean() - 0.4) < 5 * 0.4 / math.sqrt(12 * 20000)
    assert abs(slopes.var() / (0.4**2 / 12) - 1) < 0.05
    np.testing.assert_array_equal(x.grad.numpy()[:20000], slopes)
    np.testing.assert_array_equal(y.detach().numpy()[20000:], [1] * 5 + [0, math.nan])
    assert (layer(x).detach().numpy()[:20000] != -slopes).any()
    assert layer.eval()(cr.tensor([-1.0])).tolist() == [pytest.approx(-0.4)]


LAYERS: list[tuple[str, tuple[Any, ...], tuple[int, ...]]] = [
    ("CELU", (1.5,), (3, 7)), ("ELU", (1.5,), (3, 7)), ("GELU", (), (3, 7)), ("GELU", ("tanh",), (3, 7)),
    ("GLU", (), (3, 8)), ("Hardshrink", (0.3,), (3, 7)), ("Hardsigmoid", (), (3, 7)), ("Hardswish", (), (3, 7)),
    ("Hardtanh", (-1.0, 2.0), (3, 7)), ("LeakyReLU", (0.2,), (3, 7)), ("LogSigmoid", (), (3, 7)),
    ("LogSoftmax", (-1,), (2, 3, 4)), ("Mish", (), (3, 7)), ("PReLU", (), (3, 7)), ("PReLU", (7, 0.1), (3, 7)),
    ("ReLU", (), (3, 7)), ("ReLU6", (), (3, 7)), ("SELU", (), (3, 7)), ("Sigmoid", (), (3, 7)), ("SiLU", (), (3, 7)),
    ("Softmax", (1,), (3, 7)), ("Softmax2d", (), (2, 3, 4, 5)), ("Softmin", (0,), (3, 7)),
    ("Softplus", (2.0, 1.5), (3, 7)), ("Softshrink", (0.3,), (3, 7)), ("Softsign", (), (3, 7)), ("Tanh", (), (3, 7)),
    ("Tanhshrink", (), (3, 7)), ("Threshold", (0.1, 20), (3, 7)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "shape"), LAYERS, ids=str)
def test_layers_equal_pytorch(name: str, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    assert repr(ours) == repr(theirs)
    values = np.random.default_rng(4).normal(0, 2, shape).astype(np.float32)
    np.testing.assert_allclose(
        ours(cr.tensor(values)).detach().numpy(), theirs(torch.tensor(values)).detach().numpy(), rtol=2e-5, atol=2e-6
    )


@pytest.mark.parametrize(
    "name", ["ReLU", "ReLU6", "SELU", "SiLU", "Mish", "ELU", "CELU", "LeakyReLU", "Hardtanh", "RReLU", "Threshold",
             "Hardsigmoid", "Hardswish"],
)  # fmt: skip
def test_in_place_layers_write_over_their_input(name: str) -> None:
    torch = pytest.importorskip("torch")
    arguments = (0.1, 20.0) if name == "Threshold" else ()
    ours, theirs = (getattr(m.nn, name)(*arguments, inplace=True).eval() for m in (cr, torch))
    assert repr(ours) == repr(theirs)
    leaf, leaf_torch = (m.tensor([-2.0, -0.5, 0.7, 2.5], dtype=m.float64, requires_grad=True) for m in (cr, torch))
    for _ in range(2):  # a layer that remembers what it has recorded must still write
        hidden, hidden_torch = leaf * 2, leaf_torch * 2
        assert ours(hidden) is hidden
        theirs(hidden_torch)
        hidden.sum().backward()
        hidden_torch.sum().backward()
        np.testing.assert_allclose(hidden.detach().numpy(), hidden_torch.detach().numpy(), rtol=1e-6)
        np.testing.assert_allclose(leaf.grad.numpy(), leaf_torch.grad.numpy(), rtol=1e-6)


def test_in_place_on_stored_tensors() -> None:
    x = cr.tensor([-1.0, 2.0])
    view = x[:1]
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Tanh())
    network(x)
    assert x.tolist() == [0.0, 2.0] and view.tolist() == [0.0]
    with pytest.raises(GradientError, match="leaf Variable that requires grad"):
        F.relu(cr.ones(2, requires_grad=True), inplace=True)


def test_in_place_inside_a_network_leaves_its_input_alone() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(inplace=True))
    x = cr.ones(4, 2) * 1
    first, again = network(x), network(x)
    assert first is not again and (first == again).all() and (x == 1).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.gelu(cr.ones(2), "exact"), "either none or tanh"),
        (lambda: F.celu(cr.ones(2), 0), "alpha cannot be 0 for CELU"),
        (lambda: F.rrelu(cr.ones(2), 2, 1), "Lower bound should be less than or equal to the upper bound"),
        (lambda: F.hardtanh(cr.ones(2), 2, 1), "min_val cannot be greater than max_val"),
        (lambda: nn.Hardtanh(1, 1), r"max_val \(1\) must be greater than min_val \(1\)"),
        (lambda: F.softshrink(cr.ones(2), -1), "found to be -1"),
    ],
)
def test_wrong_arguments(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.glu(cr.ones(2, 3)), "Halving dimension must be even, but dimension 1 is size 3"),
        (lambda: F.glu(cr.tensor(1.0)), "glu does not support scalars"),
        (lambda: F.prelu(cr.ones(2, 3), cr.ones(2)), r"channel size = 3.\n.*\n  fix: PReLU\(3\)"),
        (lambda: F.prelu(cr.ones(2, 3), cr.ones(1, 3)), "ndim = 2"),
        (lambda: nn.Softmax2d()(cr.ones(2, 3)), "expected input to be 3D or 4D, got 2D instead"),
    ],
)
def test_wrong_shapes(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call()


def test_gradients_of_gradients() -> None:
    for name in ("softplus", "mish", "celu", "gelu"):
        x = cr.tensor([-1.5, -0.3, 0.4, 2.0], dtype=cr.float64, requires_grad=True)
        assert cr.autograd.gradcheck(lambda x: cr.autograd.grad(getattr(F, name)(x).sum(), x, create_graph=True)[0], x)  # noqa: B023
