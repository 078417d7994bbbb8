"""Networks by name: names and shapes of weights, outputs, gradients, numbers of parameters, texts, recipes."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from benchmarks.torch_models import in_torch as with_torch
from chainrule import models, nn

torch = pytest.importorskip("torch")

from . import in_torch  # noqa: E402

COUNTS = {
    "lenet5": 61_706, "mnist_net": 1_199_882, "alexnet": 61_100_840, "googlenet": 13_004_888,
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "vgg11_bn": 132_868_840, "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992, "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722, "resnet32": 464_154, "resnet44": 658_586, "resnet56": 853_018, "resnet110": 1_727_962,
    "mlp": 669_706, "highway": 784 * 50 + 50 + 18 * 2 * (50 * 50 + 50) + 50 * 10 + 10,
    "convolutional_autoencoder": (9 + 1) * 16 + (9 * 16 + 1) * 4 + (9 * 4 + 1) * 16 + 9 * 16 + 1,
}  # fmt: skip
"""Published numbers; the last three by hand."""


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large networks without their initial values, which take seconds."""
    for name in ("normal_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *arguments, **options: tensor)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_numbers_of_parameters(name: str, count: int, undrawn: None) -> None:
    assert sum(parameter.numel() for parameter in getattr(models, name)().parameters()) == count


def test_googlenet_without_heads(undrawn: None) -> None:
    assert sum(parameter.numel() for parameter in models.googlenet(aux_logits=False).parameters()) == 6_624_904


ENTRIES: list[tuple[str, Callable[[], Any]]] = [
    ("alexnet", in_torch.alexnet_entries),
    *((f"vgg{depth}", lambda d=depth: in_torch.vgg_entries(d, False)) for depth in in_torch.VGG),
    *((f"vgg{depth}_bn", lambda d=depth: in_torch.vgg_entries(d, True)) for depth in in_torch.VGG),
    *((f"resnet{depth}", lambda d=depth: in_torch.resnet_entries(d)) for depth in in_torch.RESNETS),
    ("googlenet", in_torch.googlenet_entries),
]


@pytest.mark.parametrize(("name", "entries"), ENTRIES, ids=lambda value: value if isinstance(value, str) else "")
def test_names_and_shapes_of_weights_are_torchvisions(name: str, entries: Callable[[], Any], undrawn: None) -> None:
    model = getattr(models, name)()
    found = {key: tuple(tensor.shape) for key, tensor in [*model.named_parameters(), *model.named_buffers()]}
    assert found == dict(entries())
    assert set(model.state_dict()) == set(found)


def random_start(model: Any, dtype: Any) -> dict[str, Any]:
    """Give every parameter and statistic a value of its own; return them as PyTorch's tensors, by name."""
    model.to(dtype)
    random = np.random.default_rng(0)
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        values = random.normal(size=shape) / math.sqrt(max(math.prod(shape[1:]), 4)) + (len(shape) == 1)
        if name.endswith("num_batches_tracked"):
            values = np.array(3)
        state[name] = torch.tensor(np.abs(values) if name.endswith("running_var") else values)
        if state[name].is_floating_point():
            state[name] = state[name].to(getattr(torch, dtype.name))
    model.load_state_dict(state)
    return state


def check_against_pytorch(model: Any, forward: Callable[..., Any], size: int, dtype: Any, training: bool) -> None:
    """Outputs, and gradients of all parameters, of the model and of the independent function of its state dict."""
    state = random_start(model, dtype)
    model.train(training)
    x = np.random.default_rng(1).normal(size=(2, 3, size, size)).astype(dtype.name)
    for name, _ in model.named_parameters():
        state[name].requires_grad_()
    theirs = forward(in_torch.Weights(state, training), torch.tensor(x))
    ours = model(cr.tensor(x))
    parts = [list(each) if isinstance(each, tuple) else [each] for each in (ours, theirs)]
    tolerance = 1e-8 if dtype is cr.float64 else 2e-3
    for one, other in zip(*parts, strict=True):
        weights = np.cos(np.arange(math.prod(other.shape))).reshape(tuple(other.shape)).astype(dtype.name)
        scale = np.abs(other.detach().numpy()).max()
        np.testing.assert_allclose(one.detach().numpy() / scale, other.detach().numpy() / scale, atol=tolerance)
        (other * torch.tensor(weights) / scale).sum().backward(retain_graph=True)
        (one * cr.tensor(weights) / float(scale)).sum().backward(retain_graph=True)
    if dtype is cr.float64:
        for name, parameter in model.named_parameters():
            if state[name].grad is None:  # of heads that rest in evaluation
                assert parameter.grad is None
                continue
            expected = state[name].grad.numpy()
            scale = max(np.abs(expected).max(), 1e-3)  # before a normalisation some are 0 but for rounding
            np.testing.assert_allclose(parameter.grad.numpy() / scale, expected / scale, atol=1e-6, err_msg=name)


CASES: list[tuple[str, Callable[[], Any], Callable[..., Any], int]] = [
    ("resnet18", lambda: models.resnet18(7), lambda w, x: in_torch.resnet(w, x, 18), 33),
    ("resnet50", lambda: models.resnet50(7), lambda w, x: in_torch.resnet(w, x, 50), 32),
    ("resnet20", lambda: models.resnet20(7), lambda w, x: in_torch.cifar_resnet(w, x, 20), 9),
    ("googlenet", lambda: models.googlenet(7, dropout=0, dropout_aux=0), in_torch.googlenet, 40),
    ("alexnet", lambda: models.alexnet(7).features, in_torch.alexnet_features, 67),
    ("vgg11_bn", lambda: models.vgg11_bn(7).features, lambda w, x: in_torch.vgg_features(w, x, 11), 32),
]


@pytest.mark.parametrize(("name", "make", "forward", "size"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("dtype", [cr.float64, cr.float32], ids=str)
def test_outputs_and_gradients_equal_pytorch(
    name: str, make: Any, forward: Any, size: int, dtype: Any, undrawn: None
) -> None:
    check_against_pytorch(make(), forward, size, dtype, training=False)


@pytest.mark.parametrize("name", ["resnet20", "googlenet"])
def test_training_equals_pytorch(name: str, undrawn: None) -> None:
    make, forward, size = next(case[1:] for case in CASES if case[0] == name)
    check_against_pytorch(make(), forward, size, cr.float64, training=True)


def test_weights_go_to_pytorch_and_back() -> None:
    ours, theirs = models.resnet20(), with_torch("cifar_resnet").resnet20()
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    x = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype(np.float32)
    outputs = [ours.eval()(cr.tensor(x)), theirs.eval()(torch.tensor(x))]
    np.testing.assert_allclose(outputs[0].detach().numpy(), outputs[1].detach().numpy(), rtol=1e-4, atol=1e-5)
    again = models.resnet20()
    again.load_state_dict(theirs.state_dict())
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), ours.state_dict()[name].numpy())


TEXTS = [
    ("lenet", "lenet5"), ("mnist", "mnist_net"), ("alexnet", "alexnet"), ("vgg", "vgg16"), ("vgg", "vgg11_bn"),
    ("googlenet", "googlenet"), ("resnet", "resnet18"), ("resnet", "resnet50"), ("cifar_resnet", "resnet20"),
    ("mlp", "mlp"), ("autoencoder", "convolutional_autoencoder"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "name"), TEXTS)
def test_networks_print_as_pytorch_prints_them(file: str, name: str, undrawn: None) -> None:
    with torch.device("meta"):
        theirs = getattr(with_torch(file), name)()
    assert repr(getattr(models, name)()) == repr(theirs)


def spread(weights: Any) -> float:
    return float(weights.detach().numpy().std())


def test_initial_values_are_those_of_the_papers() -> None:
    cr.manual_seed(0)
    for model in (models.resnet18(10), models.resnet20()):
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                outputs = math.prod(module.weight.shape) // module.weight.shape[1]
                assert spread(module.weight) == pytest.approx(math.sqrt(2 / outputs), rel=0.1)
    googlenet = models.googlenet(aux_logits=False)
    assert spread(googlenet.inception4a.branch1.conv.weight) == pytest.approx(0.01, rel=0.02)
    assert spread(googlenet.fc.weight) == pytest.approx(0.01, rel=0.02)


def test_initial_values_of_vgg(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[int, float] = {}
    monkeypatch.setattr(nn.init, "normal_", lambda w, mean=0.0, std=1.0, *_: drawn.setdefault(id(w), std))
    model = models.vgg11()
    assert drawn[id(model.features[3].weight)] == pytest.approx(math.sqrt(2 / (128 * 9)))
    assert drawn[id(model.classifier[0].weight)] == 0.01
    assert not model.features[3].bias.detach().numpy().any() and not model.classifier[0].bias.detach().numpy().any()


def test_the_lenet_and_mnist_networks_equal_pytorch() -> None:
    x = np.random.default_rng(3).normal(size=(2, 1, 28, 28)).astype(np.float32)
    for file, name in (("lenet", "lenet5"), ("mnist", "mnist_net")):
        ours, theirs = getattr(models, name)(), getattr(with_torch(file), name)()
        ours.load_state_dict(theirs.state_dict())
        outputs = [ours.eval()(cr.tensor(x)), theirs.eval()(torch.tensor(x))]
        np.testing.assert_allclose(outputs[0].detach().numpy(), outputs[1].detach().numpy(), rtol=1e-4, atol=1e-5)


def test_the_highway_network_carries_its_input_through() -> None:
    """With gates that are shut, the layers between the first and the last change nothing."""
    x = cr.tensor(np.random.default_rng(4).normal(size=(3, 6)))
    model = models.highway(6, features=5, depth=30, num_classes=4, gate_bias=-40.0).double()
    hidden = np.maximum(model.input(x).detach().numpy(), 0)
    expected = hidden @ model.output.weight.detach().numpy().T + model.output.bias.detach().numpy()
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-9)
    assert spread(models.highway(gate_bias=-1.0).layers[0].gate.bias) == 0


def test_the_multi_layer_perceptron() -> None:
    model = models.mlp(6, (5, 4), 3, dropout=0.5).double().eval()
    x = np.random.default_rng(5).normal(size=(2, 2, 3))
    layers = [layer for layer in model.layers if isinstance(layer, nn.Linear)]
    y = x.reshape(2, 6)
    for layer, following in pairwise([*layers, None]):
        y = y @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        y = y if following is None else np.maximum(y, 0)
    np.testing.assert_allclose(model(cr.tensor(x)).detach().numpy(), y, rtol=1e-12)


def test_the_auto_encoder_learns_to_give_back_its_input() -> None:
    cr.manual_seed(0)
    model = models.convolutional_autoencoder(widths=(8, 8))
    images = np.zeros((32, 1, 8, 8), np.float32)
    for row in range(32):
        images[row, 0, row % 8] = 1
    recipe = model.recipe
    trainer = cr.Trainer(model, loss=recipe.loss, optimizer=lambda p: recipe.optimizer(p, lr=0.02), seed=0)
    trainer.fit(images, images, epochs=150, batch_size=32, verbose=0)
    assert trainer.evaluate(images, images)["loss"] < 0.1
    assert model.encoder(cr.tensor(images)).shape == (32, 8, 2, 2)


def test_the_loss_of_auxiliary_heads() -> None:
    logits = [np.random.default_rng(n).normal(size=(3, 4)) for n in range(3)]
    target = np.array([0, 3, 1])
    losses = [float(torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(target))) for z in logits]
    outputs = models.GoogLeNetOutputs(*map(cr.tensor, logits))
    loss = models.auxiliary_cross_entropy(outputs, cr.tensor(target)).item()
    assert loss == pytest.approx(losses[0] + 0.3 * (losses[1] + losses[2]), rel=1e-12)
    assert models.auxiliary_cross_entropy(outputs.logits, cr.tensor(target)).item() == pytest.approx(losses[0])


