"""Layers: values and gradients equal PyTorch's; what does not fit gives clear errors."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.nn import functional as F

RTOL = {"float64": 1e-9, "float32": 2e-5}

LAYERS = [
    ("Linear", (5, 3), (4, 5)),
    ("Linear", (5, 1), (2, 3, 5)),
    ("Linear", (1, 4), (6, 1)),
    ("Linear", (5, 3), (5,)),
    ("Flatten", (), (2, 3, 4)),
    ("Flatten", (0, 1), (2, 3, 4)),
    ("Unflatten", (1, (2, 3)), (4, 6)),
    ("Identity", (), (2, 3)),
]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("name", "arguments", "shape"), LAYERS, ids=lambda value: str(value))
def test_layers_equal_pytorch(name: str, arguments: tuple, shape: tuple, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(0, 2, shape).astype(dtype)
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    assert repr(ours) == repr(theirs)
    ours.to(dtype)
    theirs.to(getattr(torch, dtype))
    ours.load_state_dict(theirs.state_dict())
    x, x_torch = cr.tensor(values, requires_grad=True), torch.tensor(values, requires_grad=True)
    y, y_torch = ours(x), theirs(x_torch)
    weights = np.random.default_rng(1).normal(size=y_torch.shape).astype(dtype)
    (y * cr.tensor(weights)).sum().backward()
    (y_torch * torch.tensor(weights)).sum().backward()
    tolerance = {"rtol": RTOL[dtype], "atol": RTOL[dtype]}
    np.testing.assert_allclose(y.detach().numpy(), y_torch.detach().numpy(), **tolerance)
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), **tolerance)
    for p, p_torch in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), p_torch.grad.numpy(), **tolerance)


def test_weights_lie_by_columns_and_their_gradients_too() -> None:
    layer = nn.Linear(4, 3)
    layer(cr.ones(2, 4)).sum().backward()
    assert layer.weight._strides == (1, 3)
    assert layer.weight.grad.numpy().T.flags.c_contiguous
    np.testing.assert_array_equal(layer.weight.grad.numpy(), np.full((3, 4), 2.0))


def test_a_layer_without_bias_and_in_float64() -> None:
    layer = nn.Linear(3, 2, bias=False, dtype=cr.float64)
    assert layer.bias is None
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert layer(cr.ones(1, 3, dtype=cr.float64)).dtype is cr.float64


@pytest.mark.parametrize("data", [np.ones((2, 3)), np.ones((2, 3), np.int64), [[1, 1, 1], [1, 1, 1]]])
def test_data_of_another_type_is_converted(data: object) -> None:
    layer = nn.Linear(3, 2)
    np.testing.assert_allclose(layer(data).detach().numpy(), layer(cr.ones(2, 3)).detach().numpy())
    assert layer(data).dtype is cr.float32


def test_a_tensor_with_a_gradient_is_not_converted() -> None:
    x = cr.ones(2, 3, dtype=cr.float64, requires_grad=True)
    with pytest.raises(DTypeError, match="expected m1 and m2 to have the same dtype, but got: float64 != float32"):
        nn.Linear(3, 2)(x)


def test_a_wrong_size_names_layer_line_and_fix() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(12, 4))

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return self.encoder(x)

    with pytest.raises(ShapeError) as caught:
        Net()(cr.ones(10, 9))
    message = str(caught.value)
    assert "Linear(12, 4) got input of shape (10, 8): its last dimension must be 12, got 8" in message
    assert "fix: Linear(8, 4)" in message
    assert "mat1 and mat2 shapes cannot be multiplied (10x8 and 12x4)" in message
    assert "test_layers.py" in message and "'encoder.2'" in message


@pytest.mark.parametrize(("shape", "fix"), [((3, 4), "x.T"), ((2, 1, 3), "nn.Flatten()"), ((), "got a number")])
def test_other_wrong_sizes(shape: tuple, fix: str) -> None:
    with pytest.raises(ShapeError, match=fix.replace("(", r"\(").replace(")", r"\)")):
        nn.Linear(3, 2)(cr.ones(shape)) if shape != (2, 1, 3) else nn.Linear(3, 2)(cr.ones(2, 3, 1))


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match=r"in_features must be a whole number .*, got 4.0. fix: 4$"):
        nn.Linear(8 / 2, 1)
    with pytest.raises(ArgumentError, match="in_features must be a whole number that is not negative, got -"):
        nn.Linear(-1, 2)
    with pytest.raises(ArgumentError, match="has to be between 0 and 1, but got 1.5"):
        nn.Dropout(1.5)
    with pytest.raises(ShapeError, match="do not multiply up"):
        nn.Unflatten(1, (2, 2))(cr.ones(3, 5))
    with pytest.raises(ArgumentError, match="'cuda' is not available"):
        nn.Linear(2, 2, device="cuda")


def test_one_hot() -> None:
    labels = [[0, 2], [1, 0]]
    np.testing.assert_array_equal(F.one_hot(cr.tensor(labels)).numpy(), np.eye(3, dtype=int)[labels])
    assert F.one_hot(cr.tensor([1]), 5).shape == (1, 5)
    with pytest.raises(cr.errors.IndexOutOfRangeError, match="Class values must be from 0 to num_classes - 1 = 2"):
        F.one_hot(cr.tensor([3]), 3)
