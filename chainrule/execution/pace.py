"""Whether a program runs faster on all threads or on one, as was found lately.

The threads of a short program wait for one another every few microseconds. Where others use the processor as well, or
where the CPUs of a virtual machine are one core for a while, they wait so long that one thread alone is faster. What is
computed is the same to the bit, so this is a matter of time alone.
"""

from __future__ import annotations

import math
from collections import deque

LONG = 0.01
"""Seconds from which on a run is not tried the other way: there, waiting is a small part of it."""

FIRST_TRIAL = 8
"""The run on all threads behind which one thread is tried for the first time."""

TRIAL = 2
"""Runs of a trial, of which the fastest counts: in the first one threads may have to wake up."""

LATELY = 4
"""Runs before a trial that it is compared with, of which the fastest counts."""

SLOWER = 1.4
"""So many times as long as usual is a reason to try one thread."""

GAIN = 0.9
"""A change must make it at most so many times as long."""

LEAST_PATIENCE, MOST_PATIENCE = 64, 4096
"""Runs on one thread until all are tried again; twice as many after each time that they were not faster."""


class Pace:
    """Which way the next run of a program goes, from the times of those before.

    >>> pace = Pace()
    >>> pace.is_alone
    False
    """

    def __init__(self) -> None:
        self.is_alone = False
        self._usual = self._tried = math.inf
        self._lately: deque[float] = deque(maxlen=LATELY)
        self._runs = self._trial = 0
        self._patience = LEAST_PATIENCE

    def note(self, seconds: float) -> None:
        """Take the time of the run just done into account."""
        if seconds > LONG and not (self.is_alone or self._trial):
            return
        if self._trial:
            self._tried = min(self._tried, seconds)
            self._trial -= 1
            if not self._trial:
                self._decide()
            return
        self._runs += 1
        self._lately.append(seconds)
        if not self.is_alone:
            self._usual = min(self._usual, seconds)
        if self._is_time_to_try():
            self.is_alone, self._trial, self._tried = not self.is_alone, TRIAL, math.inf

    def _is_time_to_try(self) -> bool:
        if self.is_alone:
            return self._runs >= self._patience
        is_slow = self._runs >= FIRST_TRIAL + LATELY and min(self._lately) > SLOWER * self._usual
        return self._runs == FIRST_TRIAL or is_slow

    def _decide(self) -> None:
        """Keep the way that was tried if it is faster, else go back."""
        if self._tried < GAIN * min(self._lately):
            self._lately.clear()
            self._usual, self._patience = self._tried, LEAST_PATIENCE
        else:
            self.is_alone = not self.is_alone
            self._usual = min(self._lately)  # what is usual now
            self._patience = min(2 * self._patience, MOST_PATIENCE) if self.is_alone else self._patience
        self._runs = 0 if self.is_alone else FIRST_TRIAL
