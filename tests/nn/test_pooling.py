"""Pooling: values, gradients and indices equal PyTorch's over a random sweep; ties, NaN, infinities, errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.nn import functional as F

Array = np.ndarray[Any, Any]
TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-12}, "float32": {"rtol": 1e-5, "atol": 1e-5}}


def one_or_each(random: Any, values: list[int]) -> Any:
    """A number where all axes have the same, sometimes; else a tuple."""
    return values[0] if len(set(values)) == 1 and random.random() < 0.5 else tuple(values)


def draw_windows(random: Any, rank: int, dilated: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """A shape and sizes of windows that fit into it."""
    kernels, strides, paddings, dilations, sizes = [], [], [], [], []
    for _ in range(rank):
        kernel, dilation = int(random.integers(1, 5)), int(random.integers(1, 3)) if dilated else 1
        padding = int(random.integers(0, kernel // 2 + 1))
        least = max((kernel - 1) * dilation + 1 - 2 * padding, dilation)
        kernels.append(kernel)
        strides.append(int(random.integers(1, 6)))
        paddings.append(padding)
        dilations.append(dilation)
        sizes.append(int(random.integers(least, least + 7)))
    leading = (2, 3) if random.random() < 0.7 else (2,)
    options: dict[str, Any] = {"kernel_size": one_or_each(random, kernels)}
    if random.random() < 0.6:
        options["stride"] = one_or_each(random, strides)
    if random.random() < 0.6:
        options["padding"] = one_or_each(random, paddings)
    else:
        sizes = [size + 2 * padding for size, padding in zip(sizes, paddings, strict=True)]
    if dilated and random.random() < 0.8:
        options["dilation"] = one_or_each(random, dilations)
    options["ceil_mode"] = bool(random.random() < 0.5)
    return (*leading, *sizes), options


def draw_values(random: Any, shape: tuple[int, ...], dtype: str) -> Array:
    """Few different values, so that there are ties, or many."""
    values = random.integers(-3, 4, shape) if random.random() < 0.4 else random.normal(size=shape)
    return values.astype(dtype)


def check_against_pytorch(name: str, values: Array, random: Any, *arguments: Any, **options: Any) -> None:
    """Values, gradients and, where asked for, indices of both."""
    torch = pytest.importorskip("torch")
    x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    ours = getattr(F, name)(x, *arguments, **options)
    theirs = getattr(torch.nn.functional, name)(x_torch, *arguments, **options)
    tolerance, about = TOLERANCE[str(values.dtype)], f"{name} {values.shape} {arguments} {options}"
    if isinstance(theirs, tuple):
        assert ours[1].dtype is cr.int64
        np.testing.assert_array_equal(ours[1].numpy(), theirs[1].numpy(), err_msg=about)
        ours, theirs = ours[0], theirs[0]
    assert tuple(ours.shape) == tuple(theirs.shape), about
    weights = random.normal(size=tuple(theirs.shape)).astype(values.dtype)
    (ours * cr.tensor(weights)).sum().backward()
    (theirs * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), **tolerance, err_msg=about)
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), **tolerance, err_msg=about)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_maximum_equals_pytorch(rank: int, dtype: str) -> None:
    random = np.random.default_rng(rank)
    for _ in range({1: 80, 2: 80, 3: 30}[rank]):
        shape, options = draw_windows(random, rank, dilated=True)
        values = draw_values(random, shape, dtype)
        check_against_pytorch(f"max_pool{rank}d", values, random, **options, return_indices=bool(random.random() < 0.5))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_average_equals_pytorch(rank: int, dtype: str) -> None:
    random = np.random.default_rng(10 + rank)
    for _ in range({1: 80, 2: 80, 3: 30}[rank]):
        shape, options = draw_windows(random, rank, dilated=False)
        if rank == 3:  # which PyTorch wants larger than the kernel even without their padding
            shape = (*shape[:-3], *(size + 2 for size in shape[-3:]))
        options["count_include_pad"] = bool(random.random() < 0.5)
        if rank > 1 and random.random() < 0.3:
            options["divisor_override"] = int(random.integers(1, 9))
        check_against_pytorch(f"avg_pool{rank}d", draw_values(random, shape, dtype), random, **options)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_p_norm_equals_pytorch(rank: int, dtype: str) -> None:
    random = np.random.default_rng(20 + rank)
    for _ in range(40):
        shape, options = draw_windows(random, rank, dilated=False)
        shape = (*shape[:-rank], *(size + 4 for size in shape[-rank:]))
        options.pop("padding", None)
        if rank == 1:  # where PyTorch takes no tuple
            options["kernel_size"] = int(np.max(options["kernel_size"]))
        values = np.abs(draw_values(random, shape, dtype))
        p = float(random.choice([1, 1.5, 2, 3]))
        check_against_pytorch(f"lp_pool{rank}d", values, random, p, **options)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_adaptive_pooling_equals_pytorch(kind: str, rank: int, dtype: str) -> None:
    random = np.random.default_rng(30 + rank)
    for _ in range({1: 40, 2: 40, 3: 20}[rank]):
        leading = (2, 3) if random.random() < 0.7 else (2,)
        shape = (*leading, *(int(size) for size in random.integers(1, 13, rank)))
        outputs: Any = tuple(
            None if rank > 1 and random.random() < 0.2 else int(random.choice([1, 2, 3, size, 5]))
            for size in shape[-rank:]
        )
        if random.random() < 0.3 and outputs[0] is not None:
            outputs = outputs[0]
        options = {} if kind == "avg" else {"return_indices": bool(random.random() < 0.5)}
        check_against_pytorch(
            f"adaptive_{kind}_pool{rank}d", draw_values(random, shape, dtype), random, outputs, **options
        )


def test_long_windows_equal_pytorch() -> None:
    random = np.random.default_rng(40)
    for values in (random.normal(size=(2, 3, 31)), random.integers(-3, 4, (2, 3, 31)).astype(float)):
        for options in ({}, {"stride": 11}, {"stride": 3}, {"ceil_mode": True}, {"padding": 5}):
            check_against_pytorch("max_pool1d", values, random, 10, return_indices=True, **options)
            check_against_pytorch("avg_pool1d", values, random, 10, **options)
    values = random.integers(-3, 4, (2, 3, 20, 12)).astype(float)
    check_against_pytorch("max_pool2d", values, random, (20, 12), return_indices=True)
    check_against_pytorch("adaptive_max_pool2d", values, random, 1, return_indices=True)
    check_against_pytorch("adaptive_avg_pool2d", values, random, 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_unfold_and_fold_equal_pytorch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(50)
    for _ in range(40):
        shape, options = draw_windows(random, 2, dilated=True)
        options = {"stride": 1, **options}
        del options["ceil_mode"]
        check_against_pytorch("unfold", draw_values(random, shape, dtype), random, **options)
        columns = tuple(torch.nn.functional.unfold(torch.zeros(shape), **options).shape)
        check_against_pytorch("fold", draw_values(random, columns, dtype), random, shape[-2:], **options)


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("options", [{}, {"padding": 1}, {"stride": 1, "padding": 1}, {"kernel_size": (1, 3)}], ids=str)
def test_ties_nan_and_infinities_equal_pytorch(options: dict[str, Any]) -> None:
    random = np.random.default_rng(60)
    planes = [
        np.zeros((5, 6)),
        np.full((5, 6), -INF),
        np.full((5, 6), INF),
        np.full((5, 6), NAN),
        random.choice([-INF, INF, NAN, 0.0, 1.0], (5, 6)),
        random.choice([-INF, -INF, -INF, 1.0], (5, 6)),
        random.choice([1.0, 2.0], (5, 6)),
    ]
    values = np.stack(planes)
    sizes = {"kernel_size": 3} | options
    check_against_pytorch("max_pool2d", values, random, **sizes, return_indices=True)
    check_against_pytorch("max_pool1d", values[:, 1], random, 3, padding=1, return_indices=True)
    check_against_pytorch("avg_pool2d", values[4:], random, **sizes)
    check_against_pytorch("adaptive_max_pool2d", values, random, (2, 4), return_indices=True)


def test_a_single_nan_wins_in_long_windows() -> None:
    values = np.random.default_rng(61).normal(size=(2, 1, 20))
    values[0, 0, 7], values[1, 0, :] = NAN, -INF
    check_against_pytorch("max_pool1d", values, np.random.default_rng(0), 20, return_indices=True)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_whole_numbers(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    values = np.arange(-90, 0).reshape(1, 5, 18).astype(dtype)
    for kernel, padding in ((3, 1), ((1, 9), 0)):  # taps, and a search
        options = {"kernel_size": kernel, "padding": padding, "return_indices": True}
        ours = F.max_pool2d(cr.tensor(values), **options)
        theirs = torch.nn.functional.max_pool2d(torch.tensor(values), **options)
        assert ours[0].dtype.name == dtype
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    averages = F.avg_pool2d(cr.tensor(values), 2)
    assert averages.dtype is cr.float32
    np.testing.assert_array_equal(averages.numpy(), values[:, :4].reshape(1, 2, 2, 9, 2).mean((2, 4)))


def test_second_derivatives_equal_differences() -> None:
    x = cr.tensor(np.random.default_rng(62).normal(size=(2, 7, 6)), requires_grad=True)
    for function in (
        lambda x: F.max_pool2d(x, 3, 2, 1).square(),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False).square(),
        lambda x: F.lp_pool2d(x, 2.0, 2),
        lambda x: F.adaptive_max_pool2d(x, 4).square() + F.adaptive_avg_pool2d(x, 4).square(),
        lambda x: F.unfold(x, 2).square(),
    ):
        assert cr.autograd.gradcheck(lambda x, f=function: cr.autograd.grad(f(x).sum(), x, create_graph=True)[0], (x,))


def test_batches_without_rows() -> None:
    x = cr.zeros(0, 2, 4, 4)
    assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == F.adaptive_avg_pool2d(x, 2).shape == (0, 2, 2, 2)


def step(x: Any) -> Any:
    """Poolings of every kind, and their gradient."""
    values, indices = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    y = F.avg_pool2d(values, 2, 1, 1, ceil_mode=True, count_include_pad=False) + F.adaptive_max_pool2d(x, (3, 3)).mean()
    z = F.lp_pool2d(F.max_pool2d(x, 2), 2, 2) + F.adaptive_avg_pool2d(x, 1)
    folded = F.fold(F.unfold(x, 3, stride=2), (6, 5), 3, stride=2)
    (gradient,) = cr.autograd.grad((y.square().sum() + z.sum() + folded.square().sum()), x)
    return y, z, folded, indices, gradient


def test_every_backend_computes_the_same() -> None:
    x = cr.tensor(np.random.default_rng(70).normal(size=(2, 3, 6, 5)), requires_grad=True)
    recorded = [each.detach().numpy() for each in step(x)]
    compiled = [each.detach().numpy() for each in cr.compile(step)(x)]
    with cr.backend("reference"):
        reference = [each.detach().numpy() for each in step(x)]
    for one, two, three in zip(recorded, compiled, reference, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, three, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_disjoint_windows_is_written_once() -> None:
    """Without sums of arrays that are mostly zeros: no more than the image itself is written in parts."""

    def gradient(x: Any) -> Any:
        return cr.autograd.grad(F.max_pool2d(x, 2).square().sum(), x)[0]

    function = cr.compile(gradient)
    function(cr.ones(8, 4, 12, 12, requires_grad=True))
    plan = function.ir("plan")
    assert "pad" not in plan
    assert plan.count("nest ") <= 4


LAYERS: list[tuple[Callable[[Any], Any], tuple[int, ...]]] = [
    (lambda n: n.MaxPool1d(2), (2, 3, 7)),
    (lambda n: n.MaxPool2d(2), (2, 3, 7, 6)),
    (lambda n: n.MaxPool2d((3, 2), stride=2, padding=(1, 0), dilation=1, ceil_mode=True), (2, 3, 7, 6)),
    (lambda n: n.MaxPool3d(2), (2, 3, 4, 5, 6)),
    (lambda n: n.AvgPool1d(2), (2, 3, 7)),
    (lambda n: n.AvgPool1d((3,), 2, 1, True, False), (2, 3, 7)),
    (lambda n: n.AvgPool2d(2), (2, 3, 7, 6)),
    (lambda n: n.AvgPool2d(3, 2, 1, True, False), (2, 3, 7, 6)),
    (lambda n: n.AvgPool3d(2, divisor_override=3), (2, 3, 4, 5, 6)),
    (lambda n: n.LPPool1d(2, 3, stride=2), (2, 3, 7)),
    (lambda n: n.LPPool2d(1.5, 2), (2, 3, 7, 6)),
    (lambda n: n.AdaptiveAvgPool1d(2), (2, 3, 7)),
    (lambda n: n.AdaptiveAvgPool2d((None, 2)), (2, 3, 7, 6)),
    (lambda n: n.AdaptiveAvgPool3d(1), (2, 3, 4, 5, 6)),
    (lambda n: n.AdaptiveMaxPool1d(2), (2, 3, 7)),
    (lambda n: n.AdaptiveMaxPool2d((None, 2)), (2, 3, 7, 6)),
    (lambda n: n.AdaptiveMaxPool3d(1), (2, 3, 4, 5, 6)),
    (lambda n: n.Unfold(2, stride=2), (2, 3, 7, 6)),
    (lambda n: n.Fold((3, 2), 2), (2, 12, 2)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers_equal_pytorch(make: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    values = np.abs(np.random.default_rng(80).normal(size=shape))
    for _ in range(2):  # the second call is remembered
        result = ours(cr.tensor(values))
        np.testing.assert_allclose(result.numpy(), theirs(torch.tensor(values)).numpy(), rtol=1e-10)


def test_layers_that_return_indices() -> None:
    x = cr.tensor(np.random.default_rng(81).normal(size=(2, 3, 6, 6)))
    for layer, function in (
        (nn.MaxPool2d(2, return_indices=True), F.max_pool2d),
        (nn.AdaptiveMaxPool2d(2, return_indices=True), F.adaptive_max_pool2d),
    ):
        expected = function(x, 2, return_indices=True)
        for network in (layer, nn.Sequential(nn.Identity(), layer), layer):
            for ours, theirs in zip(network(x), expected, strict=True):
                np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_layer_before_a_pooling_starts_for_the_activation_behind_it() -> None:
    for pooling in (nn.MaxPool1d(2), nn.AvgPool1d(2), nn.AdaptiveMaxPool1d(4)):
        cr.manual_seed(0)
        network = nn.Sequential(nn.Linear(6, 8), pooling, nn.ReLU(), nn.Linear(4, 1))
        network(cr.ones(3, 6)).sum().item()
        cr.manual_seed(0)
        plain = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
        np.testing.assert_array_equal(network[0].weight.detach().numpy(), plain[0].weight.detach().numpy())


X = cr.zeros(2, 3, 8, 8)
ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.max_pool2d(X, 9), ShapeError, "kernel_size 9 is larger than.*along dim 2.*at most 8"),
    (lambda: F.max_pool2d(X, 5, dilation=3), ShapeError, "reaches over 13 elements, is larger.*at most 3"),
    (lambda: F.avg_pool2d(X, (2, 11), padding=(0, 1)), ShapeError, "along dim 3 and padding.*at most 10"),
    (lambda: F.max_pool2d(cr.zeros(2, 28, 28, 3), 4), ShapeError, r"fix: x.permute\(0, 3, 1, 2\)"),
    (lambda: F.max_pool1d(cr.zeros(2, 28, 28, 3), 4), ShapeError, r"fix: x.permute\(0, 3, 1, 2\).*max_pool2d"),
    (lambda: F.avg_pool2d(cr.zeros(8, 8), 2), ShapeError, r"expected \(N, C, H, W\) or \(C, H, W\).*unsqueeze\(0\)"),
    (lambda: F.avg_pool2d(cr.zeros(2, 3, 4, 8, 8), 2), ShapeError, r"flatten\(0, 1\)"),
    (lambda: F.max_pool1d(cr.zeros(2, 3, 0), 1), ShapeError, "none of them empty"),
    (lambda: F.adaptive_avg_pool2d(cr.zeros(8), 2), ShapeError, r"expected \(N, C, H, W\)"),
    (
        lambda: F.max_pool2d(X, 2, padding=2),
        ArgumentError,
        "half of kernel_size, got padding=2.*fix: padding=1",
    ),
    (lambda: F.max_pool2d(X, 2, stride=0), ArgumentError, "stride must be at least 1, got 0.*fix: stride=1"),
    (lambda: F.max_pool2d(X, 2, stride=(1, -1)), ArgumentError, r"stride must be at least 1, got \(1, -1\)"),
    (lambda: F.avg_pool2d(X, 0), ArgumentError, "kernel_size must be at least 1"),
    (lambda: F.max_pool2d(X, 2, padding=-1), ArgumentError, "padding must be at least 0"),
    (lambda: F.max_pool2d(X, 2, dilation=0), ArgumentError, "dilation must be at least 1"),
    (lambda: F.max_pool2d(X, (2, 2, 2)), ArgumentError, "kernel_size must be a whole number, or 2 of them"),
    (lambda: F.max_pool2d(X, 2.5), ArgumentError, "kernel_size must be a whole number"),
    (lambda: F.avg_pool2d(X, 2, divisor_override=0), ArgumentError, "divisor must be not zero"),
    (lambda: F.lp_pool2d(X, INF, 2), ArgumentError, r"positive and finite, got inf.*max_pool2d\(x.abs\(\)"),
    (lambda: F.lp_pool1d(X[0], 0, 2), ArgumentError, "positive and finite, got 0"),
    (lambda: F.adaptive_max_pool2d(X, 0), ArgumentError, "output_size must be at least 1"),
    (lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)), ArgumentError, "output_size must be a whole number, or 2"),
    (lambda: F.max_pool2d(X > 0, 2), DTypeError, "needs numbers, got an input of type bool.*fix: x.float()"),
    (lambda: F.unfold(X, 9), ShapeError, "unfold: kernel_size 9 is larger"),
    (lambda: F.fold(cr.zeros(1, 4, 5), (3, 3), 2), ShapeError, r"expected \(N, C · 4, 4\) or \(C · 4, 4\)"),
]


@pytest.mark.parametrize(("call", "error", "message"), ERRORS)
def test_errors_say_what_where_and_the_fix(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}") as caught:
        call()
    assert "test_pooling.py" in str(caught.value)
