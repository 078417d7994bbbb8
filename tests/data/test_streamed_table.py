"""Tables that are streamed from the disk: the same rows as of the table in memory, split, shuffled and prepared."""

import re
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import DataLoader, Preparation, StreamedTable, TargetPreparation, csv_blocks, read_csv_table
from chainrule.data.row_sample import RowSample
from chainrule.data.streamed_table import shuffled
from chainrule.errors import ArgumentError, DataError, TargetError

DIABETES = Path(__file__).parents[2] / "examples" / "data" / "diabetes.csv"


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(csv_blocks, "MOST_BLOCK_ROWS", 50)


@pytest.fixture
def people(tmp_path):
    """A file with a quoted line break, blank lines, missing cells and a category; the target is the row's number."""
    generator = np.random.default_rng(0)
    lines = ["size;town;note;number"]
    for row in range(200):
        size = "" if row % 10 == 3 else f"{generator.normal():.3f}".replace(".", ",")
        lines.append(f'{size};{"ABC"[row % 3]};"x\ny";{row}')
        if row % 40 == 0:
            lines.append("")
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def table_of(block):
    return block.take(np.arange(len(block)))


def all_rows(dataset, size=32):
    batches = list(DataLoader(dataset, batch_size=size))
    return np.concatenate([X.numpy() for X, _ in batches]), np.concatenate([y.numpy() for _, y in batches])


def test_the_blocks_are_the_table(small_blocks, people):
    whole = read_csv_table(people, "number")
    blocks = csv_blocks.CsvBlocks(people, "number")
    scanned = list(map(table_of, blocks.scan()))
    assert len(blocks) == len(scanned) == 5  # a blank line counts as one of the 50 rows
    for number in (4, 0, 2):
        (again,) = map(table_of, blocks.read(number))
        assert [column.cells for column in again.columns] == [column.cells for column in scanned[number].columns]
    for position, column in enumerate(whole.columns):
        assert [cell for block in scanned for cell in block.columns[position].cells] == list(column.cells)
        np.testing.assert_array_equal(np.concatenate([b.columns[position].lines for b in scanned]), column.lines)


def test_a_sample_of_all_rows_prepares_as_the_table_in_memory_does(small_blocks):
    table, streamed = read_csv_table(DIABETES, "outcome"), StreamedTable(DIABETES, "outcome")
    assert streamed.preparation == Preparation.fit(table)
    assert streamed.target_preparation == TargetPreparation.fit(table)
    assert (streamed.blocks, streamed.inputs, streamed.outputs) == (16, 8, 1)
    assert len(streamed.training) == 768
    assert streamed.validation is None
    X, y = all_rows(streamed.training)
    order = np.lexsort(X.T)
    wanted = Preparation.fit(table).transform(table)
    wanted_order = np.lexsort(wanted.T)
    np.testing.assert_array_equal(X[order], wanted[wanted_order])
    np.testing.assert_array_equal(y[order], TargetPreparation.fit(table).transform(table)[wanted_order])


def test_every_row_is_either_for_training_or_for_validation(small_blocks, people):
    streamed = StreamedTable(people, "number", validation_fraction=0.25, seed=3)
    assert streamed.validation is not None
    assert len(streamed.training) + len(streamed.validation) == 200
    assert 30 < len(streamed.validation) < 70
    numbers = []
    for part in (streamed.training, streamed.validation):
        X, y = all_rows(part)
        assert len(X) == len(part)
        numbers.append(np.round(streamed.target_preparation.invert(y)).astype(int).tolist())
    assert sorted(numbers[0] + numbers[1]) == list(range(200))
    assert numbers[1] == sorted(numbers[1])  # validation keeps the order of the file
    again = StreamedTable(people, "number", validation_fraction=0.25, seed=3)
    np.testing.assert_array_equal(all_rows(again.validation)[0], all_rows(streamed.validation)[0])
    other = StreamedTable(people, "number", validation_fraction=0.25, seed=4)
    assert all_rows(other.validation)[1].tolist() != all_rows(streamed.validation)[1].tolist()


def test_the_statistics_are_those_of_the_rows_for_training(small_blocks, people):
    streamed = StreamedTable(people, "number", task="regression", validation_fraction=0.25)
    X, y = all_rows(streamed.training)
    size = streamed.preparation.feature_names.index("size")
    assert abs(X[:, size].mean()) < 1e-6
    assert X[:, size].std() == pytest.approx(1, abs=1e-6)
    assert abs(y.mean()) < 1e-6


