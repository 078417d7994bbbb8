"""Convolutions and their gradients against PyTorch in both memory layouts: ``python -m benchmarks.convolution``.

For every case and pass: GFLOP/s of each contestant with all threads, in the best of many rounds in which they take
turns; ours over the faster layout of PyTorch; and ours as a share of what the processor can do (`matrix_product`).
"all" is forward and both gradients. Names of cases as arguments choose some.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from chainrule.execution.threads import get_num_threads

from .matrix_product import peak_loop, peak_work, seconds

ROUNDS = 20
ROUND_SECONDS = 0.05
PASSES = ("forward", "input gradient", "weight gradient", "all")
LAYOUTS = ("NCHW", "channels last")


@dataclass(frozen=True)
class Case:
    """A convolution: N images of C channels and H × H pixels, K outputs, windows of R × R."""

    title: str
    images: int
    channels: int
    outputs: int
    size: int
    window: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def options(self) -> dict[str, int]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the images, the weights and the results."""
        reach = (self.window - 1) * self.dilation
        size = (self.size + 2 * self.padding - reach - 1) // self.stride + 1
        return [
            (self.images, self.channels, self.size, self.size),
            (self.outputs, self.channels // self.groups, self.window, self.window),
            (self.images, self.outputs, size, size),
        ]

    def work(self, part: str) -> int:
        """Operations of one of `PASSES`; each of the three does the same number."""
        _, weights, results = self.shapes
        once = 2 * int(np.prod(results)) * int(np.prod(weights[1:]))
        return 3 * once if part == "all" else once


CASES = [
    Case("3x3 32-64", 64, 32, 64, 26, 3),
    Case("5x5 stride 2", 16, 32, 64, 32, 5, stride=2, padding=2),
    Case("48-96 channels", 16, 48, 96, 28, 3, padding=1),
    Case("7x7 stride 2 of 3 channels", 8, 3, 64, 112, 7, stride=2, padding=3),
    Case("1x1", 16, 128, 256, 28, 1),
    Case("depthwise 3x3", 16, 128, 128, 28, 3, padding=1, groups=128),
    Case("dilation 2", 16, 64, 64, 28, 3, padding=2, dilation=2),
    Case("odd sizes", 13, 37, 53, 27, 3, padding=1),
    Case("7x7 maps of 512 channels", 16, 512, 512, 7, 3, padding=1),
]


def operands(case: Case) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape, dtype=np.float32) for shape in case.shapes]


def chainrule_passes(case: Case) -> dict[str, Callable[[], object]]:
    """A compiled function for each pass; operands and results lie in memory as in the middle of a network."""
    import chainrule as cr

    x, w, g = operands(case)
    x, g = (cr.tensor(np.ascontiguousarray(array.transpose(0, 2, 3, 1))).permute(0, 3, 1, 2) for array in (x, g))
    w = cr.tensor(np.ascontiguousarray(w.transpose(2, 3, 1, 0))).permute(3, 2, 0, 1)

    def convolve(x: Any, w: Any) -> Any:
        return cr.nn.functional.conv2d(x, w, **case.options)

    def run(x: Any, w: Any, g: Any, wanted: tuple[int, ...], has_result: bool) -> Any:
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = convolve(x, w)
        gradients = cr.autograd.grad(y, [(x, w)[number] for number in wanted], g) if wanted else ()
        orders = [((0, 2, 3, 1), (2, 3, 1, 0))[number] for number in wanted]
        laid_out = [gradient.permute(order) for gradient, order in zip(gradients, orders, strict=True)]
        return (*([y.detach().permute(0, 2, 3, 1)] if has_result else []), *laid_out)

    functions = [
        partial(run, wanted=wanted, has_result=has_result)
        for wanted, has_result in (((), True), ((0,), False), ((1,), False), ((0, 1), True))
    ]
    compiled = [cr.compile(function) for function in functions]
    return {part: lambda run=run: run(x, w, g) for part, run in zip(PASSES, compiled, strict=True)}  # type: ignore[misc]


def torch_passes(case: Case, layout: str) -> dict[str, Callable[[], object]]:
    """PyTorch's convolution and its gradients, one by one, and through its autograd."""
    import torch

    torch.set_num_threads(get_num_threads())
    order = torch.channels_last if layout == "channels last" else torch.contiguous_format
    x, w, g = (torch.from_numpy(array).contiguous(memory_format=order) for array in operands(case))
    x_tracked, w_tracked = x.detach().requires_grad_(), w.detach().requires_grad_()
    pairs = [[getattr(case, name)] * 2 for name in ("stride", "padding", "dilation")]

    def gradient(*wanted: bool) -> object:
        backward = torch.ops.aten.convolution_backward
        return backward(g, x, w, None, *pairs, False, [0, 0], case.groups, [*wanted, False])

    def everything() -> object:
        y = torch.nn.functional.conv2d(x_tracked, w_tracked, **case.options)
        return y, *torch.autograd.grad(y, [x_tracked, w_tracked], g)

    forward = lambda: torch.nn.functional.conv2d(x, w, **case.options)  # noqa: E731
    parts = (forward, lambda: gradient(True, False), lambda: gradient(False, True), everything)
    return dict(zip(PASSES, parts, strict=True))


def repeated(once: Callable[[], object]) -> Callable[[int], None]:
    def run(repeats: int) -> None:
        for _ in range(repeats):
            once()

    return run


def measure(runs: dict[str, Callable[[], object]], peak: Callable[[int], None]) -> dict[str, float]:
    """Best seconds of each contestant, and of the loop that shows the peak."""
    repeats = {name: repeated(once) for name, once in runs.items()} | {"peak": peak}
    for run in repeats.values():
        run(2)  # compiles, and warms up
    best = {name: seconds(run, ROUND_SECONDS) for name, run in repeats.items()}
    for _ in range(ROUNDS):
        for name, run in repeats.items():
            time.sleep(0.01)  # the threads of the one before go to sleep
            best[name] = min(best[name], seconds(run, best[name]))
    return best


def print_case(case: Case, peak: Callable[[int], None]) -> None:
    contestants = {"chainrule": chainrule_passes(case)}
    try:
        contestants |= {f"torch, {layout}": torch_passes(case, layout) for layout in LAYOUTS}
    except ImportError:
        print("torch is not installed")
    for part in PASSES:
        best = measure({name: passes[part] for name, passes in contestants.items()}, peak)
        speed = {name: case.work(part) / best[name] / 1e9 for name in contestants}
        share = speed["chainrule"] / (peak_work("float32") / best["peak"] / 1e9)
        others = [value for name, value in speed.items() if name != "chainrule"]
        ratio = f"{speed['chainrule'] / max(others):11.2f}" if others else " " * 11
        figures = "".join(f"{value:22.1f}" for value in speed.values())
        print(f"{case.title:28}{part:17}{figures}{ratio}{share:9.0%}", flush=True)


def main() -> None:
    """Print the table."""
    peak = peak_loop("float32")
    names = ("chainrule", *(f"torch, {layout}" for layout in LAYOUTS))
    print(f"{get_num_threads()} threads; GFLOP/s")
    print(f"{'case':28}{'pass':17}{''.join(f'{name:>22}' for name in names)}{'ours/best':>11}{'of peak':>9}")
    for case in CASES:
        if __name__ != "__main__" or len(sys.argv) == 1 or case.title in sys.argv[1:]:
            print_case(case, peak.run)


if __name__ == "__main__":
    main()
