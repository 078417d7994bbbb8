"""More than a thousand random convolutions with all their gradients: compiled, one-off, by the reference, by PyTorch.

Each program is made of unconnected convolutions: compiling costs more per program than per convolution.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from chainrule.autodiff.reverse import gradients
from chainrule.backends.native.contraction_extents import splits_sums
from chainrule.graph.graph import Graph
from chainrule.graph.vertex import Vertex
from chainrule.ops.arithmetic import add
from chainrule.ops.convolution import convolution
from chainrule.ops.movement import reshape
from chainrule.ops.source import make_input
from chainrule.reference import Array, evaluate
from chainrule.settings import settings
from chainrule.types import as_dtype, tensor_type
from tests.execution.test_one_off import bits, run_one_off
from tests.native_program import run_native

torch = pytest.importorskip("torch")

CASES = 20
"""Convolutions of one program."""


@pytest.fixture(autouse=True)
def without_disk_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_enabled", False)


class Case(NamedTuple):
    """Arrays are an image, weights, a bias and the gradient of the result."""

    options: dict[str, Any]
    arrays: list[Array]

    def name(self) -> str:
        return f"{[array.shape for array in self.arrays]} of {self.arrays[0].dtype}, {self.options}"

    def vertices(self) -> tuple[list[Vertex], list[Vertex]]:
        """Inputs, and the result and the gradients of image, weights and bias."""
        inputs = [make_input(tensor_type(as_dtype(array.dtype), array.shape)) for array in self.arrays]
        x, w, b, g = inputs
        stride, padding, dilation, groups = self.options.values()
        rank = len(stride)
        summed = convolution(x, w, stride, padding, padding, dilation, (1,) * rank, groups)
        out = add(summed, reshape(b, (1, *b.shape, *(1,) * rank)))
        found = gradients(out, [x, w, b], g)
        assert all(gradient is not None for gradient in found)
        return inputs, [out, *found]  # type: ignore[list-item]

    def by_torch(self) -> list[Array]:
        """The same, of the same numbers in float64."""
        x, w, b, g = (torch.tensor(array.astype("float64"), requires_grad=True) for array in self.arrays)
        function = getattr(torch.nn.functional, f"conv{w.ndim - 2}d")
        out = function(x, w, b, **self.options)
        return [out.detach().numpy(), *(each.numpy() for each in torch.autograd.grad(out, (x, w, b), g))]


def draw_case(rng: np.random.Generator, rank: int, dtype: str, most_channels: int, most_pixels: int) -> Case:
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    channels, outputs = (groups * int(rng.integers(1, most_channels // groups + 1)) for _ in range(2))
    window, stride, dilation = rng.integers(1, 4, rank), rng.choice([1, 1, 2, 3], rank), rng.choice([1, 1, 2], rank)
    padding = rng.integers(0, 3, rank)
    least = np.maximum((window - 1) * dilation + 1 - 2 * padding, 1)
    sizes = least + rng.integers(0, most_pixels, rank)
    plain = {"stride": stride, "padding": padding, "dilation": dilation}
    options = {name: tuple(map(int, each)) for name, each in plain.items()} | {"groups": groups}
    positions = (sizes + 2 * padding - (window - 1) * dilation - 1) // stride + 1
    batch = int(rng.integers(1, 5))
    weights = (outputs, channels // groups, *window)
    shapes = [(batch, channels, *sizes), weights, (outputs,), (batch, outputs, *positions)]
    return Case(options, [rng.normal(size=shape).astype(dtype) for shape in shapes])


def check(cases: list[Case]) -> None:
    graph, values = joined(cases)
    compiled, meant = run_native(graph, values)[0], evaluate(graph, values)[0]
    # Gradients of weights that are summed in parts have no one-off form.
    plain = [case for case in cases if not splits_sums(case.arrays[1].size, case.arrays[3][:, 0].size)]
    one_off = iter(run_one_off(*joined(plain)))
    for number, case in enumerate(cases):
        tolerance = 3e-5 if case.arrays[0].dtype == np.float32 else 1e-12
        for i, expected in enumerate(case.by_torch()):
            place, scale = 4 * number + i, max(np.abs(expected).max(initial=0), 1.0)
            for found in (compiled[place], meant[place]):
                np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale, err_msg=case.name())
            if any(case is one for one in plain):
                assert np.array_equal(bits(next(one_off)), bits(compiled[place])), f"one-off differs: {case.name()}"


def joined(cases: list[Case]) -> tuple[Graph, list[Array]]:
    """A graph of all cases, and the values of its inputs."""
    inputs, roots, values = [], [], []
    for case in cases:
        of_case, results = case.vertices()
        inputs += of_case
        roots += results
        values += case.arrays
    return Graph(tuple(inputs), tuple(roots)), values


@pytest.mark.parametrize("number", range(50))
def test_small_images_of_one_to_three_dimensions(number: int) -> None:
    rng = np.random.default_rng(number)
    rank, dtype = (2, 1, 3, 2)[number % 4], ("float64", "float32")[number // 4 % 2]
    check([draw_case(rng, rank, dtype, most_channels=int(rng.choice([3, 9])), most_pixels=6) for _ in range(CASES)])


@pytest.mark.parametrize("number", range(6))
def test_images_of_many_channels_and_pixels(number: int) -> None:
    """So large that frames are filled apart, right operands packed and tasks shared out."""
    rng = np.random.default_rng(100 + number)
    dtype = ("float64", "float32")[number % 2]
    check([draw_case(rng, (2, 1, 2)[number % 3], dtype, most_channels=70, most_pixels=30) for _ in range(CASES // 2)])
