"""Views by offset, shape and strides: read and written through vertices as NumPy does through memory."""

from typing import Any

import numpy as np
import pytest

from chainrule.graph.graph import Graph
from chainrule.ops.source import make_input
from chainrule.reference import evaluate
from chainrule.tensor.strided import Layout, is_row_major, overlaps, read, reshaped_strides, steps_to, written
from chainrule.types import float64, tensor_type

Array = np.ndarray[Any, Any]
ROOTS = ((4, 6), (24,), (2, 3, 4), (5, 5), (), (3, 1, 4), (2, 2, 3, 2))


def random_view(rng: np.random.Generator, array: Array) -> Array:
    """A few operations that give views, one behind another."""
    for _ in range(rng.integers(1, 5)):
        kind = rng.integers(6)
        if kind == 0 and array.ndim:
            array = array.transpose(rng.permutation(array.ndim))
        elif kind == 1:
            index = []
            for size in array.shape:
                start = rng.integers(0, size) if size else 0
                choice = rng.integers(4)
                index.append(
                    slice(None) if choice == 0 else int(start) if choice == 1 and size
                    else slice(int(start), int(rng.integers(start, size + 1)), int(rng.integers(1, 4)))
                )  # fmt: skip
            array = array[(*index, ...)]
        elif kind == 2 and array.ndim >= 2:
            array = np.lib.stride_tricks.as_strided(
                array, (min(array.shape[:2]), *array.shape[2:]), (sum(array.strides[:2]), *array.strides[2:])
            )
        elif kind == 3:
            array = np.expand_dims(array, int(rng.integers(array.ndim + 1)))
        elif kind == 4 and array.ndim and array.shape[0] == 1:
            array = np.broadcast_to(array, (3, *array.shape[1:]))
        elif kind == 5:
            wanted = (array.size // 2, 2) if array.size % 2 == 0 else (array.size,)
            strides = reshaped_strides(array.shape, tuple(s // 8 for s in array.strides), wanted)
            if strides is not None:
                array = np.lib.stride_tricks.as_strided(array, wanted, tuple(8 * s for s in strides))
    return array


def layout_of(view: Array, root: Array) -> Layout:
    offset = 0 if not view.size else (view.__array_interface__["data"][0] - root.__array_interface__["data"][0]) // 8
    return Layout(offset, view.shape, tuple(step // 8 for step in view.strides))


@pytest.mark.parametrize("seed", range(200))
def test_views_are_read_and_written(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = ROOTS[seed % len(ROOTS)]
    permutation = tuple(map(int, rng.permutation(len(shape)))) if seed % 3 == 0 else tuple(range(len(shape)))
    memory = np.arange(1.0, 1 + int(np.prod(shape))).reshape(shape)
    root = memory.transpose(permutation)
    strides = tuple(step // 8 for step in root.strides)
    if seed % 5 == 4 and root.ndim == 2:
        root = root[:, 1:-1]
    view = random_view(rng, root)
    layout = layout_of(view, root)
    x = make_input(tensor_type(float64, root.shape))
    steps = steps_to(root.shape, strides, layout)
    (seen,), _ = evaluate(Graph((x,), (read(x, steps),), ()), [root])
    np.testing.assert_array_equal(seen, view)
    if overlaps(layout.shape, layout.strides):
        return
    new = make_input(tensor_type(float64, view.shape))
    values = -rng.uniform(1, 2, view.shape)
    (changed,), _ = evaluate(Graph((x, new), (written(x, steps, new),), ()), [root.copy(), values])
    if view.size:
        np.lib.stride_tricks.as_strided(
            memory.reshape(-1)[(view.__array_interface__["data"][0] - memory.__array_interface__["data"][0]) // 8 :],
            view.shape,
            view.strides,
        )[...] = values
    np.testing.assert_array_equal(changed, root)


def test_strides_of_reshaped_tensors_are_those_of_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        x = torch.arange(48).reshape([(4, 12), (2, 3, 8), (6, 8), (48,), (2, 2, 12)][rng.integers(5)])
        x = x.permute(tuple(map(int, rng.permutation(x.dim()))))
        if rng.integers(2):
            x = x[tuple(slice(0, None, int(rng.integers(1, 3))) for _ in x.shape)]
        if rng.integers(4) == 0:
            x = x.unsqueeze(0).expand(2, *x.shape)
        wanted = [(x.numel(),), (-1, 2), (2, -1), (x.shape[0], -1), (1, *x.shape), (-1, 4), (3, -1)][rng.integers(7)]
        try:
            shape = tuple(torch.empty(x.shape).reshape(wanted).shape)
        except RuntimeError:
            continue
        strides = reshaped_strides(tuple(x.shape), x.stride(), shape)
        try:
            expected = x.view(shape)
        except RuntimeError:
            assert strides is None
        else:
            assert strides is not None
            assert all(a == b for a, b, n in zip(strides, expected.stride(), shape, strict=True) if n != 1)
        outcomes.add(strides is None)
        assert is_row_major(tuple(x.shape), x.stride()) == x.is_contiguous()
    assert outcomes == {True, False}
