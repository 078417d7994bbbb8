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
    assert logits.grad.tolist() == [[-0.5], [0.5]]  # PyTorch: 0, and the network never learns
    assert np.isnan(F.binary_cross_entropy(cr.tensor([-0.25]) * 2, cr.tensor([1.0])).item())


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


@pytest.mark.parametrize("shapes", [((0, 3), (0,)), ((2, 3, 0), (2, 0))])
def test_losses_of_no_rows(shapes: tuple) -> None:
    for loss in (F.cross_entropy, F.nll_loss):
        inputs, target = cr.zeros(*shapes[0], requires_grad=True), cr.zeros(*shapes[1], dtype=cr.int64)
        assert np.isnan(loss(inputs, target).item())
        assert loss(inputs, target, reduction="sum").item() == 0.0
        assert loss(inputs, target, reduction="none").shape == shapes[1]
    assert np.isnan(F.cross_entropy(inputs, cr.zeros(*shapes[0])).item())


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


# Losses beyond PyTorch ------------------------------------------------------------------------------------------------

SIGNS = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0])
INPUTS = np.array([2.5, -0.25, 0.5, 1.5, -3.0, -1.0, 1.0])
ERRORS = INPUTS - SIGNS
MARGINS = SIGNS * INPUTS
BY_HAND = {  # values, and derivatives by the input
    "half_mse_loss": ({}, ERRORS**2 / 2, ERRORS),
    "epsilon_insensitive_loss": (
        {"epsilon": 0.5}, np.maximum(np.abs(ERRORS) - 0.5, 0), np.sign(ERRORS) * (np.abs(ERRORS) > 0.5),
    ),
    "quantile_loss": (
        {"quantile": 0.75}, np.maximum(-0.75 * ERRORS, 0.25 * ERRORS),
        np.where(ERRORS > 0, 0.25, np.where(ERRORS < 0, -0.75, -0.25)),
    ),
    "hinge_loss": ({}, np.maximum(1 - MARGINS, 0), -SIGNS * (MARGINS < 1)),
    "squared_hinge_loss": ({}, np.maximum(1 - MARGINS, 0) ** 2, -2 * SIGNS * np.maximum(1 - MARGINS, 0)),
    "exponential_loss": ({}, np.exp(-MARGINS), -SIGNS * np.exp(-MARGINS)),
    "perceptron_loss": ({}, np.maximum(-MARGINS, 0), -SIGNS * (MARGINS <= 0)),
}  # fmt: skip
MODULES = {
    "half_mse_loss": nn.HalfMSELoss, "epsilon_insensitive_loss": nn.EpsilonInsensitiveLoss,
    "quantile_loss": nn.QuantileLoss, "hinge_loss": nn.HingeLoss, "squared_hinge_loss": nn.SquaredHingeLoss,
    "exponential_loss": nn.ExponentialLoss, "perceptron_loss": nn.PerceptronLoss,
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_losses_by_hand(name: str) -> None:
    options, losses, derivatives = BY_HAND[name]
    for reduction, scale in (("none", 1.0), ("sum", 1.0), ("mean", 1 / len(SIGNS))):
        x = cr.tensor(INPUTS, requires_grad=True)
        found = getattr(F, name)(x, SIGNS, **options, reduction=reduction)
        found.sum().backward()
        expected = losses if reduction == "none" else losses.sum() * scale
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
        np.testing.assert_allclose(x.grad.numpy(), derivatives * scale, rtol=1e-12, atol=1e-15)
        module = MODULES[name](**options, reduction=reduction)
        np.testing.assert_array_equal(module(x, SIGNS).detach().numpy(), found.detach().numpy())


def test_a_step_of_the_perceptron_starts_from_zero() -> None:
    x = cr.zeros(2, requires_grad=True)
    F.perceptron_loss(x, cr.tensor([1.0, -1.0]), reduction="sum").backward()
    assert x.grad.tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "scikit_learn"),
    [("quantile_loss", "mean_pinball_loss"), ("hinge_loss", "hinge_loss"), ("half_mse_loss", "mean_squared_error")],
)
def test_losses_of_scikit_learn(name: str, scikit_learn: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    options = {"quantile": 0.3} if name == "quantile_loss" else {}
    expected = getattr(metrics, scikit_learn)(SIGNS, INPUTS, **({"alpha": 0.3} if options else {}))
    factor = 2 if name == "half_mse_loss" else 1
    assert factor * getattr(F, name)(cr.tensor(INPUTS), SIGNS, **options).item() == pytest.approx(expected, rel=1e-12)


# What is refused ------------------------------------------------------------------------------------------------------


def test_probabilities_outside_0_and_1_are_refused() -> None:
    good = cr.tensor([0.5, 0.25])
    with pytest.raises(
        TargetError, match=r"elements of input should be between 0 and 1, got 1.5 in row 1(.*\n)*.*Logits"
    ):
        nn.BCELoss()(cr.tensor([0.5, 1.5]), good)
    with pytest.raises(TargetError, match=r"elements of target.*got -1 in row 1(.*\n)*.*fix: \(target \+ 1\) / 2"):
        nn.BCELoss()(good, cr.tensor([1.0, -1.0]))
    with pytest.raises(TargetError, match="got nan in row 0"):
        F.binary_cross_entropy(cr.tensor([np.nan]), cr.tensor([1.0]))
    assert np.isnan(F.binary_cross_entropy(good * 4, good).item())  # not known when the loss is recorded


def test_targets_of_margins_are_signs() -> None:
    with pytest.raises(TargetError, match=r"hinge_loss needs targets -1 and 1, got 0 in row 2(.*\n)*.*2 \* target - 1"):
        F.hinge_loss(cr.ones(3), cr.tensor([1.0, -1.0, 0.0]))
    with pytest.raises(TargetError, match="exponential_loss needs targets -1 and 1, got 2 in row 0"):
        F.exponential_loss(cr.ones(1), cr.tensor([2]))


def test_memory_is_looked_at_once_and_again_where_something_else_is_allowed() -> None:
    stored = cr.tensor([0.0, 1.0, -1.0, 5.0])
    assert F.binary_cross_entropy(cr.tensor([0.5, 0.5]), stored[:2]).item() > 0
    assert F.hinge_loss(cr.ones(2), stored[1:3]).item() == 1.0
    with pytest.raises(TargetError, match="got 5 in row 1"):
        F.binary_cross_entropy(cr.tensor([0.5, 0.5]), stored[::3])
    shared = np.array([0.0, 1.0], np.float32)
    target = cr.from_numpy(shared)
    assert F.binary_cross_entropy(cr.tensor([0.5, 0.5]), target).item() > 0
    shared[1] = 3  # by somebody else
    with pytest.raises(TargetError, match="got 3 in row 1"):
        F.binary_cross_entropy(cr.tensor([0.5, 0.5]), target)


def test_a_negative_variance_is_refused() -> None:
    x = cr.zeros(2)
    with pytest.raises(ArgumentError, match="var has negative entry/entries: -1 in row 1"):
        nn.GaussianNLLLoss()(x, x, cr.tensor([1.0, -1.0]))
    with pytest.raises(ArgumentError, match="negative"):
        F.gaussian_nll_loss(x, x, -0.5)
    assert np.isnan(F.gaussian_nll_loss(x, x, -cr.ones(2)).item())
    with pytest.raises(ShapeError, match="var is of incorrect size"):
        F.gaussian_nll_loss(x, x, cr.ones(3))
    with pytest.raises(ShapeError, match="1 in some of its dimensions"):
        F.gaussian_nll_loss(cr.zeros(2, 1), cr.zeros(2, 3), 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: F.huber_loss(cr.ones(1), cr.ones(1), delta=0), "non-positive values for delta: got 0"),
        (lambda: F.smooth_l1_loss(cr.ones(1), cr.ones(1), beta=-1), "negative values for beta: got -1"),
        (lambda: F.quantile_loss(cr.ones(1), cr.ones(1), 1.0), "quantile must lie between 0 and 1, got 1.0"),
        (lambda: F.epsilon_insensitive_loss(cr.ones(1), cr.ones(1), -1), "epsilon of at least 0, got -1"),
        (lambda: nn.MultiMarginLoss(p=3), "only p == 1 and p == 2 supported, got 3"),
        (lambda: nn.TripletMarginLoss(margin=0), "margin must be greater than 0, got 0"),
        (lambda: F.triplet_margin_loss(cr.ones(1), cr.ones(1), cr.ones(1), -1), "margin must be greater than 0"),
        (lambda: nn.KLDivLoss("batchmaen"), "reduction .did you mean 'batchmean'"),
        (lambda: nn.HingeLoss("avg"), "'avg' is not a valid value for reduction; expected 'mean', 'sum' or 'none'"),
        (lambda: F.multi_margin_loss(cr.ones(1, 2), cr.tensor([0]), reduction="men"), "did you mean 'mean'"),
        (lambda: nn.CrossEntropyLoss(cr.tensor([1.0, -0.5])), "must not be negative, got -0.5 at index 1 of weight"),
        (lambda: nn.BCEWithLogitsLoss(pos_weight=cr.tensor(-2.0)), "got -2 at index 0 of pos_weight"),
        (lambda: F.one_hot(cr.tensor([1]), 0), "num_classes should be positive, got 0"),
        (lambda: F.one_hot(cr.zeros(0, dtype=cr.int64)), "Can not infer total number of classes"),
    ],
)
def test_wrong_arguments(make: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: F.multi_margin_loss(cr.ones(2, 3), cr.tensor([0])), r"shape \(2, 3\) and target of shape \(1,\)"),
        (lambda: F.multi_margin_loss(cr.ones(2, 3), cr.tensor([0, 1]), weight=cr.ones(2)), "all 3 classes"),
        (lambda: F.multilabel_margin_loss(cr.ones(2, 3), cr.tensor([[0, 1]])), "they must be equal"),
        (lambda: F.multilabel_margin_loss(cr.ones(1, 2, 3), cr.zeros(1, 2, 3).long()), r"\(N, C\) or \(C\)"),
        (lambda: F.multilabel_soft_margin_loss(cr.tensor(1.0), cr.tensor(1.0)), "one value per class"),
        (lambda: F.cosine_embedding_loss(cr.ones(2, 3), cr.ones(2, 3), cr.tensor(1)), r"expected \(N, D\) and \(N\)"),
        (lambda: F.cosine_embedding_loss(cr.ones(2, 3), cr.ones(2, 4), cr.ones(2)), "input2 of shape"),
        (lambda: F.margin_ranking_loss(cr.ones(2), cr.ones(2, 1), cr.ones(2)), "same dimension but got sizes"),
        (lambda: F.triplet_margin_loss(cr.ones(2, 3), cr.ones(3), cr.ones(2, 3)), "same number of dimensions"),
        (lambda: F.kl_div(cr.ones(2, 1), cr.ones(2)), r"fix: target.reshape\(2, 1\)"),
        (lambda: F.soft_margin_loss(cr.ones(2, 1), cr.ones(2)), r"fix: target.reshape\(2, 1\)"),
        (lambda: F.mse_loss(cr.ones(2), cr.ones(2), weight=cr.ones(1)), "weight of shape"),
        (lambda: F.binary_cross_entropy(cr.ones(2), cr.ones(2), cr.ones(3)), "cannot be broadcast"),
        (lambda: F.binary_cross_entropy(cr.ones(2), cr.ones(2), cr.ones(2, 2)), "does not fit losses"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit(make: object, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make()


def test_labels_of_margins() -> None:
    with pytest.raises(IndexOutOfRangeError, match="label 3 in row 1, but the input has 3 classes"):
        F.multi_margin_loss(cr.zeros(2, 3), cr.tensor([0, 3]))
    with pytest.raises(IndexOutOfRangeError, match="label -2 in row 0"):
        F.multilabel_margin_loss(cr.zeros(1, 3), cr.tensor([[0, -2, -1]]))
    with pytest.raises(TargetError, match="class indices"):
        F.multi_margin_loss(cr.zeros(2, 3), cr.zeros(2))
    assert np.isnan(F.multi_margin_loss(cr.zeros(2, 3), cr.tensor([0, 2]) + 1).item())  # not known beforehand
    assert np.isnan(F.multilabel_margin_loss(cr.zeros(1, 3), cr.tensor([[0, 2, -2]]) + 1).item())


def test_one_hot_of_labels_that_are_not_known_yet() -> None:
    labels = cr.tensor([0, 1]) + 1
    assert F.one_hot(labels, 3).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert F.one_hot(cr.tensor([[1], [0]])).tolist() == [[[0, 1]], [[1, 0]]]
    assert F.one_hot(cr.zeros(0, dtype=cr.int64), 4).shape == (0, 4)
    assert cr.compile(lambda x: F.one_hot(x, 2))(labels * 0).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": np.array([1.0, 2.0, 0.5])}])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_labels_that_are_known_and_labels_that_are_computed_cost_the_same(options: dict, reduction: str) -> None:
    """Of known labels the loss records no check; the bits are those with it."""
    rng = np.random.default_rng(5)
    logits, labels = rng.normal(size=(8, 3)), rng.integers(0, 3, 8)
    options = {name: cr.tensor(value) if name == "weight" else value for name, value in options.items()}
    found = []
    for offset in (0, 1):  # what is computed is known only when it runs
        x = cr.tensor(logits, requires_grad=True)
        target = cr.tensor(labels - offset) + offset if offset else cr.tensor(labels)
        loss = F.cross_entropy(x, target, reduction=reduction, **options)
        loss.sum().backward()
        assert x.grad is not None
        found.append((loss.tolist(), x.grad.tolist()))
    assert found[0] == found[1]


def test_labels_are_looked_at_in_every_call() -> None:
    """Also where a program for labels that are all classes exists, and where the ignored label is a class itself."""
    logits, labels = cr.zeros(4, 3), cr.tensor([0, 1, 2, 2])
    assert F.cross_entropy(logits, labels).item() == pytest.approx(np.log(3))
    labels[0] = -100
    logits[0] = cr.tensor([50.0, 0.0, 0.0])
    assert F.cross_entropy(logits, labels).item() == pytest.approx(np.log(3))
    assert F.cross_entropy(logits, cr.tensor([1, 1, 2, 2]), ignore_index=1).item() == pytest.approx(np.log(3))
    labels[1] = 3
    with pytest.raises(cr.errors.IndexOutOfRangeError, match="label 3 in row 1"):
        F.cross_entropy(logits, labels)
    step = cr.compile(lambda x, y: F.cross_entropy(x, y))
    assert step(logits[2:], labels[2:]).item() == pytest.approx(np.log(3))
    labels[2] = 7
    assert np.isnan(step(logits[2:], labels[2:]).item())
