"""What a training step of an image network costs besides time: compiling it, and its peak memory beside PyTorch's.

Run as ``python -m benchmarks.image_costs``. Each figure is the median of fresh processes. Seconds: what the first step
takes longer than the fastest later one, with an empty disk cache and with what that left there. Megabytes: the peak of
later steps above what the process held with network and images in memory, before the first step. Linux only.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from .harness import fresh_process
from .image_networks import ImageTask, training

TASKS = {
    "ResNet-18 at 64 x 64, batch 16": ImageTask("resnet", "resnet18", 16, 64, steps=1, classes=1000),
    "ResNet-20 at 32 x 32, batch 64": ImageTask("cifar_resnet", "resnet20", 64, 32, steps=1),
    "VGG16 at 64 x 64, batch 8": ImageTask("vgg", "vgg16", 8, 64, steps=1),
    "GoogLeNet at 96 x 96, batch 8": ImageTask("googlenet", "googlenet", 8, 96, steps=1),
}
PEERS = {"torch, NCHW": ("torch", False), "torch, channels last": ("torch", True)}
ROUNDS, LATER_STEPS = 3, 4


def resident_megabytes(field: str) -> float:
    """The process's memory now ("VmRSS") or at its peak ("VmHWM")."""
    status = Path("/proc/self/status").read_text().partition(f"{field}:")[2]
    return int(status.split()[0]) * 1024 / 1e6


def measure_here(library: str, title: str, channels_last: bool) -> dict[str, float]:
    """The figures of one library in this process, which has done nothing else."""
    start_of_steps = training(library, TASKS[title], channels_last=channels_last)()
    before, seconds = resident_megabytes("VmRSS"), []
    for number in range(1 + LATER_STEPS):
        if number == 1:
            Path("/proc/self/clear_refs").write_text("5")  # forget the peak
        start = time.perf_counter()
        start_of_steps()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[0] - min(seconds[1:]), "megabytes": resident_megabytes("VmHWM") - before}


def figures(library: str, title: str, channels_last: bool, cache: str) -> dict[str, float]:
    """The same from a fresh process."""
    arguments = ["-m", "benchmarks.image_costs", library, title, str(int(channels_last))]
    threads = str(os.cpu_count())
    environment = {"CHAINRULE_CACHE_DIR": cache, "BENCHMARK_THREADS": threads, "CHAINRULE_NUM_THREADS": threads}
    return fresh_process(arguments, environment)


def main() -> None:
    """Measure all networks."""
    for title in TASKS:
        cold, cached, peaks = [], [], {name: list[float]() for name in ("chainrule", *PEERS)}
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                cold.append(figures("chainrule", title, False, folder)["seconds"])
                again = figures("chainrule", title, False, folder)
            cached.append(again["seconds"])
            peaks["chainrule"].append(again["megabytes"])
            for name, (library, channels_last) in PEERS.items():
                peaks[name].append(figures(library, title, channels_last, "")["megabytes"])
        megabytes = {name: statistics.median(values) for name, values in peaks.items()}
        least = min(value for name, value in megabytes.items() if name != "chainrule")
        print(f"{title}: {statistics.median(cold):.2f} s cold, {statistics.median(cached):.3f} s from disk;", end=" ")
        print(", ".join(f"{name} {value:.0f} MB" for name, value in megabytes.items()), end=" ")
        print(f"({megabytes['chainrule'] / least:.2f})", flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        importlib.import_module(sys.argv[1])
        print(json.dumps(measure_here(sys.argv[1], sys.argv[2], sys.argv[3] == "1")))
    else:
        main()
