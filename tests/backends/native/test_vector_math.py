"""Vector maths against NumPy in higher precision: errors in units in the last place, specials, every target level."""

import math

import numpy as np
import pytest

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.vector_math import ELEMENTWISE
from tests.backends.native.native_kernels import HOST, elementwise

RANDOM = np.random.default_rng(0)
FLOATS = ["float32", "float64"]
LEVELS = ["", "avx2", "sse"] if "x86_64" in HOST.triple else [""]
WIDER = {"float32": np.float64, "float64": np.longdouble}

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def error_function(x):
    """erf by its series below 2.5 and its continued fraction above, in the precision of x."""
    size, near = np.minimum(abs(x), 30), np.zeros_like(x)
    term = small = np.minimum(size, 2.5)
    for n in range(1, 60):
        near = near + term / (2 * n - 1)
        term = -term * small * small / n
    fraction = size = np.maximum(size, 2.5)
    for n in range(120, 0, -1):
        fraction = size + n / 2 / fraction
    two_over_root_pi = 2 / np.sqrt(4 * np.arctan(x.dtype.type(1)))
    far = 1 - np.exp(-size * size) / fraction * two_over_root_pi / 2
    return np.where(np.isnan(x), x, np.copysign(np.where(abs(x) < 2.5, near * two_over_root_pi, far), x))


def sigmoid(x):
    tail = np.exp(-abs(x))
    return np.where(x < 0, tail, x.dtype.type(1)) / (1 + tail)


UNARY = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "erf": error_function,
    "sigmoid": sigmoid, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x), "sin": np.sin, "cos": np.cos,
    "floor": np.floor, "ceil": np.ceil, "round": np.rint, "abs": np.abs, "sign": np.sign, "negative": np.negative,
}  # fmt: skip


def special_values(dtype):
    limits = np.finfo(dtype)
    ends = [limits.tiny, limits.tiny / 4, limits.smallest_subnormal, limits.max, limits.eps, math.inf, 0.0]
    thresholds = [0.5, 1.0, 1.5, 2.5, 4.0, 6.0, 88.72283, 88.72284, 103.97, 709.78, 709.79, 745.2, 2.0**20, 1e7, 1e22]
    return np.array([*ends, *thresholds, *(-x for x in [*ends, *thresholds]), math.nan], dtype)


def many_values(dtype, count=16000):
    """All magnitudes, the usual range, the surroundings of 0, 1 and of multiples of pi / 2, and special values."""
    integer = "int32" if dtype == "float32" else "int64"
    limits = np.iinfo(integer)
    parts = [
        RANDOM.integers(limits.min, limits.max, count, integer).view(dtype),
        RANDOM.normal(size=2 * count) * 3,
        RANDOM.uniform(-1, 1, count),
        RANDOM.uniform(-110, 110, count),
        RANDOM.uniform(-750, 750, count),
        1 + RANDOM.normal(size=count) * 0.02,
        RANDOM.integers(-600000, 600000, count) * (math.pi / 2),
        special_values(dtype),
    ]
    return np.concatenate([part.astype(dtype) for part in parts])


def ulps(got, exact):
    """Error in units in the last place of the exact value; infinite where a special value is wrong."""
    rounded = exact.astype(got.dtype)
    same = (rounded == got) | (np.isnan(rounded) & np.isnan(got))
    finite = np.isfinite(rounded) & np.isfinite(got)
    error = np.abs(got.astype(exact.dtype) - exact) / np.spacing(np.abs(rounded)).astype(exact.dtype)
    return np.where(same, 0.0, np.where(finite, error, np.inf)).astype(float)


def assert_within_ulps(got, exact, *inputs, limit=4):
    error = ulps(got, exact)
    worst = int(np.argmax(error))
    where = f"{error[worst]} ulp at {[x[worst] for x in inputs]}: got {got[worst]}, expected {exact[worst]}"
    assert error[worst] <= limit, where


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_variable(name, dtype, level):
    x = many_values(dtype, 16000 if level == "" else 2000)
    if np.finfo(np.longdouble).nmant == 52 and dtype == "float64":
        pytest.skip("no wider type to compare with")
    got = elementwise(ELEMENTWISE[name], x, target=host_target(level))
    exact = UNARY[name](x.astype(WIDER[dtype]))
    assert_within_ulps(got, exact, x)
    zero = (x == 0) & (got == 0)
    if name != "sign":
        np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(exact[zero]), "sign of zero")


