"""``python -m benchmarks``: list the benchmarks; with names, or ``all``, run them."""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
from pathlib import Path

from . import harness, report

RESULTS = Path(__file__).parent / "results"


def available() -> dict[str, str]:
    """Name and first line of every module of this folder that has a ``BENCHMARK``, or a ``main()`` of its own."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "\nBENCHMARK = " in text or "\ndef main() -> None:" in text:
            found[file.stem] = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the result is its exit status, 1 when a contestant failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run, or all; none lists them")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores of each contestant (2)")
    parser.add_argument("--rounds", type=int, help="how often each contestant has its turn (each benchmark's own)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only contestants whose name contains TEXT")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the figures as JSON")
    options = parser.parse_args(arguments)
    benchmarks = available()
    unknown = set(options.names) - set(benchmarks) - {"all"}
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(benchmarks)}")
    if not options.names:
        for name, title in benchmarks.items():
            print(f"{name:20} {title}")
        return 0
    wanted = list(benchmarks) if "all" in options.names else options.names
    return max(run(name, options) for name in wanted)


def run(name: str, options: argparse.Namespace) -> int:
    """Run one benchmark, print its table and goals, and write its figures."""
    module = importlib.import_module(f"benchmarks.{name}")
    if not hasattr(module, "BENCHMARK"):
        module.main()
        return 0
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
