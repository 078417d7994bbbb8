"""How far a training is: epoch, loss, metrics, speed and time left, on one line of the terminal.

| verbose  | shown                                                                       |
|----------|-----------------------------------------------------------------------------|
| 0        | nothing                                                                     |
| 1        | one line that is redrawn, in a terminal or notebook; nothing anywhere else  |
| 2        | one line per epoch, anywhere                                                |
| "auto"   | as 1                                                                        |
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal, TextIO

from chainrule.errors import ArgumentError
from chainrule.training.callbacks import Callback

if TYPE_CHECKING:
    import rich.progress

    from .trainer import Trainer

Verbose = int | Literal["auto"]

REDRAW_SECONDS = 0.1
BAR_WIDTH = 20


class Progress:
    """Shows nothing: the display of ``verbose=0``, and the calls that the training loop makes to every display.

    ``start(epochs, rows, done)`` with the most epochs there may be, the rows of one epoch and how many epochs were
    trained before; ``advance(rows)`` after some rows; ``end_epoch(row)`` with the epoch's numbers; ``close()`` in any
    case. Calls are cheap enough to follow every native call: a display is redrawn ten times a second at most.
    """

    def start(self, epochs: int, rows: int, done: int = 0) -> None:
        """Begin: at most so many epochs of so many rows each, of which some are done."""

    def advance(self, rows: int) -> None:
        """Say that so many more rows were trained on."""

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """Say that an epoch ended with these numbers."""

    def close(self) -> None:
        """End the display."""


class Pace:
    """Counts rows and tells speed and time left; the clock stands still in no phase, so validation counts too."""

    def __init__(
        self, epochs: int, rows: int, done: int = 0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.epochs, self.rows = epochs, rows
        self.epoch, self.in_epoch = done, 0
        self._done = done
        self._clock = clock
        self._begin = clock()

    def advance(self, rows: int) -> None:
        """Count rows of the current epoch."""
        self.in_epoch += rows

    def end_epoch(self) -> None:
        """Count an epoch; its rows are full."""
        self.epoch += 1
        self.in_epoch = 0

    @property
    def share(self) -> float:
        """How much of all epochs is done, between 0 and 1."""
        return min((self.epoch + self._part) / self.epochs, 1.0) if self.epochs else 1.0

    @property
    def rows_per_second(self) -> float:
        """Mean speed since the start."""
        elapsed = self._clock() - self._begin
        return ((self.epoch - self._done) * self.rows + self.in_epoch) / elapsed if elapsed > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last epoch at the mean speed; None before anything is done. Early stopping may end sooner."""
        here = self.epoch - self._done + self._part
        return (self._clock() - self._begin) * max(self.epochs - self._done - here, 0) / here if here > 0 else None

    @property
    def _part(self) -> float:
        """How much of the current epoch is done, between 0 and 1."""
        return min(self.in_epoch / self.rows, 1.0) if self.rows else 0.0


