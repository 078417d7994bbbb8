"""What single cells and whole columns of text are taken for."""

import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.cells import (
    canonical_label,
    infer_kind,
    is_missing,
    parse_boolean,
    parse_column,
    parse_date,
    parse_number,
)


@pytest.mark.parametrize("cell", ["", "NA", "N/A", "nan", "NaN", "null", "None", "?", "-", "#N/A"])
def test_missing_tokens(cell):
    assert is_missing(cell)
    assert math.isnan(parse_number(cell))


@pytest.mark.parametrize("cell", ["0", "no", "nano", "--", "n"])
def test_not_missing(cell):
    assert not is_missing(cell)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1e3", 1000.0), ("-.5", -0.5), ("+7", 7.0), ("inf", math.inf), ("-Infinity", -math.inf), ("1e400", math.inf)],
)
def test_parse_number(cell, expected):
    assert parse_number(cell) == expected


@pytest.mark.parametrize("cell", ["1,000", "1_000", "12 kg", "0x10", "abc", "1.2.3"])
def test_parse_number_refuses_other_text(cell):
    assert parse_number(cell) is None


def test_parse_boolean():
    assert [parse_boolean(cell) for cell in ("TRUE", "no", "1", "0", "Y")] == [1.0, 0.0, 1.0, 0.0, 1.0]
    assert parse_boolean("2") is None
    assert parse_boolean("maybe") is None


@given(st.datetimes(min_value=datetime(1600, 1, 1), max_value=datetime(2500, 1, 1)))
def test_parse_date_counts_days(moment):
    assert parse_date(moment.isoformat()) == pytest.approx((moment - datetime(1970, 1, 1)) / timedelta(days=1))


def test_months_and_quarters_begin_on_their_first_day():
    assert parse_date("1949-03") == parse_date("1949-03-01")
    assert [parse_date(f"1974{dash}Q4") for dash in ("", "-")] == [parse_date("1974-10-01")] * 2
    assert parse_date("1974Q5") is None


def test_parse_date_honours_zones_and_refuses_impossible_days():
    assert parse_date("1970-01-01T02:00+02:00") == 0.0
    assert parse_date("2023-02-30") is None
    assert parse_date("31.12.2023") is None


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1))
def test_numbers_round_trip_through_text(values):
    parsed, unreadable = parse_column([repr(value) for value in values], "number")
    assert unreadable == -1
    np.testing.assert_array_equal(parsed, values)


def test_parse_column_finds_the_first_unreadable_cell():
    values, unreadable = parse_column(["1", "NA", "x", "2", "y"], "number")
    assert unreadable == 2
    np.testing.assert_array_equal(values, [1, np.nan, np.nan, 2, np.nan])
    assert parse_column(["1_0", "2"], "number")[1] == 0


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("x", ["1", "2.5", "?"], "number"),
        ("x", ["1"] * 19 + ["oops"], "number"),
        ("x", ["1"] * 5 + ["oops"] * 5, "category"),
        ("x", ["yes", "No", "", "yes"], "boolean"),
        ("x", ["2024-01-01", "2024-05-31T12:00", "null"], "date"),
        ("x", ["2024-01-01", "2024-02-31"], "category"),
        ("month", ["1949-01", "1949-02", "?"], "date"),
        ("period", ["1974Q1", "1974-Q2"], "date"),
        ("code", ["1949-13", "1949-02"], "category"),
        ("x", ["red", "blue", "red"], "category"),
        ("x", [f"person {i}" for i in range(11)], "identifier"),
        ("x", [f"person {i}" for i in range(10)], "category"),
        ("x", ["", "NA", "?"], "empty"),
        ("id", [str(i) for i in range(11)], "identifier"),
        ("PassengerId", [str(7 * i) for i in range(20)], "identifier"),
        ("id", [str(i % 5) for i in range(20)], "number"),
        ("year", [str(1900 + i) for i in range(20)], "number"),
    ],
)
def test_infer_kind(name, cells, kind):
    assert infer_kind(name, cells) == kind


def test_canonical_label_joins_spellings_of_one_number():
    assert canonical_label("1") == canonical_label("1.0") == canonical_label("01")
    assert canonical_label("-0") == canonical_label("0")
    assert canonical_label("1a") == "1a"
