"""Layers in which data takes more than one way, against PyTorch and against their formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(6, 4))


def values(tensor: Any) -> np.ndarray[Any, Any]:
    return np.array(tensor.detach())


@pytest.mark.parametrize("shape", [(6,), (), (2, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_bilinear_equals_pytorch(shape: tuple[int, ...], bias: bool) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    ours, theirs = nn.Bilinear(4, 3, 5, bias=bias).double(), torch.nn.Bilinear(4, 3, 5, bias=bias).double()
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    arrays = [random.normal(size=(*shape, size)) for size in (4, 3)]
    mine = [cr.tensor(array, requires_grad=True) for array in arrays]
    others = [torch.tensor(array, requires_grad=True) for array in arrays]
    y, y_torch = ours(*mine), theirs(*others)
    y.square().sum().backward()
    y_torch.square().sum().backward()
    np.testing.assert_allclose(values(y), y_torch.detach().numpy(), rtol=1e-9)
    for one, other in zip([*mine, *ours.parameters()], [*others, *theirs.parameters()], strict=True):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_maxout_is_the_largest_of_its_maps() -> None:
    layer = nn.Maxout(4, 3, pieces=5).double()
    weight, bias = values(layer.linear.weight), values(layer.linear.bias)
    expected = (X @ weight.T + bias).reshape(6, 3, 5).max(-1)
    np.testing.assert_allclose(values(layer(cr.tensor(X))), expected, rtol=1e-12)
    assert cr.autograd.gradcheck(layer, (cr.tensor(X, requires_grad=True),))


def test_two_pieces_of_maxout_are_a_rectifier() -> None:
    layer = nn.Maxout(1, 1, pieces=2, bias=False)
    layer.linear.weight.write([[1.0], [0.0]])
    assert layer(cr.tensor([[-2.0], [3.0]])).tolist() == [[0.0], [3.0]]


def test_residual_adds_its_input_or_its_projection() -> None:
    x = cr.tensor(X)
    same = nn.Residual(nn.Linear(4, 4), nn.Tanh()).double()
    assert same.projection is None
    np.testing.assert_allclose(values(same(x)), values(same.body(x)) + X, rtol=1e-12)
    wider = nn.Residual(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 7)).double()
    expected = values(wider.body(x)) + X @ values(wider.projection.weight).T
    np.testing.assert_allclose(values(wider(x)), expected, rtol=1e-12)
    chosen = nn.Residual(nn.Linear(4, 2), projection=nn.Linear(4, 2)).double()
    assert chosen.projection.bias is not None
    assert chosen(x).shape == (6, 2)


def test_highway_mixes_by_its_gate() -> None:
    layer = nn.Highway(4, nn.Tanh(), gate_bias=-3.0).double()
    assert values(layer.gate.bias).tolist() == [-3.0] * 4
    gate = 1 / (1 + np.exp(-(X @ values(layer.gate.weight).T - 3.0)))
    transformed = np.tanh(X @ values(layer.transform.weight).T + values(layer.transform.bias))
    np.testing.assert_allclose(values(layer(cr.tensor(X))), transformed * gate + X * (1 - gate), rtol=1e-12)
    assert cr.autograd.gradcheck(layer, (cr.tensor(X, requires_grad=True),))


def test_a_deep_highway_starts_by_carrying_its_input_through() -> None:
    cr.manual_seed(0)
    deep = nn.Sequential(*(nn.Highway(4, nn.Tanh(), gate_bias=-30.0) for _ in range(20)))
    np.testing.assert_allclose(values(deep(cr.tensor(X, dtype=cr.float32))), X, rtol=1e-5)


def test_each_layer_of_a_dense_block_sees_all_that_came_before() -> None:
    block = nn.DenseBlock(nn.Linear(4, 3), nn.Sequential(nn.Linear(7, 2), nn.Tanh()), nn.Linear(9, 1)).double()
    weights = [(values(part.weight), values(part.bias)) for part in block.modules() if isinstance(part, nn.Linear)]
    expected = X
    for number, (weight, bias) in enumerate(weights):
        new = expected @ weight.T + bias
        expected = np.concatenate([expected, np.tanh(new) if number == 1 else new], 1)
    np.testing.assert_allclose(values(block(cr.tensor(X))), expected, rtol=1e-12)
    assert cr.autograd.gradcheck(block, (cr.tensor(X, requires_grad=True),))
    rows = nn.DenseBlock(nn.Identity(), dim=0)
    np.testing.assert_array_equal(values(rows(cr.tensor(X))), np.concatenate([X, X]))
    np.testing.assert_array_equal(values(nn.DenseBlock()(cr.tensor(X))), X)


def test_parallel_joins_its_branches() -> None:
    x = cr.tensor(X)
    branches = nn.Linear(4, 3).double(), nn.Linear(4, 3).double()
    one, two = (values(branch(x)) for branch in branches)
    np.testing.assert_array_equal(values(nn.Parallel(*branches)(x)), np.concatenate([one, two], 1))
    np.testing.assert_array_equal(values(nn.Parallel(*branches, dim=0)(x)), np.concatenate([one, two], 0))
    np.testing.assert_array_equal(values(nn.Parallel(*branches, join="sum")(x)), one + two)


def test_networks_of_branches_train_and_are_saved(tmp_path: Path) -> None:
    cr.manual_seed(0)
    model = nn.Sequential(
        nn.Parallel(nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 5), nn.Tanh()), dim=-1),
        nn.DenseBlock(nn.Linear(8, 3), nn.Sequential(nn.Linear(11, 5), nn.Tanh()), dim=-1),
        nn.Residual(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU()),
        nn.Residual(nn.Linear(8, 6), projection=nn.Linear(8, 6)),
        nn.Highway(6, nn.Tanh(), gate_bias=-1.0),
        nn.Maxout(6, 4, pieces=3),
        nn.Parallel(nn.Linear(4, 1), nn.Residual(nn.Linear(4, 1)), join="sum"),
    )
    trainer = cr.Trainer(model, optimizer=lambda parameters: cr.optim.Adam(parameters, lr=0.01), seed=0)
    target = X[:, :1] * X[:, 1:2]
    history = trainer.fit(X, target, epochs=60, batch_size=3, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "model.zip")
    loaded = cr.load(tmp_path / "model.zip")
    assert repr(loaded) == repr(model)
    x = cr.tensor(X, dtype=cr.float32)
    np.testing.assert_array_equal(values(loaded.eval()(x)), values(model.eval()(x)))
    rows = [layer.name for layer in model.summary(x).layers]
    assert "2.body.1: BatchNorm1d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)" in rows
    assert sum(layer.parameters for layer in model.summary(x).layers) == model.summary().parameters


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Bilinear(2, 3, 4)(cr.ones(5, 2), cr.ones(5, 4)), ShapeError, r"input2 size.*\(5, 4\), expected"),
        (lambda: nn.Bilinear(2, 3, 4)(cr.ones(5, 2), cr.ones(6, 3)), ShapeError, "batch dimensions do not match"),
        (lambda: nn.Bilinear(0, 3, 4), ArgumentError, "in1_features must be > 0"),
        (lambda: nn.Maxout(2, 3, pieces=0), ArgumentError, "pieces must be at least 1"),
        (lambda: nn.Maxout(2, 3)(cr.ones(4, 5)), ShapeError, "its last dimension must be 2"),
        (lambda: nn.Residual()(cr.ones(2)), ArgumentError, "no layers"),
        (lambda: nn.Residual(nn.Flatten())(cr.ones(2, 3, 4)), ShapeError,
         r"layers give shape \(2, 12\).*test_branches.py.*fix: nn.Residual\(..., projection"),
        (lambda: nn.Parallel(join="add"), ArgumentError, "'concatenate' or 'sum', got 'add'"),
        (lambda: nn.Parallel()(cr.ones(2)), ArgumentError, "no branches"),
        (lambda: nn.Parallel(nn.Linear(2, 3), nn.Linear(2, 4), join="sum")(cr.ones(5, 2)), ShapeError,
         r"branch 1 gives shape \(5, 4\), branch 0 \(5, 3\): they must be equal"),
        (lambda: nn.Parallel(nn.Linear(2, 3), nn.Linear(2, 4), dim=0)(cr.ones(5, 2)), ShapeError, "differ only in"),
        (lambda: nn.DenseBlock(nn.Linear(2, 3), dim=0)(cr.ones(5, 2)), ShapeError,
         "layer 0 gives shape \\(5, 3\\), what came before \\(5, 2\\): they must differ only in dimension 0"),
        (lambda: nn.Highway(3)(cr.ones(2, 4)), ShapeError, "its last dimension must be 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        make()
