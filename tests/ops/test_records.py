"""Every primitive, tested from its record alone: one more record is tested by being registered."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from chainrule import reference  # importing it registers every primitive
from chainrule.autodiff.check import directional_derivatives
from chainrule.autodiff.reverse import gradients
from chainrule.errors import ChainruleError
from chainrule.graph.graph import Graph, rebuild
from chainrule.graph.primitive import NOT_DIFFERENTIABLE, PRIMITIVES, Primitive, Sample
from chainrule.graph.vertex import Vertex, apply
from chainrule.ops.arithmetic import multiply
from chainrule.ops.reduction import sum_
from chainrule.ops.source import make_input
from chainrule.settings import settings
from chainrule.types import TensorType, as_dtype, float32, float64, tensor_type
from tests.native_program import run_native

# An input's value is given, not made.
WITHOUT_SAMPLES = {"input"}
ALL = [pytest.param(record, id=name) for name, record in sorted(PRIMITIVES.items())]
EVALUATED = [param for param in ALL if param.id not in WITHOUT_SAMPLES]
# Sums may be taken in another order; rounding adds up from step to step.
ROUNDED_SUMS = {"reduction", "matmul", "convolution", "loop"}
FAMILIES = {
    "source", "elementwise", "reduction", "movement", "matmul", "convolution", "indexing", "random", "scan", "loop",
}  # fmt: skip


def samples_of(record: Primitive) -> list[Sample]:
    return record.samples(np.random.default_rng(20240229))


def type_of(array: np.ndarray) -> TensorType:
    return tensor_type(as_dtype(array.dtype), array.shape)


def record_sample(record: Primitive, sample: Sample, arrays: tuple[np.ndarray, ...] | None = None) -> Graph:
    inputs = tuple(make_input(type_of(array)) for array in arrays or sample.inputs)
    return Graph(inputs, (apply(record, *inputs, **sample.attributes),))


def in_type(sample: Sample, dtype: str) -> Sample:
    """The sample with all floating point numbers of another type, those in the body of a loop too."""

    def retyped(vertex: Vertex, inputs: tuple[Vertex, ...]) -> Vertex | None:
        return None if vertex.inputs else make_input(tensor_type(as_dtype(dtype), vertex.shape))

    arrays = tuple(array.astype(dtype) if array.dtype.kind == "f" else array for array in sample.inputs)
    bodies = {name: rebuild(body, retyped) for name, body in sample.attributes.items() if isinstance(body, Graph)}
    return dataclasses.replace(sample, inputs=arrays, attributes={**sample.attributes, **bodies})


def incomplete_fields(record: Primitive) -> set[str]:
    """Names of the fields of a record that are missing or cannot be right."""
    right = {
        "name": record.name.isidentifier() and PRIMITIVES.get(record.name) is not None,
        "family": record.family in FAMILIES,
        "meaning": len(record.meaning) > 1,
        "type_rule": callable(record.type_rule),
        "reference": callable(record.reference) or record.name in WITHOUT_SAMPLES,
        "vjp": callable(record.vjp) or record.vjp is NOT_DIFFERENTIABLE,
        "native": bool(record.native),
        "xla": bool(record.xla),
        "samples": callable(record.samples) and (bool(samples_of(record)) or record.name in WITHOUT_SAMPLES),
        "invalid": len(record.invalid) > 0,
        "special": len(record.special) > 0 or record.family != "elementwise",
        "attributes": all(set(sample.attributes) == set(record.attributes) for sample in samples_of(record)),
        "cost": callable(record.cost),
    }
    return {name for name, is_right in right.items() if not is_right}


@pytest.mark.parametrize("record", ALL)
def test_record_is_complete(record: Primitive) -> None:
    assert not incomplete_fields(record)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Primitive)])
def test_completeness_notices_a_deleted_field(field: str) -> None:
    empty: Any = (lambda rng: []) if field == "samples" else () if field in ("invalid", "special") else None
    empty = ("missing",) if field == "attributes" else empty
    without = dataclasses.replace(PRIMITIVES["tanh"], **{field: "" if field in ("name", "meaning") else empty})
    assert field in incomplete_fields(without)


@pytest.mark.parametrize("record", EVALUATED)
def test_type_rule_agrees_with_reference(record: Primitive) -> None:
    assert record.reference is not None
    for sample in samples_of(record):
        (root,) = record_sample(record, sample).outputs
        with np.errstate(all="ignore"):
            value = np.asarray(record.reference(*sample.inputs, **sample.attributes))
        assert (value.dtype, value.shape) == (root.dtype.numpy, root.shape)


@pytest.mark.parametrize("record", EVALUATED)
def test_float32_gives_float32(record: Primitive) -> None:
    """The reference must not slip into float64: it would hide what the compiled program loses."""
    assert record.reference is not None
    for sample in samples_of(record):
        narrow = in_type(sample, "float32")
        (root,) = record_sample(record, narrow).outputs
        with np.errstate(all="ignore"):
            value = np.asarray(record.reference(*narrow.inputs, **narrow.attributes))
        assert value.dtype == root.dtype.numpy


@pytest.mark.parametrize("record", ALL)
def test_cost_is_a_count(record: Primitive) -> None:
    for sample in samples_of(record):
        graph = record_sample(record, sample)
        cost = record.cost(graph.outputs[0].type, *(vertex.type for vertex in graph.inputs))
        assert isinstance(cost, int)
        assert cost >= 0


@pytest.mark.parametrize("record", ALL)
def test_invalid_operands_are_refused_where_the_user_wrote_them(record: Primitive) -> None:
    for case in record.invalid:
        inputs = [make_input(type) for type in case.types]
        with pytest.raises(ChainruleError) as caught:
            apply(record, *inputs, **case.attributes)
        message, _, place = str(caught.value).partition("\n  where: ")
        assert case.message in message
        line = caught.tb.tb_lineno
        assert place == f"{__file__}:{line}"


# ---------------------------------------------------------------------------------------------------------- gradients


def gradient_samples(record: Primitive) -> list[Sample]:
    """Samples with a float64 result at which the primitive is smooth."""
    smooth = [sample for sample in samples_of(record) if sample.differentiable]
    return [sample for sample in smooth if record_sample(record, sample).outputs[0].dtype is float64]


DIFFERENTIABLE = [
    pytest.param(record, id=name)
    for name, record in sorted(PRIMITIVES.items())
    if record.is_differentiable and gradient_samples(record)
]


def test_only_casts_have_no_smooth_sample() -> None:
    without = [name for name, record in PRIMITIVES.items() if record.is_differentiable and not gradient_samples(record)]
    assert without == ["cast"]  # float64 to float64 is no vertex; test_cast_passes_the_gradient_on covers it


@pytest.mark.parametrize("record", DIFFERENTIABLE)
def test_vjp_agrees_with_finite_differences(record: Primitive) -> None:
    rng = np.random.default_rng(1)
    for sample in gradient_samples(record):
        analytic, numeric = directional_derivatives(record_sample(record, sample), sample.inputs, rng)
        assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("record", DIFFERENTIABLE)
def test_gradient_of_gradient_agrees_with_finite_differences(record: Primitive) -> None:
    """The gradient by each input, as a function of the inputs and of the cotangent, is differentiated again."""
    rng = np.random.default_rng(2)
    for sample in gradient_samples(record):
        graph = record_sample(record, sample)
        cotangent = make_input(graph.outputs[0].type)
        leaves = [vertex for vertex in graph.inputs if vertex.dtype is float64]
        for gradient in gradients(graph.outputs[0], leaves, cotangent):
            assert gradient is not None
            second = Graph((*graph.inputs, cotangent), (gradient,))
            values = [*sample.inputs, rng.normal(size=cotangent.shape)]
            analytic, numeric = directional_derivatives(second, values, rng)
            assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-7)


def test_cast_passes_the_gradient_on() -> None:
    x = make_input(tensor_type(float64, (3,)))
    root = apply(PRIMITIVES["cast"], x, dtype=float32)
    (gradient,) = gradients(root, [x])
    assert gradient is not None
    assert gradient.type is x.type
    assert reference.evaluate(Graph((x,), (gradient,)), [np.zeros(3)])[0][0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["int32", "int64", "bool"])
def test_no_gradient_flows_through_a_cast_to_whole_numbers(dtype: str) -> None:
    x = make_input(tensor_type(float64, (3,)))
    there = apply(PRIMITIVES["cast"], x, dtype=as_dtype(dtype))
    back = apply(PRIMITIVES["cast"], there, dtype=float64)
    assert gradients(back, [x]) == [None]


# -------------------------------------------------------------------------------------------------------- fixed points


def special_cases() -> list[Any]:
    return [
        pytest.param(record, index, dtype, id=f"{name}{point.inputs}-{dtype}")
        for name, record in sorted(PRIMITIVES.items())
        for index, point in enumerate(record.special)
        for dtype in ("float64", "float32")
    ]


@pytest.mark.parametrize(("record", "index", "dtype"), special_cases())
def test_special_point(record: Primitive, index: int, dtype: str) -> None:
    """Inputs take the types of the first sample, whose attributes hold too."""
    point, sample = record.special[index], samples_of(record)[0]
    with np.errstate(over="ignore"):
        arrays = tuple(
            np.asarray(number).astype(dtype if like.dtype == np.float64 else like.dtype)
            for number, like in zip(point.inputs, sample.inputs, strict=True)
        )
    graph = record_sample(record, sample, arrays)
    ((value,), _) = reference.evaluate(graph, arrays)
    expected = np.asarray(point.value, value.dtype)
    np.testing.assert_array_equal(value, expected)
    if not np.isnan(expected) and value.dtype != np.bool_:
        assert np.signbit(value) == np.signbit(expected)
    if point.derivative is not None:
        (gradient,) = gradients(graph.outputs[0], [graph.inputs[0]])
        assert gradient is not None
        ((slope,), _) = reference.evaluate(Graph(graph.inputs, (gradient,)), arrays)
        np.testing.assert_allclose(slope, point.derivative, rtol=1e-6, atol=0)


# ---------------------------------------------------------------------------------------------------- native programs


def native_cases(record: Primitive, dtype: str) -> list[tuple[Graph, tuple[np.ndarray, ...]]]:
    """Graphs of all samples and special points of a record, floating point inputs as ``dtype``."""
    samples = samples_of(record)
    points = [
        tuple(np.asarray(number, like.dtype) for number, like in zip(point.inputs, samples[0].inputs, strict=True))
        for point in record.special
    ]
    with np.errstate(over="ignore"):
        typed = [in_type(sample, dtype) for sample in samples]
        typed += [in_type(Sample(point, samples[0].attributes), dtype) for point in points]
    return [(record_sample(record, sample), sample.inputs) for sample in typed]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("record", EVALUATED)
def test_native_program_agrees_with_reference(record: Primitive, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one program. NaN and the signs of zeros count; functions may be wrong by 4 units in the last place."""
    monkeypatch.setattr(settings, "cache_enabled", False)
    cases = native_cases(record, dtype)
    inputs = tuple(vertex for graph, _ in cases for vertex in graph.inputs)
    values = [array for _, arrays in cases for array in arrays]
    graph = Graph(inputs, tuple(graph.outputs[0] for graph, _ in cases))
    tolerance = 4 * float(np.finfo(dtype).eps)
    for found, expected in zip(run_native(graph, values)[0], reference.evaluate(graph, values)[0], strict=True):
        scale = np.max(np.abs(expected[np.isfinite(expected)]), initial=0) if record.family in ROUNDED_SUMS else 0
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale * 4)
        if record.family not in ROUNDED_SUMS and expected.dtype.kind == "f":
            number = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(expected[number]))


