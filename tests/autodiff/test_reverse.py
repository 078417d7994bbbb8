"""Reverse mode on whole graphs: by hand, against PyTorch, and against differences of gradients."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.autodiff.check import check_gradient, directional_derivatives, trace
from chainrule.autodiff.reverse import gradients, unbroadcast
from chainrule.errors import GradientError
from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex
from chainrule.ops import arithmetic, comparison, elementwise, reduction, source
from chainrule.ops.arithmetic import add, divide, maximum, multiply, power, subtract
from chainrule.ops.elementwise import SIGMOID, TANH, cast, exp, log
from chainrule.ops.matmul import matmul
from chainrule.ops.records import build
from chainrule.ops.reduction import sum_
from chainrule.reference import Array, evaluate
from chainrule.types import float32, float64, int64, tensor_type


def sigmoid(x: Vertex) -> Vertex:
    return build(SIGMOID, x)


def total(x: Vertex) -> Vertex:
    return sum_(x, tuple(range(len(x.shape))))


def values_of(vertices: Sequence[Vertex | None], inputs: Sequence[Vertex], arrays: Sequence[Array]) -> list[Array]:
    assert None not in vertices
    return evaluate(Graph(tuple(inputs), tuple(vertex for vertex in vertices if vertex is not None)), arrays)[0]


def new_inputs(*arrays: Array) -> list[Vertex]:
    return [source.make_input(tensor_type(float64, array.shape)) for array in arrays]


# ------------------------------------------------------------------------------------------------------------- by hand


def test_two_layer_network_by_hand() -> None:
    """Rumelhart, Hinton, Williams 1986: the rules for ½ Σ (a - y)², worked element by element."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    w_in, w_out = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
    inputs = X, Y, W_IN, W_OUT = new_inputs(x, y, w_in, w_out)
    answer = sigmoid(matmul(sigmoid(matmul(X, W_IN)), W_OUT))
    error = subtract(answer, Y)
    loss = multiply(total(multiply(error, error)), 0.5)
    by_in, by_out = values_of(gradients(loss, [W_IN, W_OUT]), inputs, [x, y, w_in, w_out])

    expected_in, expected_out = np.zeros_like(w_in), np.zeros_like(w_out)
    for sample, target in zip(x, y, strict=True):
        u = 1 / (1 + np.exp(-(sample @ w_in)))
        a = 1 / (1 + np.exp(-(u @ w_out)))
        slope_out, slope_in = a * (1 - a), u * (1 - u)
        e_out = a - target  # ε_m = a_m - y_m
        for h in range(4):
            e_hidden = sum(e_out[m] * slope_out[m] * w_out[h, m] for m in range(2))  # ε_h = Σ_m ε_m σ'_m w_hm
            for m in range(2):
                expected_out[h, m] += e_out[m] * slope_out[m] * u[h]  # ∂/∂w_hm = ε_m σ'_m u_h
            for j in range(3):
                expected_in[j, h] += e_hidden * slope_in[h] * sample[j]  # ∂/∂w_jh = ε_h σ'_h x_j
    np.testing.assert_allclose(by_in, expected_in, rtol=1e-12)
    np.testing.assert_allclose(by_out, expected_out, rtol=1e-12)


def test_contributions_of_a_shared_vertex_add_up() -> None:
    (x,) = new_inputs(np.array(3.0))
    root = add(multiply(x, x), multiply(x, 5))
    assert values_of(gradients(root, [x]), [x], [np.array(3.0)]) == [11.0]


def test_gradient_by_a_computed_vertex_and_by_the_root() -> None:
    (x,) = new_inputs(np.array(2.0))
    middle = multiply(x, x)
    root = multiply(middle, 3)
    assert values_of(gradients(root, [middle, root, x]), [x], [np.array(2.0)]) == [3.0, 1.0, 12.0]


def test_a_cotangent_weighs_the_elements() -> None:
    inputs = x, weights = new_inputs(np.zeros(3), np.zeros(3))
    (value,) = values_of(gradients(multiply(x, x), [x], weights), inputs, [np.arange(3.0), np.array([1.0, 10, 100])])
    assert value.tolist() == [0, 20, 400]


def test_what_the_root_does_not_depend_on_has_none() -> None:
    x, y = new_inputs(np.zeros(3), np.zeros(3))
    assert gradients(exp(x), [y]) == [None]
    assert gradients(elementwise.stop_gradient(x), [x]) == [None]
    assert gradients(cast(comparison.less(x, y), float64), [x, y]) == [None, None]
    stopped = add(elementwise.stop_gradient(x), y)
    assert [gradient is None for gradient in gradients(stopped, [x, y])] == [True, False]


