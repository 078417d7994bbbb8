"""Nests against a NumPy interpreter: shapes, element types, accesses, reductions, processors, splits into tasks."""

import math

import numpy as np
import pytest

from chainrule.backends.native.cpu import host_target
from chainrule.passes.plan import Access, DynamicTerm, Reduction, Store
from tests.backends.native.nest_cases import Builder, interpret, run_nest

TARGETS = ["avx512", "avx2", "sse"]
SIZES = [0, 1, 2, 3, 7, 8, 12, 16, 17, 33, 100, 1003]


def check(builder, nest, level="avx512", parts=1, tolerance=0.0):
    expected = interpret(builder, nest)
    info = run_nest(builder, nest, host_target(level), parts)
    for want, array in zip(expected, builder.arrays, strict=True):
        np.testing.assert_allclose(array, want, rtol=tolerance, atol=tolerance)
    return info


def strides_of(shape):
    return tuple(math.prod(shape[d + 1 :]) for d in range(len(shape)))


def reduced_strides(shape, axes):
    kept = [1 if d in axes else n for d, n in enumerate(shape)]
    return tuple(0 if d in axes else math.prod(kept[d + 1 :]) for d in range(len(shape))), math.prod(kept)


def reduce_nest(builder, values, axes, operation, strides=None):
    """A nest that reduces a new array of values into a new result."""
    number = builder.load(builder.array(values), strides or strides_of(values.shape))
    result_strides, size = reduced_strides(values.shape, axes)
    result = builder.array(np.full(size, 7, np.int64 if operation.startswith("arg") else values.dtype))
    return builder.nest(values.shape, [], [Reduction(operation, Access(result, result_strides), number, axes)])


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("size", SIZES)
def test_elementwise(size, dtype, level):
    rng, b = np.random.default_rng(size), Builder()
    x, y = (b.array((rng.normal(size=size) * 50).astype(dtype)) for _ in range(2))
    total = b.add("add", dtype, b.load(x, (1,)), b.load(y, (1,)))
    check(b, b.nest((size,), [Store(Access(y, (1,)), total)]), level)


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("size", [1, 5, 16, 43])
def test_masks_and_casts(size, level):
    rng, b = np.random.default_rng(size), Builder()
    flags = b.load(b.array(rng.integers(0, 2, size).astype(bool)), (1,))
    x = b.load(b.array(rng.normal(size=size).astype(np.float32)), (1,))
    out, less = b.array(np.zeros(size)), b.array(np.zeros(size, bool))
    zero = b.add("constant", "float32", value=0.0)
    smaller = b.add("less", "bool", x, zero)
    chosen = b.add("where", "float32", flags, x, zero)
    stores = [Store(Access(less, (1,)), smaller), Store(Access(out, (1,)), b.add("cast", "float64", chosen))]
    check(b, b.nest((size,), stores), level)


def random_access(rng, builder, values, domain):
    """An access over the domain to a new dense array, its dimensions in any order, some backwards, some absent."""
    order = rng.permutation(len(domain))
    strides, step, offset = [0] * len(domain), 1, 0
    for d in order:
        if values is None or rng.random() < 0.8:
            backwards = rng.random() < 0.3
            strides[d] = -step if backwards else step
            offset += step * (domain[d] - 1) if backwards else 0
            step *= domain[d]
    array = np.zeros(step, np.float32) if values is None else values(step).astype(np.float32)
    return Access(builder.array(array), tuple(strides), offset)


@pytest.mark.parametrize("seed", range(60))
def test_random_accesses(seed):
    rng, b = np.random.default_rng(seed), Builder()
    domain = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8, 16, 17, 33], rng.integers(0, 4)))
    values = lambda size: rng.normal(size=size)
    loads = [b.add("load", access=random_access(rng, b, values, domain)) for _ in range(3)]
    total = b.add("add", "float32", b.add("multiply", "float32", loads[0], loads[1]), loads[2])
    stores = [Store(random_access(rng, b, None, domain), number) for number in rng.choice([total, loads[0]], 2)]
    reductions = []
    if domain and seed % 2:
        axes = tuple(d for d in range(len(domain)) if rng.random() < 0.5) or (0,)
        strides, size = reduced_strides(domain, axes)
        for operation in ("sum", "max", "min")[: rng.integers(1, 4)]:
            access = Access(b.array(np.zeros(size, np.float32)), strides)
            reductions.append(Reduction(operation, access, int(rng.choice([total, loads[1]])), axes))
    check(b, b.nest(domain, stores, reductions), TARGETS[seed % 3], tolerance=2e-5)


