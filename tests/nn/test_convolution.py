"""Convolutions and padding against PyTorch: values and gradients over a sweep of shapes and options; wrong input."""

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F

torch = pytest.importorskip("torch")


def agree(function: Any, arrays: list[np.ndarray], rtol: float = 1e-9) -> None:
    """``function(library, *tensors)`` gives the same value and the same gradients in both libraries."""
    results = []
    for library in (cr, torch):
        tensors = [library.tensor(array, requires_grad=True) for array in arrays]
        out = function(library, *tensors)
        weights = library.tensor(
            np.cos(np.arange(np.prod(out.shape))).reshape(tuple(out.shape)).astype(arrays[0].dtype)
        )
        (out * weights).sum().backward()
        results.append([out.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)])
    for found, expected in zip(*results, strict=True):
        scale = max(np.abs(expected).max(initial=0), 1.0)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


def draw_case(rng: np.random.Generator, rank: int) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Options of a convolution and operands that they fit."""
    groups = int(rng.choice([1, 1, 2, 3]))
    channels, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
    window = rng.integers(1, 4, rank)
    stride, dilation, padding = rng.integers(1, 4, rank), rng.integers(1, 3, rank), rng.integers(0, 3, rank)
    least = np.maximum((window - 1) * dilation + 1 - 2 * padding, 1)
    sizes = least + rng.integers(0, 5, rank)
    options = {
        "stride": tuple(map(int, stride)), "padding": tuple(map(int, padding)), "dilation": tuple(map(int, dilation)),
        "groups": groups,
    }  # fmt: skip
    batch = () if rng.random() < 0.2 else (int(rng.integers(1, 4)),)
    arrays = [rng.normal(size=(*batch, channels, *sizes)), rng.normal(size=(outputs, channels // groups, *window))]
    return options, arrays + ([rng.normal(size=outputs)] if rng.random() < 0.7 else [])


@pytest.mark.parametrize(("rank", "cases"), [(1, 40), (2, 60), (3, 20)])
def test_convolutions_of_all_kinds(rank: int, cases: int) -> None:
    rng = np.random.default_rng(rank)
    for _ in range(cases):
        options, arrays = draw_case(rng, rank)
        agree(lambda m, *t, o=options: getattr(m.nn.functional, f"conv{rank}d")(*t, **o), arrays)


@pytest.mark.parametrize(("rank", "cases"), [(1, 30), (2, 40), (3, 10)])
def test_transposed_convolutions_of_all_kinds(rank: int, cases: int) -> None:
    rng = np.random.default_rng(10 + rank)
    for _ in range(cases):
        options, (x, w, *_) = draw_case(rng, rank)
        groups = options["groups"]
        outputs = groups * int(rng.integers(1, 4))
        w = rng.normal(size=(x.shape[-rank - 1], outputs // groups, *w.shape[2:]))
        more = tuple(
            int(rng.integers(0, max(a, b))) for a, b in zip(options["stride"], options["dilation"], strict=True)
        )
        given = dict(zip(range(rank), zip(x.shape[-rank:], w.shape[2:], strict=True), strict=True))
        sizes = [
            (n - 1) * s - 2 * p + d * (r - 1) + m + 1
            for (n, r), s, p, d, m in zip(
                given.values(), options["stride"], options["padding"], options["dilation"], more, strict=True
            )
        ]
        if min(sizes) < 1:
            continue
        agree(
            lambda m, *t, o=options, e=more: getattr(m.nn.functional, f"conv_transpose{rank}d")(
                *t, output_padding=e, **o
            ),
            [x, w, rng.normal(size=outputs)],
        )


def test_single_precision_and_larger_images() -> None:
    rng = np.random.default_rng(3)
    for channels, outputs, size, options in (
        (3, 16, 20, {"padding": 1}), (16, 32, 13, {"stride": 2, "padding": 1}), (8, 8, 14, {"groups": 8, "padding": 1}),
        (12, 5, 9, {"dilation": 2}), (7, 3, 6, {"padding": "same"}),
    ):  # fmt: skip
        inner = channels // options.get("groups", 1)
        arrays = [rng.normal(size=(4, channels, size, size)), rng.normal(size=(outputs, inner, 3, 3))]
        singles = [array.astype("float32") for array in arrays]
        agree(lambda m, x, w, o=options: m.nn.functional.conv2d(x, w, **o), singles, rtol=3e-5)


def test_compiled_and_reference_give_the_same() -> None:
    rng = np.random.default_rng(4)
    x, w = cr.tensor(rng.normal(size=(2, 4, 6, 5))), cr.tensor(rng.normal(size=(6, 2, 3, 2)), requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        (F.conv2d(x, w, stride=2, padding=1, groups=2) ** 2).sum().backward()
        return w.grad

    once = step(x).tolist()
    assert step(x).tolist() == once  # compiled, to the bit
    np.testing.assert_allclose(cr.compile(lambda x: F.conv2d(x, w, groups=2).sum())(x).item(),
                               F.conv2d(x, w, groups=2).sum().item())  # fmt: skip
    with cr.backend("reference"):
        np.testing.assert_allclose(step(x).tolist(), once, rtol=1e-12)


def test_second_derivatives() -> None:
    x = cr.tensor(np.random.default_rng(5).normal(size=(1, 2, 4, 4)))
    w = cr.tensor(np.random.default_rng(6).normal(size=(2, 2, 2, 2)))
    found = cr.autograd.hessian(lambda w: (F.conv2d(x, w, stride=2, padding=1) ** 3).sum(), w)
    other = torch.autograd.functional.hessian(
        lambda w: (torch.nn.functional.conv2d(torch.tensor(x.numpy()), w, stride=2, padding=1) ** 3).sum(),
        torch.tensor(w.numpy()),
    )
    np.testing.assert_allclose(found.numpy(), other.numpy(), rtol=1e-9, atol=1e-9)


LAYERS: list[tuple[str, tuple, dict, tuple]] = [
    ("Conv1d", (2, 4, 3), {"stride": 2, "padding": 2, "padding_mode": "circular"}, (3, 2, 9)),
    ("Conv2d", (2, 4, (3, 2)), {"padding": 1, "padding_mode": "reflect", "bias": False}, (3, 2, 5, 6)),
    ("Conv2d", (4, 4, 3), {"padding": "same", "dilation": 2, "groups": 2}, (3, 4, 7, 6)),
    ("Conv3d", (1, 2, 2), {"padding": 1, "padding_mode": "replicate"}, (2, 1, 3, 4, 3)),
    ("ConvTranspose1d", (3, 2, 3), {"stride": 2, "output_padding": 1}, (2, 3, 5)),
    ("ConvTranspose2d", (4, 2, 4), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 5, 4)),
    ("ConvTranspose3d", (2, 1, 2), {"bias": False}, (1, 2, 2, 3, 2)),
]


@pytest.mark.parametrize("case", LAYERS, ids=lambda case: case[0])
def test_layers_equal_pytorch(case: tuple[str, tuple, dict, tuple]) -> None:
    name, arguments, options, shape = case
    mine, theirs = getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    assert repr(mine) == repr(theirs)
    theirs.load_state_dict({key: torch.tensor(value.numpy()) for key, value in mine.state_dict().items()})
    x = np.random.default_rng(7).normal(size=shape).astype("float32")
    found, expected = mine(cr.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=2e-5, atol=2e-6)
    again = cr.nn.Sequential(mine)
    assert str(again).count(name) == 1


def test_the_initial_weights_follow_the_activation() -> None:
    cr.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Conv2d(32, 8, 3), nn.Tanh())
    network(cr.zeros(1, 16, 8, 8)).sum().item()
    he, glorot = (np.abs(network[i].weight.detach().numpy()).max() for i in (0, 2))
    assert he == pytest.approx(np.sqrt(6 / (16 * 9)), rel=0.01)
    assert glorot == pytest.approx(np.sqrt(6 / (32 * 9 + 8 * 9)), rel=0.01)


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding(mode: str) -> None:
    rng = np.random.default_rng(8)
    for shape, around in (((2, 3, 5), (2, 1)), ((2, 3, 4, 5), (1, 2, 3, 0)), ((1, 2, 4, 4, 5), (1, 1, 0, 2, 3, 1))):
        options = {"value": 1.5} if mode == "constant" else {}
        agree(lambda m, x, a=around, o=options: m.nn.functional.pad(x, a, mode=mode, **o), [rng.normal(size=shape)])
    if mode != "reflect":
        agree(lambda m, x: m.nn.functional.pad(x, (-1, 2), mode=mode), [rng.normal(size=(2, 3, 5))])


@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
def test_padding_layers_equal_pytorch(kind: str) -> None:
    x = np.random.default_rng(9).normal(size=(2, 3, 4, 5, 6)).astype("float32")
    for rank in (1, 2, 3):
        for padding in (1, tuple(range(2 * rank))):
            arguments = (padding, 1.5) if kind == "Constant" else (padding,)
            if kind in ("Reflection", "Circular") and padding != 1:
                arguments = ((1, 2) * rank,)
            mine, theirs = (getattr(library, f"{kind}Pad{rank}d")(*arguments) for library in (nn, torch.nn))
            assert repr(mine) == repr(theirs)
            image = x.reshape(-1, *x.shape[-rank - 1 :]) if rank < 3 else x
            np.testing.assert_array_equal(mine(cr.tensor(image)).numpy(), theirs(torch.tensor(image)).numpy())


def test_channels_as_pixels() -> None:
    x = np.random.default_rng(10).normal(size=(2, 12, 3, 4))
    agree(lambda m, x: m.nn.functional.pixel_shuffle(x, 2), [x])
    agree(lambda m, x: m.nn.functional.pixel_unshuffle(m.nn.functional.pixel_shuffle(x, 2) ** 2, 2), [x])
    assert nn.PixelShuffle(2)(cr.tensor(x)).shape == (2, 3, 6, 8)
    assert nn.PixelUnshuffle(2)(cr.ones(3, 6, 8)).shape == (12, 3, 4)
    with pytest.raises(cr.errors.ShapeError, match="channels that 25 divides"):
        F.pixel_shuffle(cr.tensor(x), 5)


SHAPE, ARGUMENT, TYPE = cr.errors.ShapeError, cr.errors.ArgumentError, cr.errors.DTypeError
WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: nn.Conv2d(3, 8, 3)(cr.ones(2, 28, 28, 3)), SHAPE, r"x.permute\(0, 3, 1, 2\), as the channels"),
    (lambda: nn.Conv2d(3, 8, 3)(cr.ones(28, 28, 3)), SHAPE, r"x.permute\(2, 0, 1\), as the channels seem to come last"),
    (lambda: nn.Conv2d(3, 8, 3)(np.zeros((2, 9, 9, 3), np.uint8)), SHAPE, r"x.permute\(0, 3, 1, 2\)"),
    (lambda: nn.Conv1d(3, 8, 3)(cr.ones(2, 28, 3)), SHAPE, r"x.permute\(0, 2, 1\), as the channels seem to come last"),
    (lambda: nn.Conv2d(1, 8, 3)(cr.ones(5, 28, 28)), SHAPE, r"x.unsqueeze\(1\), if these are 5 images"),
    (lambda: nn.Conv2d(1, 8, 3)(cr.ones(2, 5, 1, 28, 28)), SHAPE, r"x.flatten\(0, 1\)"),
    (lambda: nn.Conv2d(1, 8, 3)(None), TYPE, "got None. fix: .*without return"),
    (lambda: nn.Conv2d(4, 8, 3, groups=0), ARGUMENT, "groups must be a whole number of at least 1, got 0"),
    (lambda: nn.ConvTranspose2d(1, 1, 3, 2, 4)(cr.ones(1, 1, 9, 3)), SHAPE, "(?s)output of 7 .*-1.* padding=3 or less"),
    (lambda: nn.Conv2d(3, 8, 3)(cr.ones(2, 4, 28, 28)), SHAPE, "to have 3 channels, but got 4"),
    (lambda: nn.Conv2d(3, 8, 3)(cr.ones(28, 28)), SHAPE, r"(?s)3D \(unbatched\) or 4D.*x.unsqueeze\(0\)"),
    (lambda: nn.Conv2d(3, 8, 5)(cr.ones(1, 3, 4, 9)), SHAPE, "(?s)a window of 5 does not fit .* padding=1"),
    (lambda: nn.Conv2d(3, 8, 3, groups=2), ARGUMENT, "in_channels must be divisible by groups"),
    (lambda: nn.Conv2d(4, 7, 3, groups=2), ARGUMENT, "out_channels must be divisible by groups"),
    (lambda: nn.Conv2d(4, 7, 0), ARGUMENT, "Conv2d: kernel_size must be at least 1, got 0"),
    (lambda: nn.Conv2d(4, 7, 3, stride=(1, 2, 3)), ARGUMENT, "Conv2d: stride must be a whole number, or 2 of them"),
    (lambda: nn.Conv2d(4, 7, 3, stride=2, padding="same"), ARGUMENT, "not supported for strided"),
    (lambda: nn.Conv2d(4, 7, 3, padding_mode="mirror"), ARGUMENT, "padding_mode must be"),
    (lambda: nn.Conv2d(1, 1, 3)(cr.ones(1, 1, 5, 5, dtype=cr.float64, requires_grad=True)), TYPE, "same"),
    (lambda: F.conv_transpose2d(cr.ones(1, 1, 3, 3), cr.ones(1, 1, 2, 2), output_padding=1), ARGUMENT, "smaller than"),
    (lambda: F.conv2d(cr.ones(1, 2, 4, 4), cr.ones(3, 2, 3, 3), cr.ones(2)), SHAPE, r"size \[3\], got \[2\]"),
    (lambda: F.conv2d(cr.ones(1, 2, 4, 4), cr.ones(3, 2, 3, 3), cr.tensor(1.0)), SHAPE, r"bias must have size \[3\]"),
    (lambda: F.conv2d(cr.ones(1, 2, 4, 4), cr.ones(3, 2, 3)), SHAPE, "a weight with 4 dimensions"),
    (lambda: F.conv2d(cr.ones(1, 2, 4, 4), cr.ones(3)), SHAPE, "a weight with 4 dimensions"),
    (lambda: F.conv2d(cr.ones(1, 2, 4, 4), cr.ones(3), padding="same"), SHAPE, "a weight with 4 dimensions"),
    (lambda: F.conv2d(cr.ones(1, 2, 4, 4), cr.ones(3, 2, 3, 3), groups=0), ARGUMENT, "groups must be at least 1"),
    (lambda: F.conv_transpose2d(cr.ones(1, 2, 4, 4), cr.ones(2, 3, 3)), SHAPE, "a weight with 4 dimensions"),
    (lambda: F.conv_transpose2d(cr.ones(1, 4, 4, 4), cr.ones(4, 2, 3, 3), groups=3), ARGUMENT, "divide the 4 first"),
    (lambda: F.conv_transpose2d(cr.ones(1, 4, 4, 4), cr.ones(4, 2, 3, 3), cr.ones(2), groups=2), SHAPE, r"size \[4\]"),
    (lambda: F.pad(cr.ones(2, 3), (4, 0), mode="reflect"), SHAPE, "not possible for an input of shape"),
    (lambda: F.pad(cr.ones(2, 3), (1,)), ARGUMENT, "pairs of whole numbers"),
    (lambda: F.pad(cr.ones(2, 3), (1, 1), mode="reflekt"), ARGUMENT, "reflect"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_input_gets_one_clear_error(number: int) -> None:
    call, error, message = WRONG[number]
    with pytest.raises(error, match=message):
        call()


def test_empty_batches_and_one_pixel() -> None:
    for shape, window in itertools.product(((0, 2, 3, 3), (2, 2, 1, 1)), (1, 3)):
        agree(
            lambda m, x, w: m.nn.functional.conv2d(x, w, padding=1), [np.ones(shape), np.ones((3, 2, window, window))]
        )


def test_sizes_may_be_numbers_of_numpy() -> None:
    layer = nn.Conv2d(np.int64(4), np.int32(6), np.int64(3), padding=np.int64(1))
    assert repr(layer) == "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))"
    assert layer(F.pad(cr.ones(1, 4, 3, 3), (np.int64(1), 0))).shape == (1, 6, 3, 4)