# ------------------------------------------------------------------------------------ an independent word on the value


def _loop_scatter_add(x: np.ndarray, index: np.ndarray, *, axis: int, size: int) -> np.ndarray:
    out = np.zeros((*x.shape[:axis], size, *x.shape[axis + index.ndim :]))
    for place in np.ndindex(x.shape):
        target = min(max(int(index[place[axis : axis + index.ndim]]), 0), size - 1)
        out[(*place[:axis], target, *place[axis + index.ndim :])] += x[place]
    return out


def _loop_scatter(x: np.ndarray, value: np.ndarray, index: np.ndarray, *, axis: int) -> np.ndarray:
    out = x.copy()
    for place in np.ndindex(value.shape):
        target = min(max(int(index[place[axis : axis + index.ndim]]), 0), x.shape[axis] - 1)
        out[(*place[:axis], target, *place[axis + index.ndim :])] = value[place]
    return out


def _loop_dynamic_slice(x: np.ndarray, start: np.ndarray, *, axis: int, size: int) -> np.ndarray:
    first = min(max(int(start), 0), x.shape[axis] - size)
    return np.stack([np.take(x, first + i, axis) for i in range(size)], axis) if size else np.take(x, [], axis)


def _loop_dynamic_update(x: np.ndarray, value: np.ndarray, start: np.ndarray, *, axis: int) -> np.ndarray:
    first = min(max(int(start), 0), x.shape[axis] - value.shape[axis])
    parts = np.split(x, [first, first + value.shape[axis]], axis)
    return np.concatenate([parts[0], value, parts[2]], axis)


