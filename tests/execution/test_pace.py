"""Programs go the way that is faster at present, try the other way seldom, and never where a run is long."""

from collections.abc import Callable

from chainrule.execution.pace import LONG, Pace

Times = Callable[[int, bool], float]
"""From the number of a run, and whether it is on one thread, to its seconds."""


def run(times: Times, runs: int) -> list[bool]:
    """Which of so many runs were on one thread."""
    pace, alone = Pace(), list[bool]()
    for number in range(runs):
        alone.append(pace.is_alone)
        pace.note(times(number, pace.is_alone))
    return alone


def test_one_thread_is_tried_once_where_all_are_faster() -> None:
    alone = run(lambda number, is_alone: 2e-4 if is_alone else 1e-4, 10_000)
    assert sum(alone) == 2


def test_where_one_thread_is_faster_nearly_all_runs_are_on_one() -> None:
    alone = run(lambda number, is_alone: 1e-4 if is_alone else 2e-4, 20_000)
    assert sum(alone) > 0.995 * len(alone)


def test_times_that_change_are_followed_both_ways() -> None:
    """Threads wait for one another between runs 2000 and 6000."""

    def times(number: int, is_alone: bool) -> float:
        return 6e-4 if is_alone else 14e-4 if 2000 <= number < 6000 else 4e-4

    alone = run(times, 20_000)
    assert sum(alone[:2000]) == 2
    assert sum(alone[2010:6000]) > 0.98 * 3990
    assert sum(alone[12_000:]) == 0


def test_a_change_that_is_no_change_of_threads_costs_one_trial() -> None:
    """From some run on the program has five times as much to do."""
    alone = run(lambda number, is_alone: (1 + 4 * (number > 500)) * (2e-4 if is_alone else 1e-4), 10_000)
    assert 2 < sum(alone) <= 12


def test_long_runs_are_never_tried() -> None:
    assert not any(run(lambda number, is_alone: 2 * LONG, 1000))


def test_all_threads_may_be_tried_where_they_take_long() -> None:
    alone = run(lambda number, is_alone: 0.8 * LONG if is_alone else (0.99 if number < 100 else 3) * LONG, 20_000)
    assert sum(alone) > 0.99 * len(alone)