SHAPES = [
    ((10,), (0,)), ((1,), (0,)), ((1000,), (0,)), ((10, 12), (0,)), ((64, 10), (1,)), ((33, 70), (0,)),
    ((3, 17), (0, 1)), ((5, 33), (1,)), ((4, 9, 21), (0, 2)), ((4, 9, 21), (1,)), ((7, 3, 2), (2,)), ((9, 1), (1,)),
    ((300, 41), (0,)),
]  # fmt: skip


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("shape", [(16, 16), (17, 16), (16, 19), (15, 40), (3, 33, 47), (2, 40, 100), (300, 130)])
def test_reading_across_the_vectors(shape, dtype, level):
    """y[..., i, j] = x[..., j, i] + z[..., i, j] in whole squares, with rows and columns left over, in any split."""
    rng, b = np.random.default_rng(0), Builder()
    turned = (*shape[:-2], shape[-1], shape[-2])
    x = b.array((rng.normal(size=turned) * 50).astype(dtype))
    y, z = (b.array((rng.normal(size=shape) * 50).astype(dtype)) for _ in range(2))
    across = b.load(x, (*strides_of(turned)[:-2], 1, shape[-2]))
    total = b.add("add", dtype, across, b.load(z, strides_of(shape)))
    check(b, b.nest(shape, [Store(Access(y, strides_of(shape)), total)]), level, parts=3)


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("operation", ["sum", "max", "min"])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_reductions(shape, axes, operation, level):
    rng, b = np.random.default_rng(5), Builder()
    check(b, reduce_nest(b, rng.normal(size=shape).astype(np.float32), axes, operation), level, tolerance=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "int32", "int64"])
@pytest.mark.parametrize("operation", ["sum", "max", "min"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_reductions_of_other_types(axes, operation, dtype):
    rng, b = np.random.default_rng(6), Builder()
    check(b, reduce_nest(b, (rng.normal(size=(19, 37)) * 100).astype(dtype), axes, operation), tolerance=1e-12)


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("operation", ["argmax", "argmin"])
@pytest.mark.parametrize(("shape", "axis"), [((64, 10), 1), ((6, 100), 1), ((10, 64), 0), ((1, 5), 0), ((333,), 0)])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_first_index_of_the_extremum(shape, axis, operation, dtype, level):
    rng, b = np.random.default_rng(7), Builder()
    values = rng.integers(0, 4, shape).astype(dtype)
    if dtype == "float32":
        values.ravel()[::41] = np.nan
        values.ravel()[1] = np.inf
        if values.ndim == 2:
            values[..., 2] = -np.inf
    check(b, reduce_nest(b, values, (axis,), operation), level)


@pytest.mark.parametrize("operation", ["max", "min", "sum"])
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_wins(operation, axis):
    values = np.ones((20, 20), np.float32)
    values[3, 4] = values[19, 19] = np.nan
    b = Builder()
    nest = reduce_nest(b, values, (axis,), operation)
    run_nest(b, nest)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(b.arrays[-1])), [4, 19] if axis == 0 else [3, 19])


