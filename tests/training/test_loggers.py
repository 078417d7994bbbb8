"""Logs of trainings, read by others: Python's csv and json, and a reader of event files written for this test."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ModelFileError
from chainrule.training import (
    Callback,
    CSVLogger,
    JSONLinesLogger,
    ModelCheckpoint,
    ProgressBar,
    TensorBoard,
    TimeBudget,
    loggers,
)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(*callbacks: Callback, epochs: int = 3, resume: bool = False, **options: Any) -> cr.Trainer:
    cr.manual_seed(0)
    X = np.random.default_rng(0).normal(size=(40, 3))
    trainer = cr.Trainer(nn.Linear(3, 1), metrics=["r2"], callbacks=callbacks, seed=0)
    path = "model.chain" if resume else None
    trainer.fit(X, X[:, 0], epochs=epochs, validation_split=0.3, resume_from=path, **{"verbose": 0, **options})
    return trainer


def rows_of_csv(path: str = "log") -> list[dict[str, float]]:
    with open(path, newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def rows_of_json(path: str = "log") -> list[dict[str, float]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


READERS = [(CSVLogger, rows_of_csv), (JSONLinesLogger, rows_of_json)]


@pytest.mark.parametrize(("logger", "read"), READERS)
def test_a_log_has_the_history(logger: Any, read: Any) -> None:
    lengths: list[int] = []

    class Look(Callback):
        def after_epoch(self, trainer: Any, row: dict[str, float]) -> None:
            lengths.append(len(read()))

    trainer = train(logger("log"), Look())
    assert read() == trainer.history.epochs
    assert lengths == [1, 2, 3]


@pytest.mark.parametrize(("logger", "read"), READERS)
def test_a_log_of_a_resumed_training_has_every_epoch_once(logger: Any, read: Any) -> None:
    Path("log").write_text("what another training left")
    train(logger("log"), ModelCheckpoint("model.chain", every=2), epochs=3)
    Path("model.chain").unlink()
    train(logger("log"), ModelCheckpoint("model.chain", every=2), epochs=2)
    with open("log", "a") as file:
        file.write("an epoch whose checkpoint was never writ")
    resumed = train(logger("log"), ModelCheckpoint("model.chain"), epochs=5, resume=True)
    assert read() == resumed.history.epochs
    assert [row["epoch"] for row in read()] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("logger", "read"), READERS)
def test_rows_that_could_not_be_written_follow(logger: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Break(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            full = row["epoch"] in (2, 3)
            monkeypatch.setattr(loggers, "open", fail if full else open, raising=False)
            monkeypatch.setattr(loggers, "write_atomically", refuse if full else loggers_write)
            return False

    loggers_write = loggers.write_atomically

    def fail(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    def refuse(*arguments: Any) -> None:
        raise ModelFileError("log was not saved: no space left on device")

    with pytest.warns(UserWarning, match="log: cannot be written: No space left.*its history has all rows") as found:
        trainer = train(logger("log"), Break(), epochs=5)
    assert len(found) == 1
    assert read() == trainer.history.epochs


@pytest.mark.parametrize(("logger", "read"), READERS)
def test_a_log_that_another_training_has_begun_is_left_to_it(logger: Any, read: Any) -> None:
    class Begin(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            if row["epoch"] == 2:
                self.other = train(logger("log"), epochs=4).history.epochs
            return False

    begin = Begin()
    with pytest.warns(UserWarning, match="log: cannot be written: somebody else has written it since") as found:
        assert len(train(logger("log"), begin, epochs=5).history) == 5
    assert len(found) == 1
    assert read() == begin.other


@pytest.mark.parametrize(("logger", "read"), READERS)
def test_a_log_that_was_removed_is_written_again(logger: Any, read: Any) -> None:
    class Remove(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            if row["epoch"] == 2:
                Path("log").unlink()
            return False

    assert train(logger("log"), Remove(), epochs=4).history.epochs == read()


def test_a_log_that_cannot_be_made_is_an_error_before_the_first_epoch() -> None:
    Path("file").write_text("")
    for callback in (CSVLogger("file/log"), JSONLinesLogger("file/log"), TensorBoard("file/events")):
        with pytest.raises(ModelFileError, match="cannot be written"):
            train(callback)


def test_json_lines_have_null_for_what_json_does_not_have() -> None:
    log = JSONLinesLogger("log")
    assert log.lines([{"epoch": 1, "loss": float("nan")}], ["epoch", "loss"]) == '{"epoch": 1, "loss": null}\n'


# Event files ----------------------------------------------------------------------------------------------------------


def crc32c(content: bytes) -> int:
    """Bit by bit, as the polynomial says: x^32 + x^28 + ... = 0x1EDC6F41, lowest bits first."""
    remainder = 0xFFFFFFFF
    for byte in content:
        for place in range(8):
            bit = (byte >> place & 1) ^ (remainder & 1)
            remainder = (remainder >> 1) ^ (0x82F63B78 if bit else 0)
    return remainder ^ 0xFFFFFFFF


def test_the_checksum_of_this_reader_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C, RFC 3720


def unmasked(stored: bytes) -> int:
    value = (int.from_bytes(stored, "little") - 0xA282EAD8) % (1 << 32)
    return (value << 15 | value >> 17) % (1 << 32)


def records(content: bytes) -> Iterator[bytes]:
    stream = io.BytesIO(content)
    while head := stream.read(8):
        assert crc32c(head) == unmasked(stream.read(4))
        body = stream.read(int.from_bytes(head, "little"))
        assert crc32c(body) == unmasked(stream.read(4))
        yield body


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol buffer: whole numbers, or bytes."""
    stream = io.BytesIO(message)

    def varint() -> int:
        value = place = 0
        while True:
            byte = stream.read(1)[0]
            value |= (byte & 0x7F) << place
            place += 7
            if byte < 0x80:
                return value

    while stream.tell() < len(message):
        key = varint()
        sizes = {1: 8, 5: 4}
        kind = key & 7
        yield key >> 3, varint() if kind == 0 else stream.read(varint() if kind == 2 else sizes[kind])