def test_behind_a_condition_that_is_wanted_itself_nothing_flows() -> None:
    """The loop must pass by a vertex without derivative even where that vertex is asked for."""
    (x,) = new_inputs(np.zeros(3))
    stopped = elementwise.stop_gradient(x)
    by_x, by_stopped = gradients(exp(stopped), [x, stopped])
    assert by_x is None
    assert by_stopped is not None


def test_an_exponent_gets_its_gradient_whatever_its_flag_says() -> None:
    """``wrt`` decides, not ``requires_grad``."""
    inputs = x, y = new_inputs(np.array(2.0), np.array(3.0))
    assert not y.requires_grad
    (value,) = values_of(gradients(power(x, y), [y]), inputs, [np.array(2.0), np.array(3.0)])
    assert value == pytest.approx(8 * np.log(2))


def test_steps_have_a_gradient_of_zeros() -> None:
    (x,) = new_inputs(np.zeros(3))
    for record in (elementwise.SIGN, elementwise.FLOOR, elementwise.CEIL, elementwise.ROUND):
        (value,) = values_of(gradients(total(build(record, x)), [x]), [x], [np.array([-1.5, 0.0, 2.2])])
        assert value.tolist() == [0, 0, 0]


def test_misuse_is_refused() -> None:
    (x,) = new_inputs(np.zeros(3))
    with pytest.raises(GradientError, match="only floating point values have gradients"):
        gradients(cast(x, int64), [x])
    with pytest.raises(GradientError, match=r"expected a cotangent of the root's type float64\[3\], got float64\[\]"):
        gradients(exp(x), [x], source.constant(1, float64))


def test_unbroadcast_sums_what_was_repeated() -> None:
    g = np.arange(24.0).reshape(2, 3, 4)
    for shape in ((2, 3, 4), (3, 4), (1, 4), (4,), (3, 1), (2, 1, 1), (1, 1, 1), ()):
        (vertex,) = new_inputs(g)
        (value,) = values_of([unbroadcast(vertex, shape)], [vertex], [g])
        kept = (1,) * (3 - len(shape)) + shape
        axes = tuple(axis for axis in range(3) if kept[axis] == 1)
        np.testing.assert_array_equal(value, g.sum(axes).reshape(shape))
    for size, shape in (((0, 3), (3,)), ((0, 3), (1, 3)), ((0, 3), (0, 1)), ((1, 3), (3,))):
        (vertex,) = new_inputs(np.zeros(size))
        (value,) = values_of([unbroadcast(vertex, shape)], [vertex], [np.zeros(size)])
        np.testing.assert_array_equal(value, np.zeros(shape))


# -------------------------------------------------------------------------------------------------------- second order


def mixed(x: Vertex, y: Vertex) -> Vertex:
    """A scalar with curvature in and between both operands."""
    inner = add(multiply(build(TANH, x), exp(multiply(y, 0.5))), power(add(multiply(x, x), 1), y))
    return total(multiply(inner, log(add(multiply(y, y), 2))))


def softmax_regression(w: Vertex, x: Vertex) -> Vertex:
    scores = matmul(x, w)
    shifted = subtract(scores, reduction.expand_reduced(reduction.max_(scores, (1,)), scores.shape, (1,)))
    log_sum = log(sum_(exp(shifted), (1,)))
    return total(subtract(log_sum, multiply(sum_(shifted, (1,)), 1 / 3)))


def hessian_vector_product(build_scalar: Callable[..., Vertex], inputs: Sequence[Vertex], v: Vertex) -> Vertex | None:
    """H·v = ∇(∇f·v) by the first input."""
    (gradient,) = gradients(build_scalar(*inputs), [inputs[0]])
    assert gradient is not None
    return gradients(total(multiply(gradient, v)), [inputs[0]])[0]


@pytest.mark.parametrize("build_scalar", [mixed, softmax_regression])
def test_hessian_vector_product(build_scalar: Callable[..., Vertex]) -> None:
    rng = np.random.default_rng(1)
    shapes = ((4, 3), (5, 4)) if build_scalar is softmax_regression else ((4, 3), (4, 3))
    a, b = (rng.uniform(0.5, 1.5, shape) for shape in shapes)
    direction = rng.normal(size=a.shape)
    inputs = new_inputs(a, b, direction)
    product = hessian_vector_product(build_scalar, inputs[:2], inputs[2])
    (value,) = values_of([product], inputs, [a, b, direction])

    first = gradients(build_scalar(*inputs[:2]), inputs[:1])
    eps = 1e-5
    above, below = (values_of(first, inputs, [a + step * direction, b, direction])[0] for step in (eps, -eps))
    np.testing.assert_allclose(value, (above - below) / (2 * eps), rtol=1e-6, atol=1e-7)


