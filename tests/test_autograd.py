"""Derivatives as functions, against PyTorch's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import GradientError

torch = pytest.importorskip("torch")

A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
B = np.array([0.3, -0.6, 0.9])


@pytest.fixture(params=["reference", "native"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with cr.backend(request.param):
        yield request.param


def leaves(m: Any) -> tuple[Any, Any]:
    make = torch.tensor if m is torch else cr.tensor
    return make(A).requires_grad_(), make(B).requires_grad_()


def flat(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [part for item in value for part in flat(item)]
    return [None if value is None else value.detach().numpy() if hasattr(value, "detach") else value]


def same(program: Callable[[Any], Any]) -> None:
    found, expected = flat(program(cr)), flat(program(torch))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_grad() -> None:
    def program(m: Any) -> Any:
        a, b = leaves(m)
        y = (a @ b).tanh()
        first = m.autograd.grad(y.sum(), [a, b], retain_graph=True)
        second = m.autograd.grad(y, (a, b), grad_outputs=m.ones(2, dtype=m.float64) * 3, only_inputs=True)
        several = m.autograd.grad([(a * a).sum(), b.exp().sum()], [a, b])
        unused = m.autograd.grad(a.sum(), [a, b], allow_unused=True)
        return [first, second, several, unused, a.grad]

    same(program)


def test_second_order() -> None:
    def program(m: Any) -> Any:
        a, b = leaves(m)
        y = ((a * b).exp() * a).sum()
        (first,) = m.autograd.grad(y, a, create_graph=True)
        second = m.autograd.grad(first.square().sum(), [a, b], retain_graph=True)
        (third,) = m.autograd.grad(m.autograd.grad(first.sum(), a, create_graph=True)[0].sum(), b)
        return [first, second, third]

    same(program)


def test_a_gradient_penalty() -> None:
    """The derivative of a gradient's norm, by way of backward()."""

    def program(m: Any) -> Any:
        a, b = leaves(m)
        (g,) = m.autograd.grad((a @ b).tanh().sum(), a, create_graph=True)
        penalty = (g.norm() - 1) ** 2
        value = penalty.item()
        penalty.backward()
        return [m.tensor(value), a.grad, b.grad]

    same(program)


def test_results_without_create_graph_are_constants() -> None:
    a, b = leaves(cr)
    (g,) = cr.autograd.grad((a @ b).sum(), a)
    assert not g.requires_grad
    assert a.grad is None


def test_errors_of_grad() -> None:
    a, b = leaves(cr)
    with pytest.raises(GradientError, match="not have been used"):
        cr.autograd.grad(a.sum(), b)
    with pytest.raises(GradientError, match="only for scalar outputs"):
        cr.autograd.grad(a * 2, a)
    loss = (a * a).sum()
    loss.item()
    with cr.no_grad():
        a.add_(1)
    with pytest.raises(GradientError):
        cr.autograd.grad(loss, a)


def test_functional_jacobian_and_hessian() -> None:
    def program(m: Any) -> Any:
        a, b = (x.detach() for x in leaves(m))
        f = m.autograd.functional
        return [
            f.jacobian(lambda x: x.exp() * b, b),
            f.jacobian(lambda x, y: x @ y, (a, b)),
            f.jacobian(lambda x: x.sum(), a),
            f.hessian(lambda x: (x**3).sum() + x[0] * x[1], b),
            f.hessian(lambda x: (x @ b).exp().sum(), a),
        ]

    same(program)


def test_functional_products() -> None:
    def program(m: Any) -> Any:
        a, b = (x.detach() for x in leaves(m))
        v = b * 2 + 1
        f = m.autograd.functional
        return [
            f.vjp(lambda x: x.exp(), b, v),
            f.vjp(lambda x: x.square().sum(), b),
            f.vjp(lambda x, y: x @ y, (a, b), m.ones(2, dtype=m.float64)),
            f.jvp(lambda x: x.exp() * x, b, v),
            f.jvp(lambda x, y: x @ y, (a, b), (a * 2, v)),
            f.hvp(lambda x: (x**3).sum() * x[0], b, v),
        ]

    same(program)


def test_linear_functions_have_no_second_derivative() -> None:
    value, product = cr.autograd.functional.hvp(lambda x: x.sum() * 2, cr.ones(3), cr.ones(3))
    assert (value.item(), product.tolist()) == (6, [0, 0, 0])
    assert cr.autograd.functional.hessian(lambda x: x.sum(), cr.ones(2)).tolist() == [[0, 0], [0, 0]]


def test_gradcheck() -> None:
    x, y = cr.randn(3, 2, dtype=cr.float64), cr.rand(2, dtype=cr.float64)
    assert cr.autograd.gradcheck(lambda x, y: (x @ y).sigmoid() * x.amax(), (x, y))
    assert cr.autograd.gradcheck(lambda x: (x * y).sum(), x)
    w = cr.randn(2, requires_grad=True, dtype=cr.float64)
    assert cr.autograd.gradcheck(lambda x: (x @ w).tanh(), x)


def test_gradcheck_finds_a_wrong_derivative() -> None:
    """x · stop_gradient(x) has the value of x² and half its derivative."""
    wrong = lambda x: (x * (x * 1).detach()).sum()
    with pytest.raises(GradientError, match="wrong derivative"):
        cr.autograd.gradcheck(wrong, cr.tensor([1.0, 2.0]))
    assert not cr.autograd.gradcheck(wrong, cr.tensor([1.0, 2.0]), raise_exception=False)
