"""Ctrl-C that Python drops: training ends all the same."""

import signal
import sys
import threading
from typing import Any

import numpy as np
import pytest

from chainrule import Trainer, nn
from chainrule.estimators import MLPRegressor
from chainrule.training import Callback
from chainrule.training.interrupts import interruptible

X = np.linspace(-1, 1, 64, dtype=np.float32).reshape(-1, 1)
Y = X[:, 0] ** 2
ENDLESS = 10**9


@pytest.fixture(autouse=True)
def ctrl_c() -> Any:
    """SIGINT means KeyboardInterrupt also where tests run behind nohup or &."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Dropping:
    """Ctrl-C arrives while this one is destroyed: Python says so and goes on."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class CtrlC(Callback):
    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        self.left -= 1
        if self.left == 0:
            Dropping()
        assert self.left > -2, "it went on"
        return False


def test_a_training_ends() -> None:
    trainer = Trainer(nn.Linear(1, 1), "mse", callbacks=[CtrlC(3)])
    history = trainer.fit(X, Y, epochs=ENDLESS, verbose=0)
    assert history.interrupted
    assert len(history) == 3


def test_a_training_that_ends_with_the_epoch_says_so() -> None:
    history = Trainer(nn.Linear(1, 1), "mse", callbacks=[CtrlC(3)]).fit(X, Y, epochs=3, verbose=0)
    assert history.interrupted
    assert len(history) == 3


def test_an_estimator_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = MLPRegressor(hidden_layer_sizes=(4,), max_iter=ENDLESS, n_iter_no_change=ENDLESS, verbose=True)
    printed: list[str] = []

    def see(line: str) -> None:
        printed.append(line)
        if len(printed) == 5:
            Dropping()
        assert len(printed) < 7, "it went on"

    monkeypatch.setattr("builtins.print", see)
    with pytest.warns(UserWarning, match="interrupted; the weights are those of the last step"):
        estimator.fit(X, Y)
    assert estimator.n_iter_ == 5


def test_other_dropped_exceptions_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_type))

    class Wrong:
        def __del__(self) -> None:
            raise LookupError

    hook = sys.unraisablehook
    with interruptible() as raise_dropped:
        Wrong()
        raise_dropped()
        with pytest.raises(KeyboardInterrupt), interruptible():
            Dropping()
        raise_dropped()
    assert seen == [LookupError]
    assert sys.unraisablehook is hook


def test_other_threads_watch_nothing() -> None:
    hooks: list[Any] = []

    def look() -> None:
        with interruptible():
            hooks.append(sys.unraisablehook)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert hooks == [sys.unraisablehook]
