"""Convolutions as sums over windows: what is multiplied, phases instead of zeros between elements, merged loops."""

import itertools

import numpy as np
import pytest

from chainrule.graph.graph import Graph
from chainrule.ops.convolution import convolution
from chainrule.ops.source import make_input
from chainrule.passes.pipeline import make_plan
from chainrule.passes.plan import Contraction, Nest, Product
from chainrule.passes.simplify import simplify
from chainrule.reference import evaluate
from chainrule.types import contiguous_strides, float64, tensor_type
from tests.passes.plan_interpreter import run_plan


def layout(shape, order):
    """Strides of an array that lies with its axes in ``order``, outermost first."""
    packed = contiguous_strides(tuple(shape[axis] for axis in order))
    return tuple(packed[order.index(axis)] for axis in range(len(shape)))


def new_input(shape, order=None):
    return make_input(tensor_type(float64, shape), strides=layout(shape, order) if order else None)


def channels_last(shape):
    return (0, *range(2, len(shape)), 1)


def convolve(x, w, stride=1, low=0, high=0, dilation=1, expansion=1, groups=1):
    """A convolution whose options are one number for all dimensions, or one for each."""
    rank = len(x.shape) - 2
    options = [each if isinstance(each, tuple) else (each,) * rank for each in (stride, low, high, dilation, expansion)]
    return convolution(x, w, *options, groups)


def simplified(x, w, **options):
    """The graph of a convolution after simplification, which has been run and compared."""
    graph = Graph((x, w), (convolve(x, w, **options),))
    after, rng = simplify(graph), np.random.default_rng(0)
    values = [rng.normal(size=vertex.shape) for vertex in (x, w)]
    (expected,), (found,) = evaluate(graph, values)[0], evaluate(after, values)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    return after


def kernels(x, w, **options):
    """The kernels of a convolution with its channels last, after checking on random values that they are right."""
    out = convolve(x, w, **options)
    graph, strides = Graph((x, w), (out,)), [layout(out.shape, channels_last(out.shape))]
    plan, rng = make_plan(graph, strides), np.random.default_rng(0)
    values = [rng.normal(size=vertex.shape) for vertex in (x, w)]
    (expected,), (found,) = evaluate(graph, values)[0], run_plan(plan, graph, values, strides)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    return plan.kernels


def products(found):
    return [kernel for kernel in found if not isinstance(kernel, Nest)]


def count(graph, name):
    return sum(vertex.primitive.name == name for vertex in graph.order())


# ------------------------------------------------------------------------------------------------------------- phases


def test_the_gradient_of_strides_multiplies_no_zeros():
    """A window of 3 over elements 2 apart: 1, 2, 2 and 4 elements of it meet others, together 9 as in the window."""
    after = simplified(new_input((2, 5, 4, 6)), new_input((7, 5, 3, 3)), low=2, high=2, expansion=2)
    work = [vertex.inputs[1].shape[:-2] for vertex in after.order() if vertex.primitive.name == "tensordot"]
    assert sorted(map(np.prod, work)) == [1, 2, 2, 4]
    assert count(after, "interleave") == 1
    assert not any(any(v.attributes["interior"]) for v in after.order() if v.primitive.name == "pad")


def test_phases_that_meet_nothing_are_zeros():
    after = simplified(new_input((2, 5, 4, 6)), new_input((7, 5, 1, 1)), high=1, expansion=2)
    assert count(after, "tensordot") == 1
    (parts,) = [v.inputs for v in after.order() if v.primitive.name == "interleave"]
    assert len(parts) == 1


AXES = [
    axis for axis in itertools.product((1, 4, 5), (1, 2, 3, 5), (-2, 0, 1, 3), (-1, 0, 2), (1, 2, 3), (2, 3, 4))
    if (axis[0] - 1) * axis[5] + 1 + axis[2] + axis[3] >= (axis[1] - 1) * axis[4] + 1
]  # fmt: skip
"""Sizes of image and window, low, high, dilation and expansion of one dimension that fit each other."""


@pytest.mark.parametrize("part", range(8))
def test_every_phase_of_every_geometry(part):
    for n, r, low, high, dilation, expansion in AXES[part::8]:
        x, w = new_input((1, 2, n)), new_input((2, 2, r))
        simplified(x, w, low=low, high=high, dilation=dilation, expansion=expansion)