def _insert_zeros(x: np.ndarray, *, low: Any, high: Any, interior: Any) -> np.ndarray:
    for axis, gap in enumerate(interior):
        x = np.insert(x, np.repeat(np.arange(1, x.shape[axis]), gap), 0, axis)
    return np.pad(x, list(zip(low, high, strict=True)))


INDEPENDENT: dict[str, Callable[..., Any]] = {
    "erf": lambda x: np.array([math.erf(number) for number in x.flat]).reshape(x.shape),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x: x**-0.5,
    "floor_divide": lambda x, y: np.array([0 if b == 0 else a // b for a, b in np.broadcast(x, y)]).reshape(
        np.broadcast_shapes(x.shape, y.shape)
    ),
    "remainder": lambda x, y: np.array([0 if b == 0 else a % b for a, b in np.broadcast(x, y)]).reshape(
        np.broadcast_shapes(x.shape, y.shape)
    ),
    "matmul": lambda x, y: np.einsum("...ik,...kj->...ij", x, y),
    "iota": lambda *, type, axis: np.fromfunction(lambda *index: index[axis], type.shape),
    "scatter": _loop_scatter,
    "scatter_add": _loop_scatter_add,
    "dynamic_slice": _loop_dynamic_slice,
    "dynamic_update": _loop_dynamic_update,
    "pad": _insert_zeros,
}


@pytest.mark.parametrize("name", sorted(INDEPENDENT))
def test_reference_agrees_with_an_independent_formula(name: str) -> None:
    record = PRIMITIVES[name]
    assert record.reference is not None
    for sample in samples_of(record):
        with np.errstate(all="ignore"):
            value = record.reference(*sample.inputs, **sample.attributes)
        expected = INDEPENDENT[name](*sample.inputs, **sample.attributes)
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)