def test_images_are_normalised_anew_for_published_weights() -> None:
    cr.manual_seed(0)
    model = models.googlenet(5, aux_logits=False).double().eval()
    image = np.random.default_rng(6).random((1, 3, 32, 32))
    mean, deviation = (np.array(values).reshape(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    plain = model(cr.tensor((image - 0.5) / 0.5)).detach().numpy()
    model.transform_input = True
    np.testing.assert_allclose(model(cr.tensor((image - mean) / deviation)).detach().numpy(), plain, rtol=1e-9)


CLASSES = {value for value in vars(models).values() if isinstance(value, type) and hasattr(value, "recipe")}


OF_SEQUENCES = ("sentence_cnn", "gated_cnn", "language_model", "sequence_to_sequence")


def test_every_network_has_a_recipe() -> None:
    builders = [getattr(models, name) for name in (*COUNTS, *OF_SEQUENCES)]
    returned = {builder.__annotations__["return"] for builder in builders}
    assert returned == {kind.__name__ for kind in CLASSES}


@pytest.mark.parametrize("kind", sorted(CLASSES, key=lambda kind: kind.__name__))
def test_recipes_can_be_followed(kind: Any) -> None:
    recipe = kind.recipe
    assert isinstance(recipe, models.Recipe)
    optimizer = recipe.optimizer(nn.Linear(1, 1).parameters())
    first = optimizer.param_groups[0]["lr"]
    assert first > 0
    assert recipe.source
    if recipe.schedule is not None:
        schedule = recipe.schedule(optimizer)
        for _ in range(recipe.epochs):
            optimizer.step()
            schedule.step()
        assert 0 < optimizer.param_groups[0]["lr"] < first
    image = np.zeros((256, 256, 3), np.uint8)
    for transform in recipe.augmentation:
        image = transform(image)
    assert image.shape[0] == image.shape[1] <= 256
