"""What a benchmark is, and how its contestants are measured in turn.

Every contestant lives in a process of its own, set up once and kept warm. The contestants are measured in turn, round
after round, so that a change of the machine's speed meets all of them alike. A contestant that is not at work is
stopped (SIGSTOP where the system has it): its thread pools cannot spin on the cores that the next one is using, and
each may run its threads as its makers intended. All contestants are bound to the same cores and number of threads.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

Measure = Callable[[], float]
"""Does one measured unit of work and returns its cost in the benchmark's unit, less is better."""


@dataclass(frozen=True)
class Faster:
    """A goal: the peer's cost divided by the contestant's is at least ``ratio``."""

    contestant: str
    peer: str
    ratio: float


@dataclass(frozen=True)
class AtMost:
    """A goal: the contestant's cost is at most ``value``, in the benchmark's unit."""

    contestant: str
    value: float


@dataclass(frozen=True)
class Benchmark:
    """One comparison. ``contestants`` maps a name to a set-up function.

    A set-up function imports what it needs (an absent peer is left out with a line saying so), prepares, and returns a
    ``Measure``. Its cost is in ``unit``: "s" or "MB".
    """

    title: str
    contestants: dict[str, Callable[[], Measure]]
    unit: str = "s"
    goals: tuple[Faster | AtMost, ...] = ()
    rounds: int = 7
    """how often each contestant has its turn"""
    repeats: int = 3
    """measured units of a turn"""


@dataclass
class Outcome:
    """What was measured of one contestant, or why nothing was."""

    name: str
    values: list[float] = field(default_factory=list)
    absent: str = ""
    error: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


def per_step(run: Callable[[], object], steps: int) -> Measure:
    """A measure of the seconds per step of ``run``, which does ``steps`` steps."""

    def measure() -> float:
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) / steps

    return measure


def thread_count() -> int:
    """The number of threads every contestant is given."""
    return int(os.environ["BENCHMARK_THREADS"])


def find(name: str) -> Benchmark:
    """The benchmark defined in ``benchmarks/<name>.py``."""
    benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    assert isinstance(benchmark, Benchmark), name
    return benchmark


def fresh_process(arguments: list[str], environment: dict[str, str] | None = None) -> dict[str, float]:
    """Run Python with ``arguments`` in a new process and return the JSON object that it prints last."""
    printed = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    result: dict[str, float] = json.loads(printed.splitlines()[-1])
    return result


class Worker:
    """The process of one contestant, stopped whenever it is not measuring."""

    def __init__(self, benchmark: str, contestant: str, threads: int) -> None:
        self.outcome = Outcome(contestant)
        count = str(threads)
        limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
        limits |= {"CHAINRULE_NUM_THREADS": count, "BENCHMARK_THREADS": count}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", benchmark, contestant],
            cwd=ROOT,
            env=os.environ | limits,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()
        self._pause()

    @property
    def is_running(self) -> bool:
        return not (self.outcome.absent or self.outcome.error)

    def measure(self, repeats: int) -> None:
        """One turn: a unit of work that warms the caches again, then ``repeats`` measured ones."""
        self._resume()
        assert self.process.stdin is not None
        self.process.stdin.write(f"{repeats}\n")
        self.process.stdin.flush()
        self._read()
        self._pause()

    def close(self) -> None:
        """Let the process end by itself, so that it can remove its temporary files."""
        self._resume()
        try:
            self.process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def _read(self) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        reply: dict[str, Any] = {"error": "the process ended"}
        if line:
            reply = json.loads(line)
        self.outcome.values += reply.get("values", [])
        self.outcome.absent = reply.get("absent", "")
        self.outcome.error = reply.get("error", "")

    def _pause(self) -> None:
        if hasattr(signal, "SIGSTOP") and self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)

    def _resume(self) -> None:
        if hasattr(signal, "SIGCONT") and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)


def run(name: str, *, threads: int = 2, rounds: int | None = None, only: str = "") -> list[Outcome]:
    """Measure in turn the contestants of a benchmark whose names contain ``only``."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    benchmark = find(name)
    workers: list[Worker] = []
    try:
        for contestant in benchmark.contestants:
            if only in contestant:
                workers.append(Worker(name, contestant, threads))
        for _ in range(rounds or benchmark.rounds):
            for worker in workers:
                if worker.is_running:
                    worker.measure(benchmark.repeats)
    finally:
        for worker in workers:
            worker.close()
    return [worker.outcome for worker in workers]
