"""Damages files at random and loads them: ``python -m tests.files.fuzz 20000 [--only CSV] [--seed N]``.

Model files, checkpoints, weights, tables and configuration files are damaged in turn, or those that have the word of
``--only`` in the name of their kind: byte by byte, as disks and networks do; and, where a checksum would notice that,
piece by piece with checksums that fit again, as somebody who means harm would do, so that what lies behind the
checksums is reached. A damaged file must load as what it was (or, where the damage has checksums that fit, as something
that can be used), or raise an error of `chainrule.errors`, within bounds of time and memory and without executing
anything. The seed fixes every mutation: its number is enough to see it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import signal
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

import chainrule as cr
from chainrule.cli.commands import train_command
from chainrule.cli.configuration import write_configuration
from chainrule.cli.inspection import describe_file
from chainrule.cli.train import Options
from chainrule.data import Preparation, TargetPreparation, read_csv_table
from chainrule.errors import ArgumentError, ChainruleError
from chainrule.series import Forecaster
from chainrule.settings import settings
from chainrule.training.model_file import load_model

from .make_fixtures import FOLDER, ROWS, SERIES, TABLE
from .mutations import damage_bytes, damage_checksummed_zip, damage_configuration, damage_csv, damage_zip

SECONDS, MEGABYTES = 10, 300
"""What one file may take: seconds of the processor, and growth of the process."""

FORBIDDEN = {
    "exec",
    "compile",
    "import",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "os.remove",
    "os.rename",
}
FORBIDDEN |= {"ctypes.dlopen", "socket.connect", "pickle.find_class", "shutil.rmtree", "os.mkdir", "os.putenv"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class FindingError(AssertionError):
    """What must not happen."""


class Watch:
    """What a piece of code does that no loading may do."""

    def __init__(self) -> None:
        self.seen: str | None = None
        self.is_on = False
        sys.addaudithook(self.see)

    def see(self, event: str, arguments: Any) -> None:
        if not self.is_on or (arguments and str(arguments[0]).startswith(str(settings.cache_directory))):
            return  # programs of networks that run are kept in the cache
        writes = event == "open" and isinstance(arguments[0], str) and arguments[2] & WRITING
        if event in FORBIDDEN or writes:
            self.seen = f"{event} {arguments!r:.200}"

    @contextmanager
    def over(self) -> Iterator[None]:
        """Raise `FindingError` for forbidden events, and after `SECONDS` or `MEGABYTES`."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.seen, self.is_on = None, True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.is_on = False
        if self.seen:
            raise FindingError(f"executed: {self.seen}")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        if grown > MEGABYTES:
            raise FindingError(f"took {grown:.0f} MB")


def _too_long(*_: Any) -> None:
    raise FindingError(f"took more than {SECONDS} s")


def same(found: Any, expected: Any) -> bool:
    """Whether two values are equal, tensors and modules included."""
    if isinstance(found, cr.nn.Module):
        return repr(found) == repr(expected) and same(dict(found.state_dict()), dict(expected.state_dict()))
    if hasattr(expected, "__array__"):
        mine, other = np.asarray(found), np.asarray(expected)
        return mine.dtype == other.dtype and np.array_equal(mine, other, equal_nan=mine.dtype.kind == "f")
    if isinstance(expected, dict):
        return (
            type(found) is type(expected)
            and found.keys() == expected.keys()
            and all(same(found[k], expected[k]) for k in found)
        )
    if isinstance(expected, list | tuple):
        return type(found) is type(expected) and len(found) == len(expected) and all(map(same, found, expected))
    return type(found) is type(expected) and bool(found == expected)


def use_model(path: Path) -> None:
    """Do with a model file what people do with it."""
    loaded = load_model(path)
    describe_file(path)
    table = read_csv_table(TABLE, target="outcome")
    if loaded.preparation is not None:
        loaded.preparation.describe()
        loaded.preparation.differences(table)
        loaded.preparation.transform(table)
    if loaded.target is not None:
        loaded.target.transform(table)
    if loaded.vocabulary is not None:
        loaded.vocabulary.decode(loaded.vocabulary.encode("a good film"))
    if loaded.history is not None:
        loaded.history.to_json()
    with cr.no_grad():
        loaded.module(cr.tensor(ROWS)).numpy()


def use_forecaster(path: Path) -> None:
    """Forecast with a stored forecaster, and go on with its training."""
    Forecaster.load(path).predict(SERIES, 5)
    trainer = cr.Trainer.load(path)
    trainer.training_record()
    trainer.evaluate(np.zeros((4, 4)), np.zeros((4, 2)))
    describe_file(path)


def use_values(path: Path) -> None:
    """Look at all of a file of weights or values."""
    cr.load(path)
    describe_file(path)


