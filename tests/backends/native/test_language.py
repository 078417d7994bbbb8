"""Every construct of the kernel language, compiled alone and compared with NumPy."""

import ctypes

import numpy as np
import pytest

from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.jit import compile_module
from chainrule.backends.native.language import INDEX, POINTER, Module, Type
from chainrule.errors import ArgumentError
from tests.backends.native.native_kernels import HOST, elementwise, run

RANDOM = np.random.default_rng(0)
DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 254.9, 7e9, 2.0**31, -(2.0**63)])


def samples(dtype, size=64):
    if dtype == "bool":
        return RANDOM.random(size) < 0.5
    if dtype.startswith("float"):
        return RANDOM.normal(size=size).astype(dtype) * 10
    return RANDOM.integers(0 if dtype == "uint8" else -100, 100, size).astype(dtype)


@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
def test_arithmetic(dtype, lanes):
    a, b = samples(dtype), samples(dtype)
    expected = (3 - a) * b + (a - 2) * -b
    np.testing.assert_array_equal(elementwise(lambda a, b: (3 - a) * b + (a - 2) * -b, a, b, lanes=lanes), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_division_has_no_fast_math(dtype):
    a, b = samples(dtype), samples(dtype)
    np.testing.assert_array_equal(elementwise(lambda a, b: a / b + 1 / a, a, b), a / b + 1 / a)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_operations(dtype):
    a, b = samples(dtype), np.abs(samples(dtype)) + 1
    np.testing.assert_array_equal(elementwise(lambda a, b: abs(a) // b, a, b), abs(a) // b)
    np.testing.assert_array_equal(elementwise(lambda a, b: abs(a) % b, a, b), abs(a) % b)
    np.testing.assert_array_equal(elementwise(lambda a, b: a.signed_divide(b), a, b), np.trunc(a / b))
    np.testing.assert_array_equal(elementwise(lambda a, b: a.signed_remainder(b), a, b), np.fmod(a, b))
    np.testing.assert_array_equal(elementwise(lambda a, b: (a & b) ^ (a | 5) ^ ~b, a, b), (a & b) ^ (a | 5) ^ ~b)
    np.testing.assert_array_equal(elementwise(lambda a: (a << 3) ^ (a >> 1), a), (a << 3) ^ (a >> 1))
    unsigned = (a.view(f"u{dtype}") >> 5).view(dtype)
    np.testing.assert_array_equal(elementwise(lambda a: a.shift_right_logical(5), a), unsigned)


@pytest.mark.parametrize("name", ["__lt__", "__le__", "__gt__", "__ge__", "equal", "not_equal"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_comparisons(dtype, name):
    a, b = samples(dtype), samples(dtype)
    b[::3] = a[::3]
    if dtype.startswith("float"):
        a[:6] = [np.nan, np.nan, 0.0, np.inf, 1.0, -np.inf]
        b[:6] = [np.nan, 1.0, -0.0, np.inf, np.nan, np.inf]
    numpy_name = {"equal": "__eq__", "not_equal": "__ne__"}.get(name, name)
    np.testing.assert_array_equal(elementwise(lambda a, b: getattr(a, name)(b), a, b), getattr(a, numpy_name)(b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_maximum_and_minimum_keep_nan(dtype):
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL.astype(dtype), SPECIAL.astype(dtype)))
    np.testing.assert_array_equal(elementwise(lambda a, b: a.maximum(b), a, b), np.maximum(a, b))
    np.testing.assert_array_equal(elementwise(lambda a, b: a.minimum(b), a, b), np.minimum(a, b))
    np.testing.assert_array_equal(elementwise(lambda a: a.maximum(0.0), a), np.maximum(a, 0))
    np.testing.assert_array_equal(elementwise(lambda a: a.minimum(np.nan), a), np.full_like(a, np.nan))


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("target", DTYPES)
@pytest.mark.parametrize("source", DTYPES)
def test_cast_agrees_with_numpy_in_range(source, target, lanes):
    values = np.abs(samples(source)) if target == "uint8" else samples(source)
    np.testing.assert_array_equal(elementwise(lambda x: x.cast(target), values, lanes=lanes), values.astype(target))


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("target", ["int32", "int64", "uint8"])
def test_cast_out_of_range_saturates(source, target):
    values = SPECIAL.astype(source)
    got = elementwise(lambda x: x.cast(target), values).astype(float)
    limits = np.iinfo(target)
    expected = np.trunc(
        np.clip(np.nan_to_num(values.astype(float), posinf=np.inf, neginf=-np.inf), limits.min, limits.max)
    )
    np.testing.assert_allclose(got, expected, rtol=2.0**-23)


def test_fma_rounds_once_where_the_target_has_it():
    a, b, c = (samples("float32", 4096) for _ in range(3))
    exact = a.astype(float) * b + c
    once, twice = exact.astype("float32"), a * b + c
    expected = once if HOST.has_fma else twice
    np.testing.assert_array_equal(elementwise(lambda a, b, c: a.fma(b, c), a, b, c), expected)
    sse = host_target("sse") if "x86_64" in HOST.triple else HOST
    expected = expected if sse.has_fma else twice
    np.testing.assert_array_equal(elementwise(lambda a, b, c: a.fma(b, c), a, b, c, target=sse), expected)


def test_select_by_vector_and_scalar_masks():
    a, b = samples("float32"), samples("float32")
    np.testing.assert_array_equal(elementwise(lambda a, b: (a < b).select(a, 7.0), a, b), np.where(a < b, a, 7))
    np.testing.assert_array_equal(elementwise(lambda a, b: (a < b).extract(0).select(a, b), a, b, lanes=64)[0],
                                  a[0] if a[0] < b[0] else b[0])  # fmt: skip


def test_lanes_shuffle_insert_extract_and_bitcast():
    x = samples("float32", 8)
    np.testing.assert_array_equal(
        elementwise(lambda x: x.shuffle([3, 2, 1, 0]), x, lanes=4), x.reshape(2, 4)[:, ::-1].ravel()
    )
    doubled = elementwise(lambda x: x.insert(x.extract(1) * 2, 3), x, lanes=8)
    np.testing.assert_array_equal(doubled, [*x[:3], 2 * x[1], *x[4:]])
    np.testing.assert_array_equal(elementwise(lambda x: x.bitcast("int32"), x), x.view("int32"))
    np.testing.assert_array_equal(
        elementwise(lambda x: x.shuffle([0, 4, 1, 5], x * 2), x, lanes=4)[:4], [x[0], 2 * x[0], x[1], 2 * x[1]]
    )


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16, 32])
def test_reductions_of_lanes_in_fixed_order(lanes):
    x = samples("float32", lanes)
    tree = x.copy()
    while tree.size > 1:
        tree = tree[: tree.size // 2] + tree[tree.size // 2 :]
    for emit, expected in [(lambda v: v.sum(), tree[0]), (lambda v: v.max(), x.max()), (lambda v: v.min(), x.min())]:
        assert elementwise(lambda v, emit=emit: emit(v).broadcast(lanes), x, lanes=lanes)[0] == expected
    x[lanes // 2] = np.nan
    assert np.isnan(elementwise(lambda v: v.max().broadcast(lanes), x, lanes=lanes)[0])


def test_any_and_all_of_a_mask():
    for x in (np.zeros(8, "float32"), np.ones(8, "float32"), np.arange(8, dtype="float32")):
        assert elementwise(lambda v: (v > 0).any().broadcast(8), x, lanes=8)[0] == (x > 0).any()
        assert elementwise(lambda v: (v > 0).all().broadcast(8), x, lanes=8)[0] == (x > 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("active", [1, 3, 8])
def test_tail_access_touches_only_active_lanes(dtype, active):
    source, out = samples(dtype, 8), samples(dtype, 16)
    before = out.copy()

    def known(f, source, out):
        f.store(f.load(source, Type(dtype, 8), active), out, active)

    def at_run_time(f, source, out, count):
        mask = f.first_lanes(count, 8)
        f.store(f.load(source, Type(dtype, 8), mask), out.at(8, dtype), mask)

    run(known, source, out)
    run(at_run_time, source, out, indices=[active])
    expected = np.concatenate([source[:active], before[active:8], source[:active], before[8 + active :]])
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [0, 1, 3, -2])
def test_strided_access(dtype, stride):
    source, out = samples(dtype, 64), np.zeros(64, dtype)

    def body(f, source, out, stride_at_run_time):
        x = f.load_strided(source.at(32, dtype), Type(dtype, 8), stride, active=7)
        y = f.load_strided(source.at(32, dtype), Type(dtype, 8), stride_at_run_time)
        f.store(x, out)
        f.store_strided(y, out.at(16, dtype), 2)

    run(body, source, out, indices=[stride])
    lanes = source[32 + stride * np.arange(8)]
    np.testing.assert_array_equal(out[:7], lanes[:7])
    assert stride == 0 or out[7] == 0
    np.testing.assert_array_equal(out[16:32:2], lanes)


def test_unaligned_memory():
    memory = np.zeros(4 * 33, "uint8")[1:129].view("uint8")
    source = samples("float32", 16)

    def body(f, source, out):
        f.store(f.load(source, Type("float32", 16)), out, align=1)

    run(body, source, memory)
    np.testing.assert_array_equal(memory[:64], source.view("uint8"))


@pytest.mark.parametrize(
    "start, stop, step", [(0, 0, 1), (5, 2, 1), (0, 1, 1), (3, 5, 8), (0, 7, 1), (0, 16, 4), (2, 17, 4)]
)
def test_loop_with_known_and_unknown_bounds(start, stop, step):
    expected = [sum(range(start, stop, step)), len(range(start, stop, step)), *([0] * 2)]
    out = np.zeros(4, "int64")

    def body(f, out, start_value, stop_value):
        for column, (first, last) in enumerate([(start, stop), (start_value, stop_value)]):
            with f.loop(first, last, step, carried=[f.index(0), f.index(0)], name="count") as loop:
                loop.next([loop.values[0] + loop.index, loop.values[1] + 1])
            f.store(loop.results[0], out.at(2 * column, "int64"))
            f.store(loop.results[1], out.at(2 * column + 1, "int64"))

    run(body, out, indices=[start, stop])
    np.testing.assert_array_equal(out, expected[:2] * 2)


def test_nested_loops_carry_pointers_and_vectors():
    source, out = samples("float32", 6 * 32).reshape(6, 32), np.zeros(6, "float32")

    def body(f, source, out, rows):
        with f.loop(0, rows, carried=[source], name="row") as row:
            total = f.constant(0.0, Type("float32", 8))
            with f.loop(0, 4, carried=[row.values[0], total], name="column") as column:
                pointer, partial = column.values
                column.next([pointer.at(8, "float32"), partial + f.load(pointer, Type("float32", 8))])
            f.store(column.results[1].sum(), out.at(row.index, "float32"))
            row.next([column.results[0]])

    run(body, source, out, indices=[6])
    np.testing.assert_allclose(out, source.sum(1), rtol=1e-5, atol=1e-5)


def test_when_merges_values():
    x = np.arange(-4, 4).astype("int64")

    def emit(v):
        with v.function.when(v > 0, carried=[v, v], name="positive") as positive:
            with v.function.when(v > 2, carried=[v * 10]) as large:
                large.next([v * 100])
            positive.next([large.results[0], v + 1])
        return positive.results[0] + positive.results[1]

    expected = np.where(x > 0, np.where(x > 2, x * 100, x * 10) + x + 1, 2 * x)
    np.testing.assert_array_equal(elementwise(emit, x, lanes=1), expected)


def test_repeat_until():
    x = np.array([1, 6, 7, 27], "int64")

    def collatz(v):
        with v.function.repeat(carried=[v, v.like(0)], name="collatz") as steps:
            value, count = steps.values
            value = (value & 1).equal(0).select(value >> 1, value * 3 + 1)
            steps.next([value, count + 1], until=value <= 1)
        return steps.results[1]

    np.testing.assert_array_equal(elementwise(collatz, x, lanes=1), [3, 8, 16, 111])


def test_calls_tables_zeros_and_stack():
    out = np.zeros(4, "float64")
    module = Module(HOST)
    module.table("primes", "float64", [2, 3, 5, 7])
    module.zeros("counter", 8)
    with module.function("twice", [("x", Type("float64"))], Type("float64"), exported=False) as f:
        f.return_value(f.arguments[0] * 2)
    with module.function("tested", [("out", POINTER)]) as f:
        stack = f.allocate("float64", 4)
        with f.loop(0, 4) as loop:
            prime = f.load(f.global_pointer("primes").at(loop.index, "float64"), Type("float64"))
            by_name = f.call("twice", [prime], Type("float64"))
            by_address = f.call(f.global_pointer("twice").freeze(), [by_name], Type("float64"))
            before = f.atomic_add(f.global_pointer("counter"), f.index(1))
            f.store(by_address + before.cast("float64"), stack.at(loop.index, "float64"))
        f.atomic_store(f.atomic_load(f.global_pointer("counter")), f.global_pointer("counter"))
        f.prefetch(f.arguments[0], write=True)
        f.fill(f.arguments[0], 255, 8)
        f.copy(stack, f.arguments[0], 32)
    compiled_call(module, "tested", out)
    np.testing.assert_array_equal(out, [8, 13, 22, 31])


def compiled_call(module, name, *arrays):
    library = compile_module(str(module), module.target)
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(arrays))(library.address(name))(*(a.ctypes.data for a in arrays))


def test_index_arithmetic_is_done_while_emitting():
    with Module(HOST).function("folded", [("n", INDEX)]) as f:
        assert ((f.index(7) * 6 - 2) // 4 % 8 + 0).number == 2
        assert (f.arguments[0] * 1 + 0 - 0) is f.arguments[0]
        assert f.lines == []


def test_constants_keep_the_sign_of_zero():
    x = np.array([1.0, -1.0], "float32")
    got = elementwise(lambda x: (x > 0).select(0.0, x.like(-0.0)), x, lanes=2)
    np.testing.assert_array_equal(np.signbit(got), [False, True])


def test_carried_pointers_are_frozen():
    with Module(HOST).function("walk", [("p", POINTER), ("n", INDEX)]) as f:
        with f.loop(0, f.arguments[1], carried=[f.arguments[0]]) as loop:
            loop.next([loop.values[0].byte(4)])
        assert sum("freeze ptr" in line for line in f.lines) == 1


def test_a_loop_that_never_runs_leaves_nothing():
    with Module(HOST).function("empty", [("p", POINTER)]) as f:
        with f.loop(0, 0) as loop, f.loop(0, 5):
            f.store(loop.index, f.arguments[0])
        assert f.lines == []


def test_flags_reach_float_arithmetic_only_inside():
    with Module(HOST).function("flags", [("x", Type("float32"))]) as f:
        x = f.arguments[0]
        with f.flags("reassoc contract"):
            x + 1.0
        x + 1.0
        assert ["reassoc contract float" in line for line in f.lines] == [True, False]


def test_mistakes_are_refused_with_a_message():
    module = Module(HOST)
    with module.function("mistakes", [("x", Type("float32")), ("i", INDEX), ("v", Type("float32", 3))]) as f:
        x, i, v = f.arguments
        with pytest.raises(TypeError, match="element types differ"):
            x + i
        with pytest.raises(TypeError, match="// for indices"):
            i / 2
        with pytest.raises(TypeError, match="expected integers"):
            x & 1
        with pytest.raises(TypeError, match="power of two"):
            v.sum()
        with pytest.raises(TypeError, match="expected one of float32"):
            Type("float16")
        with pytest.raises(ValueError, match="must call next"), f.loop(0, i, carried=[x]):
            pass
        with pytest.raises(TypeError, match="expected the types"), f.loop(0, i, carried=[x]) as loop:
            loop.next([i])
        with pytest.raises(TypeError, match="a mask of 4 lanes"):
            f.load(f.allocate("float32", 4), Type("float32", 4), active=i > 0)
    with pytest.raises(ValueError, match="already in this module"), module.function("mistakes", []):
        pass
    with pytest.raises(ValueError, match="end with return_value"), module.function("nothing", [], INDEX):
        pass


def test_target_levels():
    if "x86_64" not in HOST.triple:
        pytest.skip("levels are those of x86")
    assert host_target("sse").vector_bits == 128 and not host_target("sse").has_fma
    assert host_target("avx2").vector_bits == min(256, HOST.vector_bits)
    assert host_target("-avx512f").lanes("float64") == host_target("avx2").lanes("float64")
    with pytest.raises(ArgumentError, match="'avx9' is neither a level"):
        host_target("avx9")
