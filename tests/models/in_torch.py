"""torchvision's image networks once more, independently: entries of their state dicts, and what is computed of them.

Each network is a function of a state dict in PyTorch and of images, and a table of the names and shapes it consists of.
"""

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

Entries = Iterator[tuple[str, tuple[int, ...]]]

VGG = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
INCEPTIONS = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64), "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64), "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128), "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip


# Names and shapes -----------------------------------------------------------------------------------------------------


def _norm(name: str, channels: int) -> Entries:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def _affine(name: str, *shape: int) -> Entries:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def alexnet_entries(classes: int = 1000) -> Entries:
    sizes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    for number, (outputs, inputs, size) in sizes.items():
        yield from _affine(f"features.{number}", outputs, inputs, size, size)
    for number, shape in {1: (4096, 9216), 4: (4096, 4096), 6: (classes, 4096)}.items():
        yield from _affine(f"classifier.{number}", *shape)


def vgg_entries(depth: int, batch_norm: bool, classes: int = 1000) -> Entries:
    number, inputs = 0, 3
    for item in VGG[depth].split():
        if item == "M":
            number += 1
            continue
        yield from _affine(f"features.{number}", int(item), inputs, 3, 3)
        if batch_norm:
            yield from _norm(f"features.{number + 1}", int(item))
        number, inputs = number + 2 + batch_norm, int(item)
    for number, shape in {0: (4096, 25088), 3: (4096, 4096), 6: (classes, 4096)}.items():
        yield from _affine(f"classifier.{number}", *shape)


def resnet_entries(depth: int, classes: int = 1000) -> Entries:
    yield "conv1.weight", (64, 3, 7, 7)
    yield from _norm("bn1", 64)
    inputs, is_deep = 64, depth >= 50
    for stage, count in enumerate(RESNETS[depth], 1):
        width = 32 << stage
        outputs = 4 * width if is_deep else width
        for block in range(count):
            name = f"layer{stage}.{block}"
            shapes = [(width, inputs, 1), (width, width, 3), (outputs, width, 1)]
            for layer, (m, n, size) in enumerate(shapes if is_deep else [(width, inputs, 3), (width, width, 3)], 1):
                yield f"{name}.conv{layer}.weight", (m, n, size, size)
                yield from _norm(f"{name}.bn{layer}", m)
            if block == 0 and inputs != outputs:
                yield f"{name}.downsample.0.weight", (outputs, inputs, 1, 1)
                yield from _norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    yield from _affine("fc", classes, inputs)


def googlenet_entries(classes: int = 1000, aux: bool = True) -> Entries:
    def basic(name: str, inputs: int, outputs: int, size: int) -> Entries:
        yield f"{name}.conv.weight", (outputs, inputs, size, size)
        yield from _norm(f"{name}.bn", outputs)

    yield from basic("conv1", 3, 64, 7)
    yield from basic("conv2", 64, 64, 1)
    yield from basic("conv3", 64, 192, 3)
    for name, (n, ones, reduced3, threes, reduced5, fives, pooled) in INCEPTIONS.items():
        yield from basic(f"inception{name}.branch1", n, ones, 1)
        yield from basic(f"inception{name}.branch2.0", n, reduced3, 1)
        yield from basic(f"inception{name}.branch2.1", reduced3, threes, 3)
        yield from basic(f"inception{name}.branch3.0", n, reduced5, 1)
        yield from basic(f"inception{name}.branch3.1", reduced5, fives, 3)
        yield from basic(f"inception{name}.branch4.1", n, pooled, 1)
    for name, inputs in {"aux1": 512, "aux2": 528}.items() if aux else ():
        yield from basic(f"{name}.conv", inputs, 128, 1)
        yield from _affine(f"{name}.fc1", 1024, 2048)
        yield from _affine(f"{name}.fc2", classes, 1024)
    yield from _affine("fc", classes, 1024)


# What is computed -----------------------------------------------------------------------------------------------------


