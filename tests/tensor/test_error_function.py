"""The complement of the error function against the C library, over its whole range."""

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
