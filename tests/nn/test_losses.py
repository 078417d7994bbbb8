"""Losses: values and gradients equal PyTorch's; targets that do not fit give clear errors."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, IndexOutOfRangeError, ShapeError, TargetError
from chainrule.nn import functional as F

RTOL = {"float64": 1e-9, "float32": 2e-5}
REDUCTIONS = ["mean", "sum", "none"]


def compare(name: str, options: dict, inputs: np.ndarray, target: np.ndarray) -> None:
    """Value and gradient of a loss module against PyTorch's module of that name."""
    torch = pytest.importorskip("torch")
    ours = getattr(nn, name)(**{k: cr.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()})
    theirs = getattr(torch.nn, name)(
        **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    )
    x, x_torch = cr.tensor(inputs, requires_grad=True), torch.tensor(inputs, requires_grad=True)
    loss, loss_torch = ours(x, cr.tensor(target)), theirs(x_torch, torch.tensor(target))
    loss.sum().backward()
    loss_torch.sum().backward()
    tolerance = {"rtol": RTOL[str(inputs.dtype)], "atol": RTOL[str(inputs.dtype)]}
    np.testing.assert_allclose(loss.detach().numpy(), loss_torch.detach().numpy(), **tolerance)
    np.testing.assert_allclose(x.grad.numpy(), x_torch.grad.numpy(), **tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "BCELoss", "BCEWithLogitsLoss"])
def test_elementwise_losses(name: str, reduction: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0.01, 0.99, (6, 3)) if name == "BCELoss" else rng.normal(0, 3, (6, 3))
    compare(name, {"reduction": reduction}, inputs.astype(dtype), rng.uniform(0, 1, (6, 3)).astype(dtype))


def test_weights_of_binary_losses() -> None:
    rng = np.random.default_rng(1)
    target, weight = rng.integers(0, 2, (6, 3)).astype(float), rng.uniform(0.5, 2, (3,))
    compare("BCELoss", {"weight": weight}, rng.uniform(0.01, 0.99, (6, 3)), target)
    compare("BCEWithLogitsLoss", {"weight": weight, "pos_weight": 2 * weight}, rng.normal(0, 3, (6, 3)), target)


@pytest.mark.parametrize("value", [0.0, -50.0, 50.0, 800.0, -800.0])
def test_logits_of_any_size(value: float) -> None:
    compare("BCEWithLogitsLoss", {}, np.full((2, 1), value), np.array([[0.0], [1.0]]))


def test_probabilities_of_exactly_0_and_1_cost_at_most_100_and_give_no_nan() -> None:
    logits = cr.tensor([[-2000.0], [2000.0]], requires_grad=True)
    loss = F.binary_cross_entropy(logits.sigmoid(), cr.tensor([[1.0], [0.0]]))
    loss.backward()
    assert loss.item() == 100.0
    assert logits.grad.tolist() == [[0.0], [0.0]]
    assert np.isnan(F.binary_cross_entropy(cr.tensor([-0.5]), cr.tensor([1.0])).item())


CLASSES = [
    {},
    {"ignore_index": 2},
    {"weight": np.array([1.0, 2.0, 0.5, 3.0])},
    {"weight": np.array([1.0, 2.0, 0.5, 3.0]), "ignore_index": 1},
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", CLASSES, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("shape", [(7, 4), (4,), (3, 4, 2)])
def test_losses_of_classes(shape: tuple, options: dict, reduction: str) -> None:
    rng = np.random.default_rng(2)
    inputs = rng.normal(0, 2, shape)
    target = rng.integers(0, 4, shape[:1] + shape[2:] if len(shape) > 1 else ())
    options = {**options, "reduction": reduction}
    compare("CrossEntropyLoss", options, inputs, target)
    compare("CrossEntropyLoss", {**options, "label_smoothing": 0.2}, inputs, target)
    compare("NLLLoss", options, inputs, target)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": np.array([1.0, 2.0, 0.5])}])
def test_probabilities_as_target(options: dict, reduction: str) -> None:
    rng = np.random.default_rng(3)
    inputs, target = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), 5)
    compare("CrossEntropyLoss", {**options, "reduction": reduction}, inputs, target)


def test_infinite_logits_of_other_classes_do_no_harm() -> None:
    loss = F.cross_entropy(cr.tensor([[0.0, -np.inf], [1.0, 1.0]]), cr.tensor([0, 1]))
    assert abs(loss.item() - np.log(2) / 2) < 1e-6


