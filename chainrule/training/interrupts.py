"""Ctrl-C where Python drops exceptions: in destructors, and in callbacks of weak references and collections."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Give a function, to be called often, that raises KeyboardInterrupt where Python has dropped one since.

    What leaves a destructor or a callback is handed to ``sys.unraisablehook`` and ends there. So one press of Ctrl-C in
    many would be lost, and a training go on for days. One that is dropped behind the last call is raised at the end.
    Signals reach the main thread alone: in others nothing is watched.
    """
    is_dropped = False

    def note(dropped: Any) -> None:
        nonlocal is_dropped
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            is_dropped = True
        else:
            before(dropped)

    def raise_dropped() -> None:
        nonlocal is_dropped
        if is_dropped:
            is_dropped = False
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield raise_dropped
        return
    before, sys.unraisablehook = sys.unraisablehook, note
    try:
        yield raise_dropped
        raise_dropped()
    finally:
        sys.unraisablehook = before
