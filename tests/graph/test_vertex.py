"""Recording: equal applications are one vertex, and each knows the user's line."""

import gc
import weakref
from types import SimpleNamespace

import pytest

from chainrule.errors import ShapeError
from chainrule.graph import site as site_module
from chainrule.graph.graph import Graph, rebuild, topological_order
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.site import find_site
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops import arithmetic, comparison, elementwise, movement, reduction, source
from chainrule.types import float32, float64, int64, tensor_type

VECTOR = tensor_type(float32, (3,))


def test_equal_applications_are_one_vertex() -> None:
    x, y = source.make_input(VECTOR), source.make_input(VECTOR)
    assert arithmetic.add(x, y) is arithmetic.add(x, y)
    assert movement.reshape(x, (3, 1)) is movement.reshape(x, (3, 1))
    assert arithmetic.multiply(x, 2) is arithmetic.multiply(x, 2.0)
    assert elementwise.exp(arithmetic.add(x, y)) is elementwise.exp(arithmetic.add(x, y))


def test_different_applications_are_not() -> None:
    x, y = source.make_input(VECTOR), source.make_input(VECTOR)
    assert x is not y
    assert arithmetic.add(x, y) is not arithmetic.add(y, x)
    assert arithmetic.add(x, y) is not arithmetic.subtract(x, y)
    assert movement.reshape(x, (3, 1)) is not movement.reshape(x, (1, 3))
    assert arithmetic.multiply(x, 0.0) is not arithmetic.multiply(x, -0.0)


def test_the_order_of_keywords_does_not_mix_attributes_up() -> None:
    x = source.make_input(tensor_type(float32, (4, 4)))
    first = apply(PRIMITIVES["pad"], x, low=(1, 1), high=(0, 0), interior=(0, 0))
    second = apply(PRIMITIVES["pad"], x, high=(1, 1), low=(0, 0), interior=(0, 0))
    assert (first.attributes["low"], second.attributes["low"]) == ((1, 1), (0, 0))


def test_constants_are_interned_by_value_type_and_sign() -> None:
    assert source.constant(1, float32) is source.constant(1.0, float32)
    assert source.constant(0.0, float32) is not source.constant(-0.0, float32)
    assert source.constant(1, float32) is not source.constant(1, int64)
    assert source.constant(1, float32) is not source.constant(1, float32, (2,))
    assert source.constant(0.1, float32).attributes["value"] == pytest.approx(0.1, rel=1e-7)
    assert source.constant(1e300, float32).attributes["value"] == float("inf")
    assert source.iota(int64, (3,)) is source.iota(int64, (3,))


def test_a_constant_must_fit_its_type() -> None:
    for value, dtype in ((2**70, int64), (float("nan"), int64), ("one", float32)):
        with pytest.raises(ValueError, match="cannot be an element of"):
            source.constant(value, dtype)  # type: ignore[arg-type]


def test_a_graph_that_nobody_holds_is_freed() -> None:
    x = source.make_input(VECTOR)
    watched = weakref.ref(arithmetic.add(elementwise.exp(x), 1))
    assert watched() is not None
    del x
    gc.collect()
    assert watched() is None


def test_recording_keeps_no_locals_alive() -> None:
    """A value that a long function has dropped must be free to go before the function returns."""
    dropped = source.make_input(VECTOR)
    watched = weakref.ref(dropped)
    elementwise.exp(source.make_input(VECTOR))
    del dropped
    assert watched() is None


def test_requires_grad_follows_differentiable_paths() -> None:
    x = source.make_input(VECTOR, requires_grad=True)
    assert arithmetic.add(x, 1).requires_grad
    assert not elementwise.stop_gradient(x).requires_grad
    assert not comparison.less(x, 0).requires_grad
    assert not elementwise.cast(x, int64).requires_grad
    assert elementwise.cast(x, float64).requires_grad
    assert not arithmetic.add(source.make_input(VECTOR), 1).requires_grad


# --------------------------------------------------------------------------------------------------------------- sites


def test_a_vertex_knows_the_line_that_made_it_first() -> None:
    x = source.make_input(VECTOR)
    vertex, here = reduction.sum_(x, (0,)), find_site()
    assert vertex.site == here
    assert here.file == __file__
    assert reduction.sum_(x, (0,)).site == here


def test_an_error_names_the_line_each_time() -> None:
    x, y = source.make_input(VECTOR), source.make_input(tensor_type(float32, (4,)))
    places = []
    for _ in range(2):
        with pytest.raises(ShapeError) as caught:
            arithmetic.add(x, y)
        places.append(str(caught.value).splitlines()[-1])
        assert places[-1] == f"  where: {__file__}:{caught.tb.tb_lineno}"


class Block:
    """What a module looks like to the capture: children in ``_modules``, called by its parent."""

    def __init__(self, **children: "Block") -> None:
        self._modules = children

    def __call__(self, x: Vertex) -> Vertex:
        return self.forward(x)

    def forward(self, x: Vertex) -> Vertex:
        for child in self._modules.values():
            x = child(x)
        return x if self._modules else elementwise.exp(x)


def test_the_path_of_modules_is_part_of_the_site() -> None:
    model = Block(encoder=Block(**{"0": Block(), "1": Block()}), head=Block())
    last = model(source.make_input(VECTOR))
    paths = [vertex.site.module for vertex in topological_order([last])]
    assert paths == ["", "encoder.0", "encoder.1", "head"]
    assert str(last.site) == f"{__file__}:{last.site.line}, in module 'head'"


class Odd:
    """A ``self`` whose attributes are made up as they are asked for, as in mocks and proxies."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"asked for {name}")

    def __call__(self) -> Vertex:
        return elementwise.exp(source.make_input(VECTOR))


def test_objects_that_are_no_modules_are_left_alone() -> None:
    assert Odd()().site.module == ""
    slots = SimpleNamespace(_modules="not a dictionary")
    assert Odd.__call__(slots).site.module == ""  # type: ignore[arg-type]


def test_a_file_beside_the_package_is_the_users() -> None:
    """A folder such as chainrule_experiments begins with the name of the package."""
    file = site_module._PACKAGE.rstrip("/\\") + "_experiments/train.py"
    names = {"exp": elementwise.exp, "x": source.make_input(VECTOR)}
    exec(compile("\n\nvertex = exp(x)", file, "exec"), names)
    assert names["vertex"].site[:2] == (file, 3)


# -------------------------------------------------------------------------------------------------------- whole graphs


def test_order_has_operands_first_and_every_vertex_once() -> None:
    x = source.make_input(VECTOR)
    shared = elementwise.exp(x)
    root = arithmetic.add(arithmetic.multiply(shared, shared), shared)
    order = Graph((x,), (root, shared)).order()
    assert len(order) == len(set(order)) == 4
    assert all(order.index(operand) < order.index(vertex) for vertex in order for operand in vertex.inputs)


def test_rebuild_replaces_and_keeps() -> None:
    x, y = source.make_input(VECTOR), source.make_input(VECTOR)
    kept, changed = elementwise.exp(y), arithmetic.add(elementwise.sin(x), 1)
    graph = Graph((x, y), (kept, changed), ((x, changed),))

    def sin_to_cos(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        return elementwise.cos(*inputs) if vertex.primitive is elementwise.SIN else None

    new = rebuild(graph, sin_to_cos)
    assert new.inputs == graph.inputs
    assert new.outputs[0] is kept
    assert new.outputs[1] is new.updates[0][1]
    assert new.outputs[1].inputs[0].primitive is elementwise.COS
    assert new.outputs[1].site == changed.site
    assert graph.outputs[1].inputs[0].primitive is elementwise.SIN
