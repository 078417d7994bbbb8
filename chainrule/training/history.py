"""What a training recorded: one row of numbers per epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chainrule.errors import ArgumentError, MissingExtraError, ModelFileError, did_you_mean, type_in_words

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

Row = dict[str, float]


@dataclass(repr=False)
class History:
    """One row per epoch (``epoch`` counts from 1, ``loss``, ``val_loss``, metrics ...), and how the training ended.

    ``history["val_loss"]`` is one column. ``findings`` lists what was noticed during training; ``interrupted`` says
    that Ctrl-C ended it.

    >>> history = History()
    >>> history.append({"epoch": 1, "loss": 0.7, "val_loss": 0.8})
    >>> history.append({"epoch": 2, "loss": 0.5, "val_loss": 0.6})
    >>> history["loss"], history.best_epoch
    ([0.7, 0.5], 2)
    """

    epochs: list[Row] = field(default_factory=list)
    findings: list[Any] = field(default_factory=list)
    interrupted: bool = False

    def __repr__(self) -> str:
        """The number of epochs and what the last one recorded: ``fit`` at a prompt shows it."""
        last = self.epochs[-1] if self.epochs else {}
        figures = [f", {name} {value:.4g}" for name, value in last.items() if name not in ("epoch", "seconds")]
        interrupted = ", interrupted" if self.interrupted else ""
        return f"History({len(self.epochs)} epochs{''.join(figures)}{interrupted})"

    def append(self, row: Row) -> None:
        """Add the row of an epoch."""
        self.epochs.append(dict(row))

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.epochs)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> list[float]:
        """Return one column; NaN for epochs that did not record it. Raises ArgumentError for an unknown name."""
        if name not in self:
            recorded = ", ".join(self.names) or "nothing yet"
            hint = did_you_mean(name, self.names)
            raise ArgumentError(f"the history has no {name!r}{hint}; recorded: {recorded}")
        return [row.get(name, math.nan) for row in self.epochs]

    @property
    def names(self) -> list[str]:
        """What was recorded, in the order of its first appearance."""
        return list(dict.fromkeys(name for row in self.epochs for name in row))

    @property
    def best_epoch(self) -> int | None:
        """The number of the epoch with the lowest ``val_loss`` (``loss`` without validation); None if there is none."""
        name = "val_loss" if "val_loss" in self else "loss"
        rows = [
            (number, row) for number, row in enumerate(self.epochs, start=1) if math.isfinite(row.get(name, math.nan))
        ]
        if not rows:
            return None
        number, row = min(rows, key=lambda item: item[1][name])
        return int(row.get("epoch", number))

    def to_frame(self) -> pandas.DataFrame:
        """Return a pandas frame with a row per epoch. Needs pandas (extra ``data``)."""
        try:
            import pandas
        except ImportError:
            raise MissingExtraError("pandas", "data") from None
        return pandas.DataFrame(self.epochs, columns=self.names)

    def plot(self, *names: str) -> matplotlib.axes.Axes:
        """Draw the named columns against the epoch, by default ``loss`` and ``val_loss``; the best epoch is marked.

        Returns the axes, for more to be drawn or ``axes.figure.savefig(path)``. Needs matplotlib (extra ``plot``).
        """
        try:
            import matplotlib.pyplot
        except ImportError:
            raise MissingExtraError("matplotlib", "plot") from None
        _, axes = matplotlib.pyplot.subplots()
        numbers = [row.get("epoch", number) for number, row in enumerate(self.epochs, start=1)]
        for name in names or [name for name in ("loss", "val_loss") if name in self]:
            axes.plot(numbers, self[name], label=name)
        if self.best_epoch is not None:
            axes.axvline(self.best_epoch, color="grey", linestyle=":", label=f"best epoch ({self.best_epoch})")
        axes.set_xlabel("epoch")
        axes.legend()
        return axes

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, from which ``from_json`` makes an equal history."""
        rows = [{name: _number_to_json(value) for name, value in row.items()} for row in self.epochs]
        return {"epochs": rows, "findings": list(self.findings), "interrupted": self.interrupted}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> History:
        """Inverse of ``to_json``. Raises ModelFileError for a dictionary that ``to_json`` did not make."""
        try:
            rows = [{str(name): _number_from_json(value) for name, value in row.items()} for row in data["epochs"]]
            if not all(float(row.get("epoch", 1)).is_integer() for row in rows):
                raise TypeError("an epoch is a whole number")
            return cls(rows, list(data["findings"]), bool(data["interrupted"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"the model's training history is damaged: {error!r:.300}") from None


def _number_to_json(value: float) -> float | str:
    """JSON has no NaN or infinity: they are written as text."""
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else repr(float(value))


def _number_from_json(value: float | str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"expected a number, got {type_in_words(value)}")
    return value if isinstance(value, int) and abs(value) < 1 << 53 else float(value)
