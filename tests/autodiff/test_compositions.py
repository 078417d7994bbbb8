"""The derivative of the logarithm of a sigmoid, against its closed form and against PyTorch where that is exact."""

from collections.abc import Callable

import numpy as np
import pytest

import chainrule as cr
from chainrule import autograd
from chainrule.nn import functional as F

Z = np.array([[-800.0, -40.0, -20.0], [-1.0, 0.0, 3.0], [20.0, 50.0, 800.0]])


def expit(z: np.ndarray) -> np.ndarray:
    return np.where(z < 0, np.exp(np.minimum(z, 0)), 1) / (1 + np.exp(-np.abs(z)))


FORMS: dict[str, tuple[Callable, np.ndarray]] = {
    "log p": (lambda p: cr.log(p), expit(-Z)),
    "log of the complement": (lambda p: cr.log(1 - p), -expit(Z)),
    "the complement of a column": (lambda p: cr.log(1 - p[:, 1]), -expit(Z) * [0, 1, 0]),
    "a column of the complement": (lambda p: cr.log((1 - p)[:, 1]), -expit(Z) * [0, 1, 0]),
    "flat and transposed": (lambda p: cr.log(p.T.reshape(-1)), expit(-Z)),
    "repeated": (lambda p: cr.log(p.expand(2, 3, 3)), 2 * expit(-Z)),
    "used twice": (lambda p: cr.log(p) + p, expit(-Z) + expit(Z) * expit(-Z)),
    "binary cross-entropy of ones": (lambda p: F.binary_cross_entropy(p, cr.ones_like(p), reduction="sum"), -expit(-Z)),
    "binary cross-entropy of zeros": (lambda p: F.binary_cross_entropy(p, cr.zeros_like(p), reduction="sum"), expit(Z)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_that_do_not_vanish_where_the_sigmoid_is_exactly_0_or_1(form: str, dtype: str) -> None:
    function, expected = FORMS[form]
    z = cr.tensor(Z.astype(dtype), requires_grad=True)
    function(cr.sigmoid(z)).sum().backward()
    assert z.grad is not None
    tolerance = 4 * np.finfo(dtype).eps
    near_0 = 0 if "complement" in form or "zeros" in form else tolerance  # 1 - p has as many digits as p
    np.testing.assert_allclose(z.grad.numpy(), expected, rtol=25 * tolerance, atol=near_0 + 1e-45)


def test_the_second_derivative() -> None:
    curvature = autograd.hessian(lambda z: cr.log(1 - cr.sigmoid(z)).sum(), cr.tensor(Z[1]))
    np.testing.assert_allclose(curvature.numpy(), np.diag(-expit(Z[1]) * expit(-Z[1])), rtol=1e-12, atol=1e-15)


def test_a_gradient_of_the_probabilities_themselves() -> None:
    z = cr.tensor([1.0, -2.0], dtype=cr.float64, requires_grad=True)
    p = cr.sigmoid(z)
    by_p, by_z = autograd.grad(cr.log(p).sum(), [p, z])
    np.testing.assert_allclose(by_p.numpy(), 1 / expit(np.array([1.0, -2.0])))
    np.testing.assert_allclose(by_z.numpy(), expit(np.array([-1.0, 2.0])))


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_what_only_looks_alike_is_differentiated_part_by_part(factor: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = []
    for library in (cr, torch):
        z = library.tensor(Z[1], requires_grad=True)
        library.log(factor - library.sigmoid(z) * min(factor, 1)).sum().backward()
        gradients.append(z.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-12)