def _torch_twins() -> dict[str, Callable[..., Any]]:
    """The function of PyTorch that means the same as each primitive; attributes by our names."""
    torch = pytest.importorskip("torch")
    same = (
        "abs sign floor ceil round exp expm1 log log1p sqrt rsqrt sin cos tanh erf sigmoid negative add subtract atan2 "
        "bitwise_and multiply divide remainder floor_divide maximum minimum less less_equal equal not_equal "
        "logical_and logical_or logical_not where matmul"
    )
    names = {"power": "pow", "equal": "eq", "not_equal": "ne"}
    twins = {name: getattr(torch, names.get(name, name)) for name in [*same.split(), "power"]}
    return twins | {
        "sum": lambda x, axes: torch.sum(x, axes, dtype=x.dtype) if axes else x + 0,
        "prod": lambda x, axes: _torch_prod(x, axes),
        "cumulative_sum": lambda x, axis: torch.cumsum(x, axis, dtype=x.dtype),
        "cumulative_product": lambda x, axis: torch.cumprod(x, axis, dtype=x.dtype),
        "cumulative_argmax": lambda x, axis: torch.cummax(x, axis).indices,
        "argsort": lambda x, axis, count, descending: torch.argsort(
            x, dim=axis, stable=True, descending=descending
        ).narrow(axis, 0, count),
        "max": lambda x, axes: torch.amax(x, axes) if axes else x + 0,
        "min": lambda x, axes: torch.amin(x, axes) if axes else x + 0,
        "argmax": lambda x, axes: torch.argmax(x, axes[0]),
        "argmin": lambda x, axes: torch.argmin(x, axes[0]),
        "reshape": lambda x, shape: x.reshape(shape),
        "transpose": lambda x, permutation: x.permute(permutation),
        "broadcast": lambda x, shape: x.expand(shape),
        "flip": lambda x, axes: torch.flip(x, axes),
        "concatenate": lambda *parts, axis: torch.cat(parts, axis),
        "slice": lambda x, starts, stops, steps: x[tuple(map(slice, starts, stops, steps))],
        "interleave": _torch_interleave,
        "windows": _torch_windows,
        "tensordot": _torch_tensordot,
        "convolution": _torch_convolution,
        "loop": _torch_loop,
        "floored_log": lambda x: x.log().clamp(min=-100.0),
        "cast": lambda x, dtype: x.to(getattr(torch, dtype.name)),
        "stop_gradient": lambda x: x.detach(),
        "take": lambda x, index, axis: torch.index_select(
            x, axis, index.reshape(-1).clamp(0, max(x.shape[axis] - 1, 0))
        ).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]),
    }


