"""Networks as JSON: every layer of chainrule.nn that stands in a Sequential comes back as it was made."""

import json
from typing import Any

import pytest

from chainrule import nn
from chainrule.errors import ModelFileError
from chainrule.files.architecture import build, describe

CLASSES = {name: value for name, value in vars(nn).items() if isinstance(value, type) and issubclass(value, nn.Module)}

LAYERS = [
    nn.Linear(3, 4),
    nn.Linear(3, 4, bias=False),
    nn.Linear(3, 4, dtype="float64"),
    nn.Dropout(0.3),
    nn.Dropout(0.3, inverted=False),
    nn.Dropout1d(0.3),
    nn.Dropout2d(0.3),
    nn.Dropout3d(0.3),
    nn.AlphaDropout(0.3),
    nn.FeatureAlphaDropout(0.3),
    nn.Embedding(5, 3, padding_idx=1, max_norm=2.0),
    nn.Bilinear(2, 3, 4, bias=False),
    nn.Maxout(3, 4, pieces=3, dtype="float64"),
    nn.Residual(nn.Linear(3, 4), nn.ReLU()),
    nn.Residual(nn.ReLU(), projection=nn.Identity()),
    nn.Highway(3, nn.Tanh(), gate_bias=-1.0, dtype="float64"),
    nn.Parallel(nn.Linear(3, 4), nn.Sequential(nn.ReLU()), join="sum"),
    nn.DenseBlock(nn.Linear(3, 4), nn.Linear(7, 2), dim=-1),
    nn.BatchNorm1d(4),
    nn.BatchNorm1d(4, momentum=None, dtype="float64"),
    nn.BatchNorm1d(4, affine=False, dtype="float64"),
    nn.BatchNorm2d(4, bias=False),
    nn.BatchNorm3d(4, track_running_stats=False),
    nn.InstanceNorm1d(4),
    nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    nn.InstanceNorm3d(4),
    nn.LayerNorm(4, bias=False),
    nn.LayerNorm((3, 4), eps=0.1),
    nn.LocalResponseNorm(5, k=2.0),
    nn.GroupNorm(2, 4),
    nn.RMSNorm(4),
    nn.RMSNorm(4, eps=0.1, elementwise_affine=False),
    nn.MaxPool1d(3, 2, padding=1, dilation=2, ceil_mode=True),
    nn.MaxPool2d((2, 3)),
    nn.MaxPool3d(2),
    nn.AvgPool1d(3, 2, 1),
    nn.AvgPool2d((2, 3), padding=(1, 0)),
    nn.AvgPool3d(2),
    nn.LPPool1d(2, 3),
    nn.LPPool2d(1.5, (3, 2), stride=2, ceil_mode=True),
    nn.AdaptiveAvgPool1d(3),
    nn.AdaptiveAvgPool2d((None, 2)),
    nn.AdaptiveAvgPool3d(1),
    nn.AdaptiveMaxPool1d(3),
    nn.AdaptiveMaxPool2d((2, 3)),
    nn.AdaptiveMaxPool3d(1),
    nn.Unfold(2, padding=(1, 0)),
    nn.Fold((4, 5), 2),
    nn.Flatten(),
    nn.Flatten(0, 1),
    nn.Unflatten(1, (2, 3)),
    nn.Identity(),
    nn.ReLU(),
    nn.LeakyReLU(0.2),
    nn.ELU(0.7),
    nn.SELU(),
    nn.GELU(),
    nn.GELU(approximate="tanh"),
    nn.SiLU(),
    nn.Softplus(beta=2.0),
    nn.Sigmoid(),
    nn.Tanh(),
    nn.Softmax(dim=1),
    nn.LogSoftmax(dim=-1),
    nn.CosineSimilarity(0),
    *[
        getattr(nn, f"{kind}Pad{rank}d")(rank)
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for rank in (1, 2, 3)
    ],
    *[getattr(nn, f"ConstantPad{rank}d")((1, 2) * rank, 0.5) for rank in (1, 2, 3)],
    nn.PixelShuffle(2),
    nn.Upsample(scale_factor=(1, 2), mode="bilinear"),
    nn.UpsamplingNearest2d(size=5),
    nn.UpsamplingBilinear2d(scale_factor=2),
    nn.PixelUnshuffle(3),
    nn.Conv1d(2, 4, 3, stride=2, padding="valid"),
    nn.Conv2d(2, 4, (3, 2), padding=1, groups=2, padding_mode="reflect"),
    nn.Conv3d(2, 4, 2, dilation=2, bias=False),
    nn.ConvTranspose1d(2, 3, 3, dtype="float64"),
    nn.ConvTranspose2d(2, 4, 3, stride=2, output_padding=1, groups=2),
    nn.ConvTranspose3d(2, 1, 2),
    nn.PairwiseDistance(1.0, keepdim=True),
    nn.Softmin(dim=1),
    nn.Softmax2d(),
    nn.CELU(0.7),
    nn.GLU(dim=1),
    nn.LogSigmoid(),
    nn.Mish(),
    nn.Softsign(),
    nn.Tanhshrink(),
    nn.Hardshrink(0.3),
    nn.Hardsigmoid(),
    nn.Hardswish(inplace=True),
    nn.Hardtanh(-2.0, 2.0),
    nn.Heaviside(1.0),
    nn.PiecewiseLinear(),
    nn.PReLU(3, init=0.1, dtype="float64"),
    nn.ReLU6(),
    nn.RReLU(0.1, 0.2),
    nn.Sign(),
    nn.Softshrink(0.3),
    nn.Threshold(0.1, 20.0),
    nn.RNN(3, 4, 2, "relu", bias=False, dropout=0.3),
    nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True, proj_size=2, peephole="if", forget_bias=1.0),
    nn.LSTM(3, 4, peephole=True, dtype="float64"),
    nn.GRU(3, 4, reset_after=False, update_gate="replace"),
    nn.SRU(3, 4, rescale=False, highway_bias=-1.0),
    nn.RNNCell(3, 4, bias=False, nonlinearity="relu"),
    nn.LSTMCell(3, 4, dtype="float64"),
    nn.GRUCell(3, 4, reset_after=False),
    nn.SRUCell(3, 3),
    nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 1))),
]


