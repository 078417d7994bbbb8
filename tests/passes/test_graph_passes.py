"""Passes from graph to graph other than simplification: masks, merging, placement."""

from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.text import format_graph
from chainrule.graph.vertex import make_vertex
from chainrule.ops.arithmetic import add, multiply
from chainrule.ops.comparison import less, less_equal, where
from chainrule.ops.elementwise import exp
from chainrule.ops.matmul import matmul
from chainrule.ops.movement import reshape, transpose
from chainrule.ops.source import constant, make_input
from chainrule.passes.cse import merge_equal
from chainrule.passes.masks import read_masks_off_results
from chainrule.passes.place import Home, place
from chainrule.types import float32, tensor_type


def new_input(*shape, strides=None):
    return make_input(tensor_type(float32, shape), strides=strides)


def body(graph):
    """The lines of the graph without its inputs, constants and lists."""
    made = [line.split(" = ")[1] for line in format_graph(graph).splitlines() if line.startswith("%")]
    return [text for text in made if not text.startswith(("input(", "constant("))]


def test_equal_vertices_are_merged_in_any_order_of_commuting_operands():
    x, y = new_input(3), new_input(3)
    one = make_vertex(PRIMITIVES["add"], (x, y), {})
    other = make_vertex(PRIMITIVES["add"], (y, x), {})
    graph = merge_equal(Graph((x, y), (multiply(one, other),)))
    assert body(graph) == ["add(%0, %1)", "multiply(%2, %2)"]
    one, other = (make_vertex(PRIMITIVES["subtract"], pair, {}) for pair in ((x, y), (y, x)))
    assert len(body(merge_equal(Graph((x, y), (multiply(one, other),))))) == 3


def test_constants_are_merged_by_bits_and_inputs_never():
    x, y = new_input(3), new_input(3)
    number = tensor_type(float32, ())
    zeros = [make_vertex(PRIMITIVES["constant"], (), {"value": v, "type": number}) for v in (0.0, 0.0, -0.0)]
    roots = (*(add(x, zero) for zero in zeros), exp(x), exp(y))
    graph = merge_equal(Graph((x, y), roots))
    assert graph.outputs[0] is graph.outputs[1] is not graph.outputs[2]
    assert graph.outputs[3] is not graph.outputs[4]


def test_mask_is_read_off_the_result_of_a_rectifier():
    x, g = new_input(3), new_input(3)
    z = exp(x)
    mask = less_equal(z, 0)
    graph = Graph((x, g), (where(mask, 0, g), where(mask, 0, z)))
    after = body(merge_equal(read_masks_off_results(graph)))
    assert after == ["exp(%0)", "less_equal(%2, %3)", "where(%4, %3, %2)", "less_equal(%5, %3)", "where(%6, %3, %1)"]
    mask = less(constant(0, float32), z)
    after = body(merge_equal(read_masks_off_results(Graph((x, g), (where(mask, z, 0), where(mask, g, 0))))))
    assert after == ["exp(%0)", "less(%2, %3)", "where(%4, %3, %2)", "less(%2, %5)", "where(%6, %1, %2)"]


def test_masks_of_other_choices_stay():
    x, g = new_input(3), new_input(3)
    mask = less_equal(x, 1)
    graph = Graph((x, g), (where(mask, 1, x), where(mask, 0, g)))
    assert read_masks_off_results(graph) is graph


def test_result_is_computed_in_its_output():
    x, y = new_input(2, 3), new_input(3, 4)
    product = matmul(x, y)
    placement = place(Graph((x, y), (transpose(product, (1, 0)),)), [(1, 4)])
    assert placement.homes == {product: Home(False, 0, (4, 1))}


def test_second_use_of_a_result_is_copied():
    x = new_input(2, 3)
    y = exp(x)
    placement = place(Graph((x,), (y, y), ((x, y),)))
    assert body(placement.graph) == ["exp(%0)", "stop_gradient(%1)", "stop_gradient(%1)"]
    assert placement.homes[y] == Home(True, 0, (3, 1))


def test_input_that_is_an_output_is_copied_and_an_idle_update_dropped():
    x, y = new_input(2), new_input(2)
    placement = place(Graph((x, y), (x,), ((y, y),)))
    assert body(placement.graph) == ["stop_gradient(%0)"]
    assert placement.graph.updates == ()


def test_reshape_of_what_does_not_lie_in_rows_is_copied_first():
    x = new_input(2, 3, strides=(1, 2))
    assert body(place(Graph((x,), (exp(reshape(x, (6,))),))).graph) == [
        "stop_gradient(%0)", "reshape(%1, shape=(6,))", "exp(%2)"
    ]  # fmt: skip
    y = exp(new_input(2, 3))
    graph = place(Graph(y.inputs, (exp(reshape(transpose(y, (1, 0)), (6,))), exp(reshape(y, (6,)))))).graph
    assert body(graph).count("stop_gradient(%2)") == 1


def test_constant_operand_of_a_product_gets_a_buffer():
    x = new_input(2, 3)
    graph = place(Graph((x,), (matmul(x, constant(1, float32, (3, 4))),))).graph
    assert body(graph) == ["stop_gradient(%1)", "matmul(%0, %2)"]