class Weights:
    """A state dict, with the layers that use it; batch normalisation uses the batch's statistics in training."""

    def __init__(self, state: dict[str, Any], training: bool = False) -> None:
        self.state = state
        self.training = training

    def conv(self, name: str, x: Any, stride: int = 1, padding: int = 0) -> Any:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), stride, padding)

    def norm(self, name: str, x: Any, eps: float = 1e-5) -> Any:
        mean, var = (self.state[f"{name}.running_{part}"].clone() for part in ("mean", "var"))
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.batch_norm(x, mean, var, weight, bias, self.training, eps=eps)

    def linear(self, name: str, x: Any) -> Any:
        return F.linear(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def alexnet_features(w: Weights, x: Any) -> Any:
    x = F.max_pool2d(F.relu(w.conv("0", x, 4, 2)), 3, 2)
    x = F.max_pool2d(F.relu(w.conv("3", x, 1, 2)), 3, 2)
    for number in (6, 8, 10):
        x = F.relu(w.conv(str(number), x, 1, 1))
    return F.max_pool2d(x, 3, 2)


def vgg_features(w: Weights, x: Any, depth: int) -> Any:
    number = 0
    for item in VGG[depth].split():
        if item == "M":
            x, number = F.max_pool2d(x, 2), number + 1
        else:
            x, number = F.relu(w.norm(str(number + 1), w.conv(str(number), x, 1, 1))), number + 3
    return x


def resnet(w: Weights, x: Any, depth: int) -> Any:
    x = F.max_pool2d(F.relu(w.norm("bn1", w.conv("conv1", x, 2, 3))), 3, 2, 1)
    for stage, count in enumerate(RESNETS[depth], 1):
        for block in range(count):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = x
            # torchvision's stride is on the 3 × 3 convolution: the first of a basic block, the second of a deep one
            for layer, size in enumerate((1, 3, 1) if depth >= 50 else (3, 3), 1):
                step = stride if layer == (2 if depth >= 50 else 1) else 1
                y = w.norm(f"{name}.bn{layer}", w.conv(f"{name}.conv{layer}", y, step, size // 2))
                y = y if layer == (3 if depth >= 50 else 2) else F.relu(y)
            if f"{name}.downsample.0.weight" in w.state:
                x = w.norm(f"{name}.downsample.1", w.conv(f"{name}.downsample.0", x, stride))
            x = F.relu(x + y)
    return w.linear("fc", x.mean((2, 3)))


def cifar_resnet(w: Weights, x: Any, depth: int) -> Any:
    x = F.relu(w.norm("bn1", w.conv("conv1", x, 1, 1)))
    for stage in (1, 2, 3):
        for block in range((depth - 2) // 6):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(w.norm(f"{name}.bn1", w.conv(f"{name}.conv1", x, stride, 1)))
            y = w.norm(f"{name}.bn2", w.conv(f"{name}.conv2", y, 1, 1))
            if stride == 2:
                zeros = torch.zeros_like(x[:, : x.shape[1] // 2, ::2, ::2])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
            x = F.relu(x + y)
    return w.linear("fc", x.mean((2, 3)))


def googlenet(w: Weights, x: Any) -> Any:
    """The logits, or in training those of the network, of the second and of the first auxiliary head."""

    def basic(name: str, x: Any, stride: int = 1, padding: int = 0) -> Any:
        return F.relu(w.norm(f"{name}.bn", w.conv(f"{name}.conv", x, stride, padding), 0.001))

    def head(name: str, x: Any) -> Any:
        x = basic(f"{name}.conv", F.adaptive_avg_pool2d(x, 4)).flatten(1)
        return w.linear(f"{name}.fc2", F.relu(w.linear(f"{name}.fc1", x)))

    x = F.max_pool2d(basic("conv1", x, 2, 3), 3, 2, ceil_mode=True)
    x = F.max_pool2d(basic("conv3", basic("conv2", x), 1, 1), 3, 2, ceil_mode=True)
    heads = []
    for name in INCEPTIONS:
        if name == "4a":
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        if name == "5a":
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        if name in ("4b", "4e") and w.training:
            heads.append(head(f"aux{len(heads) + 1}", x))
        at = f"inception{name}"
        branches = [
            basic(f"{at}.branch1", x),
            basic(f"{at}.branch2.1", basic(f"{at}.branch2.0", x), 1, 1),
            basic(f"{at}.branch3.1", basic(f"{at}.branch3.0", x), 1, 1),
            basic(f"{at}.branch4.1", F.max_pool2d(x, 3, 1, 1)),
        ]
        x = torch.cat(branches, 1)
    logits = w.linear("fc", x.mean((2, 3)))
    return (logits, heads[1], heads[0]) if w.training else logits