def test_hessian_vector_product_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    a, b, direction = (rng.uniform(0.5, 1.5, (4, 3)) for _ in range(3))
    inputs = new_inputs(a, b, direction)
    (value,) = values_of([hessian_vector_product(mixed, inputs[:2], inputs[2])], inputs, [a, b, direction])

    def twin(x: object) -> object:
        x, y = torch.as_tensor(x), torch.tensor(b)
        return (((x.tanh() * (y * 0.5).exp()) + (x * x + 1) ** y) * (y * y + 2).log()).sum()

    _, expected = torch.autograd.functional.hvp(twin, torch.tensor(a), torch.tensor(direction))
    np.testing.assert_allclose(value, expected.numpy(), rtol=1e-10)


def test_third_derivative() -> None:
    """d³/dx³ of x⁵ is 60 x²."""
    (x,) = new_inputs(np.array(0.0))
    vertex: Vertex | None = power(x, 5)
    for _ in range(3):
        assert vertex is not None
        (vertex,) = gradients(vertex, [x])
    assert values_of([vertex], [x], [np.array(2.0)])[0] == pytest.approx(240)
    assert values_of([vertex], [x], [np.array(0.0)])[0] == 0


# ------------------------------------------------------------------------------------------------------------ checking


def test_a_right_gradient_passes() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 3)), rng.normal(size=(3,))
    assert check_gradient(trace(lambda x, y: divide(exp(multiply(x, y)), 2), [a, b]), [a, b]) == []
    assert check_gradient(trace(lambda x: maximum(x, 0), [a]), [a]) == []


def test_a_wrong_gradient_is_reported_with_argument_and_index() -> None:
    """A stop in the middle makes the derivative of x·y by y zero, except where x is zero."""
    a, b = np.array([2.0, 0.0, 3.0]), np.array([1.0, 5.0, 7.0])
    graph = trace(lambda x, y: multiply(x, elementwise.stop_gradient(y)), [a, b])
    found = check_gradient(graph, [a, b])
    assert [(m.argument, m.index, m.output, m.output_index) for m in found] == [(1, (0,), 0, (0,)), (1, (2,), 0, (2,))]
    assert [m.analytic for m in found] == [0, 0]
    assert [m.numeric for m in found] == pytest.approx([2, 3])
    assert str(found[0]).startswith(
        "derivative of output 0 at index (0,) by argument 1 at index (0,): analytic 0, numeric 2"
    )
    assert check_gradient(graph, [a, b], arguments=[0]) == []


def test_several_outputs_and_other_inputs() -> None:
    """Outputs and inputs that are not of floating point take no part."""
    x, n = source.make_input(tensor_type(float64, (2,))), source.make_input(tensor_type(int64, (2,)))
    wrong = add(x, elementwise.stop_gradient(x))
    graph = Graph((x, n), (exp(x), arithmetic.add(n, n), wrong))
    found = check_gradient(graph, [np.array([0.3, 0.7]), np.array([1, 2])])
    assert {(m.argument, m.output) for m in found} == {(0, 2)}
    assert len(found) == 2


def test_nan_agrees_with_nothing() -> None:
    a = np.array([-1.0])
    assert len(check_gradient(trace(log, [a]), [a])) == 1


def test_only_float64_is_checked() -> None:
    x = source.make_input(tensor_type(float32, (2,)))
    with pytest.raises(ValueError, match=r"checked in float64, but argument 0 is float32\[2\]"):
        check_gradient(Graph((x,), (exp(x),)), [np.zeros(2, np.float32)])


def test_the_values_given_are_not_changed() -> None:
    a = np.array([1.0, 2.0])
    check_gradient(trace(exp, [a]), [a])
    assert a.tolist() == [1, 2]


@given(st.integers(0, 10**9))
def test_directional_derivatives_see_a_wrong_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(3, 4))
    analytic, numeric = directional_derivatives(trace(lambda x: multiply(x, x), [a]), [a], rng)
    assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-8)
    wrong = trace(lambda x: multiply(x, elementwise.stop_gradient(x)), [a])
    analytic, numeric = directional_derivatives(wrong, [a], rng)
    assert analytic == pytest.approx(numeric / 2, rel=1e-5, abs=1e-8)


def test_gradient_of_an_operand_that_a_batch_shares_is_one_product():
    rng = np.random.default_rng(0)
    x, w = source.make_input(tensor_type(float64, (2, 5, 3))), source.make_input(tensor_type(float64, (3, 4)))
    root = sum_(exp(matmul(x, w)), (0, 1, 2))
    (by_w,) = gradients(root, [w])
    assert by_w is not None and by_w.primitive.name == "matmul"
    values = [rng.normal(size=(2, 5, 3)), rng.normal(size=(3, 4))]
    (found,), _ = evaluate(Graph((x, w), (by_w,)), values)
    np.testing.assert_allclose(found, np.einsum("bik,bij->kj", values[0], np.exp(values[0] @ values[1])))