def events(path: Path) -> list[dict[int, Any]]:
    return [dict(fields(event)) for event in records(path.read_bytes())]


def scalars(event: dict[int, Any]) -> dict[str, float]:
    values = [dict(fields(value)) for _, value in fields(event[5])]
    return {value[1].decode(): struct.unpack("<f", value[2])[0] for value in values}


def test_event_files_have_the_history() -> None:
    history = train(TensorBoard("runs/one"), epochs=300).history
    (path,) = Path("runs/one").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    head, *rest = events(path)
    assert head[3] == b"brain.Event:2"
    assert [event[2] for event in rest] == list(range(1, 301))
    for event, row in zip(rest, history, strict=True):
        expected = {name: np.float32(value) for name, value in row.items() if name != "epoch"}
        assert scalars(event) == expected
        assert 1.6e9 < struct.unpack("<d", event[1])[0] < 1e11


def test_a_resumed_training_says_from_which_step_on_its_events_count() -> None:
    train(TensorBoard("runs"), ModelCheckpoint("model.chain"), epochs=2)
    train(TensorBoard("runs"), ModelCheckpoint("model.chain"), epochs=4, resume=True)
    first, second = map(events, sorted(Path("runs").iterdir()))
    assert [event[2] for event in first[1:]] == [1, 2]
    started = second[1]
    assert (started[2], dict(fields(started[7]))) == (3, {1: 1})
    assert [event[2] for event in second[2:]] == [3, 4]


def test_event_files_that_cannot_be_written_any_more_end_with_a_whole_record() -> None:
    class Remove(Callback):
        def on_epoch_end(self, trainer: Any, row: dict[str, float]) -> bool:
            if row["epoch"] == 2:
                os.rename("runs", "elsewhere")
            return False

    with pytest.warns(UserWarning, match="cannot be written: No such file") as found:
        train(TensorBoard("runs"), Remove(), epochs=4)
    assert len(found) == 1
    (path,) = Path("elsewhere").iterdir()
    assert [event[2] for event in events(path)[1:]] == [1]


# Displays and budgets -------------------------------------------------------------------------------------------------


def test_a_progress_bar_is_in_place_of_the_display_of_fit(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    train(ProgressBar(verbose=2, stream=stream), verbose=2)
    assert [line.split("  ")[0] for line in stream.getvalue().splitlines()] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert capsys.readouterr().out == ""


def test_a_resumed_training_is_shown_from_where_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    train(ModelCheckpoint("model.chain"), epochs=2)
    train(epochs=4, resume=True, verbose=2)
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == ["epoch 3/4", "epoch 4/4"]


def test_rows_are_counted_within_epochs() -> None:
    counted: list[int] = []

    class Count(Callback):
        def on_rows(self, trainer: Any, rows: int) -> None:
            counted.append(rows)

    train(Count(), epochs=2)
    assert sum(counted) == 2 * 28


def test_a_time_budget_ends_before_an_epoch_that_would_be_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(Callback):
        now = 0.0

        def on_epoch_begin(self, trainer: Any) -> None:
            self.now += 3.0

    clock = Clock()
    monkeypatch.setattr("chainrule.training.callbacks.time.perf_counter", lambda: clock.now)
    assert len(train(clock, TimeBudget(10.0), epochs=9).history) == 3
    with pytest.raises(ArgumentError, match="seconds must be greater than 0"):
        TimeBudget(0)
