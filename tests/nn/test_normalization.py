"""Normalisation: values, gradients and running statistics equal PyTorch's over several steps; state is kept."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import functional as F

STEPS = 3
STATISTICS: list[dict[str, Any]] = [
    {}, {"momentum": None}, {"affine": False}, {"track_running_stats": False}, {"bias": False},
    {"momentum": 0.3, "eps": 0.1},
]  # fmt: skip
INSTANCE: list[dict[str, Any]] = [
    {}, {"affine": True}, {"track_running_stats": True}, {"affine": True, "bias": False},
]  # fmt: skip
AFFINE: list[dict[str, Any]] = [{}, {"affine": False}, {"bias": False}]
ELEMENTWISE: list[dict[str, Any]] = [{}, {"elementwise_affine": False}, {"bias": False}]
LAYERS = [
    *(("BatchNorm1d", (4,), options, (5, 4)) for options in STATISTICS),
    *(("BatchNorm1d", (4,), options, (5, 4, 3)) for options in STATISTICS[:2]),
    *(("BatchNorm2d", (4,), options, (2, 4, 3, 2)) for options in STATISTICS),
    ("BatchNorm3d", (4,), {}, (2, 4, 3, 2, 2)),
    *(("InstanceNorm1d", (4,), options, (5, 4, 3)) for options in INSTANCE),
    ("InstanceNorm1d", (4,), {"affine": True}, (4, 3)),
    *(("InstanceNorm2d", (4,), options, (2, 4, 3, 2)) for options in INSTANCE),
    ("InstanceNorm3d", (4,), {}, (2, 4, 3, 2, 2)),
    *(("LayerNorm", (4,), options, (5, 4)) for options in ELEMENTWISE),
    *(("LayerNorm", ((3, 4),), options, (5, 3, 4)) for options in ELEMENTWISE),
    ("LayerNorm", (4,), {}, (4,)),
    *(("RMSNorm", (4,), options, (5, 4)) for options in ({}, {"elementwise_affine": False}, {"eps": 0.1})),
    *(("GroupNorm", (2, 6), options, (3, 6, 3)) for options in AFFINE),
    ("GroupNorm", (2, 6), {}, (3, 6)),
    ("GroupNorm", (6, 6), {}, (2, 6, 3, 2)),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS, ids=str)
def test_layers_equal_pytorch_in_training_and_in_evaluation(
    name: str, arguments: tuple, options: dict, shape: tuple, dtype: str
) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    ours, theirs = getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    assert repr(ours) == repr(theirs)
    ours.to(dtype)
    theirs.to(getattr(torch, dtype))
    for parameter in theirs.parameters():
        parameter.data = torch.tensor(random.normal(size=tuple(parameter.shape)).astype(dtype))
    ours.load_state_dict(theirs.state_dict())
    tolerance = {"float64": {"rtol": 1e-9, "atol": 1e-9}, "float32": {"rtol": 2e-5, "atol": 2e-5}}[dtype]
    for step in range(STEPS + 1):
        ours.train(step < STEPS)
        theirs.train(step < STEPS)
        values, weights = (random.normal(1, 2, shape).astype(dtype) for _ in range(2))
        x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
        y, y_torch = ours(x), theirs(x_torch)
        ours.zero_grad()
        theirs.zero_grad()
        (y * cr.tensor(weights)).sum().backward()
        (y_torch * torch.tensor(weights)).sum().backward()
        np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), **tolerance)
        np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), **tolerance)
        for p, p_torch in zip(ours.parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), p_torch.grad.numpy(), **tolerance)
        for (key, buffer), expected in zip(ours.named_buffers(), theirs.buffers(), strict=True):
            np.testing.assert_allclose(buffer.numpy(), expected.numpy(), **tolerance, err_msg=key)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in ours.state_dict().items()})


def network() -> nn.Sequential:
    cr.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


X = np.random.default_rng(1).normal(2, 3, (24, 3)).astype(np.float32)
CLASSES = X.argmax(1) % 2


def train(model: nn.Sequential, compiled: bool) -> None:
    optimizer, loss_function = cr.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss()

    def step(x: Any, target: Any) -> None:
        optimizer.zero_grad()
        loss_function(model(x), target).backward()
        optimizer.step()

    run = cr.compile(step) if compiled else step
    for start in range(0, len(X), 8):
        run(cr.tensor(X[start : start + 8]), cr.tensor(CLASSES[start : start + 8]))


def state_of(model: nn.Module) -> np.ndarray[Any, Any]:
    return np.concatenate([np.array(value, float).reshape(-1) for value in model.state_dict().values()])


def test_every_way_to_train_leaves_the_same_statistics() -> None:
    loop, compiled, fitted, reference = (network() for _ in range(4))
    train(loop, compiled=False)
    train(compiled, compiled=True)
    trainer = cr.Trainer(fitted, loss="cross_entropy", optimizer=lambda parameters: cr.optim.SGD(parameters, lr=0.1))
    trainer.fit(X, CLASSES, epochs=1, batch_size=8, shuffle=False, verbose=0)
    with cr.backend("reference"):
        train(reference, compiled=False)
    assert (loop[1].num_batches_tracked.item(), fitted[1].num_batches_tracked.item()) == (3, 3)
    np.testing.assert_array_equal(state_of(compiled), state_of(loop))
    np.testing.assert_array_equal(state_of(fitted), state_of(loop))
    np.testing.assert_allclose(state_of(reference), state_of(loop), rtol=1e-5, atol=1e-6)


def test_reading_a_statistic_between_steps_changes_nothing() -> None:
    model, other = network(), network()
    train(model, compiled=False)
    seen = model[1].running_mean.numpy()
    train(other, compiled=False)
    for each in (model, other):
        train(each, compiled=True)
    np.testing.assert_array_equal(state_of(model), state_of(other))
    np.testing.assert_array_equal(seen, np.array(model[1].running_mean))


def test_a_layer_used_twice_counts_two_batches() -> None:
    layer = nn.BatchNorm1d(3)
    both = nn.Sequential(layer, layer)
    for _ in range(2):
        both(cr.tensor(X)).sum().item()
    torch = pytest.importorskip("torch")
    theirs = torch.nn.BatchNorm1d(3)
    for _ in range(2):
        theirs(theirs(torch.tensor(X)))
    assert layer.num_batches_tracked.item() == 4
    np.testing.assert_allclose(layer.running_var.numpy(), theirs.running_var.numpy(), rtol=1e-5)


def test_the_statistics_of_a_large_mean_are_exact() -> None:
    values = 1e4 + np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32)
    y = nn.BatchNorm1d(1)(cr.tensor(values)).detach().numpy()
    expected = (values.astype(float) - values.astype(float).mean()) / values.astype(float).std()
    np.testing.assert_allclose(y, expected, atol=2e-3)  # the mean of 1e4 is known to half a unit in 2^-10


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm", "group_norm", "instance_norm"])
def test_first_and_second_derivatives_are_those_of_the_plain_formula(name: str) -> None:
    random = np.random.default_rng(3)
    x = cr.tensor(random.normal(size=(3, 4, 2)), requires_grad=True)
    weight, bias = (cr.tensor(random.normal(size=4), requires_grad=True) for _ in range(2))
    functions = {
        "batch_norm": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        "instance_norm": lambda x, w, b: F.instance_norm(x, None, None, w, b),
        "layer_norm": lambda x, w, b: F.layer_norm(x.transpose(1, 2), (4,), w, b),
        "group_norm": lambda x, w, b: F.group_norm(x, 2, w, b),
    }
    weights = cr.tensor(random.normal(size=(4, 2) if name != "layer_norm" else (2, 4)))

    def function(x: Any, w: Any, b: Any) -> Any:
        return (functions[name](x, w, b) * weights).sum(0)

    assert cr.autograd.gradcheck(function, (x, weight, bias))

    def slope(x: Any, w: Any, b: Any) -> Any:
        (gradient,) = cr.autograd.grad(function(x, w, b).square().sum(), x, create_graph=True)
        return gradient

    assert cr.autograd.gradcheck(slope, (x, weight, bias))


def test_functional_forms_update_ordinary_tensors() -> None:
    torch = pytest.importorskip("torch")
    ours = [cr.zeros(3), cr.ones(3)]
    theirs = [torch.zeros(3), torch.ones(3)]
    y = F.batch_norm(cr.tensor(X), *ours, training=True, momentum=0.25)
    y_torch = torch.nn.functional.batch_norm(torch.tensor(X), *theirs, training=True, momentum=0.25)
    np.testing.assert_allclose(y.numpy(), y_torch.numpy(), rtol=1e-5, atol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-5)


def test_copies_and_files_keep_the_statistics_and_go_on(tmp_path: Path) -> None:
    model = network()
    train(model, compiled=True)
    copied = copy.deepcopy(model)
    model.save(tmp_path / "model.zip")
    loaded = cr.load(tmp_path / "model.zip").train()
    for each in (model, copied, loaded):
        train(each, compiled=True)
    np.testing.assert_array_equal(state_of(copied), state_of(model))
    np.testing.assert_array_equal(state_of(loaded), state_of(model))


def test_empty_batches_count_and_change_nothing_else() -> None:
    layer = nn.BatchNorm1d(3)
    y = layer(cr.zeros(0, 3))
    y.sum().backward()
    assert y.shape == (0, 3)
    assert layer.num_batches_tracked.item() == 1
    assert layer.running_var.tolist() == [1, 1, 1]
    assert layer.weight.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, np.inf])
def test_normalize_equals_pytorch(power: float) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=(4, 3))
    values[2] = 0
    x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, y_torch = F.normalize(x, power, eps=0.1), torch.nn.functional.normalize(x_torch, power, eps=0.1)
    weights = np.random.default_rng(1).normal(size=(4, 3))
    (y * cr.tensor(weights)).sum().backward()
    (y_torch * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), rtol=1e-9)
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 7, 3), (2, 7, 3, 2), (1, 4, 2, 2, 3)])
@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_local_response_norm_equals_pytorch(shape: tuple[int, ...], size: int) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=shape)
    x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    layers = [library.nn.LocalResponseNorm(size, alpha=0.5, beta=0.7, k=2.0) for library in (cr, torch)]
    assert repr(layers[0]) == repr(layers[1])
    y, y_torch = layers[0](x), layers[1](x_torch)
    weights = np.random.default_rng(1).normal(size=shape)
    (y * cr.tensor(weights)).sum().backward()
    (y_torch * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), rtol=1e-11)
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), rtol=1e-10, atol=1e-12)


BAD = [
    (lambda: F.local_response_norm(cr.zeros(2, 3), 2), "local_response_norm: expected at least 3 dimensions"),
    (lambda: nn.BatchNorm1d(3)(cr.zeros(1, 3)), r"Expected more than 1 value per channel when training.*\(1, 3\)"),
    (lambda: nn.BatchNorm1d(3)(cr.zeros(2, 4)), r"match num_features \(3\), but got: 4.*fix: BatchNorm1d\(4\)"),
    (lambda: nn.BatchNorm2d(3)(cr.zeros(2, 5, 5, 3)), r"x.permute\(0, 3, 1, 2\), as the channels seem to come last"),
    (lambda: nn.BatchNorm1d(3)(cr.zeros(2, 3, 4, 5)), r"expected 2D or 3D input \(got 4D input\).*nn.BatchNorm2d"),
    (lambda: nn.BatchNorm2d(3)(cr.zeros(3, 4, 5)), r"expected 4D input.*unsqueeze"),
    (lambda: nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(3))(cr.zeros(2, 2)), r"test_normalization.py.*module '1'"),
    (lambda: nn.InstanceNorm1d(3)(cr.zeros(2, 3, 1)), "more than 1 spatial element"),
    (lambda: nn.InstanceNorm2d(3, affine=True)(cr.zeros(2, 4, 5, 5)), r"match num_features \(3\), but got: 4"),
    (lambda: nn.LayerNorm(3)(cr.zeros(2, 4)), r"normalized_shape=\[3\], expected input with shape \[\*, 3\]"),
    (lambda: nn.LayerNorm((2, 3))(cr.zeros(3)), r"expected input with shape \[\*, 2, 3\]"),
    (lambda: nn.RMSNorm(3)(cr.zeros(2, 4)), r"rms_norm got input of shape \(2, 4\)"),
    (lambda: F.group_norm(cr.zeros(2, 5, 3), 3), r"divisible by num_groups, but got input of shape \(2, 5, 3\)"),
    (lambda: nn.GroupNorm(2, 6)(cr.zeros(6)), "expected at least 2 dimensions"),
    (lambda: nn.GroupNorm(4, 4)(cr.zeros(1, 4)), "Expected more than 1 value per channel"),
    (lambda: F.batch_norm(cr.zeros(2, 3), cr.zeros(4), cr.ones(4)), "running_mean should contain 3 elements not 4"),
    (lambda: F.layer_norm(cr.zeros(2, 3), (3,), cr.ones(2)), "weight to be of same shape as normalized_shape"),
]


@pytest.mark.parametrize(("make", "message"), BAD)
def test_what_does_not_fit_is_named(make: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=f"(?s){message}"):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.GroupNorm(2, 3), r"num_channels \(3\) must be divisible by num_groups \(2\)"),
        (lambda: nn.BatchNorm1d(-1), "must not be negative"),
        (lambda: F.local_response_norm(cr.zeros(1, 2, 3), 0), "size must be at least 1, got 0"),
        (lambda: nn.LayerNorm(()), "a size or a sequence of sizes"),
        (lambda: F.batch_norm(cr.zeros(2, 3), None, None), "running_mean must be defined in evaluation mode"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
