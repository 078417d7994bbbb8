"""Contractions over windows against NumPy in float64: extents, layouts, chunks, epilogues, targets, threads, code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chainrule.backends.native.contraction import emit_contraction
from chainrule.backends.native.contraction_extents import NEAREST_BYTES, Extents
from chainrule.backends.native.cpu import Target, host_target
from chainrule.backends.native.jit import assembly, compile_module
from chainrule.backends.native.kernel import KernelInfo
from chainrule.backends.native.language import KERNEL_ARGUMENTS, Module
from chainrule.passes.plan import Access, Buffer, Contraction, Instruction, Plan, Range, Store
from chainrule.types import as_dtype
from tests.backends.native.product_cases import GUARD, Kernel, Memory, access, compile_product, layout

LEVELS = ["", "avx2", "sse"] if host_target().triple.startswith("x86_64") else [""]


@dataclass
class Case:
    """Windows over an image (N, H, W, C), weights (window..., C, K) and results (N, positions..., K).

    With ``over_images`` rows are (window..., C) and the depth is (N, positions...): the gradient of the weights. With
    ``by_column`` the columns are the channels: neither rows nor depth have them. Around the image are ``low`` and
    ``high`` zeros that are not in memory.
    """

    image: Memory
    window: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    columns: int
    over_images: bool = False
    by_column: bool = False
    low: tuple[int, int] = (0, 0)
    high: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        images, *sizes, channels = self.image.values.shape
        geometry = zip(self.low, sizes, self.high, self.window, self.strides, self.dilation, strict=True)
        self.positions = tuple((a + n + b - (r - 1) * d - 1) // s + 1 for a, n, b, r, s, d in geometry)
        far, *steps, near = self.image.strides
        outer, inner = (images, *self.positions), self.window if self.by_column else (*self.window, channels)
        outer_strides = (far, *(s * step for s, step in zip(self.strides, steps, strict=True)))
        inner_strides = (*(d * step for d, step in zip(self.dilation, steps, strict=True)), near)[: len(inner)]
        self.rows, self.depth = (inner, outer) if self.over_images else (outer, inner)
        strides = (*inner_strides, *outer_strides) if self.over_images else (*outer_strides, *inner_strides)
        before = sum(a * step for a, step in zip(self.low, steps, strict=True))
        self.left = Access(0, (*strides, near if self.by_column else 0), self.image.first - before)
        self.ranges = tuple(self._range(axis) for axis in range(2) if self.low[axis] or self.high[axis])

    def _range(self, axis: int) -> Range:
        position, element = (axis + 1, self.strides[axis]), (axis, self.dilation[axis])
        row, depth = (element, position) if self.over_images else (position, element)
        return Range(row[0], depth[0], row[1], depth[1], self.low[axis], self.image.values.shape[axis + 1])

    def windows(self) -> np.ndarray:
        """What the left operand is: a copy of (rows..., depth...), by column of (rows..., depth..., columns)."""
        around = [(0, 0), *zip(self.low, self.high, strict=True), (0, 0)]
        image = np.pad(self.image.view(), around)
        far, *steps, near = image.strides
        outer = (far, *(s * step for s, step in zip(self.strides, steps, strict=True)))
        inner = (*(d * step for d, step in zip(self.dilation, steps, strict=True)), near)
        shape = (image.shape[0], *self.positions, *self.window, image.shape[-1])
        under = np.lib.stride_tricks.as_strided(image, shape, (*outer, *inner))
        order = (3, 4, 0, 1, 2, 5) if self.by_column else (3, 4, 5, 0, 1, 2)
        return under.transpose(order).copy() if self.over_images else under.copy()


def draw(shape: Sequence[int], dtype: str, strides: Sequence[int] | None = None, seed: int = 0) -> Memory:
    values = np.random.default_rng(seed).standard_normal(tuple(shape)).astype(dtype)
    return Memory(values, tuple(strides or layout(shape)))


def empty(shape: Sequence[int], dtype: str, strides: Sequence[int] | None = None) -> Memory:
    return Memory(np.full(tuple(shape), 7, dtype), tuple(strides or layout(shape)))


def make_case(
    image: tuple[int, int, int, int] = (2, 9, 11, 3),
    columns: int = 16,
    window: tuple[int, int] = (3, 3),
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    dtype: str = "float32",
    gap: int = 0,
    **more: Any,
) -> Case:
    """A case of random elements; ``gap``: unused elements between images, which take them far apart."""
    far, *near = layout(image)
    columns = image[-1] if more.get("by_column") else columns
    return Case(draw(image, dtype, (far + gap, *near)), window, strides, dilation, columns, **more)


@dataclass
class Parts:
    """A contraction with all that is needed to compile and run it."""

    kernel: Contraction
    plan: Plan
    arrays: list[Memory]

    def module(self, target: Target | None = None) -> tuple[Module, KernelInfo]:
        module = Module(target or host_target())
        return module, emit_contraction(module, self.kernel, self.plan, "contraction")

    def compile(self, target: Target | None = None) -> Kernel:
        module, info = self.module(target)
        return Kernel(compile_module(str(module), module.target), info)

    def extents(self, level: str = "") -> Extents:
        with Module(host_target(level)).function("contraction", KERNEL_ARGUMENTS) as f:
            return Extents(self.kernel, f)


def assemble(
    case: Case,
    right: Memory,
    extra: Sequence[Memory],
    outputs: Sequence[Memory],
    body: Sequence[Instruction] = (),
    stores: Sequence[Store] = (),
) -> Parts:
    """outputs[0] = windows · right, or a body and stores. Buffers are image 0, right 1, then extra and outputs."""
    arrays = [case.image, right, *extra, *outputs]
    dtype = as_dtype(case.image.values.dtype)
    buffers = tuple(Buffer(dtype, array.memory.size, "input", slot) for slot, array in enumerate(arrays))
    steps = (Instruction("accumulator", dtype), *body)
    stores = tuple(stores) or (Store(access(2 + len(extra), outputs[0]), 0),)
    kernel = Contraction(
        "contraction",
        dtype,
        case.rows,
        case.columns,
        case.depth,
        case.left,
        access(1, right),
        steps,
        stores,
        case.ranges,
    )
    return Parts(kernel, Plan(buffers, (kernel,), tuple(range(len(arrays))), (), 0), arrays)


def plain(case: Case, right_strides: Sequence[int] | None = None, result_strides: Sequence[int] | None = None) -> Parts:
    dtype = case.image.values.dtype.name
    right = draw((*case.depth, case.columns), dtype, right_strides, seed=1)
    return assemble(case, right, [], [empty((*case.rows, case.columns), dtype, result_strides)])


def expected(case: Case, right: Memory) -> np.ndarray:
    left, weights = case.windows().astype("float64"), right.values.astype("float64")
    if not case.by_column:
        return np.tensordot(left, weights, len(case.depth))
    return (left * weights).sum(tuple(range(len(case.rows), len(case.rows) + len(case.depth))))


def assert_close(result: Memory, meant: np.ndarray, terms: int) -> None:
    unit = np.finfo(result.values.dtype).eps
    np.testing.assert_allclose(result.view(), meant, rtol=0, atol=4 * unit * (terms + 4))
    index = np.indices(result.values.shape).reshape(result.values.ndim, -1)
    own = np.unique(result.first + np.tensordot(np.array(result.strides), index, 1))
    assert np.isnan(np.delete(result.memory, own)).all(), "memory around the result was written"


def check(case: Case, level: str = "", parts: Parts | None = None) -> None:
    parts = parts or plain(case)
    parts.compile(host_target(level)).run(parts.arrays)
    assert_close(parts.arrays[-1], expected(case, parts.arrays[1]), parts.kernel.terms)


COLUMNS = [1, 3, 6, 8, 10, 16, 17, 24, 32, 33, 48, 64, 70, 129]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("columns", COLUMNS)
def test_equals_numpy(columns: int, level: str) -> None:
    """Panels of one to three vectors and rests of them; rows that leave a rest of a tile, and whole images in one."""
    for number, image in enumerate(((2, 9, 11, 3), (3, 5, 5, 4), (1, 4, 40, 2))):
        check(make_case(image, columns, dtype=("float32", "float64")[number % 2]), level)


@given(
    image=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 34), st.integers(1, 6)),
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    columns=st.integers(1, 70),
    dtype=st.sampled_from(["float32", "float64"]),
    over_images=st.booleans(),
    by_column=st.booleans(),
    around=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    order=st.randoms(use_true_random=False),
    level=st.sampled_from(LEVELS),
)
@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
def test_any_extents(
    image, window, strides, dilation, columns, dtype, over_images, by_column, around, order, level
) -> None:
    image = (*image[:3], columns) if by_column else image
    low, high = around
    padded = [a + n + b for a, n, b in zip(low, image[1:3], high, strict=True)]
    window = tuple(min(r, (n - 1) // d + 1) for r, n, d in zip(window, padded, dilation, strict=True))
    more = {"over_images": over_images, "by_column": by_column, "low": low, "high": high}
    case = make_case(image, columns, window, strides, dilation, dtype, **more)
    shapes = (*case.depth, case.columns), (*case.rows, case.columns)
    right, result = (layout(shape, order.sample(range(len(shape)), len(shape)), 1) for shape in shapes)
    check(case, level, plain(case, right, result))


CHUNKED = [
    {"image": (5, 6, 8, 7), "columns": 40, "gap": 60_000, "over_images": True},
    {"image": (7, 5, 12, 3), "columns": 16, "gap": 90_000, "over_images": True, "strides": (1, 2)},
    {"image": (6, 10, 11, 20), "columns": 33, "gap": 50_000, "over_images": True, "window": (1, 2), "dtype": "float64"},
    {"image": (6, 10, 11, 16), "columns": 9, "gap": 50_000, "over_images": True, "window": (1, 2), "dtype": "float64"},
]
SPLIT = [
    {"image": (33, 24, 24, 8), "columns": 16, "over_images": True, "gap": 10_000},
    {"image": (26, 24, 24, 16), "columns": 9, "over_images": True, "low": (1, 1), "high": (1, 1), "gap": 10_000},
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("options", CHUNKED)
def test_a_depth_that_does_not_stay_in_the_caches_is_cut_into_chunks(options: dict, level: str) -> None:
    case = make_case(**options)
    parts = plain(case)
    assert parts.extents(level).chunks > 1
    check(case, level, parts)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("options", SPLIT)
def test_many_terms_of_few_sums_are_added_in_parts(options: dict, level: str) -> None:
    case = make_case(**options)
    parts = plain(case)
    assert parts.extents(level).parts == 7  # of at most eight, one image more or less
    check(case, level, parts)


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ({"image": (3, 30, 21, 16), "columns": 24, "low": (1, 2), "high": (1, 0)}, 1),
        ({"image": (1, 30, 21, 16), "columns": 40, "low": (2, 1), "high": (1, 1)}, 1),
        ({"image": (2, 40, 19, 20), "columns": 16, "strides": (2, 1), "low": (1, 1), "high": (1, 1)}, 1),
        ({"image": (30, 5, 5, 16), "columns": 24, "low": (1, 1), "high": (1, 1)}, 0),
        ({"image": (4, 31, 17, 16), "columns": 70, "dilation": (3, 2), "low": (3, 2), "high": (3, 2)}, 1),
    ],
)
def test_a_chunk_stays_in_the_nearest_cache_where_each_step_takes_another_line(options: dict, cut: int) -> None:
    case = make_case(**options, over_images=True)
    parts = plain(case)
    extents = parts.extents("avx2")
    assert extents.chunks > 1
    assert extents.cut == cut
    assert extents.chunk * extents.steps[cut] * extents.size <= NEAREST_BYTES
    check(case, "avx2", parts)


def test_the_right_operand_is_packed_unless_its_rows_are_near() -> None:
    case = make_case(columns=32)
    assert not plain(case).extents().packs
    assert plain(case, layout((*case.depth, 32), (3, 0, 1, 2))).extents().packs
    assert plain(make_case(columns=33)).extents().packs


def pixel(case: Case) -> tuple[int, ...]:
    return (0,) * len(case.rows)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("options", [{"columns": 10}, {"columns": 33}, {"columns": 40}, *CHUNKED])
def test_bias_and_relu(options: dict, level: str) -> None:
    case = make_case(**options)
    dtype = as_dtype(case.image.values.dtype)
    right = draw((*case.depth, case.columns), dtype.name, seed=1)
    bias, result = draw((case.columns,), dtype.name, seed=2), empty((*case.rows, case.columns), dtype.name)
    body = [
        Instruction("load", dtype, access=Access(2, (*pixel(case), 1), GUARD)),
        Instruction("add", dtype, (0, 1)),
        Instruction("constant", dtype, value=0.0),
        Instruction("maximum", dtype, (2, 3)),
    ]
    parts = assemble(case, right, [bias], [result], body, [Store(access(3, result), 4)])
    parts.compile(host_target(level)).run(parts.arrays)
    assert_close(result, np.maximum(expected(case, right) + bias.values, 0), parts.kernel.terms)


def momentum(case: Case, level: str = "", workers: int = 1) -> tuple[Memory, Memory, Memory]:
    """Right, and in place, by an epilogue that is a loop: velocity = 0.5 velocity + sum, weight -= 0.1 velocity."""
    dtype = as_dtype(case.image.values.dtype)
    shape = (*case.rows, case.columns)
    right = draw((*case.depth, case.columns), dtype.name, seed=1)
    weight, velocity = draw(shape, dtype.name, seed=2), draw(shape, dtype.name, seed=3)
    body = [
        Instruction("load", dtype, access=access(2, weight)),
        Instruction("load", dtype, access=access(3, velocity)),
        Instruction("constant", dtype, value=0.5),
        Instruction("multiply", dtype, (2, 3)),
        Instruction("add", dtype, (4, 0)),
        Instruction("constant", dtype, value=0.1),
        Instruction("multiply", dtype, (5, 6)),
        Instruction("subtract", dtype, (1, 7)),
    ]
    stores = [Store(access(2, weight), 8), Store(access(3, velocity), 5)]
    parts = assemble(case, right, [], [weight, velocity], body, stores)
    parts.compile(host_target(level)).run(parts.arrays, workers)
    return right, weight, velocity


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("options", [{"columns": 10}, {"columns": 33}, {"image": (1, 9, 16, 8)}, *CHUNKED, *SPLIT])
def test_update_in_place(options: dict, level: str) -> None:
    case = make_case(**options)
    right, weight, velocity = momentum(case, level)
    moved = 0.5 * velocity.values.astype("float64") + expected(case, right)
    assert_close(velocity, moved, int(np.prod(case.depth)))
    assert_close(weight, weight.values - 0.1 * moved, int(np.prod(case.depth)))


RANGED = [
    {"image": (2, 14, 14, 9), "columns": 32, "low": (1, 1), "high": (1, 1)},
    {"image": (3, 5, 29, 8), "columns": 10, "low": (2, 3), "high": (2, 3), "window": (5, 7)},
    {"image": (2, 4, 4, 20), "columns": 48, "low": (1, 0), "high": (0, 2), "dilation": (2, 1), "strides": (1, 2)},
    {"image": (4, 7, 7, 8), "columns": 33, "low": (1, 1), "high": (1, 1), "over_images": True},
    {"image": (2, 9, 13, 40), "low": (1, 1), "high": (1, 1), "by_column": True},
    {"image": (3, 8, 8, 24), "low": (2, 0), "high": (0, 1), "by_column": True, "over_images": True},
    {"image": (2, 1, 2, 16), "columns": 16, "low": (4, 1), "high": (4, 1)},
]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", RANGED)
def test_zeros_around_an_image_are_left_out(options: dict, dtype: str, level: str) -> None:
    """What is not in memory is not read either: there, everything is NaN."""
    case = make_case(**options, dtype=dtype)
    assert case.ranges
    check(case, level)


THREADED = [
    {"image": (4, 14, 18, 8), "columns": 20},
    {"image": (2, 20, 30, 5), "columns": 70, "strides": (2, 1)},
    CHUNKED[0] | {"image": (5, 6, 8, 20)},
    {"image": (6, 14, 14, 16), "columns": 32, "low": (1, 1), "high": (1, 1)},
    {"image": (6, 20, 20, 48), "low": (1, 1), "high": (1, 1), "by_column": True},
    *SPLIT,
]


@pytest.mark.parametrize("options", THREADED)
def test_same_bits_for_any_number_of_threads(options: dict) -> None:
    case = make_case(**options)
    parts = plain(case)
    kernel, results = parts.compile(), []
    assert kernel.info.is_parallel and kernel.info.tasks > 1
    for workers in (1, 2, 3):
        parts.arrays[-1].view()[...] = np.nan
        kernel.run(parts.arrays, workers)
        results.append(parts.arrays[-1].view().copy())
    updates = [momentum(case, workers=workers)[1].view() for workers in (1, 3)]
    assert np.isfinite(results[0]).all()
    assert all(np.array_equal(result, results[0]) for result in results)
    assert np.array_equal(*updates)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{"columns": 10}, {"columns": 33, "strides": (2, 1)}, *CHUNKED, *RANGED[:4]])
def test_sums_have_the_bits_of_a_product_of_copied_operands(options: dict, dtype: str, level: str) -> None:
    """Both add in order of the depth, whatever their tiles, panels and chunks are."""
    case = make_case(**options | {"dtype": dtype})
    parts = plain(case)
    parts.compile(host_target(level)).run(parts.arrays)
    rows, terms = int(np.prod(case.rows)), parts.kernel.terms
    left = Memory(case.windows().reshape(rows, terms), (terms, 1))
    right = Memory(parts.arrays[1].values.reshape(terms, case.columns), (case.columns, 1))
    result = empty((rows, case.columns), dtype)
    compile_product(left, right, [], [result], target=host_target(level)).run([left, right, result])
    assert np.array_equal(parts.arrays[-1].view().reshape(rows, -1), result.view())


@pytest.mark.parametrize("columns", [6, 33])
def test_nan_and_infinity_reach_exactly_their_elements(columns: int) -> None:
    case = make_case(columns=columns)
    case.image.view()[1, 4, 5, 1], case.image.view()[0, 0, 0, 0] = np.nan, np.inf
    parts = plain(case)
    parts.arrays[1].view()[0, 2, 1, columns - 1] = np.inf
    parts.compile().run(parts.arrays)
    with np.errstate(invalid="ignore"):  # infinity times 0 within NumPy's own sums
        meant = np.tensordot(case.windows().astype("float64"), parts.arrays[1].view().astype("float64"), 3)
    np.testing.assert_allclose(parts.arrays[-1].view(), meant, rtol=1e-4, atol=1e-4)


def test_unaligned_memory() -> None:
    for columns in (16, 33):
        case = make_case(columns=columns)
        parts = plain(case)
        for array in parts.arrays:
            moved = np.full(array.memory.size + 3, np.nan, "float32")[3:]
            moved[:] = array.memory
            array.memory = moved
        check(case, "", parts)


# ------------------------------------------------------------------------------------------------------- the inner loop


def inner_blocks(text: str, least: int) -> Iterator[list[str]]:
    """The blocks of a function's code that multiply a vector and one element at least so many times."""
    for block in re.split(r"^[.\w]+:.*$", text, flags=re.MULTILINE):
        lines = block.splitlines()
        repeats_elements = any("broadcast" in line or "{1to" in line for line in lines)
        if repeats_elements and sum("vfmadd" in line for line in lines) >= least:
            yield lines


TILES = [(width, columns) for width in (5, 7, 8, 13, 14, 28) for columns in (10, 16, 32, 48, 64)]


@pytest.mark.skipif(not host_target().has_fma or len(LEVELS) == 1, reason="looks for instructions of x86")
@pytest.mark.parametrize("level", LEVELS[:2])
@pytest.mark.parametrize("is_framed", [False, True])
@pytest.mark.parametrize(("width", "columns"), TILES)
def test_sums_stay_in_registers(width: int, columns: int, is_framed: bool, level: str) -> None:
    """For images and layers of the usual widths no vector goes through the stack in the loop over the depth."""
    around = {"low": (1, 1), "high": (1, 1)} if is_framed else {}
    case = make_case((2, width + 2 * (not is_framed), width + 2 * (not is_framed), 8), columns, **around)
    module, _ = plain(case).module(host_target(level))
    blocks = list(inner_blocks(assembly(str(module), module.target), least=4))
    assert blocks
    spilled = [line for block in blocks for line in block if re.search(r"[xyz]mm\d", line) and "(%rsp" in line]
    assert not spilled
