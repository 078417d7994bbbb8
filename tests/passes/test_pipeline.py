"""Whole pipeline: plans compute what the reference computes, and training steps become few kernels."""

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chainrule.errors import CompilationError
from chainrule.graph.graph import Graph
from chainrule.graph.primitive import PRIMITIVES
from chainrule.graph.text import format_graph
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.source import make_input
from chainrule.passes import pipeline
from chainrule.passes.pipeline import describe_stages, make_plan, plan_passes
from chainrule.passes.plan import Product
from chainrule.reference import evaluate
from chainrule.settings import settings
from chainrule.types import as_dtype, float32, tensor_type
from tests.passes import graph_maker, networks, plan_interpreter


def check_plan(graph, values, output_strides=None, rtol=1e-5, atol=1e-6):
    plan = make_plan(graph, output_strides)
    expected = evaluate(graph, values)
    got = plan_interpreter.run_plan(plan, graph, values, output_strides)
    for one, other in zip(expected[0] + expected[1], got[0] + got[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)
    return plan


SAMPLES = [
    pytest.param(record, sample, id=f"{record.name}-{number}")
    for record in PRIMITIVES.values()
    for number, sample in enumerate(record.samples(np.random.default_rng(0)))
]


@pytest.mark.parametrize(("record", "sample"), SAMPLES)
def test_every_sample_of_every_primitive(record, sample):
    inputs = tuple(make_input(tensor_type(as_dtype(x.dtype), x.shape)) for x in map(np.asarray, sample.inputs))
    graph = Graph(inputs, (apply(record, *inputs, **sample.attributes),))
    check_plan(graph, sample.inputs)


# A failing graph is shown as it is: shrinking it would take minutes.
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate]
)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_random_graphs(random, steps):
    graph = graph_maker.random_graph(lambda options: random.choice(list(options)), steps)
    note(format_graph(graph))
    rng = np.random.default_rng(random.randrange(1000))
    values = [
        rng.normal(size=v.shape) if v.dtype.kind == "float" else rng.integers(0, 4, v.shape) for v in graph.inputs
    ]
    strides = [(1, v.shape[0]) if len(v.shape) == 2 and random.random() < 0.5 else None for v in graph.outputs]
    assume(graph_maker.is_tame(graph, values, rng))
    check_plan(graph, values, strides)


NETWORKS = {
    "binary": {},
    "row-major weights": {"strided": False},
    "classes": {"sizes": (7, 6, 5, 3)},
    "one layer": {"sizes": (5, 1), "batch": 1},
    "gathered": {"gather_from": 50},
    "recurrent": None,
}


def network(name):
    return networks.lstm_step() if NETWORKS[name] is None else networks.mlp_step(**NETWORKS[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps(name):
    graph = network(name)
    check_plan(graph, networks.random_values(graph, np.random.default_rng(0)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "limit"), [("binary", 14), ("classes", 18), ("gathered", 15)])
def test_training_steps_are_few_kernels(name, limit):
    assert len(make_plan(network(name)).kernels) <= limit


def test_no_update_of_a_training_step_needs_a_copy():
    plan = make_plan(networks.mlp_step())
    assert not [kernel.name for kernel in plan.kernels if kernel.name.startswith("copy")]


def test_adam_runs_in_the_epilogue_of_the_weight_gradient():
    plan = make_plan(networks.mlp_step())
    epilogues = [kernel for kernel in plan.kernels if isinstance(kernel, Product) and len(kernel.stores) == 3]
    assert len(epilogues) == 3
    for kernel in epilogues:
        assert {plan.buffers[store.access.buffer].role for store in kernel.stores} == {"input"}
        assert [step.operation for step in kernel.body].count("sqrt") == 1


def test_mask_of_relu_is_read_off_the_activation_in_the_epilogue_of_the_input_gradient():
    plan = make_plan(networks.mlp_step())
    masked = [kernel for kernel in plan.kernels if [step.operation for step in kernel.body][-1:] == ["where"]]
    backward = [kernel for kernel in masked if isinstance(kernel, Product) and kernel.body[1].operation == "load"][-2:]
    forward = {store.access.buffer for kernel in masked[:2] for store in kernel.stores}
    assert {kernel.body[1].access.buffer for kernel in backward} == forward
    assert not [buffer for buffer in plan.buffers if buffer.dtype.name == "bool"]


def test_every_stage_has_a_text():
    texts = describe_stages(networks.mlp_step())
    assert list(texts) == ["graph", *(stage.name for stage in plan_passes())]
    assert all(texts.values())


def test_every_pass_says_why_it_is_there():
    assert all(stage.reason for stage in plan_passes())


def test_a_defective_pass_is_named(monkeypatch):
    def break_types(graph):
        output, wrong_type = graph.outputs[0], tensor_type(float32, (9,))
        wrong = Vertex(output.primitive, output.inputs, output.attributes, wrong_type, False, output.site)
        return Graph(graph.inputs, (wrong,))

    passes = (pipeline.Pass("break_types", break_types, "a test"),)
    x = make_input(tensor_type(float32, (3,)))
    graph = Graph((x,), (apply(PRIMITIVES["exp"], x),))
    monkeypatch.setattr(settings, "verify_passes", True)
    with pytest.raises(CompilationError, match="break_types"):
        list(pipeline.run_passes(passes, graph))
    monkeypatch.setattr(settings, "verify_passes", False)
    assert len(list(pipeline.run_passes(passes, graph))) == 1