def test_shapes_that_pytorch_would_broadcast_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"fix: target.reshape\(4, 1\)"):
        nn.MSELoss()(cr.ones(4, 1), cr.ones(4))
    with pytest.raises(ShapeError, match="a network with 1 output instead of 3"):
        nn.L1Loss()(cr.ones(4, 3), cr.ones(4, 1))
    with pytest.raises(ShapeError, match="test_losses.py"):
        nn.BCELoss()(cr.ones(4, 1), cr.ones(5, 1))


def test_targets_of_another_type_are_converted() -> None:
    predicted = cr.tensor([[0.25], [0.5]])
    assert nn.MSELoss()(predicted, np.array([[0.25], [1.0]])).dtype is cr.float32
    assert nn.BCELoss()(predicted, cr.tensor([[False], [True]])).dtype is cr.float32
    assert F.cross_entropy(cr.zeros(2, 2), np.array([0, 1], np.int32)).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_a_label_outside_the_classes_is_refused(loss: object) -> None:
    labels = cr.tensor([0, 3, 4, 1])
    assert loss(cr.zeros(2, 4), labels[:2]).item() >= 0
    with pytest.raises(IndexOutOfRangeError, match="Target 4 is out of bounds: label 4 in row 1") as caught:
        loss(cr.zeros(3, 4), labels[1:])
    assert "or target - 1 if labels run from 1 to 4" in str(caught.value)
    with pytest.raises(IndexOutOfRangeError, match="Target -1 is out of bounds"):
        loss(cr.zeros(1, 4), cr.tensor([-1]))
    assert np.isnan(loss(cr.zeros(4, 4), labels + 0).item())  # not known when the loss is recorded


def test_a_wrong_label_written_after_the_check_is_found() -> None:
    labels = cr.tensor([0, 1, 2])
    F.cross_entropy(cr.zeros(3, 3), labels)
    labels[0] = 7
    with pytest.raises(IndexOutOfRangeError, match="Target 7 is out of bounds"):
        F.cross_entropy(cr.zeros(3, 3), labels)


@pytest.mark.parametrize("keeps_array", [True, False])
def test_labels_written_through_numpy_are_checked_again(keeps_array: bool) -> None:
    array = np.array([0, 1, 2])
    labels = cr.from_numpy(array)
    F.cross_entropy(cr.zeros(3, 3), labels)
    array[1] = 9
    if not keeps_array:
        del array
    with pytest.raises(IndexOutOfRangeError, match="label 9 in row 1"):
        F.cross_entropy(cr.zeros(3, 3), labels)
    labels.numpy()[1] = 0
    assert np.isfinite(F.cross_entropy(cr.zeros(3, 3), labels).item())


def test_targets_that_do_not_fit_classes() -> None:
    with pytest.raises(ShapeError, match=r"Expected input batch_size \(4\) to match target batch_size \(5\)"):
        F.cross_entropy(cr.zeros(4, 3), cr.tensor([0] * 5))
    with pytest.raises(ShapeError, match=r"target.squeeze\(1\)"):
        F.cross_entropy(cr.zeros(4, 3), cr.tensor([[0]] * 4))
    with pytest.raises(DTypeError, match=r"expected target dtype to be Long.*(\n.*)*target.long\(\)"):
        F.cross_entropy(cr.zeros(4, 3), cr.tensor([0.0] * 4))
    with pytest.raises(TargetError, match="class indices"):
        F.nll_loss(cr.zeros(4, 3), cr.zeros(4))
    with pytest.raises(ShapeError, match="all 3 classes"):
        F.cross_entropy(cr.zeros(4, 3), cr.tensor([0] * 4), cr.ones(2))


def test_wrong_options() -> None:
    with pytest.raises(ArgumentError, match=r"'maen' is not a valid value for reduction \(did you mean 'mean'\?\)"):
        nn.MSELoss("maen")
    with pytest.raises(ArgumentError, match="label_smoothing must be between"):
        nn.CrossEntropyLoss(label_smoothing=2.0)


def test_predictions_may_not_be_compared_with_a_changing_graph() -> None:
    """A loss recorded again for other tensors of the same shape uses those."""
    first = F.mse_loss(cr.tensor([1.0]), cr.tensor([0.0]))
    second = F.mse_loss(cr.tensor([3.0]), cr.tensor([0.0]))
    assert (first.item(), second.item()) == (1.0, 9.0)
