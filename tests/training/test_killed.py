"""Trainings that SIGKILL ends, in the middle of an epoch or of a write, and that the same script goes on with."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.training.checkpoint import read_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL")

SCRIPT = """
import os, signal, sys
import numpy as np
import chainrule as cr
from chainrule import nn
from chainrule.files import atomic
from chainrule.training import EMA, EarlyStopping, LRSchedule, ModelCheckpoint

folder = sys.argv[2]
deaths, number, rename = os.environ.get("DIE", " 0").split(), 0, os.replace


def replace(old, new):
    global number
    number += 1
    if deaths == ["before", str(number)]:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(old, new)
    if deaths == ["after", str(number)]:
        os.kill(os.getpid(), signal.SIGKILL)


atomic.os.replace = replace
rng = np.random.default_rng(0)
X = rng.normal(size=(600, 10)).astype(np.float32)
y = (X[:, 0] + rng.normal(size=600) > 0).astype(int) + (X[:, 1] > 1)
cr.manual_seed(0)
model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))
if sys.argv[1] == "momentum":
    optimizer = lambda p: cr.optim.SGD(p, lr=0.05, momentum=0.9)
    callbacks = [LRSchedule(cr.optim.lr_scheduler.OneCycleLR, max_lr=0.1, per="step"), EMA(0.99)]
else:
    optimizer, callbacks = "adam", [EarlyStopping(patience=3)]
checkpoint = ModelCheckpoint(folder + "/model.chain", keep=1)
trainer = cr.Trainer(model, "cross_entropy", optimizer, callbacks=[*callbacks, checkpoint], seed=1)
history = trainer.fit(
    X, y, epochs=12, batch_size=32, validation_split=0.2, verbose=2, resume_from=folder + "/model.chain"
)
np.save(folder + "/weights.npy", np.concatenate([array.ravel() for array in trainer.copy_weights()]))
"""


def start(case: str, folder: Path, more: Mapping[str, str]) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-u", "-c", SCRIPT, case, str(folder)]
    return subprocess.Popen(command, env={**os.environ, **more}, stdout=subprocess.PIPE, text=True)


def finish(case: str, folder: Path, more: Mapping[str, str]) -> int:
    process = start(case, folder, more)
    process.communicate()
    return process.returncode


def assert_all_readable(folder: Path) -> None:
    for path in folder.glob("*.chain"):
        assert read_checkpoint(path).epoch >= 1
        cr.load(path)


@pytest.mark.parametrize("case", ["momentum", "patience"])
def test_the_same_script_goes_on_after_every_kill(case: str, tmp_path: Path) -> None:
    chance = random.Random(case)
    assert finish(case, tmp_path / "whole", {}) == 0
    folder = tmp_path / "killed"
    process = start(case, folder, {})
    assert process.stdout is not None
    for _ in range(chance.randrange(1, 5)):
        process.stdout.readline()
    process.kill()
    process.communicate()
    assert_all_readable(folder)
    for moment in ("before", "after"):
        assert finish(case, folder, {"DIE": f"{moment} {chance.randrange(1, 4)}"}) == -9
        assert_all_readable(folder)
    assert finish(case, folder, {}) == 0
    np.testing.assert_array_equal(np.load(folder / "weights.npy"), np.load(tmp_path / "whole" / "weights.npy"))
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