def test_store_and_reduce_in_one_pass():
    rng, b = np.random.default_rng(8), Builder()
    x = b.load(b.array(rng.normal(size=(40, 13)).astype(np.float32)), (13, 1))
    e = b.add("exp", "float32", x)
    stored, sums = b.array(np.zeros(520, np.float32)), b.array(np.zeros(40, np.float32))
    nest = b.nest((40, 13), [Store(Access(stored, (13, 1)), e)], [Reduction("sum", Access(sums, (1, 0)), e, (1,))])
    check(b, nest, tolerance=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_empty_sums_are_zero(shape, axes):
    b = Builder()
    nest = reduce_nest(b, np.zeros(shape, np.float32), axes, "sum")
    run_nest(b, nest)
    assert (b.arrays[-1] == 0).all()


def test_scalar_domain():
    b = Builder()
    x, out = b.array(np.array([2.0], np.float32)), b.array(np.zeros(3, np.float32))
    check(b, b.nest((), [Store(Access(out, (), 1), b.add("sqrt", "float32", b.load(x, ())))]))


def test_operations_that_branch_inside_loops():
    """Sines of huge arguments go to the C library, lane by lane, in a block of their own."""
    x = np.linspace(-5, 5, 700).reshape(20, 35)
    x[3, ::7] = 1e9
    b = Builder()
    nest = reduce_nest(b, x, (1,), "sum")
    sine = b.add("sin", "float64", 0)
    out = b.array(np.zeros(x.shape))
    reductions = [Reduction("sum", nest.reductions[0].access, sine, (1,))]
    check(b, b.nest(x.shape, [Store(Access(out, (35, 1)), sine)], reductions), tolerance=1e-12)


INDICES = np.array([4, 0, 9, -3, 2, 2, 11])


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("width", [1, 5, 16, 40])
def test_take_rows(width, level):
    b = Builder()
    index = b.load(b.array(INDICES), (1, 0))
    table = b.array(np.random.default_rng(1).normal(size=(10, width)))
    x = b.load(table, (0, 1), 0, [DynamicTerm(index, width, 9)])
    out = b.array(np.zeros((7, width)))
    check(b, b.nest((7, width), [Store(Access(out, (width, 1)), x)]), level)


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_take_along_the_vector(rows, level):
    b = Builder()
    index = b.load(b.array(np.tile(INDICES, 3)), (0, 1))
    x = b.load(b.array(np.random.default_rng(1).normal(size=(rows, 10)).astype(np.float32)), (10, 0), 0,
               [DynamicTerm(index, 1, 9)])  # fmt: skip
    out = b.array(np.zeros((rows, 21), np.float32))
    check(b, b.nest((rows, 21), [Store(Access(out, (21, 1)), x)]), level)


@pytest.mark.parametrize("start", [-2, 0, 3, 50])
def test_dynamic_store(start):
    b = Builder()
    index = b.load(b.array(np.array([start])), (0, 0))
    value = b.load(b.array(np.arange(20.0, dtype=np.float32)), (5, 1))
    out = b.array(np.zeros((9, 5), np.float32))
    access = Access(out, (5, 1), 0, (DynamicTerm(index, 5, 5),))
    check(b, b.nest((4, 5), [Store(access, value)]))


@pytest.mark.parametrize("level", TARGETS)
@pytest.mark.parametrize("width", [1, 3, 16, 37])
def test_scatter_add_rows(width, level):
    rng, b = np.random.default_rng(2), Builder()
    index = b.load(b.array(rng.integers(-1, 6, 50)), (1, 0))
    value = b.load(b.array(rng.normal(size=(50, width))), (width, 1))
    out = b.array(rng.normal(size=(5, width)))
    access = Access(out, (0, 1), 0, (DynamicTerm(index, width, 4),))
    check(b, b.nest((50, width), [Store(access, value, accumulate=True, is_ordered=True)]), level, tolerance=1e-13)


def test_scatter_add_along_the_last_dimension():
    rng, b = np.random.default_rng(3), Builder()
    index = b.load(b.array(rng.integers(0, 4, 30)), (0, 1))
    value = b.load(b.array(rng.normal(size=(20, 30))), (30, 1))
    access = Access(b.array(np.zeros((20, 4))), (4, 0), 0, (DynamicTerm(index, 1, 3),))
    check(b, b.nest((20, 30), [Store(access, value, accumulate=True, is_ordered=True)]), tolerance=1e-13)


def test_overlapping_accumulation():
    """Windows that overlap: every element is a sum of several points."""
    rng, b = np.random.default_rng(4), Builder()
    value = b.load(b.array(rng.normal(size=(20, 3))), (3, 1))
    access = Access(b.array(np.zeros(22)), (1, 1))
    check(b, b.nest((20, 3), [Store(access, value, accumulate=True, is_ordered=True)]), tolerance=1e-13)


@pytest.mark.parametrize("level", TARGETS)
def test_random_numbers_have_the_bits_of_the_definition(level):
    b = Builder()
    seed, counter = (b.load(b.array(np.array([n])), (0, 0)) for n in (2**40 + 17, 5))
    element = b.add("index", "int64", access=Access(-1, (33, 1), 2))
    uniform = b.add("random_uniform", "float32", seed, counter, element, value=3)
    out = b.array(np.zeros((5, 33), np.float32))
    check(b, b.nest((5, 33), [Store(Access(out, (33, 1)), uniform)]), level)


@pytest.mark.parametrize("strides", [(3, 2), (-1, 7), (0, 0)])
def test_index_values(strides):
    b = Builder()
    index = b.add("index", "int64", access=Access(-1, strides, 4))
    out = b.array(np.zeros((6, 21), np.float32))
    check(b, b.nest((6, 21), [Store(Access(out, (21, 1)), b.add("cast", "float32", index))]))


BIG = [((800_003,), (0,)), ((1 << 15, 40), (0,)), ((40, 20_001), (1,)), ((6, 140_001), (1,)), ((3, 5, 1 << 16), (0, 2))]


@pytest.mark.parametrize(("shape", "axes"), BIG)
def test_big_reductions_are_exact_enough_and_independent_of_the_split(shape, axes):
    values = np.random.default_rng(9).random(shape).astype(np.float32)
    results = []
    for parts in (1, 2, 5):
        b = Builder()
        info = check(b, reduce_nest(b, values, axes, "sum"), parts=parts, tolerance=3e-6)
        assert info.is_parallel and info.tasks > 4
        results.append(b.arrays[-1].tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize(("domain", "strides"), [((300_001,), (1,)), ((500, 700), (700, 1)), ((3000, 101), (1, 3000))])
def test_big_elementwise_nests_are_independent_of_the_split(domain, strides):
    rng = np.random.default_rng(10)
    values, results = rng.normal(size=domain).astype(np.float32), []
    for parts in (1, 3):
        b = Builder()
        x = b.load(b.array(values), strides_of(domain))
        out = b.array(np.zeros(domain, np.float32))
        info = check(b, b.nest(domain, [Store(Access(out, strides), b.add("tanh", "float32", x))]), "", parts, 1e-6)
        assert info.is_parallel and info.tasks > 4
        results.append(b.arrays[-1].tobytes())
    assert results[0] == results[1]


def test_long_sums_of_one_accumulator_stay_precise():
    """A column of 3 000 000 equal numbers: adding them one by one in float32 would be wrong by several percent."""
    b = Builder()
    nest = reduce_nest(b, np.full((3_000_000, 1), 0.1, np.float32), (0,), "sum", strides=(0, 0))
    run_nest(b, nest)
    assert abs(b.arrays[-1][0] / (3_000_000 * float(np.float32(0.1))) - 1) < 2e-5
