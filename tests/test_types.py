"""Element types, broadcasting and promotion against NumPy and PyTorch."""

import copy
import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import types
from chainrule.errors import DTypeError, IndexOutOfRangeError, ShapeError
from chainrule.types import DTYPES, as_dtype, broadcast_shapes, contiguous_strides, normalize_axis, promote, tensor_type

SHAPES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@pytest.mark.parametrize("name", DTYPES)
def test_every_spelling_of_a_dtype(name: str) -> None:
    dtype = DTYPES[name]
    for spelling in (dtype, name, np.dtype(name), np.dtype(name).type, np.dtype(name).newbyteorder()):
        assert as_dtype(spelling) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert copy.deepcopy(dtype) is dtype
    assert dtype.size == np.dtype(name).itemsize


def test_python_types_and_torch_names() -> None:
    assert [as_dtype(word).name for word in (float, int, bool, "float", "double")] == [
        "float32", "int64", "bool", "float32", "float64",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, "complex64", np.dtype("S3"), object, [1], "flaot32", 3.5])
def test_what_is_no_dtype_is_refused(value: object) -> None:
    with pytest.raises(DTypeError, match="dtype"):
        as_dtype(value)


def test_a_misspelt_dtype_gets_a_suggestion() -> None:
    with pytest.raises(DTypeError, match="did you mean 'float32'"):
        as_dtype("flaot32")


def test_small_numpy_types_are_stored_without_loss() -> None:
    for name in ("float16", "int8", "int16", "uint8", "uint16", "uint32"):
        stored = as_dtype(np.dtype(name))
        limits = np.finfo(name) if name == "float16" else np.iinfo(name)
        for limit in (limits.min, limits.max):
            assert stored.numpy.type(limit) == limit


def test_promotion_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    for first, second in itertools.product(DTYPES.values(), repeat=2):
        expected = torch.promote_types(getattr(torch, first.name), getattr(torch, second.name))
        assert f"torch.{promote(first, second)}" == str(expected)


@given(st.lists(SHAPES, min_size=1, max_size=4))
def test_broadcasting_agrees_with_numpy(shapes: list[tuple[int, ...]]) -> None:
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ShapeError, match="cannot be broadcast together: axis -"):
            broadcast_shapes(*shapes)
    else:
        assert broadcast_shapes(*shapes) == expected


@given(SHAPES.filter(lambda shape: 0 not in shape))
def test_contiguous_strides_agree_with_numpy(shape: tuple[int, ...]) -> None:
    expected = np.zeros(shape, np.int8).strides
    assert tuple(a for a, size in zip(contiguous_strides(shape), shape, strict=True) if size > 1) == tuple(
        a for a, size in zip(expected, shape, strict=True) if size > 1
    )


def test_axes_count_from_either_end() -> None:
    assert [normalize_axis(axis, 3) for axis in (-3, -1, 0, 2)] == [0, 2, 0, 2]
    assert [normalize_axis(axis, 0) for axis in (-1, 0)] == [0, 0]
    for axis, rank in ((3, 3), (-4, 3), (1, 0), (-2, 0)):
        with pytest.raises(IndexOutOfRangeError, match="out of range"):
            normalize_axis(axis, rank)


def test_equal_types_are_one_object() -> None:
    one = tensor_type(types.float32, (2, 3))
    assert one is tensor_type(types.float32, (2, 3))
    assert one is not tensor_type(types.float64, (2, 3))
    assert pickle.loads(pickle.dumps(one)) is one
    assert (one.size, one.nbytes, one.rank, repr(one)) == (6, 24, 2, "float32[2,3]")


def test_equal_types_are_one_object_for_every_thread() -> None:
    def make(round: int) -> list[types.TensorType]:
        return [tensor_type(types.int32, (7, size)) for size in range(1000, 2000)]

    with ThreadPoolExecutor(4) as pool:
        first, *rest = pool.map(make, range(4))
    assert all(a is b for other in rest for a, b in zip(first, other, strict=True))


def test_sizes_are_plain_integers() -> None:
    assert repr(tensor_type(types.bool_, (np.int64(77), np.int64(3))).shape) == "(77, 3)"
