"""The machine code of a graph: compiled now, or found on the disk under the graph's text, without running a pass."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from ..backends.native import cache as disk_cache
from ..backends.native.cpu import Target, host_target
from ..backends.native.driver import Program, lower
from ..backends.native.jit import cache_key, object_code
from ..graph.graph import Graph
from ..passes.pipeline import canonical, make_plan
from ..passes.plan import Plan
from ..settings import settings
from ..types import Shape

COMPILER = ("graph", "ops", "passes", "backends")
"""The folders whose code decides what a graph is compiled to."""


@dataclass(frozen=True)
class Layout:
    """What must be known of a program to call it."""

    entry: str
    arena_slot: int
    arena_bytes: int
    scratch_bytes: int
    shared_bytes: int
    is_parallel: bool

    def scratch_size(self, workers: int) -> int:
        """Bytes of scratch memory that a run on this many threads needs."""
        return max(self.shared_bytes, workers * self.scratch_bytes)


def compile_graph(
    graph: Graph, text: str, output_strides: Sequence[Shape | None], target: Target
) -> tuple[Layout, bytes]:
    """Return how a graph's program is called, and its machine code; keep both in the disk cache if there is one.

    ``text`` is the graph's, see `chainrule.graph.text`.
    """
    plan = partial(_plan_of, graph, output_strides)
    return compile_plan(graph_key(text, output_strides), plan, target)


def graph_key(text: str, output_strides: Sequence[Shape | None]) -> str:
    """What stands for the program of a graph in the disk cache."""
    return f"{tuple(output_strides)}\n{text}"


def _plan_of(graph: Graph, output_strides: Sequence[Shape | None]) -> Plan:
    return make_plan(canonical(graph), output_strides)


def compile_plan(text: str, plan: Callable[[], Plan], target: Target) -> tuple[Layout, bytes]:
    """The same for a plan, which is made only where no code is found under ``text``; that says all about it."""
    directory = settings.cache_directory if settings.cache_enabled else None
    if directory is None:
        return _build(plan(), target)
    key = cache_key(f"{_compiler_version()}\n{text}", target)
    stored = disk_cache.load(directory, key)
    if stored is not None:
        header, _, code = stored.partition(b"\n")
        return Layout(**json.loads(header)), code
    layout, code = _build(plan(), target)
    disk_cache.store(directory, key, json.dumps(asdict(layout)).encode() + b"\n" + code)
    return layout, code


def is_compiled(text: str) -> bool:
    """Whether there is code on the disk for this processor under ``text``, unless it is damaged."""
    directory = settings.cache_directory if settings.cache_enabled else None
    key = cache_key(f"{_compiler_version()}\n{text}", host_target(settings.cpu_features))
    return directory is not None and disk_cache.is_stored(directory, key)


def kernel_code(target: Target, name: str, text: Callable[[], str]) -> bytes:
    """Return the machine code of a kernel that is generic in shape; ``text`` writes its LLVM module."""
    directory = settings.cache_directory if settings.cache_enabled else None
    if directory is None:
        return object_code(text(), target)
    key = cache_key(f"{_compiler_version()}\n{name}", target)
    code = disk_cache.load(directory, key)
    if code is None:
        code = object_code(text(), target)
        disk_cache.store(directory, key, code)
    return code


def lower_graph(graph: Graph, output_strides: Sequence[Shape | None], target: Target) -> tuple[Plan, Program]:
    """Return the plan and the LLVM text of a graph."""
    plan = make_plan(graph, output_strides)
    return plan, lower(plan, target)


def _build(plan: Plan, target: Target) -> tuple[Layout, bytes]:
    program = lower(plan, target)
    layout = Layout(
        program.entry,
        plan.arena_slot,
        plan.arena_bytes,
        program.scratch_bytes,
        program.shared_bytes,
        program.is_parallel,
    )
    return layout, object_code(program.text, target)


@cache
def _compiler_version() -> str:
    """A hash of the names, sizes and times of the compiler's files: another compiler must not find this one's code."""
    package, facts = str(Path(__file__).parent.parent), []
    waiting = [os.path.join(package, folder) for folder in COMPILER]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.name.endswith(".py"):
                    status = entry.stat()
                    facts.append(f"{entry.path[len(package) :]} {status.st_size} {status.st_mtime_ns}")
                elif not entry.name.startswith("__") and entry.is_dir():
                    waiting.append(entry.path)
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()
