"""A tour of chainrule: one tiny test per stage, in the order in which a training step passes through them.

Read it from top to bottom, beside docs/pipeline.md. Everything here is tested thoroughly elsewhere.
"""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.autodiff.reverse import gradients
from chainrule.backends.native.cpu import host_target
from chainrule.backends.native.driver import lower
from chainrule.errors import ShapeError
from chainrule.graph.graph import Graph
from chainrule.graph.text import format_graph, parse_graph
from chainrule.ops.arithmetic import add, multiply
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import swap_last_axes
from chainrule.ops.reduction import sum_
from chainrule.ops.source import make_input
from chainrule.passes.pipeline import make_plan, optimize
from chainrule.passes.plan import Nest, Product
from chainrule.reference import evaluate
from chainrule.tensor.recording import vertex_of
from chainrule.types import float32, tensor_type
from tests.native_program import run_native


def test_a_vertex_is_a_primitive_applied_to_vertices() -> None:
    x = make_input(tensor_type(float32, (3,)))
    square = multiply(x, x)
    assert square.primitive.name == "multiply"
    assert square.inputs == (x, x)
    assert square.type is tensor_type(float32, (3,))


def test_equal_vertices_are_one_object() -> None:
    x = make_input(tensor_type(float32, (3,)))
    assert multiply(x, x) is multiply(x, x)


def test_a_mistake_is_refused_when_it_is_recorded() -> None:
    x, y = make_input(tensor_type(float32, (3,))), make_input(tensor_type(float32, (4,)))
    with pytest.raises(ShapeError, match="test_tiny.py"):
        add(x, y)


def test_a_graph_is_text_and_back() -> None:
    x = make_input(tensor_type(float32, (3,)))
    text = format_graph(Graph((x,), (multiply(x, x),)))
    assert text.splitlines()[1] == "%1: float32[3] = multiply(%0, %0)"
    assert format_graph(parse_graph(text)) == text


def test_the_reference_says_what_a_graph_means() -> None:
    x = make_input(tensor_type(float32, (3,)))
    outputs, _ = evaluate(Graph((x,), (multiply(x, x),)), [np.array([1, 2, 3])])
    assert outputs[0].tolist() == [1, 4, 9]


def test_a_gradient_is_more_graph() -> None:
    x = make_input(tensor_type(float32, (3,)))
    (gradient,) = gradients(sum_(multiply(x, x), (0,)), [x])
    assert gradient is not None
    outputs, _ = evaluate(Graph((x,), (gradient,)), [np.array([1, 2, 3])])
    assert outputs[0].tolist() == [2, 4, 6]


def test_passes_keep_the_meaning_and_leave_less_to_do() -> None:
    x = make_input(tensor_type(float32, (3, 2)))
    graph = Graph((x,), (swap_last_axes(swap_last_axes(multiply(x, 1))),))
    assert optimize(graph).outputs == (x,)


def test_an_update_is_an_output_that_replaces_an_input() -> None:
    counter = make_input(tensor_type(float32, ()))
    graph = Graph((counter,), (), ((counter, add(counter, 1)),))
    assert evaluate(graph, [np.array(41)])[1][0] == 42
    assert run_native(graph, [np.array(41)])[1][0] == 42


def test_a_plan_is_kernels_and_memory() -> None:
    x, w = make_input(tensor_type(float32, (4, 3))), make_input(tensor_type(float32, (3, 2)))
    hidden = add(matmul(x, w), 1)
    plan = make_plan(Graph((x, w), (hidden, sum_(multiply(hidden, hidden), (0,)))))
    product, nest = plan.kernels
    assert isinstance(product, Product)
    assert isinstance(nest, Nest)
    assert [step.operation for step in product.body] == ["accumulator", "constant", "add"]
    assert [reduction.operation for reduction in nest.reductions] == ["sum"]
    assert [plan.buffers[number].size for number in (*plan.inputs, *plan.outputs)] == [12, 6, 8, 2]


def test_a_program_is_one_function_that_runs_all_kernels() -> None:
    x = make_input(tensor_type(float32, (3,)))
    program = lower(make_plan(Graph((x,), (multiply(x, x),))), host_target())
    assert f"define void @{program.entry}(" in program.text
    assert "call void @kernel_0(" in program.text


def test_machine_code_agrees_with_the_reference() -> None:
    x = make_input(tensor_type(float32, (3,)))
    graph, values = Graph((x,), (multiply(x, x),)), [np.array([1, 2, 3])]
    assert run_native(graph, values)[0][0].tolist() == evaluate(graph, values)[0][0].tolist()


def test_a_tensor_is_recorded_first_and_computed_when_it_is_read() -> None:
    x = cr.tensor([1.0, 2.0, 3.0])
    y = x * x
    assert vertex_of(y).primitive.name == "multiply"
    assert y.tolist() == [1, 4, 9]


def test_backward_fills_grad() -> None:
    x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_a_compiled_function_is_captured_once_per_shape() -> None:
    captures = []

    @cr.compile
    def double(x: cr.Tensor) -> cr.Tensor:
        captures.append(tuple(x.shape))
        return x * 2

    for values in ([1.0, 2.0], [3.0, 4.0], [5.0]):
        assert double(cr.tensor(values)).tolist() == [2 * value for value in values]
    assert captures == [(2,), (1,)]


def test_random_numbers_follow_from_the_seed_alone() -> None:
    cr.manual_seed(7)
    first = cr.rand(4).tolist()
    with cr.backend("reference"):
        cr.manual_seed(7)
        assert cr.rand(4).tolist() == first


def test_a_module_is_parameters_and_a_forward() -> None:
    layer = nn.Linear(2, 3)
    assert {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()} == {
        "weight": (3, 2),
        "bias": (3,),
    }
    x = np.array([[1, 2]], "float32")
    expected = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(cr.tensor(x)).detach().numpy(), expected, rtol=1e-6)


def test_an_optimiser_steps_against_the_gradient() -> None:
    weight = nn.Parameter(cr.tensor([1.0, 2.0]))
    optimizer = optim.SGD([weight], lr=0.25)
    (weight * weight).sum().backward()
    optimizer.step()
    assert weight.tolist() == [0.5, 1.0]


def test_a_trainer_repeats_the_step_in_native_code() -> None:
    X = np.linspace(-1, 1, 64).reshape(-1, 1)
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    trainer = cr.Trainer(model, loss="mse", optimizer=lambda parameters: optim.Adam(parameters, lr=0.02), seed=0)
    history = trainer.fit(X, X**2, epochs=100, verbose=0)
    assert len(history["loss"]) == 100
    assert trainer.evaluate(X, X**2)["loss"] < np.var(X**2) / 4


def test_the_debugger_names_the_line_that_made_a_nan() -> None:
    with pytest.raises(cr.errors.NonFiniteError, match="test_tiny.py"), cr.debug():
        (cr.zeros(2) - 1).log().sum().item()
