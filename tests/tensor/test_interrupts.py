"""Signals that arrive where Python drops exceptions."""

import signal
import subprocess
import sys

import pytest

INTERRUPTED_COLLECTION = """
import gc, signal, time
import chainrule
def interrupt(number, frame):
    raise InterruptedError
signal.signal(signal.SIGALRM, interrupt)
heap = [[] for _ in range(2_000_000)]  # a collection of them outlasts the timer
try:
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    gc.collect()
    time.sleep(1)
except InterruptedError:
    print("interrupted")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals")
def test_an_interrupt_during_a_garbage_collection_is_not_lost() -> None:
    run = [sys.executable, "-c", INTERRUPTED_COLLECTION]  # a process of its own: other packages have callbacks too
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "interrupted\n"