def test_the_order_is_new_in_every_epoch_and_follows_the_seed(small_blocks):
    streamed = StreamedTable(DIABETES, "outcome", buffer_rows=100)
    cr.manual_seed(1)
    first, second = (all_rows(streamed.training)[0] for _ in range(2))
    cr.manual_seed(1)
    np.testing.assert_array_equal(first, all_rows(streamed.training)[0])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first[np.lexsort(first.T)], second[np.lexsort(second.T)])
    cr.manual_seed(1)
    by_row = DataLoader(streamed.training, batch_size=64, collate_fn=lambda rows: np.stack([X for X, _ in rows]))
    np.testing.assert_array_equal(np.concatenate(list(by_row)), first)
    cr.manual_seed(1)
    ahead = DataLoader(streamed.training, batch_size=64, num_workers=1)
    np.testing.assert_array_equal(np.concatenate([X.numpy() for X, _ in ahead]), first)


def test_a_buffer_shuffles_all_rows_as_far_as_it_reaches():
    def chunks():
        for start in range(0, 1000, 70):
            rows = np.arange(start, min(start + 70, 1000))
            yield rows.reshape(-1, 1).astype(np.float32), rows

    for buffer in (1, 10, 100, 5000):
        pairs = list(shuffled(chunks(), buffer, np.random.default_rng(0)))
        y = np.concatenate([pair[1] for pair in pairs])
        np.testing.assert_array_equal(np.concatenate([pair[0] for pair in pairs])[:, 0], y)
        assert sorted(y.tolist()) == list(range(1000))
        if buffer == 1:
            np.testing.assert_array_equal(y, np.arange(1000))
    late = np.mean(y[:500] >= 500)  # the whole fits into the last buffer: an unbiased order
    assert abs(late - 0.5) < 0.1


def test_every_row_has_the_same_chance_to_be_sampled(small_blocks, people):
    times = np.zeros(200)
    for seed in range(200):
        sample = RowSample(20, seed)
        for block in csv_blocks.CsvBlocks(people, "size").scan():
            sample.add(block, np.arange(len(block)))
        table, rows = sample.table()
        assert len(rows) == 20
        times[table["number"].numbers().astype(int)[rows]] += 1
    # binomial with mean 20 and deviation 4.2: chi-square over 200 rows, a function of the seeds above
    assert 100 < np.sum((times - 20) ** 2 / 18) < 300


def test_a_rare_class_is_known_although_the_sample_is_small(small_blocks, tmp_path):
    path = tmp_path / "rare.csv"
    cells = [f"{row % 17},{'AB'[row % 2] if row != 391 else 'rare'}" for row in range(400)]
    path.write_text("x,kind\n" + "\n".join(cells) + "\n")
    streamed = StreamedTable(path, "kind", sample_rows=30, validation_fraction=0.2)
    assert streamed.target_preparation.classes == ("A", "B", "rare")
    assert streamed.outputs == 3