def _torch_convolution(
    x: Any, w: Any, *, strides: tuple, low: tuple, high: tuple, dilation: tuple, expansion: tuple, groups: int
) -> Any:
    """By PyTorch, of an input that is spread and cut beforehand."""
    import torch

    for axis, (before, after, gap) in enumerate(zip(low, high, expansion, strict=True), 2):
        spread = x.new_zeros([(n - 1) * gap + 1 if i == axis else n for i, n in enumerate(x.shape)])
        place = torch.arange(x.shape[axis]) * gap
        x = torch.nn.functional.pad(spread.index_copy(axis, place, x).movedim(axis, -1), (before, after)).movedim(
            -1, axis
        )
    function = getattr(torch.nn.functional, f"conv{len(strides)}d")
    return function(x, w, stride=strides, dilation=dilation, groups=groups)


def _torch_tensordot(x: Any, y: Any, *, axes: int, by_column: bool) -> Any:
    import torch

    rows = x.ndim - y.ndim
    return (x * y).sum(tuple(range(rows, rows + axes))) if by_column else torch.tensordot(x, y, axes)


def _torch_interleave(*parts: Any, shape: tuple, starts: tuple, steps: tuple) -> Any:
    out = parts[0].new_zeros(shape)
    for part, start in zip(parts, starts, strict=True):
        out[tuple(slice(a, a + n * s, s) for a, n, s in zip(start, part.shape, steps, strict=True))] = part
    return out


