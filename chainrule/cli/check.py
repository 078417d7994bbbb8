"""``chainrule check``: what this installation can do."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import platform
import sys
import time

import click
import llvmlite.binding as llvm

from ..backends.native.cache import cache_info
from ..backends.native.cpu import host_target
from ..backends.native.jit import compile_module
from ..errors import ChainruleError
from ..settings import settings

CORE = ("numpy", "llvmlite", "click", "rich", "safetensors")
EXTRAS = {
    "scikit-learn": ("sklearn", "sklearn"),
    "matplotlib": ("matplotlib", "plot"),
    "pandas": ("pandas", "data"),
    "pyarrow": ("pyarrow", "data"),
    "pyyaml": ("yaml", "yaml"),
    "jax": ("jax", "xla"),
}
"""Distribution → module to look for, name of the extra that installs it."""

ANSWER = 42


def run() -> int:
    """Print the report; the result is the exit status: 1 if native code cannot be compiled."""
    works, compiler = check_compiler()
    lines = [
        *describe_versions(),
        *describe_processor(),
        f"compiler     {compiler}",
        *describe_cache(),
        *describe_extras(),
    ]
    click.echo("\n".join(lines))
    return 0 if works else 1


def describe_versions() -> list[str]:
    """Return a line with the versions of chainrule and Python, and one with those of the core libraries."""
    core = ", ".join(f"{name} {_version(name)}" for name in CORE)
    return [
        f"chainrule    {sys.modules['chainrule'].__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        f"libraries    {core}; LLVM {'.'.join(map(str, llvm.llvm_version_info))}",
    ]


def describe_processor() -> list[str]:
    """Return what code is generated for, and how many threads run it."""
    target = host_target(settings.cpu_features)
    fma = "fused multiply-add" if target.has_fma else "no fused multiply-add"
    return [
        f"processor    {target.cpu}, vectors of {target.vector_bits} bits ({target.lanes('float32')} float32), {fma}",
        f"threads      {settings.threads}",
    ]


def check_compiler() -> tuple[bool, str]:
    """Compile a function without the disk cache and call it; whether it answers rightly, and that in words."""
    started = time.perf_counter()
    try:
        text = f"define i32 @answer() {{\n  ret i32 {ANSWER}\n}}\n"
        library = compile_module(text, host_target(settings.cpu_features))
        answer = ctypes.CFUNCTYPE(ctypes.c_int32)(library.address("answer"))()
    except (ChainruleError, RuntimeError, OSError) as error:
        return False, f"FAILED: {error}"
    milliseconds = (time.perf_counter() - started) * 1000
    if answer != ANSWER:
        return False, f"FAILED: compiled code returned {answer}, expected {ANSWER}"
    return True, f"works ({milliseconds:.1f} ms for a first function)"


def describe_cache() -> list[str]:
    """Return where compiled programs are kept and how much there is."""
    if not settings.cache_enabled:
        return ["cache        off (CHAINRULE_CACHE=0)"]
    info = cache_info(settings.cache_directory)
    return [f"cache        {info.directory}: {info.entries} programs, {info.bytes / 2**20:.1f} MiB"]


def describe_extras() -> list[str]:
    """Return a line per optional library: its version, or how to install it."""
    lines = []
    for name, (module, extra) in EXTRAS.items():
        is_installed = importlib.util.find_spec(module) is not None
        found = _version(name) if is_installed else f'not found: pip install "chainrule[{extra}]"'
        lines.append(f"{name:12} {found}")
    return lines


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not found"
