"""Tasks, classes and regression targets from a column."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.table import Column, Table
from chainrule.data.target import TargetPreparation, infer_task, labelled_rows, split_table
from chainrule.errors import ArgumentError, DataError, ModelFileError, TargetError


def target_table(cells):
    lines = np.arange(2, len(cells) + 2)
    columns = (Column("x", [str(i) for i in range(len(cells))], lines, "t.csv"), Column("y", cells, lines, "t.csv"))
    return Table(columns, "t.csv", "y")


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["0", "1"] * 10, "binary"),
        (["0.5", "1.5"] * 10, "binary"),
        (["yes", "no"] * 10, "binary"),
        (["a", "b", "c"] * 5, "multiclass"),
        ([str(i % 3) for i in range(15)], "multiclass"),
        ([str(i % 5) for i in range(15)], "regression"),
        ([str(i % 21) for i in range(500)], "regression"),
        ([str(i / 2) for i in range(20)], "regression"),
        (["1", "1.0", "2", "02"] * 5, "binary"),
    ],
)
def test_infer_task(cells, task):
    assert infer_task(target_table(cells)) == task


def test_the_task_can_be_chosen():
    table = target_table([str(i % 3) for i in range(15)])
    assert infer_task(table, "regression") == "regression"
    assert infer_task(table, "classification") == "multiclass"
    assert infer_task(target_table(["0", "1"] * 5), "classification") == "binary"
    assert infer_task(target_table(["0", "1"] * 5), "multiclass") == "multiclass"
    with pytest.raises(TargetError, match="task binary needs 2 classes, but the target 'y' has 3"):
        infer_task(table, "binary")
    with pytest.raises(ArgumentError, match=r"got 'regresion' \(did you mean 'regression'\?\)"):
        infer_task(table, "regresion")
    with pytest.raises(DataError, match=r"column 'y', line 2 of t.csv: expected a number, got 'a'"):
        infer_task(target_table(["a", "b"] * 5), "regression")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1"], "t.csv has 1 row with a value of the target 'y': at least 10 are needed"),
        (["1", ""] * 6, "has 6 rows with a value"),
        (["7"] * 12, "the target 'y' is '7' in every row"),
        (["7", "7.0"] * 6, "the target 'y' is '7' in every row"),
        (["a"] * 11 + ["b"], "only one class of the target 'y' has more than one row"),
        ([f"label {i}" for i in range(30)], "30 different texts in 30 rows"),
        ([f"2024-01-{i:02}" for i in range(1, 31)], "holds dates"),
        ([str(i / 3) for i in range(30)] + ["inf"], "line 32 of t.csv: the value 'inf' is infinite"),
        ([str(i / 3) for i in range(30)] + ["much"], "line 32 of t.csv: expected a number, got 'much'"),
    ],
)
def test_targets_that_cannot_be_learnt(cells, message):
    with pytest.raises(DataError, match=message):
        infer_task(target_table(cells))


def test_classes_are_sorted_and_keep_their_labels():
    table = target_table(["10", "9", "-1"] * 10 + ["9.0"])
    target = TargetPreparation.fit(table)
    assert target.classes == ("-1", "9", "10")
    numbers = target.transform(table)
    assert numbers.dtype == np.int64
    assert numbers[:3].tolist() == [2, 1, 0]
    assert numbers[-1] == 1
    assert target.invert(numbers[:3]).tolist() == ["10", "9", "-1"]
    assert TargetPreparation.fit(target_table(["yes", "no"] * 6)).classes == ("no", "yes")


def test_regression_is_standardised_by_the_given_rows():
    values = np.random.default_rng(0).normal(5, 2, 40)
    table = target_table([repr(float(value)) for value in values])
    rows = np.arange(30)
    target = TargetPreparation.fit(table, rows)
    scaled = target.transform(table)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, (values - values[:30].mean()) / values[:30].std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(target.invert(scaled), values, rtol=1e-6)
    with pytest.raises(TargetError, match="the target 'y' is 3 in every training row"):
        TargetPreparation.fit(target_table(["3"] * 20 + ["4.5", "7", "9"]), np.arange(20), "regression")


@pytest.mark.parametrize(
    ("cells", "rows", "expected"),
    [
        (["b"] * 9 + ["a"] * 6 + ["c"], None, 1.0),
        (["b"] * 9 + ["a"] * 6 + ["c"], range(7, 16), 0.0),  # of the training rows alone
        (["b", "a"] * 8, None, 0.0),
        (["1", "3", "8"] * 5 + ["999"], range(15), 4.0),
    ],
)
def test_the_baseline_is_the_commonest_class_or_the_mean_of_the_training_rows(cells, rows, expected):
    task = "regression" if cells[0] == "1" else "classification"
    target = TargetPreparation.fit(target_table(cells), None if rows is None else np.array(rows), task)
    assert target.baseline() == pytest.approx(expected)


def test_rows_without_a_target_are_left_out_and_said():
    table = target_table(["a", "b", "?", "a"] * 6)
    assert len(labelled_rows(table)) == 18
    target = TargetPreparation.fit(table)
    assert len(target.transform(table)) == 18
    assert "6 of 24 rows have no y and are left out" in target.describe(table)
    with pytest.raises(TargetError, match=r"column 'y', line 4 of t.csv: the target has no value"):
        target.transform(table, np.array([0, 2]))


def test_a_class_with_one_row_is_trained_on_and_said():
    table = target_table(["a", "b"] * 10 + ["rare"])
    for seed in range(5):
        train, _, _ = split_table(table, "multiclass", seed=seed)
        assert 20 in train
    target = TargetPreparation.fit(table)
    assert "'rare': classes with a single row, which can be learnt but not tested" in target.describe(table)


def test_an_unknown_label_is_named():
    target = TargetPreparation.fit(target_table(["<=50K", ">50K"] * 6))
    with pytest.raises(
        TargetError, match=r"line 2 of t.csv: '<=50K\.' is none of the model's classes .*did you mean '<=50K'"
    ):
        target.transform(target_table(["<=50K."]))


@given(st.lists(st.sampled_from(["a", "b", ""]), min_size=60, max_size=90), st.integers(0, 99))
def test_split_table_is_a_partition_of_the_labelled_rows(cells, seed):
    table = target_table(cells)
    rows = labelled_rows(table)
    parts = split_table(table, "binary", seed=seed) if len(rows) >= 10 else (rows,)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), rows)


@pytest.mark.parametrize("cells", [["1.5", "2.25", "7", "8.125"] * 5, ["b", "a", "ä"] * 5, [str(i) for i in range(30)]])
def test_json_round_trip_is_exact(cells):
    target = TargetPreparation.fit(target_table(cells))
    assert TargetPreparation.from_json(json.loads(json.dumps(target.to_json()))) == target


@pytest.mark.parametrize("change", [{"task": "guess"}, {"scale": 3}, {"classes": None}, {"task": "binary"}])
def test_damaged_json_is_refused(change):
    data = TargetPreparation.fit(target_table([str(i) for i in range(30)])).to_json()
    with pytest.raises(ModelFileError, match="preparation of its target is damaged"):
        TargetPreparation.from_json({**data, **change})


@pytest.mark.parametrize("commonest", [2, -1, 0.0, True, "a"])
def test_a_commonest_class_that_there_is_not_is_refused(commonest):
    data = TargetPreparation.fit(target_table(["a", "b"] * 8)).to_json()
    with pytest.raises(ModelFileError, match="damaged: commonest class"):
        TargetPreparation.from_json({**data, "commonest": commonest})


def test_files_from_before_the_commonest_class_was_kept_are_read():
    data = TargetPreparation.fit(target_table(["a", "b"] * 8)).to_json()
    del data["commonest"]
    target = TargetPreparation.from_json(data)
    assert target.transform(target_table(["b"])).tolist() == [1]
    with pytest.raises(ModelFileError, match="does not say which class of 'y' is the commonest"):
        target.baseline()
