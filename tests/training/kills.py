"""Kills trainings with SIGKILL at random moments and resumes them: ``python -m tests.training.kills 50 [--seed N]``.

Every training of `killed_training.py` in turn is killed once to four times, from outside or in the middle of writing a
file, started again after each kill, and run to its end. After each kill every file under the names of checkpoints must
be readable. In the end weights, history and checkpoints must be those of an uninterrupted training, to the last bit,
and no other file may be left.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import ChainruleError
from chainrule.training.checkpoint import read_checkpoint
from chainrule.training.model_file import load_model

from .killed_training import TRAININGS

ROOT = Path(__file__).parents[2]
MOMENTS = ("outside", "during", "before", "after")
"""A kill by another process at any moment; or halfway through writing a file, before it is renamed, or after."""

LONGEST = 300
"""Seconds after which a training hangs."""


class FindingError(AssertionError):
    """What must not happen."""


def start(name: str, folder: Path, *death: str) -> subprocess.Popen[str]:
    """A process that trains in a folder."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.training.killed_training", name, str(folder), *death]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[bool, int]:
    """Wait, and say whether the process was killed, and how many lines it still printed.

    Errors: `FindingError` where it ended in any other way.
    """
    lines, complaints = process.communicate(timeout=LONGEST)
    if process.returncode not in (0, -signal.SIGKILL):
        raise FindingError(f"the training ended with status {process.returncode}: {complaints[-500:]}")
    return process.returncode != 0, lines.count("\n")


def result(folder: Path) -> dict[str, Any]:
    """All that must be the same: arrays and the history of the result, and what the checkpoints hold."""
    with np.load(folder / "result.npz") as file:
        found = {name: file[name].tobytes() for name in file.files}
    for path in folder.glob("*.chain"):
        checkpoint = read_checkpoint(path)
        found[path.name] = {name: array.tobytes() for name, array in checkpoint.weights.items()}
    return {**found, "files": sorted(path.name for path in folder.iterdir())}


class Killer:
    """Trains each training to its end, uninterrupted, and then kills others like it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counts = folder, Counter[str]()
        self.wholes: dict[str, dict[str, Any]] = {}
        self.lines: dict[str, int] = {}

    def train_whole(self, name: str) -> None:
        """Train without interruption."""
        folder = self.folder / name
        is_killed, self.lines[name] = end(start(name, folder))
        if is_killed:
            raise FindingError("an uninterrupted training was killed")
        self.wholes[name] = result(folder)

    def one(self, name: str, number: int, chance: random.Random) -> None:
        """Kill one training, several times perhaps, and let it end. Errors: `FindingError`."""
        if name not in self.wholes:
            self.train_whole(name)
        folder = self.folder / f"{name} {number}"
        for moment in chance.choices(MOMENTS, [3, 1, 1, 1], k=chance.randint(1, 4)):
            if not self.kill(name, folder, moment, chance):
                break  # it came to its end before
            self.counts[f"kills: {moment}"] += 1
            self.check_files(folder, moment)
        if end(start(name, folder))[0]:
            raise FindingError("a training was killed by somebody else")
        found, expected = result(folder), self.wholes[name]
        differing = [key for key in sorted(found.keys() | expected.keys()) if found.get(key) != expected.get(key)]
        if differing:
            raise FindingError(f"not the same as without interruption: {', '.join(differing)}")

    def kill(self, name: str, folder: Path, moment: str, chance: random.Random) -> bool:
        """Start a training, kill it, and say whether it was not too late."""
        if moment != "outside":
            return end(start(name, folder, moment, str(chance.randint(1, 8))))[0]
        lines, delay = chance.randint(1, self.lines[name] // 2), chance.uniform(0, 0.02)
        process = start(name, folder)
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        time.sleep(delay)
        process.kill()
        return end(process)[0]

    def check_files(self, folder: Path, moment: str) -> None:
        """Read all files under the names of checkpoints. Errors: `FindingError` where one cannot be read."""
        for path in folder.glob("*.chain"):
            self.counts["checkpoints read after a kill"] += 1
            try:
                read_checkpoint(path)
                load_model(path)
            except ChainruleError as error:
                raise FindingError(f"after a kill ({moment}): {error}") from None

    def run(self, numbers: range, seed: int = 0) -> list[str]:
        """Kill the trainings of these numbers, and return the findings."""
        findings = []
        names = list(TRAININGS)
        for number in numbers:
            name = names[number % len(names)]
            try:
                self.one(name, number, random.Random(f"{seed} {number}"))
            except (FindingError, ChainruleError, subprocess.TimeoutExpired) as error:
                findings.append(f"{name}, training {number}: {error}")
        return findings


def main() -> int:
    """Kill so many trainings, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trainings", type=int, help="how many trainings to kill")
    parser.add_argument("--seed", type=int, default=0, help="decides when (0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        killer = Killer(Path(folder))
        findings = killer.run(range(options.trainings), options.seed)
    for name, times in sorted(killer.counts.items()):
        print(f"{times:7} {name}")
    print(f"{len(findings):7} findings in {options.trainings} trainings", *findings, sep="\n")
    return len(findings) > 0


if __name__ == "__main__":
    sys.exit(main())