@pytest.mark.parametrize("seed", range(20))
def test_phases_of_several_dimensions_and_groups(seed):
    rng = np.random.default_rng(seed)
    chosen = [AXES[int(rng.integers(len(AXES)))] for _ in range(2)]
    sizes, window, low, high, dilation, expansion = zip(*chosen, strict=True)
    groups = int(rng.choice([1, 2, 4]))
    x, w = new_input((2, 4, *sizes)), new_input((4, 4 // groups, *window))
    simplified(x, w, low=low, high=high, dilation=dilation, expansion=expansion, groups=groups)


# -------------------------------------------------------------------------------------------------- what is multiplied


def test_an_image_whose_channels_are_last_is_not_copied():
    """Weights that lie as layers hold them, no frame of zeros: one kernel, which reads both where they are."""
    x, w = new_input((2, 3, 9, 10), (0, 2, 3, 1)), new_input((16, 3, 3, 3), (2, 3, 1, 0))
    (kernel,) = kernels(x, w)
    assert isinstance(kernel, Contraction)
    assert (kernel.left.buffer, kernel.right.buffer) == (0, 1)
    assert kernel.right.strides[-1] == 1


def test_the_elements_of_a_row_of_a_window_and_their_channels_are_one_dimension():
    x, w = new_input((2, 8, 9, 10), (0, 2, 3, 1)), new_input((16, 8, 3, 3), (2, 3, 1, 0))
    (kernel,) = products(kernels(x, w))
    assert isinstance(kernel, Contraction)
    assert kernel.rows == (2, 7, 8) and kernel.depth == (3, 24) and kernel.columns == 16
    (kernel,) = products(kernels(x, w, dilation=2))
    assert kernel.depth == (3, 3, 8)


def test_windows_of_one_element_are_a_matrix_product():
    x, w = new_input((2, 8, 9, 10), (0, 2, 3, 1)), new_input((16, 8, 1, 1), (2, 3, 1, 0))
    (kernel,) = products(kernels(x, w))
    assert isinstance(kernel, Product)
    assert (kernel.rows, kernel.columns, kernel.depth) == (180, 16, 8)
    (kernel,) = products(kernels(x, w, stride=2))
    assert isinstance(kernel, Contraction) and kernel.rows == (2, 5, 5) and kernel.depth == (8,)


def test_a_window_as_large_as_the_image_is_a_matrix_product():
    x, w = new_input((5, 8, 3, 4), (0, 2, 3, 1)), new_input((16, 8, 3, 4), (2, 3, 1, 0))
    (kernel,) = products(kernels(x, w))
    assert isinstance(kernel, Product)
    assert (kernel.rows, kernel.columns, kernel.depth) == (5, 16, 96)


def test_a_window_over_whole_rows_moves_along_one_dimension():
    x, w = new_input((5, 8, 9, 4), (0, 2, 3, 1)), new_input((16, 8, 3, 4), (2, 3, 1, 0))
    (kernel,) = products(kernels(x, w))
    assert kernel.rows == (5, 7) and kernel.depth == (96,)


@pytest.mark.parametrize("options", [{}, {"low": 1, "high": 1}, {"stride": 2}, {"dilation": 2, "low": 2}, {"low": -1}])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_plans_of_all_kinds_of_convolutions(rank, groups, options):
    x, w = new_input((2, 4, 7, 6, 5)[: rank + 2]), new_input((4, 4 // groups, 3, 2, 2)[: rank + 2])
    kernels(x, w, groups=groups, **options)


def test_depthwise_convolutions_sum_by_column():
    x, w = new_input((2, 16, 7, 5), (0, 2, 3, 1)), new_input((16, 1, 3, 3), (2, 3, 1, 0))
    (kernel,) = products(kernels(x, w, low=1, high=1, groups=16))
    assert isinstance(kernel, Contraction)
    assert kernel.left.strides[-1] == 1 and kernel.columns == 16 and kernel.terms == 9


@pytest.mark.parametrize("channels", [2, 16])
def test_products_with_the_zeros_around_an_image_are_left_out(channels):
    """Where images have more than a few channels no zeros are put around them; the ranges are those of both axes."""
    x, w = new_input((2, channels, 7, 9), (0, 2, 3, 1)), new_input((16, channels, 3, 3), (2, 3, 1, 0))
    (kernel,) = products(kernels(x, w, low=1, high=(0, 1), stride=(2, 1), dilation=(1, 2)))
    if channels == 2:
        assert kernel.ranges == ()
        return
    assert kernel.rows[:2] == (2, 3) and kernel.rows[2] == 7 and kernel.depth == (3, 3, 16)
    assert [(each.row, each.depth, each.row_step, each.depth_step, each.low, each.size) for each in kernel.ranges] == [
        (1, 0, 2, 1, 1, 7), (2, 1, 1, 2, 1, 9)
    ]  # fmt: skip