def again(module: Any) -> Any:
    return build(json.loads(json.dumps(describe(module))), CLASSES)


@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_a_layer_comes_back_as_it_was_made(layer: Any) -> None:
    found = again(layer)
    assert type(found) is type(layer)
    assert repr(found) == repr(layer)
    assert [(name, p.shape, p.dtype) for name, p in found.named_parameters()] == [
        (name, p.shape, p.dtype) for name, p in layer.named_parameters()
    ]
    assert [(name, b.shape, b.dtype) for name, b in found.named_buffers()] == [
        (name, b.shape, b.dtype) for name, b in layer.named_buffers()
    ]


def test_options_that_a_layer_does_not_print_are_kept() -> None:
    pooling = again(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False, divisor_override=3))
    assert (pooling.ceil_mode, pooling.count_include_pad, pooling.divisor_override) == (True, False, 3)
    assert again(nn.MaxPool2d(2, return_indices=True)).return_indices
    assert again(nn.AdaptiveMaxPool1d(2, return_indices=True)).return_indices


def test_no_layer_is_forgotten_here() -> None:
    leaves = {name for name, kind in CLASSES.items() if not name.endswith("Loss")} - {
        "Module",
        "ModuleList",
        "ModuleDict",
        "ParameterList",
        "ParameterDict",
    }
    assert leaves == {type(layer).__name__ for layer in LAYERS}


def test_names_of_a_container_are_kept() -> None:
    network = nn.Sequential()
    network.add_module("hidden", nn.Linear(2, 3))
    network.add_module("activation", nn.ReLU())
    assert list(dict(again(network).named_children())) == ["hidden", "activation"]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


def test_a_users_class_is_kept_by_name_and_cannot_be_made() -> None:
    assert describe(Net()) == {"class": "Net", "unknown": "its class is not part of chainrule"}
    with pytest.raises(
        ModelFileError, match=r"the network is a Net, which cannot be made from a file.*load_weights\(path\)"
    ):
        again(Net())
    with pytest.raises(ModelFileError, match="layer '1' is a Net"):
        again(nn.Sequential(nn.ReLU(), Net()))


def linear(**arguments: Any) -> dict[str, Any]:
    return {"class": "Linear", "arguments": arguments}


def sequential(children: Any) -> dict[str, Any]:
    return {"class": "Sequential", "children": children}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (None, "the architecture is damaged: expected a class name, got None"),
        ({"class": 3}, "expected a class name"),
        ({"class": "Liner", "arguments": {}}, r"has no class 'Liner' \(did you mean 'Linear'\?\)"),
        ({"class": "__import__", "arguments": {"name": "os"}}, "has no class '__import__'"),
        ({"class": "Linear"}, "the description of Linear is damaged"),
        (linear(in_features=2), "the description of Linear is damaged.*out_features"),
        (linear(in_features=2, out_features=1, colour="red"), "the description of Linear is damaged.*colour"),
        (linear(in_features=-2, out_features=1), "the description of Linear is damaged.*-2"),
        (linear(in_features="a", out_features=1), "the description of Linear is damaged"),
        (sequential([1]), "the description of Sequential is damaged"),
        (sequential({"0": sequential({"1": None})}), "layer '0'.1: the architecture is damaged"),
    ],
)
def test_a_description_that_nothing_made_is_refused(description: Any, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        build(description, CLASSES)