def test_rows_without_target_are_left_out(small_blocks, tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("x,y\n" + "".join(f"{row},{'' if row % 4 == 0 else row * 0.5}\n" for row in range(100)))
    assert len(StreamedTable(path, "y").training) == 75


def test_a_trainer_learns_from_a_stream_what_it_learns_from_the_table(small_blocks):
    def train(X, y, **validation):
        cr.manual_seed(0)
        model = cr.nn.Sequential(cr.nn.Linear(8, 16), cr.nn.ReLU(), cr.nn.Linear(16, 1))
        trainer = cr.Trainer(model, loss="bce_with_logits", metrics=("auc",), seed=0)
        return trainer.fit(X, y, epochs=8, batch_size=32, verbose=0, **validation)["val_auc"][-1]

    streamed = StreamedTable(DIABETES, "outcome", validation_fraction=0.3, seed=1)
    held_out = all_rows(streamed.validation)
    in_memory = train(*all_rows(streamed.training), validation_data=held_out)
    from_disk = train(streamed.training, None, validation_data=streamed.validation)
    assert in_memory > 0.75
    assert from_disk == pytest.approx(in_memory, abs=0.03)


def test_the_mistakes_that_only_a_later_block_has(small_blocks, tmp_path):
    lines = [f"{row},{row % 2}" for row in range(300)]
    path = tmp_path / "late.csv"
    path.write_text("x,y\n" + "\n".join([*lines, "300,1,7"]) + "\n")
    with pytest.raises(DataError, match=r"line 302 of .*late.csv has 3 fields, but the first row has 2"):
        StreamedTable(path, "y")
    path.write_text("x,y\n" + "\n".join([*lines[:250], "many,1", *lines[250:]]) + "\n")  # not in the sample of 20
    streamed = StreamedTable(path, "y", sample_rows=20)
    with pytest.raises(DataError, match=re.escape("column 'x', line 252 of late.csv: expected a number, got 'many'")):
        all_rows(streamed.training)
    path.write_bytes(b"x,y\n" + "\n".join(lines).encode() + b"\n\xe4,1\n")
    with pytest.raises(DataError, match="line 302 of .* is not UTF-8"):
        StreamedTable(path, "y")


def test_what_cannot_be_streamed(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        StreamedTable(tmp_path / "absent.csv", "y")
    with pytest.raises(DataError, match="has no column 'outcme' to use as target"):
        StreamedTable(DIABETES, "outcme")
    with pytest.raises(ArgumentError, match="validation_fraction must be at least 0 and below 1, got 1"):
        StreamedTable(DIABETES, "outcome", validation_fraction=1)
    with pytest.raises(ArgumentError, match="sample_rows must be at least 1, got 0"):
        StreamedTable(DIABETES, "outcome", sample_rows=0)
    path = tmp_path / "wide.csv"
    path.write_bytes("x,y\n1,2\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16, which cannot be read in blocks"):
        StreamedTable(path, "y")
    path.write_text("x,y\n" + "1,\n" * 20)
    with pytest.raises(DataError, match="no row has a value of the target"):
        StreamedTable(path, "y")
    path.write_text("x,y\n" + "1,5\n" * 20)
    with pytest.raises(TargetError, match="nothing to learn"):
        StreamedTable(path, "y")


def test_an_array_that_is_mapped_into_memory_is_not_copied(tmp_path):
    from chainrule.training.arrays import as_features

    array = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    np.save(tmp_path / "X.npy", array)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    tensor = as_features(mapped)
    assert tensor._address == mapped.__array_interface__["data"][0]
    trainer = cr.Trainer(cr.nn.Linear(3, 1), seed=0)
    history = trainer.fit(mapped, array.sum(1), epochs=2, batch_size=16, verbose=0)
    assert history["loss"][1] < history["loss"][0]
    np.testing.assert_array_equal(mapped, array)
    copied = cr.from_numpy(mapped)
    copied.add_(1.0)  # a tensor that may be written must not look into a file that may not
    np.testing.assert_array_equal(mapped, array)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoted", [(), (3,), (170,)])
def test_lines_with_and_without_quotes_are_the_same_cells(small_blocks, tmp_path, end, quoted):
    cells = [f'"{row}, "' if row in quoted else f" {row} " for row in range(200)]
    lines = ["x,y", *(f"{cell},{row % 3}" for row, cell in enumerate(cells)), "", " , ", "200,1"]
    path = tmp_path / "cells.csv"
    path.write_bytes(end.join(lines).encode())
    whole = read_csv_table(path, "y")
    blocks = csv_blocks.CsvBlocks(path, "y")
    scanned = list(map(table_of, blocks.scan()))
    for position, column in enumerate(whole.columns):
        assert [cell for block in scanned for cell in block.columns[position].cells] == list(column.cells)
        np.testing.assert_array_equal(np.concatenate([b.columns[position].lines for b in scanned]), column.lines)
    path.write_bytes(end.join([*lines, "1,2,3"]).encode())
    with pytest.raises(DataError, match="line 205 of .* has 3 fields, but the first row has 2"):
        list(csv_blocks.CsvBlocks(path, "y").scan())


@pytest.mark.parametrize("target", ["first", "second", "last"])
def test_the_target_is_found_at_every_place(small_blocks, tmp_path, target):
    path = tmp_path / "target.csv"
    path.write_text("first,second,last\n" + "".join(f"{row}, {row + 1} ,{row + 2}\n" for row in range(120)))
    cells = [cell for block in csv_blocks.CsvBlocks(path, target).scan() for cell in block.target_column.cells]
    assert cells == list(read_csv_table(path, target)[target].cells)


def test_whether_a_comma_is_a_decimal_point_is_a_matter_of_the_whole_block(small_blocks, tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("code;y\n" + "".join(f"{'1,5' if row % 2 else 'A'};{row}\n" for row in range(40)))
    (block,) = csv_blocks.CsvBlocks(path, "y").scan()
    assert list(block.take(np.array([1]))["code"].cells) == ["1,5"]
