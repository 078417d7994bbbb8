"""Random straight-line programs, run by chainrule and by PyTorch, with values read at random places."""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import optim

from .against_torch import torch

READS = ("item", "numpy", "none", "none", "none")
STEP = st.tuples(
    st.sampled_from([
        "add", "multiply", "subtract", "tanh", "detach", "slice", "number", "matmul", "sum", "where", "add_", "mul_",
        "view",
        "no_grad", "cat", "step", "backward", "parameter", "zero_grad",
    ]),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.sampled_from(READS),
)  # fmt: skip


class Run:
    """One execution of a program by one library; tensors have shape (2, 2)."""

    def __init__(self, module: Any) -> None:
        self.module = module
        make = torch.tensor if module is torch else cr.tensor
        start = np.arange(12.0).reshape(3, 2, 2) / 7
        self.data = make(start[0])
        self.parameters = [make(part).requires_grad_() for part in start[1:]]
        library = torch.optim if module is torch else optim
        self.optimizer = library.SGD(self.parameters, lr=0.01, momentum=0.5)
        self.values = [self.data, *self.parameters]
        self.log: list[Any] = []

    def step(self, name: str, first: int, second: int, read: str) -> None:
        m, values = self.module, self.values
        a, b = values[first % len(values)], values[second % len(values)]
        if name in ("step", "zero_grad", "backward", "parameter", "add_", "mul_"):
            self.change(name, a, b, first)
        elif name == "no_grad":
            with m.no_grad():
                values.append(a * b)
        else:
            values.append({
                "add": lambda: a + b, "multiply": lambda: a * b * 0.5, "subtract": lambda: a - b,
                "tanh": lambda: a.tanh(),
                "detach": lambda: (a * 1).detach(), "slice": lambda: a[second % 2] + m.zeros_like(a),
                "number": lambda: a * (second % 7) - 0.5, "matmul": lambda: (a @ b).tanh(), "sum": lambda: a.sum(0) + b,
                "where": lambda: m.where(a > b, a, b * 2), "view": lambda: a.t().reshape(2, 2) + 0,
                "cat": lambda: m.cat([a[:1], b[1:]]),
            }[name]())  # fmt: skip
        if read == "item":
            self.log.append(values[second % len(values)].sum().item())
        elif read == "numpy":
            self.log.append(values[-1].detach().numpy().copy())

    def change(self, name: str, a: Any, b: Any, first: int) -> None:
        if name == "step":
            self.optimizer.step()
            self.forget()
        elif name == "zero_grad":
            self.optimizer.zero_grad(set_to_none=bool(first % 2))
        elif name == "backward":
            loss = (a * b).sum()
            if loss.requires_grad:
                loss.backward(retain_graph=True)
        elif name == "parameter":
            # Chainrule refuses gradients through a program that uses a parameter both before and after it changes.
            self.log.append(sum(v.sum().item() for v in self.values))
            with self.module.no_grad():
                self.parameters[first % 2].mul_(0.9)
            self.forget()
        else:
            target = a.detach() * 1  # a tensor of its own: nothing recorded depends on it
            target.add_(b.detach()) if name == "add_" else target.mul_(b.detach())
            self.values.append(target)

    def forget(self) -> None:
        """What was computed from parameters that have changed has no gradient any more: PyTorch refuses it."""
        self.values = [v if v.is_leaf else v.detach() for v in self.values]

    def finish(self) -> list[Any]:
        result = [*self.log, *(v.detach().numpy() for v in self.values)]
        return result + [p.grad.numpy() for p in self.parameters if p.grad is not None]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(STEP, min_size=3, max_size=14))
def test_same_values_as_pytorch_on_the_reference(program: list[tuple[str, int, int, str]]) -> None:
    with cr.backend("reference"):
        compare(program)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.lists(STEP, min_size=3, max_size=14))
def test_same_values_as_pytorch_on_native(program: list[tuple[str, int, int, str]]) -> None:
    compare(program)


def compare(program: list[tuple[str, int, int, str]]) -> None:
    runs = [Run(cr), Run(torch)]
    for run in runs:
        for step in program:
            run.step(*step)
    found, expected = (run.finish() for run in runs)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
