"""Files damaged at random: each loads as what it was, or is refused with one error; see `fuzz.py`."""

from pathlib import Path

from .fuzz import CASES, Fuzzer


def test_some_damaged_files(tmp_path: Path) -> None:
    """The first mutations of the many that the script tries."""
    numbers = range(1300)
    fuzzer = Fuzzer(tmp_path)
    findings = fuzzer.run(numbers)
    assert findings == [], f"{len(findings)} findings; the first: {findings[0]}"
    assert sum(fuzzer.counts.values()) == len(numbers)
    refused = {name for name in CASES if fuzzer.counts[f"{name}: refused"]}
    loaded = {name for name in CASES if fuzzer.counts[f"{name}: loaded"]}
    assert refused == set(CASES)
    assert len(loaded) > len(CASES) / 2, "mutations that are all refused at once reach nothing"
