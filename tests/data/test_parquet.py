"""Parquet files give the tables that the same rows give as text."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.data import StreamedTable, parquet, read_csv_table, read_table
from chainrule.errors import DataError

pyarrow = pytest.importorskip("pyarrow")
parquet_files = pytest.importorskip("pyarrow.parquet")
csv_files = pytest.importorskip("pyarrow.csv")


@pytest.fixture
def paths(tmp_path):
    generator = np.random.default_rng(0)
    size = [None if row % 10 == 3 else float(value) for row, value in enumerate(generator.normal(size=300))]
    columns = {
        "size": size,
        "town": ["ABC"[row % 3] for row in range(300)],
        "is_new": [row % 7 == 0 for row in range(300)],
        "day": np.datetime64("2024-01-01") + np.arange(300),
        "number": list(range(300)),
    }
    table = pyarrow.table(columns)
    parquet_files.write_table(table, tmp_path / "table.parquet", row_group_size=70)
    csv_files.write_csv(table, tmp_path / "table.csv")
    return tmp_path / "table.parquet", tmp_path / "table.csv"


def test_the_table_is_that_of_the_text(paths):
    of_parquet, of_text = read_table(paths[0], "number"), read_csv_table(paths[1], "number")
    assert of_parquet.names == of_text.names
    assert [column.kind for column in of_parquet.columns] == [column.kind for column in of_text.columns]
    assert of_parquet["town"].cells == of_text["town"].cells
    for column in of_parquet.features:
        if column.kind != "category":
            np.testing.assert_array_equal(column.numbers(column.kind), of_text[column.name].numbers(column.kind))


def test_a_stream_gives_every_row_once(paths, monkeypatch):
    monkeypatch.setattr(parquet, "BLOCK_CELLS", 150)  # 30 rows of 5 cells: three pieces in a group of 70 rows
    streamed = StreamedTable(paths[0], "number", validation_fraction=0.2)
    assert streamed.blocks == 5
    parts = [list(cr.data.DataLoader(part, batch_size=32)) for part in (streamed.training, streamed.validation)]
    found = [np.concatenate([y.numpy() for _, y in part]) for part in parts]
    assert [len(part) for part in found] == [len(streamed.training), len(streamed.validation)]
    numbers = np.round(streamed.target_preparation.invert(np.concatenate(found)))
    assert sorted(numbers.tolist()) == list(range(300))


def test_damaged_files(paths):
    raw = paths[0].read_bytes()
    paths[0].write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataError, match="table.parquet cannot be read as a Parquet file"):
        read_table(paths[0])
    with pytest.raises(DataError, match="a Parquet file: chainrule.data.read_table reads it"):
        read_csv_table(paths[0])