def use_csv(path: Path) -> None:
    """Prepare a table for training."""
    table = read_csv_table(path, target="outcome")
    target, preparation = TargetPreparation.fit(table), Preparation.fit(table)
    assert np.isfinite(preparation.transform(table)).all()
    assert np.isfinite(target.transform(table)).all()


def use_configuration(path: Path) -> None:
    """Read the options of a training as ``chainrule train --config`` does, and write them."""
    try:
        context = train_command.make_context("train", ["--config", str(path)], obj={"debug": False})
    except click.ClickException as error:  # the command says it, and ends
        raise ArgumentError(error.format_message()) from None
    options = Options(**context.params)
    assert tomllib.loads(write_configuration(options))["target"] == options.target


Use = Callable[[Path], None]
Damage = Callable[[bytes, random.Random], bytes]

CASES: dict[str, tuple[str, Damage, Use, bool]] = {
    "model, bytes": ("model_1.chain", damage_bytes, use_model, True),
    "model, members": ("model_1.chain", damage_zip, use_model, True),
    "model, with checksums": ("model_1.chain", damage_checksummed_zip, use_model, False),
    "forecaster, with checksums": ("forecaster_1.chain", damage_checksummed_zip, use_forecaster, False),
    "values, bytes": ("values_1.chain", damage_bytes, use_values, True),
    "values, with checksums": ("values_1.chain", damage_checksummed_zip, use_values, False),
    "safetensors, bytes": ("weights.safetensors", damage_bytes, use_values, False),
    "PyTorch, bytes": ("pytorch_2.13.pt", damage_bytes, use_values, True),
    "PyTorch, with checksums": ("pytorch_2.13.pt", damage_checksummed_zip, use_values, False),
    "PyTorch before 1.6, bytes": ("pytorch_before_1.6.pt", damage_bytes, use_values, False),
    "CSV": ("table.csv", damage_csv, use_csv, False),
    "configuration, TOML": ("config.toml", damage_configuration, use_configuration, False),
}
if importlib.util.find_spec("yaml"):
    CASES["configuration, YAML"] = "config.yaml", damage_configuration, use_configuration, False
"""Which file, how it is damaged, what is done with it, and whether a checksum protects it: then it loads as it was."""


class Fuzzer:
    """Tries damaged files of all kinds in turn, and counts what became of them."""

    def __init__(self, folder: Path, only: str = "") -> None:
        self.names = [name for name in CASES if only in name]
        self.folder, self.watch, self.counts = folder, Watch(), Counter[str]()
        self.wholes = {}
        for name in self.names:
            file, _, use, is_protected = CASES[name]
            use(FOLDER / file)  # what is imported and compiled once, is by now
            self.wholes[name] = cr.load(FOLDER / file) if is_protected else None

    def run(self, numbers: range, seed: int = 0) -> list[str]:
        """Try these mutations, and return the findings."""
        findings = []
        old = signal.signal(signal.SIGPROF, _too_long)
        try:
            for number in numbers:
                name = self.names[number % len(self.names)]
                try:
                    self.one(name, random.Random(f"{seed} {number}"))
                except Exception as error:
                    findings.append(f"{name}, mutation {number}: {type(error).__name__}: {error!s:.300}")
        finally:
            signal.signal(signal.SIGPROF, old)
        return findings

    def one(self, name: str, source: random.Random) -> None:
        """Try one mutation. Raises `FindingError`, or what should not have come out of chainrule."""
        file, damage, use, is_protected = CASES[name]
        whole = (FOLDER / file).read_bytes()
        content = damage(whole, source)
        path = self.folder / file
        path.write_bytes(content)
        try:
            with self.watch.over():
                use(path)
                found = cr.load(path) if is_protected else None
        except ChainruleError as error:
            if len(str(error)) > 2000:
                raise FindingError(f"a message of {len(str(error))} characters: {str(error)[:150]}") from None
            self.counts[f"{name}: refused"] += 1
            return
        self.counts[f"{name}: loaded"] += 1
        if is_protected and not same(found, self.wholes[name]):
            raise FindingError("loaded as something else")


def main() -> int:
    """Try so many mutations, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mutations", type=int, help="how many to try")
    parser.add_argument("--only", default="", help="kinds of files with this word in their name (all)")
    parser.add_argument("--seed", type=int, default=0, help="fixes every mutation (0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(Path(folder), options.only)
        findings = fuzzer.run(range(options.mutations), options.seed)
    for name, times in sorted(fuzzer.counts.items()):
        print(f"{times:7} {name}")
    print(f"{len(findings):7} findings in {options.mutations} mutations", *findings, sep="\n")
    return len(findings) > 0


if __name__ == "__main__":
    sys.exit(main())