@pytest.mark.parametrize("dtype", FLOATS)
def test_scalars_give_the_bits_of_vectors(dtype):
    x = many_values(dtype, 20)
    for name in UNARY:
        by_vector, by_scalar = (elementwise(ELEMENTWISE[name], x, lanes=lanes) for lanes in (HOST.lanes(dtype), 1))
        np.testing.assert_array_equal(by_vector, by_scalar, name)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_power(dtype, level):
    if np.finfo(np.longdouble).nmant == 52 and dtype == "float64":
        pytest.skip("no wider type to compare with")
    specials = np.concatenate(
        [special_values(dtype), np.arange(-5, 6).astype(dtype), np.array([3e15, 0.999, -1.001], dtype)]
    )
    bases, exponents = (grid.ravel() for grid in np.meshgrid(specials, specials))
    size = 40000 if level == "" else 4000
    near_one = (1 + RANDOM.normal(size=size) * 0.01).astype(dtype)
    near_one_exponents = (RANDOM.normal(size=size) * (3000 if dtype == "float32" else 30000)).astype(dtype)
    wide = np.exp(RANDOM.uniform(-80, 80, size)).astype(dtype)
    wide_exponents = RANDOM.uniform(-8, 8, size).astype(dtype)
    x = np.concatenate([bases, near_one, wide])
    y = np.concatenate([exponents, near_one_exponents, wide_exponents])
    got, exact = (
        elementwise(ELEMENTWISE["power"], x, y, target=host_target(level)),
        np.power(x.astype(WIDER[dtype]), y.astype(WIDER[dtype])),
    )
    assert_within_ulps(got, exact, x, y)
    zero = got == 0
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(np.power(x, y)[zero]))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_arctangent(dtype, level):
    if np.finfo(np.longdouble).nmant == 52 and dtype == "float64":
        pytest.skip("no wider type to compare with")
    specials = special_values(dtype)
    y, x = (grid.ravel() for grid in np.meshgrid(specials, specials))
    size = 20000 if level == "" else 2000
    y = np.concatenate([y, RANDOM.normal(size=size).astype(dtype), many_values(dtype, 1000)])
    x = np.concatenate([x, RANDOM.normal(size=size).astype(dtype), RANDOM.permutation(many_values(dtype, 1000))])
    got = elementwise(ELEMENTWISE["atan2"], y, x, target=host_target(level))
    exact = np.arctan2(y.astype(WIDER[dtype]), x.astype(WIDER[dtype]))
    assert_within_ulps(got, exact, y, x, limit=2)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(exact[got == 0]), "sign of zero")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "name", ["floor_divide", "remainder", "maximum", "minimum", "add", "subtract", "multiply", "divide"]
)
def test_float_operations_are_numpys(name, dtype):
    values = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 7.0, 0.1, -0.1, 1e30, -1e-30, np.inf, -np.inf, np.nan], dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(values, values))
    a = np.concatenate([a, (RANDOM.normal(size=2000) * 50).astype(dtype)])
    b = np.concatenate([b, (RANDOM.normal(size=2000) * 3).astype(dtype)])
    np.testing.assert_array_equal(elementwise(ELEMENTWISE[name], a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "maximum", "minimum", "add", "subtract", "multiply"])
def test_integer_operations_are_numpys(name, dtype):
    limits = np.iinfo(dtype)
    values = np.array([0, 1, -1, 2, -2, 3, -3, 7, -7, 100, limits.max, limits.min, limits.min + 1], dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(values, values))
    np.testing.assert_array_equal(elementwise(ELEMENTWISE[name], a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_power_wraps_around(dtype):
    a, b = (
        grid.ravel().astype(dtype) for grid in np.meshgrid([0, 1, -1, 2, -3, 10, 12345], [0, 1, 2, 3, 5, 31, 1000001])
    )
    np.testing.assert_array_equal(elementwise(ELEMENTWISE["power"], a, b), np.power(a, b))
    got = elementwise(ELEMENTWISE["power"], a, -b - 1)
    unit_powers = np.where(b % 2 == 1, 1, a)
    np.testing.assert_array_equal(got, np.where(abs(a) == 1, unit_powers, 0))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", ["abs", "sign", "negative", "floor", "ceil", "round"])
def test_integer_functions_of_one_variable(name, dtype):
    x = np.array([0, 5, -5, np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    np.testing.assert_array_equal(elementwise(ELEMENTWISE[name], x), UNARY[name](x))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_comparisons_and_logic_give_bool(dtype):
    a, b = (grid.ravel().astype(dtype) for grid in np.meshgrid([0, 1, 2, -1], [0, 1, 3]))
    for name in ("equal", "not_equal", "less", "less_equal", "logical_and", "logical_or"):
        got = elementwise(ELEMENTWISE[name], a, b)
        assert got.dtype == bool
        np.testing.assert_array_equal(got, getattr(np, name)(a, b), name)
    np.testing.assert_array_equal(elementwise(ELEMENTWISE["logical_not"], a), np.logical_not(a))
    np.testing.assert_array_equal(elementwise(ELEMENTWISE["where"], a > b, a, b, lanes=4), np.where(a > b, a, b))


def test_bool_arithmetic_is_numpys():
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    for name in ("add", "multiply", "maximum", "minimum"):
        np.testing.assert_array_equal(elementwise(ELEMENTWISE[name], a, b, lanes=4), getattr(np, name)(a, b), name)
    np.testing.assert_array_equal(elementwise(ELEMENTWISE["abs"], a, lanes=4), a)


def test_fast_math_flags_outside_do_not_reach_inside():
    def flagged(x):
        with x.function.flags("reassoc contract nsz"):
            return ELEMENTWISE["log1p"](x)

    x = many_values("float32", 2000)
    np.testing.assert_array_equal(elementwise(flagged, x), elementwise(ELEMENTWISE["log1p"], x))
