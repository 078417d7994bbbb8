"""Special functions against the C library and SciPy, over their whole ranges."""

import math

import numpy as np
import pytest

import chainrule as cr


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_relative_error_also_in_the_tail(dtype: str) -> None:
    x = np.concatenate([np.linspace(-6, 27, 3001), [0.5, 4.0, np.inf, -np.inf, np.nan, -0.0]]).astype(dtype)
    exact = np.array([math.erfc(float(number)) for number in x])
    limits = np.finfo(dtype)
    tolerance = 5 * limits.eps * np.maximum(np.abs(exact), limits.tiny)
    found = cr.erfc(cr.tensor(x)).numpy()
    assert found.dtype == dtype
    is_nan = np.isnan(exact)
    np.testing.assert_array_equal(np.isnan(found), is_nan)
    assert (np.abs(found.astype(np.float64) - exact) <= tolerance)[~is_nan].all()


def test_gradient_is_that_of_the_error_function() -> None:
    assert cr.autograd.gradcheck(cr.erfc, cr.tensor([-3.0, -0.4, 0.0, 0.2, 1.0, 3.0, 5.0], dtype=cr.float64))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_inverse_of_the_error_function(dtype: str) -> None:
    special = pytest.importorskip("scipy.special")
    limits = np.finfo(dtype)
    ends = 1 - 10.0 ** -np.linspace(1, -np.log10(limits.epsneg), 300)
    small = 10.0 ** -np.linspace(1, 30, 100)
    x = np.concatenate([np.linspace(-1, 1, 2001), ends, -ends, small, [1.5, -2.0, np.nan, 0.0]]).astype(dtype)
    exact = special.erfinv(x.astype(np.float64))
    found = cr.erfinv(cr.tensor(x)).numpy()
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.isinf(found), np.abs(x) == 1)
    np.testing.assert_allclose(found, exact, rtol=5 * limits.eps)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_logarithm_of_the_gamma_function(dtype: str) -> None:
    near = np.concatenate([np.linspace(-20.3, 20.3, 4001), [0.5, 8.0, 7.999999, 1.0, 2.0]])
    x = np.concatenate([near, 10.0 ** np.linspace(-30, 30, 200), -(10.0 ** np.linspace(-30, -1, 50))]).astype(dtype)
    x = x[x != np.round(x)] if dtype == "float32" else x
    exact = np.array([math.lgamma(float(number)) if number > 0 or number % 1 else math.inf for number in x])
    found = cr.lgamma(cr.tensor(x)).numpy()
    assert found.dtype == dtype
    eps = np.finfo(dtype).eps
    distance = np.abs(x.astype(np.float64) - np.round(x.astype(np.float64)))
    conditioned = np.where(x < 0.5, 1e-15 * np.abs(x) / np.maximum(distance, 1e-300), 0.0)  # beside a pole
    assert (
        np.abs(found - exact)[np.isfinite(exact)] <= (4 * eps * np.abs(exact) + 2e-14 + conditioned)[np.isfinite(exact)]
    ).all()
    special = cr.lgamma(cr.tensor(np.array([0.0, -0.0, -3.0, np.inf, -np.inf, np.nan], dtype))).numpy()
    np.testing.assert_array_equal(special, [np.inf, np.inf, np.inf, np.inf, np.inf, np.nan])


def test_gradients_of_any_order() -> None:
    inside = cr.tensor([-0.97, -0.4, 0.0, 0.2, 0.849, 0.9], dtype=cr.float64, requires_grad=True)
    anywhere = cr.tensor([-3.3, -0.5, 0.3, 1.0, 2.0, 7.9, 8.1, 40.0], dtype=cr.float64, requires_grad=True)
    for function, x in ((cr.erfinv, inside), (cr.lgamma, anywhere)):
        assert cr.autograd.gradcheck(function, x)
        assert cr.autograd.gradcheck(lambda x, f=function: cr.autograd.grad(f(x).sum(), x, create_graph=True)[0], x)
