"""The progress display: what is shown where, and that it costs next to nothing."""

import io
from typing import Any

import pytest

from chainrule.errors import ArgumentError
from chainrule.training import progress
from chainrule.training.progress import LinePerEpoch, LiveLine, Pace, Progress, make_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("verbose", "stream", "kind"),
    [
        (0, Terminal(), Progress),
        (0, io.StringIO(), Progress),
        (1, Terminal(), LiveLine),
        (1, io.StringIO(), Progress),
        (True, Terminal(), LiveLine),
        ("auto", Terminal(), LiveLine),
        ("auto", io.StringIO(), Progress),
        (2, Terminal(), LinePerEpoch),
        (2, io.StringIO(), LinePerEpoch),
    ],
)
def test_which_display(verbose: Any, stream: io.StringIO, kind: type) -> None:
    assert type(make_progress(verbose, stream)) is kind


@pytest.mark.parametrize("verbose", [3, -1, "on", None])
def test_unknown_verbosity_is_refused(verbose: Any) -> None:
    with pytest.raises(ArgumentError, match='verbose must be 0, 1, 2 or "auto"'):
        make_progress(verbose)


def test_pace_counts_rows_speed_and_time_left() -> None:
    clock = Clock()
    pace = Pace(epochs=4, rows=100, clock=clock)
    assert pace.seconds_left is None
    assert pace.rows_per_second == 0
    clock.now = 2.0
    pace.advance(100)
    pace.end_epoch()
    pace.advance(50)
    assert pace.share == pytest.approx(1.5 / 4)
    assert pace.rows_per_second == pytest.approx(75.0)
    assert pace.seconds_left == pytest.approx(2.0 * 2.5 / 1.5)


def run(display: Progress, epochs: int = 3) -> None:
    display.start(epochs, 100)
    for epoch in range(1, epochs + 1):
        display.advance(60)
        display.advance(40)
        display.end_epoch({"epoch": epoch, "loss": 1 / epoch, "val_accuracy": 0.5, "seconds": 0.123})
    display.close()


def test_a_line_per_epoch_has_the_numbers_and_no_clock() -> None:
    stream = io.StringIO()
    run(make_progress(2, stream))
    lines = stream.getvalue().splitlines()
    assert [line[:35] for line in lines] == [
        "epoch 1/3  loss 1  val_accuracy 0.5",
        "epoch 2/3  loss 0.5  val_accuracy 0",
        "epoch 3/3  loss 0.3333  val_accurac",
    ]
    assert all(line.endswith("rows/s") and "seconds" not in line for line in lines)


def test_the_live_line_ends_with_the_last_state() -> None:
    stream = Terminal()
    run(make_progress("auto", stream))
    last = stream.getvalue()[stream.getvalue().rindex("epoch") :]
    assert last.startswith("epoch 3/3")
    assert "loss 0.3333" in last
    assert "rows/s" in last
    assert "left" not in last


def test_the_live_line_is_redrawn_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", clock)
    display = LiveLine(Terminal())
    display.start(10, 1000)
    assert display._bar is not None
    drawn: list[float] = []
    monkeypatch.setattr(display._bar, "update", lambda *_, **__: drawn.append(clock.now))
    for step in range(1000):
        clock.now = step / 1000
        display.advance(10)
    assert 9 <= len(drawn) <= 11


def test_closing_without_starting_is_harmless() -> None:
    display = LiveLine(Terminal())
    display.close()
    display.close()
    Progress().close()


@pytest.mark.parametrize(
    ("value", "text"), [(7, "7"), (950, "950"), (1500, "1.5k"), (12_345, "12k"), (3.4e6, "3.4M"), (2e9, "2.0G")]
)
def test_short_numbers(value: float, text: str) -> None:
    assert progress._short_number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert progress._duration(seconds) == text
