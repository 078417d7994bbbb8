"""Signals that arrive where Python drops exceptions."""

import signal
import subprocess
import sys

import pytest

INTERRUPTED_COLLECTION = """
import gc, signal, time
import chainrule
from chainrule.ops.source import constant
from chainrule.tensor.segment import slot_vertex
def interrupt(number, frame):
    raise InterruptedError
signal.signal(signal.SIGALRM, interrupt)
heap = {heap}
try:
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    {collect}
    time.sleep(1)
except InterruptedError:
    print("interrupted")
"""
OUTLASTING = {  # collections that outlast the timer
    "callbacks of the collector": ("[[] for _ in range(2_000_000)]", "gc.collect()"),
    "constants": ("[constant(number, chainrule.int64) for number in range(100_000)]", "heap.clear()"),
    "slots": ("[slot_vertex(chainrule.zeros(1), True) for _ in range(20_000)]", "heap.clear()"),
}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals")
@pytest.mark.parametrize("what", OUTLASTING)
def test_an_interrupt_during_a_garbage_collection_is_not_lost(what: str) -> None:
    heap, collect = OUTLASTING[what]
    program = INTERRUPTED_COLLECTION.format(heap=heap, collect=collect)
    run = [sys.executable, "-c", program]  # a process of its own: other packages have callbacks too
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout == "interrupted\n"
