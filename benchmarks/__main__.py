"""``python -m benchmarks``: list the benchmarks; with names, or ``all``, run them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import harness, report

RESULTS = Path(__file__).parent / "results"


def names() -> list[str]:
    """Every module of this folder that defines a ``BENCHMARK``."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if "\nBENCHMARK = " in file.read_text(encoding="utf-8")]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the result is its exit status, 1 when a contestant failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run, or all; none lists them")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores of each contestant (2)")
    parser.add_argument("--rounds", type=int, help="how often each contestant has its turn (each benchmark's own)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only contestants whose name contains TEXT")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the figures as JSON")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(names()) - {"all"}
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    if not options.names:
        for name in names():
            print(f"{name:20} {harness.find(name).title}")
        return 0
    wanted = names() if "all" in options.names else options.names
    return max(run(name, options) for name in wanted)


def run(name: str, options: argparse.Namespace) -> int:
    """Run one benchmark, print its table and goals, and write its figures."""
    benchmark = harness.find(name)
    print(f"\n{name}: {benchmark.title}\n", flush=True)
    outcomes = harness.run(name, threads=options.threads, rounds=options.rounds, only=options.only)
    print(report.table(benchmark, outcomes))
    print("\n".join(report.goals(benchmark, outcomes)), flush=True)
    options.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_json(name, benchmark, outcomes, options.threads), indent=1)
    (options.results / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return int(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