class LinePerEpoch(Progress):
    """The display of ``verbose=2``: one line per epoch, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, epochs: int, rows: int, done: int = 0) -> None:
        """Begin: at most so many epochs of so many rows each, of which some are done."""
        self._pace = Pace(epochs, rows, done)

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """Write the line of an epoch."""
        self._pace.end_epoch()
        speed = f"{_short_number(self._pace.rows_per_second)} rows/s"
        print(f"{_epoch_text(self._pace)}  {_numbers_text(row)}  {speed}", file=self._stream, flush=True)


class LiveLine(Progress):
    """The display of ``verbose=1`` in a terminal: a bar and the latest numbers, redrawn in place."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._bar: rich.progress.Progress | None = None
        self._latest: Mapping[str, float] = {}
        self._next_redraw = 0.0

    def start(self, epochs: int, rows: int, done: int = 0) -> None:
        """Draw the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._pace = Pace(epochs, rows, done)
        columns = (TextColumn("{task.fields[before]}"), BarColumn(BAR_WIDTH), TextColumn("{task.fields[after]}"))
        self._bar = RichProgress(*columns, console=Console(file=self._stream), auto_refresh=False)
        self._task = self._bar.add_task("", total=1.0, before=_epoch_text(self._pace), after="")
        self._bar.start()

    def advance(self, rows: int) -> None:
        """Count rows and redraw if the last time was a tenth of a second ago."""
        self._pace.advance(rows)
        if time.perf_counter() >= self._next_redraw:
            self._redraw()

    def end_epoch(self, row: Mapping[str, float]) -> None:
        """Keep the epoch's numbers for the next redrawing."""
        self._pace.end_epoch()
        self._latest = row
        if time.perf_counter() >= self._next_redraw:
            self._redraw()

    def close(self) -> None:
        """Draw the final state, which stays on the screen."""
        if self._bar is not None:
            self._redraw(ended=True)
            self._bar.stop()
            self._bar = None

    def _redraw(self, ended: bool = False) -> None:
        if self._bar is None:
            return
        pace = self._pace
        parts = [_numbers_text(self._latest), f"{_short_number(pace.rows_per_second)} rows/s"]
        if pace.seconds_left is not None and not ended:
            parts.append(f"{_duration(pace.seconds_left)} left")
        after = "  ".join(part for part in parts if part)
        before = _epoch_text(pace, ended)
        self._bar.update(self._task, completed=pace.share, before=before, after=after, refresh=True)
        self._next_redraw = time.perf_counter() + REDRAW_SECONDS


def make_progress(verbose: Verbose = "auto", stream: TextIO | None = None) -> Progress:
    """Return the display that ``verbose`` asks for, on ``stream`` (default: standard output).

    Raises ArgumentError for anything but 0, 1, 2, "auto", False and True.

    >>> type(make_progress(0)).__name__
    'Progress'
    """
    if verbose not in (0, 1, 2, "auto"):
        raise ArgumentError(f'verbose must be 0, 1, 2 or "auto", got {verbose!r}')
    output = sys.stdout if stream is None else stream
    if verbose == 2:
        return LinePerEpoch(output)
    in_notebook = stream is None and "ipykernel" in sys.modules
    return LiveLine(stream) if verbose != 0 and (output.isatty() or in_notebook) else Progress()


class ProgressBar(Callback):
    """The progress display as a callback: in place of that of ``fit``, for another stream than standard output.

    ``verbose`` is that of ``fit``.

    >>> import sys
    >>> trainer = cr.Trainer(nn.Linear(1, 1), callbacks=[ProgressBar(verbose=2, stream=sys.stdout)], seed=0)
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 1.0], epochs=2)
    epoch 1/2  loss ... rows/s
    epoch 2/2  loss ... rows/s
    """

    def __init__(self, verbose: Verbose = 1, stream: TextIO | None = None) -> None:
        self._display = make_progress(verbose, stream)

    def on_fit_begin(self, trainer: Trainer) -> None:
        self._display.start(trainer.epochs, trainer.training_rows.rows, trainer.first_epoch - 1)

    def on_rows(self, trainer: Trainer, rows: int) -> None:
        self._display.advance(rows)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, float]) -> bool:
        self._display.end_epoch(row)
        return False

    def on_fit_end(self, trainer: Trainer) -> None:
        self._display.close()


def _epoch_text(pace: Pace, ended: bool = False) -> str:
    """``epoch  7/100``: the epoch under way, or the last one when all is over."""
    width = len(str(pace.epochs))
    current = pace.epoch if ended or pace.in_epoch == 0 else pace.epoch + 1
    return f"epoch {current:{width}d}/{pace.epochs}"


def _numbers_text(row: Mapping[str, float]) -> str:
    """``loss 0.4312  val_loss 0.4688``: what an epoch recorded, in its order, without counters and clocks."""
    hidden = ("epoch", "seconds", "learning_rate")
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in hidden)


def _short_number(value: float) -> str:
    """``950``, ``12k``, ``3.4M``: three digits at most."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            scaled = value / limit
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}"


def _duration(seconds: float) -> str:
    """``0:07``, ``12:30``, ``1:02:03``."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
