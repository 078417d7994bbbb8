"""Every switch of chainrule in one table. Each can be set by an environment variable before the import.

| setting         | environment variable     | default      | meaning                                                  |
|-----------------|--------------------------|--------------|----------------------------------------------------------|
| backend         | CHAINRULE_BACKEND        | native       | what runs programs: "native" or "reference" (NumPy)      |
| threads         | CHAINRULE_NUM_THREADS    | usable CPUs  | threads of one program, the calling one included; not    |
|                 |                          |              | more than OMP_NUM_THREADS, with which joblib limits its  |
|                 |                          |              | processes, unless the variable is set                    |
| cache_directory | CHAINRULE_CACHE_DIR      | user's cache | where compiled programs are kept between runs            |
| cache_enabled   | CHAINRULE_CACHE          | 1            | 0: nothing is read from or written to the disk cache     |
| cpu_features    | CHAINRULE_CPU_FEATURES   | the host's   | changes: "-avx512f"; "avx2" limits code to that level    |
| data_directory  | CHAINRULE_DATA           | none         | folder in which data sets are looked for                 |
| verify_passes   | CHAINRULE_VERIFY         | 1            | check the graph after every compiler pass                |
| initialization  | CHAINRULE_INITIALIZATION | activation   | default weights: by the "activation" that follows, or as |
|                 |                          |              | "pytorch" draws them                                     |
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .errors import ArgumentError


def _default_cache_directory() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "chainrule" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chainrule"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chainrule"


def usable_cpus() -> int:
    """CPUs that this process may run on: a container's or taskset's affinity counts, not the machine's size."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _positive_integer(variable: str, default: int) -> int:
    text = os.environ.get(variable)
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise ArgumentError(f"environment variable {variable} must be a positive whole number, got {text!r}")
    return int(text)


def _granted_threads() -> int:
    """Usable CPUs, or fewer where whoever started this process says so: to OpenMP, whose variable everybody reads."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(usable_cpus(), int(limit)) if limit.isdigit() and int(limit) else usable_cpus()


@dataclass
class Settings:
    """The current value of every switch; see the table of this module."""

    backend: str
    threads: int
    cache_directory: Path
    cache_enabled: bool
    cpu_features: str
    data_directory: Path | None
    verify_passes: bool
    initialization: str


def from_environment() -> Settings:
    """Read the settings from the environment."""
    data = os.environ.get("CHAINRULE_DATA")
    return Settings(
        backend=os.environ.get("CHAINRULE_BACKEND", "native"),
        threads=_positive_integer("CHAINRULE_NUM_THREADS", _granted_threads()),
        cache_directory=Path(os.environ.get("CHAINRULE_CACHE_DIR") or _default_cache_directory()),
        cache_enabled=os.environ.get("CHAINRULE_CACHE", "1") != "0",
        cpu_features=os.environ.get("CHAINRULE_CPU_FEATURES", ""),
        data_directory=Path(data) if data else None,
        verify_passes=os.environ.get("CHAINRULE_VERIFY", "1") != "0",
        initialization=os.environ.get("CHAINRULE_INITIALIZATION", "activation"),
    )


settings = from_environment()
