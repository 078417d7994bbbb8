"""Trainings with a `ModelCheckpoint` that SIGKILL ends, in an epoch or a write; the same script goes on with them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from chainrule import nn

from .killed_training import TRAININGS
from .kills import FindingError, Killer, result

SEED = 268
"""One with kills of all kinds, and few of them."""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")


@pytest.mark.parametrize("number", range(len(TRAININGS)))
def test_the_same_script_goes_on_after_every_kill(number: int, tmp_path: Path) -> None:
    """The first trainings of the many that the script kills."""
    killer = Killer(tmp_path)
    assert killer.run(range(number, number + 1), SEED) == []
    assert sum(times for what, times in killer.counts.items() if what.startswith("kills")) >= 1


def test_what_a_kill_left_is_looked_at(tmp_path: Path) -> None:
    nn.Linear(2, 1).save(tmp_path / "model.chain")
    with pytest.raises(FindingError, match="holds a network, but no training"):
        Killer(tmp_path).check_files(tmp_path, "outside")
    (tmp_path / "model.chain").write_bytes((tmp_path / "model.chain").read_bytes()[:100])
    with pytest.raises(FindingError, match="truncated or damaged"):
        Killer(tmp_path).check_files(tmp_path, "outside")


def test_a_result_that_is_not_the_same_is_seen(tmp_path: Path) -> None:
    """A weight that differs in its last bit, and a file too many."""
    np.savez(tmp_path / "result.npz", weight=np.ones(3, np.float32))
    whole = result(tmp_path)
    np.savez(tmp_path / "result.npz", weight=np.nextafter(np.ones(3, np.float32), 2))
    assert result(tmp_path) != whole
    np.savez(tmp_path / "result.npz", weight=np.ones(3, np.float32))
    assert result(tmp_path) == whole
    (tmp_path / ".model.chain.0123abcd.tmp").touch()
    assert result(tmp_path) != whole
