"""Clipping: gradients and norms equal PyTorch's, in loops, in compiled steps, and in the training loop's program."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.compiler.capture import Loop
from chainrule.errors import ArgumentError, CaptureError, NonFiniteError
from chainrule.nn import utils


def make(library: Any, gradients: list[np.ndarray]) -> list[Any]:
    parameters = [library.nn.Parameter(library.tensor(np.zeros_like(each))) for each in gradients]
    unused = library.nn.Parameter(library.tensor(np.zeros(2)))
    loss = sum((p * library.tensor(g)).sum() for p, g in zip(parameters, gradients, strict=True))
    loss.backward()
    return [*parameters, unused]


def random_gradients(scale: float = 3.0) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [scale * rng.normal(size=shape) for shape in ((4, 3), (3,), (), (1, 1), (2, 0))]


def gradients_of(parameters: list[Any]) -> list[Any]:
    return [None if p.grad is None else np.array(p.grad.numpy()) for p in parameters]


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    for a, b in zip(gradients_of(ours), gradients_of(theirs), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("order", [2.0, 1.0, 3.0, math.inf, "inf"])
@pytest.mark.parametrize("limit", [0.5, 100.0, 0.0])
def test_norms_equal_pytorch(order: Any, limit: float) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(cr, random_gradients()), make(torch, random_gradients())
    if order != 2.0:  # PyTorch has no norm of nothing but the Euclidean one
        ours, theirs = ours[:4], theirs[:4]
    norm = utils.clip_grad_norm_(ours, limit, order)
    wanted = torch.nn.utils.clip_grad_norm_(theirs, limit, order)
    assert norm.dtype is cr.float64 and norm.shape == ()
    assert norm.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert_same(ours, theirs)


def test_values_equal_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(cr, random_gradients()), make(torch, random_gradients())
    utils.clip_grad_value_(ours, 0.7)
    torch.nn.utils.clip_grad_value_(theirs, 0.7)
    assert_same(ours, theirs)


def test_each_parameter_on_its_own() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(cr, random_gradients()), make(torch, random_gradients())
    norms = utils.clip_grad_norm_each_(ours, 1.5)
    wanted = [torch.nn.utils.clip_grad_norm_(p, 1.5).item() for p in theirs[:-1]]
    assert [norm.item() for norm in norms] == pytest.approx(wanted, rel=1e-12)
    assert_same(ours, theirs)


def test_a_norm_computed_before() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make(cr, random_gradients()), make(torch, random_gradients())
    for library, parameters in ((cr, ours), (torch, theirs)):
        tools = library.nn.utils
        total = tools.get_total_norm([p.grad for p in parameters if p.grad is not None])
        tools.clip_grads_with_norm_(parameters, 2.0, total)
    assert_same(ours, theirs)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_norms_that_are_not_finite(bad: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = [np.array([1.0, bad]), np.array([2.0])]
    ours, theirs = make(cr, gradients), make(torch, gradients)
    with pytest.raises(NonFiniteError, match=r"total norm of order 2\.0 .* is non-finite"):
        utils.clip_grad_norm_(ours, 1.0, error_if_nonfinite=True)
    assert ours[1].grad.tolist() == [2.0]
    norm, wanted = utils.clip_grad_norm_(ours, 1.0), torch.nn.utils.clip_grad_norm_(theirs, 1.0)
    np.testing.assert_equal(norm.item(), wanted.item())
    assert_same(ours, theirs)


def test_one_tensor_none_and_generators() -> None:
    parameter = make(cr, [np.array([3.0, 4.0])])[0]
    assert utils.clip_grad_norm_(parameter, 1.0).item() == 5.0
    np.testing.assert_allclose(parameter.grad.tolist(), [0.6, 0.8], rtol=1e-6)
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0
    assert utils.clip_grad_norm_([nn.Parameter(cr.ones(2))], 1.0).item() == 0.0
    layer = nn.Linear(2, 2)
    layer(cr.ones(1, 2)).sum().backward()
    assert utils.clip_grad_norm_(layer.parameters(), 0.1).item() == pytest.approx(math.sqrt(6))
    assert utils.get_total_norm([p.grad for p in layer.parameters()]).item() == pytest.approx(0.1, rel=1e-4)


def test_a_gradient_that_the_user_holds_is_the_one_that_is_clipped() -> None:
    parameter = make(cr, [np.array([3.0, 4.0])])[0]
    held = parameter.grad
    view = held.numpy()
    utils.clip_grad_value_(parameter, 1.0)
    assert held is parameter.grad and held.tolist() == view.tolist() == [1.0, 1.0]
    parameter.grad = cr.tensor([5.0, 0.5], dtype=cr.float64)
    utils.clip_grad_value_(parameter, 1.0)
    assert parameter.grad.tolist() == [1.0, 0.5]


CLIPS: dict[str, Callable[[Any, list[Any]], Any]] = {
    "norm": lambda library, parameters: library.nn.utils.clip_grad_norm_(parameters, 0.3),
    "largest": lambda library, parameters: library.nn.utils.clip_grad_norm_(parameters, 0.2, "inf"),
    "value": lambda library, parameters: library.nn.utils.clip_grad_value_(parameters, 0.05),
    "by hand": lambda library, parameters: [p.grad.clamp_(-0.05, 0.05).mul_(0.5) for p in parameters],
    "replaced": lambda library, parameters: [setattr(p, "grad", p.grad * 0.5) for p in parameters],
    "removed": lambda library, parameters: setattr(parameters[0], "grad", None),
}


class Problem:
    """A small regression in float64, with clipped gradients, in chainrule or in torch."""

    def __init__(self, library: Any, clip: Callable[[Any, list[Any]], Any]) -> None:
        rng = np.random.default_rng(0)
        self.library, self.clip = library, clip
        self.weights = [
            library.nn.Parameter(library.tensor(rng.normal(size=shape))) for shape in ((4, 3), (3,), (3, 2))
        ]
        self.X, self.y = library.tensor(rng.normal(size=(8, 4))), library.tensor(rng.normal(size=(8, 2)))
        self.optimizer = library.optim.SGD(self.weights, lr=0.5, momentum=0.9)

    def step(self) -> Any:
        W, b, V = self.weights
        self.optimizer.zero_grad()
        error = self.library.matmul(self.library.tanh(self.library.matmul(self.X, W) + b), V) - self.y
        loss = (error * error).mean()
        loss.backward()
        self.clip(self.library, self.weights)
        self.optimizer.step()
        return loss

    def values(self) -> list[np.ndarray]:
        return [np.array(weight.detach().numpy()) for weight in self.weights]


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("how", ["loop", "compiled", "training loop"])
def test_training_with_clipped_gradients(name: str, how: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = Problem(cr, CLIPS[name]), Problem(torch, CLIPS[name])
    for _ in range(20):
        theirs.step()
    if how == "training loop":
        Loop(ours.step).run(20)
    else:
        step = cr.compile(ours.step) if how == "compiled" else ours.step
        for _ in range(20):
            step()
    for a, b in zip(ours.values(), theirs.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    if how != "training loop":
        for mine, other in zip(ours.weights, theirs.weights, strict=True):
            assert (mine.grad is None) == (other.grad is None)
            if mine.grad is not None:
                np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-7)


def test_a_loop_with_clipping_binds_no_new_programs() -> None:
    from chainrule.compiler.launch import _LAUNCHES

    problem = Problem(cr, CLIPS["norm"])
    for _ in range(3):
        problem.step()
    before = len(_LAUNCHES)
    for _ in range(5):
        problem.step()
    assert len(_LAUNCHES) == before


def test_a_compiled_step_returns_the_norm() -> None:
    weight = nn.Parameter(cr.tensor([3.0, 4.0]))
    optimizer = cr.optim.SGD([weight], lr=0.0)

    @cr.compile
    def step(factor: cr.Tensor, strict: bool) -> cr.Tensor:
        optimizer.zero_grad()
        (weight * weight * factor).sum().backward()
        norm = utils.clip_grad_norm_(weight, 1.0, error_if_nonfinite=strict)
        optimizer.step()
        return norm

    assert [step(cr.tensor(value), False).item() for value in (0.5, 1.0, 2.0)] == [5.0, 10.0, 20.0]
    np.testing.assert_allclose(weight.grad.tolist(), [0.6, 0.8], rtol=1e-6)
    with pytest.raises(CaptureError, match="a value was asked for"):
        step(cr.tensor(1.0), True)


def test_wrong_arguments() -> None:
    weight = nn.Parameter(cr.ones(1))
    with pytest.raises(ArgumentError, match="max_norm must be at least 0, got -1"):
        utils.clip_grad_norm_(weight, -1)
    with pytest.raises(ArgumentError, match="clip_value must be at least 0, got nan"):
        utils.clip_grad_value_(weight, math.nan)
    with pytest.raises(ArgumentError, match="expects tensors, but one of them is str"):
        utils.clip_grad_norm_(["weight"], 1.0)
