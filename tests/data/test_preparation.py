"""From tables to features: scikit-learn's figures, exact JSON, new tables at prediction, and bad cells."""

import json
import math
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chainrule.data.encoders import MOST_CATEGORIES, CategoryEncoder, NumericEncoder, Scale
from chainrule.data.preparation import Preparation
from chainrule.data.table import Column, Table, read_csv_table
from chainrule.errors import DataError, ModelFileError


def make_table(columns, target=None):
    count = len(next(iter(columns.values())))
    lines = np.arange(2, count + 2)
    return Table(tuple(Column(name, cells, lines, "new.csv") for name, cells in columns.items()), "new.csv", target)


def numbers_with_gaps(seed=0, count=60):
    generator = np.random.default_rng(seed)
    values = np.round(generator.normal(50, 12, count), 3)
    values[generator.random(count) < 0.2] = np.nan
    return values


def as_cells(values):
    return ["" if math.isnan(value) else repr(float(value)) for value in values]


def test_numbers_are_imputed_and_standardised_as_by_scikit_learn():
    impute = pytest.importorskip("sklearn.impute")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values, train = numbers_with_gaps(), np.arange(40)
    table = make_table({"x": as_cells(values)})
    preparation = Preparation.fit(table, train)
    imputer = impute.SimpleImputer(strategy="median", add_indicator=True).fit(values[train, None])
    filled = imputer.transform(values[:, None])
    scaler = preprocessing.StandardScaler().fit(filled[train, :1])
    assert preparation.feature_names == ["x", "x (missing)"]
    features = preparation.transform(table)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features[:, 0], scaler.transform(filled[:, :1])[:, 0], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(features[:, 1], filled[:, 1])


def test_categories_are_one_hot_as_by_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    cells = list(np.random.default_rng(0).choice(["red", "green", "blue"], 50))
    unseen = [*cells[:5], "violet"]
    preparation = Preparation.fit(make_table({"colour": cells}))
    encoder = preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(np.array(cells)[:, None])
    assert preparation.feature_names == [f"colour={category}" for category in encoder.categories_[0]]
    features = preparation.transform(make_table({"colour": unseen}))
    np.testing.assert_array_equal(features, encoder.transform(np.array(unseen)[:, None]))


def test_only_the_given_rows_are_measured():
    values = numbers_with_gaps(1)
    changed = [*as_cells(values[:30]), *["1000"] * 30]
    rows = np.arange(30)
    assert Preparation.fit(make_table({"x": as_cells(values)}), rows) == Preparation.fit(
        make_table({"x": changed}), rows
    )


def test_missing_and_rare_categories():
    cells = [f"c{i:02}" for i in range(60) for _ in range(3)] + ["c00"] * 5 + ["NA"]
    table = make_table({"code": cells})
    preparation = Preparation.fit(table)
    names = preparation.feature_names
    assert len(names) == MOST_CATEGORIES + 2
    assert names[-2:] == ["code=(other)", "code=(missing)"]
    features = preparation.transform(table)
    np.testing.assert_array_equal(features.sum(axis=1), 1)
    assert features[:, -1].sum() == 1
    assert features[:, -2].sum() == 10 * 3


def test_booleans_and_dates():
    start = date(2024, 1, 1)
    days = [start + timedelta(days=17 * i) for i in range(30)]
    answers = ["yes", "no", "No"] * 10
    table = make_table({"when": [day.isoformat() for day in days], "member": answers})
    preparation = Preparation.fit(table)
    assert preparation.feature_names == ["when (day)", "when (month)", "when (weekday)", "member"]
    features = preparation.transform(table)
    expected = np.array(
        [
            [day.toordinal(), day.month, day.isoweekday(), answer == "yes"]
            for day, answer in zip(days, answers, strict=True)
        ],
        dtype=float,
    )
    np.testing.assert_allclose(features, (expected - expected.mean(0)) / expected.std(0), rtol=1e-5, atol=1e-5)


def test_dates_before_1970_have_their_month_and_weekday():
    days = [date(1969, 12, 31) - timedelta(days=40 * i) for i in range(12)]
    column = make_table({"when": [day.isoformat() for day in days]})["when"]
    encoder = NumericEncoder.fit(column, np.arange(12), "date")
    found = encoder.transform(column)
    for index, expected in ((1, [day.month for day in days]), (2, [day.isoweekday() for day in days])):
        np.testing.assert_allclose(encoder.parts[index].scale.invert(found[:, index]), expected, atol=1e-9)


def test_useless_columns_are_left_out_with_their_reason():
    table = make_table(
        {
            "x": [str(i % 7) for i in range(20)],
            "flat": ["3"] * 20,
            "same": ["a"] * 20,
            "late": ["1"] * 15 + ["2"] * 5,
            "name": [f"person {i}" for i in range(20)],
            "void": [""] * 20,
        }
    )
    preparation = Preparation.fit(table, np.arange(15))
    assert preparation.feature_names == ["x"]
    assert set(preparation.dropped) == {"flat", "same", "late", "name", "void"}
    described = "\n".join(preparation.describe())
    assert "name: left out, it identifies rows" in described
    assert "void: left out, it has no values" in described
    assert "late: left out, its value is the same in every training row" in described
    with pytest.raises(DataError, match="no column to learn from"):
        Preparation.fit(make_table({"flat": ["3"] * 20}))


def test_a_constant_column_with_gaps_keeps_its_indicator():
    table = make_table({"x": ["5", "", "5", ""]})
    preparation = Preparation.fit(table)
    assert preparation.feature_names == ["x (missing)"]
    np.testing.assert_array_equal(preparation.transform(table)[:, 0], [0, 1, 0, 1])
    assert "only marked where missing" in preparation.describe()[0]


