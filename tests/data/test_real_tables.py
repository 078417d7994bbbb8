"""Well-known public tables, read as a user would; those outside the repository are found through CHAINRULE_DATA."""

from pathlib import Path

import numpy as np
import pytest

from chainrule.data.idx import load_mnist
from chainrule.data.preparation import Preparation
from chainrule.data.table import read_csv_table
from chainrule.data.target import TargetPreparation, infer_task, split_table
from chainrule.errors import TargetError
from chainrule.settings import settings

DIABETES = Path(__file__).parents[2] / "examples" / "data" / "diabetes.csv"


def public(name):
    path = (settings.data_directory or Path("CHAINRULE_DATA is not set")) / name
    if not path.exists():
        pytest.skip(f"needs $CHAINRULE_DATA/{name}")
    return path


def prepare(table):
    task = infer_task(table)
    train, validation, test = split_table(table, task)
    preparation = Preparation.fit(table, train)
    features = preparation.transform(table)
    assert np.isfinite(features).all()
    assert len(set(preparation.feature_names)) == features.shape[1]
    assert np.abs(features[train].mean(axis=0)).max() < 1.01
    target = TargetPreparation.fit(table, train, task)
    for rows in (train, validation, test):
        assert len(target.transform(table, rows)) == len(rows)
    return task, features.shape, preparation, target


def test_the_example():
    table = read_csv_table(DIABETES, "outcome")
    assert table.has_header
    task, shape, _, target = prepare(table)
    assert (task, shape, target.classes) == ("binary", (768, 8), ("0", "1"))
    assert np.sum(target.transform(table)) == 268


def test_pima_without_header():
    table = read_csv_table(public("pima-diabetes/pima-indians-diabetes.csv"), "column_9")
    example = read_csv_table(DIABETES, "outcome")
    for column, named in zip(table.columns, example.columns, strict=True):
        np.testing.assert_array_equal(column.numbers(), named.numbers())


def test_adult_income():
    table = read_csv_table(public("adult-income/adult-train.csv"), "column_15")
    task, shape, preparation, target = prepare(table)
    assert (task, len(table), target.classes) == ("binary", 32561, ("<=50K", ">50K"))
    assert "column_2=(missing)" in preparation.feature_names
    assert np.sum(target.transform(table)) == 7841
    test = read_csv_table(public("adult-income/adult-test.csv"))
    assert preparation.transform(test).shape == (16281, shape[1])
    with pytest.raises(TargetError, match=r"'<=50K\.' is none of the model's classes"):
        target.transform(test)


def test_california_housing():
    table = read_csv_table(public("california-housing/housing.csv"), "median_house_value")
    task, shape, preparation, _ = prepare(table)
    assert (task, shape) == ("regression", (20640, 8 + 1 + 5))
    missing = preparation.feature_names.index("total_bedrooms (missing)")
    assert preparation.transform(table)[:, missing].sum() == 207


def test_ames_housing():
    table = read_csv_table(public("ames-housing/AmesHousing.csv"), "SalePrice")
    assert table.names[0] == "Order"  # the mark at the start of the file is no part of the name
    task, shape, preparation, _ = prepare(table)
    assert (task, shape[0]) == ("regression", 2930)
    assert {"Order", "PID"} <= set(preparation.dropped)
    assert "Alley=(missing)" in preparation.feature_names


def test_wine_quality():
    table = read_csv_table(public("wine-quality/winequality-red.csv"), "column_12")
    task, shape, _, target = prepare(table)
    assert (task, shape, target.classes) == ("multiclass", (1599, 11), ("3", "4", "5", "6", "7", "8"))


def test_wine_quality_with_semicolons_and_header(tmp_path):
    source = public("wine-quality/winequality-red.csv").read_text().splitlines()
    names = ";".join(f'"property {number}"' for number in range(1, 12)) + ';"quality"'
    path = tmp_path / "semicolons.csv"
    path.write_text("\n".join([names, *(line.replace(",", ";") for line in source)]))
    table = read_csv_table(path, "quality")
    plain = read_csv_table(public("wine-quality/winequality-red.csv"), "column_12")
    for column, same in zip(table.columns, plain.columns, strict=True):
        np.testing.assert_array_equal(column.numbers(), same.numbers())


def test_mnist():
    train_images, train_labels, test_images, test_labels = load_mnist(public("mnist"))
    assert train_images.shape == (60000, 28, 28)
    assert test_images.shape == (10000, 28, 28)
    assert train_labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert test_labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert train_images.mean() / 255 == pytest.approx(0.1307, abs=1e-4)
