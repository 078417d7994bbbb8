"""Choosing a backend, and the debugger that finds the first value that is not finite."""

import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, NonFiniteError


def line_of(function: object, text: str) -> int:
    lines, start = inspect.getsourcelines(function)  # type: ignore[arg-type]
    return start + next(i for i, line in enumerate(lines) if text in line)


def test_backends_agree_and_are_left_again() -> None:
    x = cr.rand(4, 5)  # sums of positive numbers: nothing cancels, each is precise
    expected = (x.exp() @ x.T).sum(0).numpy()
    with cr.backend("reference"):
        found = (x.exp() @ x.T).sum(0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert cr.settings.settings.backend == "native"


def test_an_error_inside_leaves_the_backend() -> None:
    with pytest.raises(ZeroDivisionError), cr.backend("reference"):
        1 / 0
    assert cr.settings.settings.backend == "native"
    with pytest.raises(ArgumentError, match="did you mean 'native'"), cr.backend("nativ"):
        pass


def test_captured_functions_follow_the_backend() -> None:
    double = cr.compile(lambda x: x * 2)
    assert double(cr.ones(2)).tolist() == [2, 2]
    with cr.backend("reference"):
        assert double(cr.ones(2)).tolist() == [2, 2]
        with pytest.raises(ArgumentError, match="native backend only"):
            double.ir("llvm")


def forward_with_nan(x: cr.Tensor) -> cr.Tensor:
    shifted = x - 2
    logarithm = shifted.log()
    return (logarithm * 3).sum()


def test_debug_names_the_line_of_a_nan_in_the_forward_pass() -> None:
    with pytest.raises(NonFiniteError) as error, cr.debug():
        forward_with_nan(cr.tensor([3.0, 1.0])).item()
    line = line_of(forward_with_nan, "shifted.log()")
    assert f"test_backend.py:{line}" in str(error.value)
    assert "log (natural logarithm) of float32[2] gave nan at index (1,)" in str(error.value)


def backward_with_nan(x: cr.Tensor) -> cr.Tensor:
    root = x.sqrt()
    return (root * 2).sum()


def test_debug_names_the_forward_line_of_a_nan_in_the_backward_pass() -> None:
    """√0 is 0, its derivative is infinite."""
    x = cr.tensor([1.0, 0.0], requires_grad=True)
    with pytest.raises(NonFiniteError) as error, cr.debug():
        loss = backward_with_nan(x)
        loss.backward()
        loss.item()
    assert f"test_backend.py:{line_of(backward_with_nan, 'x.sqrt()')}" in str(error.value)


def test_debug_names_the_module_and_two_models_have_their_own_lines() -> None:
    class Broken(nn.Module):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return x / (x - x)

    for _ in range(2):
        model = nn.Sequential(nn.Linear(3, 3), Broken())
        with pytest.raises(NonFiniteError, match=r"divide(.|\n)*in module '1'"), cr.debug():
            model(cr.ones(2, 3)).sum().item()


def equal_program(x: cr.Tensor) -> cr.Tensor:
    return ((x - 2).log() * 3).sum()


def test_debug_does_not_mistake_one_line_for_another_that_does_the_same() -> None:
    for function in (forward_with_nan, equal_program):
        with pytest.raises(NonFiniteError) as error, cr.debug():
            function(cr.tensor([[3.0, 1.0]])).item()
        assert f":{line_of(function, 'log()')}" in str(error.value)


def test_debug_lets_sound_training_pass() -> None:
    cr.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with cr.debug():
        for _ in range(3):
            optimizer.zero_grad()
            (model(cr.ones(4, 3)) ** 2).mean().backward()
            optimizer.step()
    assert bool((model(cr.ones(4, 3)).abs() < 10).all())
