"""Regularisers: penalties and constraints equal their formulas, also in gradients, steps and captured loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import regularizers

Array = np.ndarray[Any, Any]


def network(dtype: str = "float64") -> nn.Sequential:
    cr.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 6, dtype=dtype), nn.Tanh(), nn.Linear(6, 3, dtype=dtype))


def arrays(model: nn.Module) -> dict[str, Array]:
    return {name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()}


def test_penalties_and_their_gradients_equal_the_formulas() -> None:
    model = network()
    values = arrays(model)
    only_first = regularizers.ElasticNet(1.0, 2.0, lambda name, parameter: name.startswith("0."))
    for regularizer, l1, l2, names in [
        (regularizers.L1(0.3), 0.3, 0.0, ["0.weight", "2.weight"]),
        (regularizers.L2(0.7), 0.0, 0.7, ["0.weight", "2.weight"]),
        (regularizers.ElasticNet(l1=0.2, l2=0.5), 0.2, 0.5, ["0.weight", "2.weight"]),
        (regularizers.L2(0.7, parameters="all"), 0.0, 0.7, list(values)),
        (only_first, 1.0, 2.0, ["0.weight", "0.bias"]),
    ]:
        model.zero_grad()
        penalty = regularizer.penalty(model, None)
        penalty.backward()
        chosen = [values[name] for name in names]
        expected = sum(l1 * np.abs(w).sum() + l2 * (w**2).sum() for w in chosen)
        assert penalty.item() == pytest.approx(expected, rel=1e-12)
        for name, parameter in model.named_parameters():
            w = values[name]
            if name in names:
                np.testing.assert_allclose(parameter.grad.numpy(), l1 * np.sign(w) + 2 * l2 * w, rtol=1e-12)
            else:
                assert parameter.grad is None
    assert regularizers.L2(0.0).penalty(model, None) is None


def test_which_parameters_are_weights() -> None:
    model = nn.Sequential(
        nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Unflatten(1, (2, 2)), nn.LayerNorm((2, 2)), nn.Flatten(), nn.PReLU(),
        nn.Maxout(4, 2, 3),
    )  # fmt: skip
    assert [name for name, _ in regularizers.weights(model)] == ["0.weight", "6.linear.weight"]
    decayed, others = regularizers.decay_groups(model, 0.1)
    assert len(decayed["params"]) == 2 and len(others["params"]) == len(list(model.parameters())) - 2


def test_a_squared_penalty_is_weight_decay_and_decay_groups_leave_biases_alone() -> None:
    x, strength = np.random.default_rng(0).normal(size=(8, 4)), 0.05
    by_penalty, by_optimizer = network(), network()
    penalty = regularizers.L2(strength)
    first = cr.optim.SGD(by_penalty.parameters(), lr=0.1, momentum=0.9)
    groups = regularizers.decay_groups(by_optimizer, 2 * strength)
    second = cr.optim.SGD(groups, lr=0.1, momentum=0.9)
    for _ in range(3):
        for model, optimizer in ((by_penalty, first), (by_optimizer, second)):
            loss = model(cr.tensor(x)).square().mean()
            optimizer.zero_grad()
            (loss + penalty.penalty(model, None) if model is by_penalty else loss).backward()
            optimizer.step()
    expected = arrays(by_optimizer)
    for name, value in arrays(by_penalty).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-15)
    assert [group["weight_decay"] for group in second.param_groups] == [0.1, 0]


@pytest.mark.parametrize("parameters", ["weights", "all"])
def test_max_norm_scales_down_units_that_are_too_large(parameters: Any) -> None:
    model = network()
    with cr.no_grad():
        model[0].weight[0] = 0.0
        model[0].weight[1] *= 10.0
        model[2].bias[0] = 5.0
    before = arrays(model)
    regularizers.MaxNorm(0.8, parameters).constrain(model)
    for name, after in arrays(model).items():
        w = before[name]
        axes = tuple(range(1, w.ndim)) or None
        norm = np.sqrt((w**2).sum(axes, keepdims=True))
        scale = 0.8 / np.maximum(norm, 0.8)
        is_constrained = parameters == "all" or name.endswith("weight")
        np.testing.assert_allclose(after, w * scale if is_constrained else w, rtol=1e-12)


def test_a_captured_loop_constrains_after_every_step() -> None:
    x = cr.tensor(np.random.default_rng(1).normal(size=(8, 4)))
    captured, by_hand = network(), network()
    constraint = regularizers.MaxNorm(0.5)

    def make_step(model: nn.Module) -> Any:
        optimizer = cr.optim.SGD(model.parameters(), lr=0.5)

        def step() -> None:
            optimizer.zero_grad()
            model(x).sum().neg().backward()
            optimizer.step()
            constraint.constrain(model)

        return step

    compiled, plain = cr.compile(make_step(captured)), make_step(by_hand)
    for _ in range(3):
        compiled()
        plain()
    expected = arrays(by_hand)
    for name, value in arrays(captured).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12)
    assert np.linalg.norm(expected["0.weight"], axis=1).max() == pytest.approx(0.5)


# Predictions ----------------------------------------------------------------------------------------------------------

LOGITS = np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [40.0, -800.0, 3.0]])


def softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def entropy(p: Array, axis: int = 1) -> Array:
    return -(p * np.log(np.where(p == 0, 1, p))).sum(axis)


def test_entropy_of_predictions_in_every_form() -> None:
    p = softmax(LOGITS)
    expected = entropy(p).mean()
    with np.errstate(divide="ignore"):
        logarithms = np.log(p)
    for of, output in (("logits", LOGITS), ("probabilities", p), ("log_probabilities", logarithms)):
        found = regularizers.prediction_entropy(cr.tensor(output), of)
        assert found.item() == pytest.approx(expected, rel=1e-12), of
    q = 1 / (1 + np.exp(-LOGITS[:2]))
    both = entropy(np.stack([q, 1 - q]), axis=0).mean()
    assert regularizers.prediction_entropy(cr.tensor(LOGITS[:2]), "binary_logits").item() == pytest.approx(both)
    images = np.moveaxis(np.stack([LOGITS, LOGITS + 1]), 2, 1)  # (N, C, places)
    assert regularizers.prediction_entropy(cr.tensor(images)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("of", ["logits", "binary_logits", "probabilities", "log_probabilities"])
def test_gradients_of_the_entropy_are_finite_and_right(of: str) -> None:
    outputs = {"logits": LOGITS, "binary_logits": LOGITS, "probabilities": softmax(LOGITS[:2])}
    output = outputs.get(of, np.log(softmax(LOGITS[:2])))
    function = lambda x: regularizers.prediction_entropy(x, of)
    assert cr.autograd.gradcheck(function, (cr.tensor(output, requires_grad=True),))


def test_the_two_signs_of_the_entropy() -> None:
    """One makes predictions sharper, the other less sure: a step along the gradient shows which is which."""
    for kind, is_sharper in ((regularizers.EntropyMinimization, True), (regularizers.ConfidencePenalty, False)):
        x = cr.tensor(LOGITS[:1], requires_grad=True)
        penalty = kind(0.2).penalty(nn.Identity(), x)
        assert penalty.item() == pytest.approx((0.2 if is_sharper else -0.2) * entropy(softmax(LOGITS[:1]))[0])
        penalty.backward()
        moved = LOGITS[:1] - x.grad.numpy()
        assert (entropy(softmax(moved)) < entropy(softmax(LOGITS[:1]))).all() == is_sharper


# Activity and gradients -----------------------------------------------------------------------------------------------


def test_activity_of_hidden_layers() -> None:
    model = network()
    x = np.random.default_rng(2).normal(size=(5, 4))
    plain = model(cr.tensor(x)).detach().numpy()
    activity = regularizers.ActivityRegularization(model[1], l1=0.3, l2=0.1)
    output = model(cr.tensor(x))
    np.testing.assert_array_equal(output.detach().numpy(), plain)
    values = arrays(model)
    hidden = np.tanh(x @ values["0.weight"].T + values["0.bias"])
    penalty = activity.penalty(model, output)
    assert penalty.item() == pytest.approx((0.3 * np.abs(hidden).sum() + 0.1 * (hidden**2).sum()) / 5, rel=1e-12)
    penalty.backward()
    slope = (0.3 * np.sign(hidden) + 0.2 * hidden) / 5 * (1 - hidden**2)
    np.testing.assert_allclose(model[0].weight.grad.numpy(), slope.T @ x, rtol=1e-10)
    assert model[2].weight.grad is None
    model.eval()
    model(cr.tensor(x))
    assert activity.penalty(model, None) is None
    model.train()
    activity.remove()
    model(cr.tensor(x))
    assert activity.penalty(model, None) is None


def test_noise_in_a_captured_step_is_new_in_every_step() -> None:
    model = nn.Linear(20, 30, bias=False)
    optimizer, noise = cr.optim.SGD(model.parameters(), lr=1.0), regularizers.GradientNoise(eta=0.3)
    start = model.weight.detach().numpy().copy()

    @cr.compile
    def step() -> None:
        optimizer.zero_grad()
        (model.weight * 0).sum().backward()
        noise.change_gradients(model)
        optimizer.step()

    moves = []
    for _ in range(3):
        step()
        moves.append(model.weight.detach().numpy() - start)
        start = start + moves[-1]
    assert noise.steps == 3
    for t, move in enumerate(moves):
        assert move.var() == pytest.approx(0.3 / (1 + t) ** 0.55, rel=0.25)
    assert abs(np.corrcoef(moves[0].ravel(), moves[1].ravel())[0, 1]) < 0.2


def test_gradient_noise_has_the_variance_of_its_schedule_and_follows_the_seed() -> None:
    model = nn.Linear(100, 100)
    found = []
    for _ in range(2):
        cr.manual_seed(5)
        noise = regularizers.GradientNoise(eta=0.3, gamma=0.55)
        seen = []
        for _ in range(3):
            model.zero_grad()
            (model.weight.sum() + model.bias.sum()).backward()
            noise.change_gradients(model)
            seen.append(model.weight.grad.numpy().copy() - 1)
        found.append(seen)
        assert noise.steps == 3
    for t, (first, second) in enumerate(zip(*found, strict=True)):
        np.testing.assert_array_equal(first, second)
        assert abs(first.mean()) < 0.03
        assert first.var() == pytest.approx(0.3 / (1 + t) ** 0.55, rel=0.06)
    assert not np.allclose(found[0][0], found[0][1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L2(-1.0), "l2 must be at least 0, got -1.0"),
        (lambda: regularizers.L1(float("nan")), "l1 must be at least 0"),
        (lambda: regularizers.L1(1.0, parameters="weight"), "did you mean 'weights'"),
        (lambda: regularizers.MaxNorm(0), "max_norm must be greater than 0"),
        (lambda: regularizers.ConfidencePenalty(of="logit"), "did you mean 'logits'"),
        (lambda: regularizers.GradientNoise(eta=-1), "eta must be at least 0"),
        (lambda: regularizers.prediction_entropy(cr.zeros(3, 1)), "of='binary_logits' for a network with one output"),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises((ArgumentError, ShapeError), match=message):
        make()