def _torch_windows(x: Any, *, window: tuple, strides: tuple, dilation: tuple, low: tuple, high: tuple) -> Any:
    """Whole spans of windows, unfolded, of which every dilation-th element is an element of the window."""
    import torch

    around = [size for pair in zip(reversed(low), reversed(high), strict=True) for size in pair]
    x = torch.nn.functional.pad(x, [0, 0, *around])
    first = x.ndim - len(window) - 1
    for axis, (size, stride, gap) in enumerate(zip(window, strides, dilation, strict=True), first):
        x = x.unfold(axis, (size - 1) * gap + 1, stride)[..., ::gap]
    return x.movedim(first + len(window), -1)


def _torch_loop(h: Any, *others: Any, xs: int, length: int, reverse: bool, result: str, **_: Any) -> Any:
    """The loops of the samples."""
    import torch

    states, nothing = [], 0 * sum(each.sum() for each in (h, *others))
    for t in range(length)[:: -1 if reverse else 1]:
        h = torch.tanh(h * others[1] + others[0][t]) if xs else torch.tanh(h) * others[0]
        states.append(h)
    if result == "carry":
        return h + nothing
    together = torch.stack(states[:: -1 if reverse else 1]) if states else torch.zeros(0, 3, dtype=h.dtype)
    return together + nothing


def _torch_prod(x: Any, axes: tuple[int, ...]) -> Any:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, dtype=x.dtype)
    return x + 0


def has_integer_zero_divisor(sample: Sample) -> bool:
    return len(sample.inputs) == 2 and sample.inputs[1].dtype.kind == "i" and not sample.inputs[1].all()


TWINNED = [
    *sorted(set(PRIMITIVES) - set(INDEPENDENT) - {"input", "constant", "random_uniform"}),
    "erf", "sigmoid", "rsqrt", "floor_divide", "remainder", "matmul",
]  # fmt: skip


@pytest.mark.parametrize("name", TWINNED)
def test_value_and_gradient_agree_with_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    record, twin, rng = PRIMITIVES[name], _torch_twins()[name], np.random.default_rng(3)
    for sample in samples_of(record):
        if name in ("floor_divide", "remainder") and has_integer_zero_divisor(sample):
            continue  # PyTorch raises
        tensors = [torch.tensor(array) for array in sample.inputs]
        for tensor in tensors:
            tensor.requires_grad_(tensor.is_floating_point())
        expected = twin(*tensors, **sample.attributes)
        graph = record_sample(record, sample)
        value = reference.evaluate(graph, sample.inputs)[0][0]
        np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12, atol=1e-14)
        if record.is_differentiable and graph.outputs[0].dtype.is_floating_point and sample.differentiable:
            compare_gradients(graph, sample, tensors, expected, rng)


def compare_gradients(
    graph: Graph, sample: Sample, tensors: list[Any], expected: Any, rng: np.random.Generator
) -> None:
    import torch

    (root,) = graph.outputs
    weights = rng.normal(size=root.shape)
    leaves = [vertex for vertex in graph.inputs if vertex.dtype is float64]
    cotangent = make_input(root.type)
    found: list[Vertex | None] = gradients(root, leaves, cotangent)
    backward = Graph((*graph.inputs, cotangent), tuple(gradient for gradient in found if gradient is not None))
    values = reference.evaluate(backward, [*sample.inputs, weights])[0]
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    for value, slope in zip(values, torch.autograd.grad(expected, wanted, torch.tensor(weights)), strict=True):
        np.testing.assert_allclose(value, slope.numpy(), rtol=1e-10, atol=1e-12)


def test_ties_share_the_gradient_of_an_extremum_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    array = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    for name, twin in (("max", torch.amax), ("min", torch.amin)):
        x = make_input(tensor_type(float64, array.shape))
        root = sum_(multiply(out := apply(PRIMITIVES[name], x, axes=(1,)), out), (0,))
        (gradient,) = gradients(root, [x])
        assert gradient is not None
        value = reference.evaluate(Graph((x,), (gradient,)), [array])[0][0]
        tensor = torch.tensor(array, requires_grad=True)
        (twin(tensor, 1) ** 2).sum().backward()
        np.testing.assert_allclose(value, tensor.grad.numpy())
