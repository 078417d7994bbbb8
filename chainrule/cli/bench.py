"""``chainrule bench``: run the benchmarks of a source checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ArgumentError

ROOT = Path(__file__).resolve().parent.parent.parent


def run(names: Sequence[str], root: Path = ROOT) -> int:
    """Run ``python -m benchmarks`` in the checkout and return its exit status.

    Raises ArgumentError where chainrule was installed without its sources: benchmarks are not part of the package.
    """
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise ArgumentError(
            "benchmarks are part of the source repository, not of the installed package: clone it, install it with "
            "pip install -e '.[bench]', and run chainrule bench there"
        )
    return subprocess.run([sys.executable, "-m", "benchmarks", *names], cwd=root, check=False).returncode
