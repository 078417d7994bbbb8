"""Reading CSV files: every dialect gives the same table, and every bad file one clear error."""

import csv

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from chainrule.data.table import read_csv_table
from chainrule.errors import DataError


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="people.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def cells(table):
    return {column.name: list(column.cells) for column in table.columns}


PEOPLE = {"name": ["Ann", "Bob"], "age": ["31", "42"]}


@pytest.mark.parametrize(
    "content",
    [
        "name,age\nAnn,31\nBob,42\n",
        "name,age\r\nAnn,31\r\nBob,42",
        "name,age\rAnn,31\rBob,42\r",
        "name;age\nAnn;31\nBob;42\n",
        "name\tage\nAnn\t31\nBob\t42\n",
        "name|age\nAnn|31\nBob|42\n",
        '"name", "age"\n"Ann", "31"\n "Bob", 42\n',
        "\n name , age \n\n Ann , 31 \n,\nBob,42\n\n",
        b"\xef\xbb\xbfname,age\nAnn,31\nBob,42\n",
        "name,age\nAnn,31\nBob,42\n".encode("utf-16"),
    ],
)
def test_dialects(write, content):
    assert cells(read_csv_table(write(content))) == PEOPLE


def test_quoted_fields_keep_separators_quotes_and_line_breaks(write):
    table = read_csv_table(write('note,n\n"a, ""b""\nc",1\nd,2\n'))
    assert cells(table)["note"] == ['a, "b"\nc', "d"]
    assert table.columns[0].lines.tolist() == [3, 4]


def test_latin_1_is_said(write):
    table = read_csv_table(write("town,n\nKöln,1\nBonn,2\n".encode("latin-1")))
    assert cells(table)["town"] == ["Köln", "Bonn"]
    assert any("line 2" in note and "Latin-1" in note for note in table.notes)


def test_decimal_commas_in_semicolon_files(write):
    table = read_csv_table(write("x;y\n1,5;a,b\n-2;c\n?;d\n"))
    np.testing.assert_array_equal(table["x"].numbers(), [1.5, -2, np.nan])
    assert cells(table)["y"] == ["a,b", "c", "d"]
    assert any("decimal point in x" in note for note in table.notes)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("6,148,1\n1,85,0\n", ["column_1", "column_2", "column_3"]),
        ("39, State-gov, <=50K\n50, Private, <=50K\n", ["column_1", "column_2", "column_3"]),
        ("p,x,s\ne,x,y\np,f,s\n", ["column_1", "column_2", "column_3"]),
        ("colour,shape\nred,round\nred,square\n", ["colour", "shape"]),
        ("id,2001,2002\n5,1,2\n", ["id", "2001", "2002"]),
        (",a\n0,x\n1,x\n", ["column_1", "a"]),
        ("a,a,,a\n1,2,3,4\n", ["a", "a_2", "column_3", "a_3"]),
    ],
)
def test_header(write, content, names):
    assert read_csv_table(write(content)).names == names


def test_the_target_name_gives_the_header_away(write):
    content = "country,2001\nx,1\ncountry,2\n"
    assert read_csv_table(write(content), "country").names == ["country", "2001"]
    assert not read_csv_table(write(content)).has_header


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty: expected a header row"),
        ("\n  \n", "is empty"),
        ("a,b\n", r"has a header row \(a, b\) but no data below it"),
        ("a,b\n1,2\n3\n", r"line 3 of .* has 1 fields, but the first row has 2 \(separated by commas\)"),
        ("a,b\n1,2\n3,4,5\n", "line 3 of .* has 3 fields, but the first row has 2"),
        ('a,b\n1,2\n3,"open\n5,6\n', "the row that begins on line 3 cannot be read"),
        (b"PK\x03\x04rest", "an Excel workbook: save the sheet as CSV first"),
        (b"\x1f\x8brest", "compressed with gzip"),
        (b"a,b\n\x00\x01", "not a text file"),
        ("a,b\n1," + "x" * 200_000, "the row that begins on line 2 cannot be read"),
    ],
)
def test_bad_files(write, content, message):
    with pytest.raises(DataError, match=message):
        read_csv_table(write(content))


def test_missing_files(write, tmp_path):
    path = write("a,b\n1,2\n", "diabetes.csv")
    with pytest.raises(DataError, match=r"did you mean .*diabetes.csv"):
        read_csv_table(tmp_path / "diabets.csv")
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist"):
        read_csv_table(tmp_path / "nowhere" / "diabetes.csv")
    with pytest.raises(DataError, match=r"is a folder, expected a CSV file; it contains diabetes.csv"):
        read_csv_table(path.parent)


def test_wrong_target(write):
    path = write("age,outcome\n1,0\n2,1\n")
    with pytest.raises(DataError, match=r"no column 'outcme' to use as target \(did you mean 'outcome'\?\)"):
        read_csv_table(path, "outcme")
    with pytest.raises(DataError, match="no header row was found"):
        read_csv_table(write("1,2\n3,4\n", "bare.csv"), "outcome")
    with pytest.raises(DataError, match="no column besides the target"):
        read_csv_table(write("outcome\n1\n0\n", "lonely.csv"), "outcome")
    with pytest.raises(DataError, match="was read without a target; its columns are age, outcome"):
        _ = read_csv_table(path).target_column


def test_cell_errors_name_column_line_and_value(write):
    table = read_csv_table(write("age,height\n1,2\n2,inf\n" + "3,4\n" * 30 + "abc,5\n"))
    with pytest.raises(DataError, match=r"column 'age', line 34 of people.csv: expected a number, got 'abc'"):
        table["age"].numbers()
    with pytest.raises(DataError, match=r"column 'height', line 3 of people.csv: the value 'inf' is infinite"):
        table["height"].numbers()
    with pytest.raises(DataError, match=r"no column 'hight' \(did you mean 'height'\?\)"):
        _ = table["hight"]


def test_missing_cells_and_texts(write):
    column = read_csv_table(write("pet,n\ncat,1\nNA,2\ndog,3\n"))["pet"]
    np.testing.assert_array_equal(column.missing, [False, True, False])
    assert column.texts().tolist() == ["cat", "", "dog"]


text_cells = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(text_cells, text_cells), min_size=1, max_size=8), separator=st.sampled_from(",;\t|"))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path, rows, separator):
    path = tmp_path / "written.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL)
        writer.writerow(["first target", "second"])
        writer.writerows(rows)
    table = read_csv_table(path, "first target")
    assert table.names == ["first target", "second"]
    found = list(zip(*(column.cells for column in table.columns), strict=True))
    assume(not any("decimal point" in note for note in table.notes))
    assert found == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text('a1,;"\n\t ?', max_size=40).map(str.encode)))
def test_any_bytes_give_a_table_or_a_data_error(tmp_path, content):
    path = tmp_path / "any.csv"
    path.write_bytes(content)
    try:
        table = read_csv_table(path)
    except DataError:
        return
    assert len(table) > 0
    assert len(set(table.names)) == len(table.columns)
    for column in table.columns:
        assert len(column) == len(table) == len(column.missing)
        assert column.kind in ("number", "boolean", "date", "category", "identifier", "empty")