def test_prediction_matches_columns_by_name():
    train = make_table({"a": ["1", "2", "3"], "pet": ["cat", "dog", "cat"], "y": ["0", "1", "0"]}, "y")
    preparation = Preparation.fit(train)
    new = make_table({"pet": ["dog", "cow", "?"], "extra": ["x"] * 3, "a": ["3", "NA", "1"]})
    features = preparation.transform(new)
    np.testing.assert_array_equal(features[0], preparation.transform(make_table({"a": ["3"], "pet": ["dog"]}))[0])
    np.testing.assert_array_equal(features[1], [0, 0, 0])
    said = "\n".join(preparation.differences(new))
    assert "ignored, not in the training table: extra" in said
    assert "a: 1 row without a value" in said
    assert "pet: 1 row with a category that was not seen in training ('cow'); 1 row without a value" in said
    assert preparation.differences(train) == []
    np.testing.assert_array_equal(preparation.transform(new, np.array([2, 0])), features[[2, 0]])


def test_numbers_at_prediction_may_look_like_another_kind():
    train = make_table({"code": ["1", "A", "B", "A"] * 5, "member": ["yes", "no"] * 10})
    preparation = Preparation.fit(train)
    features = preparation.transform(make_table({"code": ["1"], "member": ["1"]}))
    np.testing.assert_array_equal(features, [[1, 0, 0, 1]])


def test_absent_columns_are_listed():
    preparation = Preparation.fit(make_table({"glucose": ["1", "2"], "age": ["3", "4"], "bmi": ["5", "7"]}))
    with pytest.raises(DataError, match=r"lacks 2 of the 3 columns .*'glucose' \(did you mean 'glucos'\?\), 'bmi'"):
        preparation.transform(make_table({"glucos": ["1"], "age": ["3"]}))


def test_text_and_infinity_among_numbers_are_refused():
    preparation = Preparation.fit(make_table({"age": ["1", "2", "3"]}))
    with pytest.raises(DataError, match=r"column 'age', line 3 of new.csv: expected a number, got 'old'"):
        preparation.transform(make_table({"age": ["1", "old"]}))
    for method in (Preparation.fit, preparation.transform):
        with pytest.raises(DataError, match=r"column 'age', line 3 of new.csv: the value '-inf' is infinite"):
            method(make_table({"age": ["1", "-inf", "2"]}))


def test_wild_values_stay_finite():
    cells = ["1", "2", "1e300", "-1e308", "1.7e308", "-1.7e308"]
    for train in (range(2), range(6)):
        features = Preparation.fit(make_table({"x": cells}), np.array(train)).transform(make_table({"x": cells}))
        assert np.isfinite(features).all()


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=30))
def test_scale_standardises(values):
    values = np.array(values)
    scale = Scale.fit(values)
    assume(scale is not None)
    scaled = scale.apply(values)
    peak = np.max(np.abs(values))
    assume(np.std(values / peak) > 1e-6)  # below, the rounding of the mean itself shows
    assert abs(scaled.mean()) < 1e-8
    assert abs(scaled.std() - 1) < 1e-8
    np.testing.assert_allclose(scale.invert(scaled) / peak, values / peak, atol=1e-12)


mixed_cells = st.one_of(
    st.sampled_from(["", "NA", "red", "blue", "yes", "no", "2024-05-31", "1999-12-31T23:59"]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(st.characters(blacklist_categories=("Cs",)), max_size=4).map(str.strip),
)


def columns_of(cells):
    return st.lists(cells, min_size=12, max_size=12)


@given(
    st.lists(
        st.one_of(
            columns_of(st.floats(allow_nan=False, allow_infinity=False).map(repr)),
            columns_of(st.sampled_from(["", "red", "blue", 'Größe, "x"'])),
            columns_of(st.sampled_from(["yes", "no", "?"])),
            columns_of(st.dates().map(date.isoformat)),
            columns_of(mixed_cells),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_json_round_trip_is_exact(columns):
    table = make_table({f"column {i}": cells for i, cells in enumerate(columns)})
    try:
        preparation = Preparation.fit(table)
    except DataError:
        assume(False)
    again = Preparation.from_json(json.loads(json.dumps(preparation.to_json(), allow_nan=False)))
    assert again == preparation
    assert again.feature_names == preparation.feature_names
    features = preparation.transform(table)
    assert features.shape == (12, len(preparation.feature_names))
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(again.transform(table), features)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data.pop("encoders"),
        lambda data: data["encoders"][0].pop("kind"),
        lambda data: data["encoders"][0].update(kind="foreign"),
        lambda data: data["encoders"][0].update(parts=None),
        lambda data: data["encoders"][0]["parts"][0].update(scale="big"),
        lambda data: data.update(dropped=3),
    ],
)
def test_damaged_json_is_refused(damage):
    data = Preparation.fit(make_table({"x": ["1", "2"]})).to_json()
    damage(data)
    with pytest.raises(ModelFileError, match="preparation of columns is damaged"):
        Preparation.from_json(data)


def test_category_encoder_describes_itself():
    column = make_table({"pet": ["cat", "dog", "NA"]})["pet"]
    assert CategoryEncoder.fit(column, np.arange(3)).describe() == (
        "pet: 2 categories, missing as one of its own, one feature each"
    )


def test_numbers_with_signs_are_left_out_for_that_reason(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("price,rate,size\n" + "".join(f'"${1000 + i:,}",{i}%,{i}\n' for i in range(20)))
    described = "\n".join(Preparation.fit(read_csv_table(path)).describe())
    for column, example in (("price", "$1,000"), ("rate", "0%")):
        reason = f"its numbers are written with signs or separators of thousands, such as {example!r}"
        assert f"{column}: left out, {reason}" in described
