"""What a report measures equals scikit-learn's figures, closed forms, and computations by hand."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from chainrule.data import Preparation, read_csv_table
from chainrule.errors import TargetError
from chainrule.report.bootstrap import FEWEST_DRAWS, confidence_interval, draws_for
from chainrule.report.calibration import reliability, wilson
from chainrule.report.dependence import encoded, grid_of, partial_dependence
from chainrule.report.importance import permutation_importance
from chainrule.training.metrics import accuracy, auc, r2, rmse


def test_the_interval_of_an_accuracy_is_that_of_a_share() -> None:
    """Of a mean the bootstrap distribution is known: binomial, with standard deviation √(p(1-p)/n)."""
    y = np.ones(400, dtype=np.int64)
    predicted = (np.arange(400) < 320).astype(np.int64)
    found = confidence_interval(accuracy, y, predicted)
    assert found is not None
    half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert found.low == pytest.approx(0.8 - half, abs=0.006)
    assert found.high == pytest.approx(0.8 + half, abs=0.006)
    assert found.draws == 1000


def test_an_interval_equals_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(3)
    truth = random.normal(size=150)
    predicted = truth + random.normal(scale=0.5, size=150)
    expected = stats.bootstrap(
        (truth, predicted), lambda t, p: rmse(t, p), paired=True, vectorized=False, method="percentile",
        n_resamples=2000, random_state=random,
    ).confidence_interval  # fmt: skip
    found = confidence_interval(rmse, truth, predicted)
    assert found is not None
    assert found[:2] == pytest.approx(tuple(expected), abs=0.012)


def test_the_same_seed_gives_the_same_interval_and_level_widens_it() -> None:
    truth = np.random.default_rng(0).normal(size=80)
    predicted = truth + np.random.default_rng(1).normal(size=80)
    first, second, other = (confidence_interval(r2, truth, predicted, seed=seed) for seed in (4, 4, 5))
    assert first == second != other
    wide, narrow = (confidence_interval(r2, truth, predicted, level=level) for level in (0.99, 0.5))
    assert wide is not None and narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high


def test_draws_on_which_a_measure_is_not_defined_are_left_out() -> None:
    y = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1])  # a third of the draws, (8/9)⁹, lack the one
    found = confidence_interval(auc, y, np.linspace(0, 1, 9))
    assert found is not None and found.draws == pytest.approx(1000 * (1 - (8 / 9) ** 9), abs=60)
    assert confidence_interval(auc, np.array([0]), np.array([0.5])) is None
    with pytest.raises(TargetError):
        auc(np.array([0]), np.array([0.5]))


def test_many_rows_need_fewer_draws() -> None:
    assert [draws_for(rows) for rows in (1, 2_000, 4_000, 10**9)] == [1000, 1000, 500, FEWEST_DRAWS]


@pytest.mark.parametrize(("rows", "bins"), [(200, 10), (57, 4), (30, 3)])
def test_reliability_equals_scikit_learn(rows: int, bins: int) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    random = np.random.default_rng(rows)
    probability = random.beta(0.6, 1.2, rows)
    outcome = (random.random(rows) < probability).astype(int)
    found = reliability(outcome, probability, bins)
    observed, predicted = calibration.calibration_curve(outcome, probability, n_bins=bins, strategy="quantile")
    np.testing.assert_allclose(found.observed, observed, rtol=1e-12)
    np.testing.assert_allclose(found.predicted, predicted, rtol=1e-12)
    assert found.counts.sum() == rows
    by_hand = sum(n / rows * abs(o - p) for n, o, p in zip(found.counts, observed, predicted, strict=True))
    assert found.error == pytest.approx(by_hand)


def test_equal_probabilities_share_a_bin_and_bins_off_are_counted() -> None:
    found = reliability(np.array([0] * 60 + [1] * 60), np.array([0.9] * 60 + [0.95] * 60), 10)
    assert found.counts.tolist() == [60, 60]
    assert found.bins_off == 1  # 0 of 60 where 90 % were said; 60 of 60 do not contradict 95 %
    assert reliability(np.array([1]), np.array([0.5]), 3).counts.tolist() == [1]


def test_wilson_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    for good, rows in ((0, 17), (3, 10), (10, 10), (412, 1000)):
        low, high = wilson(np.array([good / rows]), np.array([rows]))
        expected = stats.binomtest(good, rows).proportion_ci(method="wilson")
        assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_importance_over_all_orders_is_the_mean_of_what_every_order_loses() -> None:
    """With many repeats the mean approaches that over all orders of five rows, which are few enough to go through."""
    random = np.random.default_rng(0)
    X = random.normal(size=(5, 3))
    truth = 2 * X[:, 0] - X[:, 1]

    def predict(values: np.ndarray) -> np.ndarray:
        return np.asarray(2 * values[:, 0] - values[:, 1])

    def score(prediction: np.ndarray) -> float:
        return -float(np.mean((prediction - truth) ** 2))

    def lost(columns: list[int]) -> float:
        losses = []
        for order in itertools.permutations(range(5)):
            changed = X.copy()
            changed[:, columns] = X[np.array(order)][:, columns]
            losses.append(score(predict(X)) - score(predict(changed)))
        return float(np.mean(losses))

    groups = [slice(0, 1), slice(1, 2), slice(2, 3), slice(0, 2)]
    found = permutation_importance(score, predict, X, groups, repeats=4000).mean(axis=1)
    expected = [lost([0]), lost([1]), 0.0, lost([0, 1])]
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-12)


def test_importance_equals_scikit_learn_within_its_own_spread() -> None:
    inspection = pytest.importorskip("sklearn.inspection")
    linear = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(1)
    X = random.normal(size=(300, 4))
    y = X @ [1.0, 0.5, 0.2, 0.0] + random.normal(scale=0.3, size=300)
    model = linear.LinearRegression().fit(X, y)
    expected = inspection.permutation_importance(model, X, y, n_repeats=60, random_state=0)
    groups = [slice(column, column + 1) for column in range(4)]
    found = permutation_importance(lambda p: r2(y, p), model.predict, X, groups, repeats=60)
    spread = np.hypot(found.std(axis=1), expected.importances_std) / np.sqrt(60)
    assert np.all(np.abs(found.mean(axis=1) - expected.importances_mean) < 4 * spread + 1e-12)
    assert np.all(np.diff(found.mean(axis=1)) < 0)


def test_importance_leaves_the_matrix_alone_and_follows_from_its_seed() -> None:
    X = np.random.default_rng(0).normal(size=(20, 2))
    before = X.copy()
    found = [
        permutation_importance(lambda p: r2(before[:, 0], p), lambda v: v[:, 0], X, [slice(0, 1)], seed=seed)
        for seed in (3, 3, 4)
    ]
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert len(np.unique(found[0])) == 10  # every repeat has an order of its own


def test_dependence_equals_scikit_learn() -> None:
    inspection = pytest.importorskip("sklearn.inspection")
    ensemble = pytest.importorskip("sklearn.ensemble")
    random = np.random.default_rng(2)
    X = random.normal(size=(60, 3))
    model = ensemble.RandomForestClassifier(5, random_state=0).fit(X, (X[:, 0] * X[:, 1] > 0).astype(int))
    expected = inspection.partial_dependence(
        model, X, [1], grid_resolution=9, method="brute", response_method="predict_proba", kind="average"
    )
    grid = expected["grid_values"][0]
    found = partial_dependence(model.predict_proba, X, slice(1, 2), grid[:, None])
    assert found.shape == (9, 2)
    np.testing.assert_allclose(found[:, 1], expected["average"][0], rtol=1e-12)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A column of each kind, with gaps."""
    lines = ["size,when,is_new,colour,grade"]
    for row in range(100):
        size = "" if row % 10 == 9 else str(row)
        colour, is_new = ("red", "blue", "green")[row % 3], "yes" if row % 2 else "no"
        lines.append(f"{size},2024-{1 + row % 12:02d}-10,{is_new},{colour},{row % 4 + 1}")
    (tmp_path / "mixed.csv").write_text("\n".join(lines))
    return tmp_path / "mixed.csv"


def test_grids_are_values_of_the_column_that_its_own_encoder_reads(mixed: Path) -> None:
    table = read_csv_table(mixed)
    preparation = Preparation.fit(table)
    encoders = {encoder.column: encoder for encoder in preparation.encoders}
    rows = np.arange(100)
    grids = {name: grid_of(encoder, table[name], rows) for name, encoder in encoders.items()}
    sizes = table["size"].numbers()
    low, high = np.nanquantile(sizes, [0.05, 0.95])
    assert grids["size"].positions is not None and grids["grade"].positions is not None
    np.testing.assert_allclose(grids["size"].positions, np.linspace(low, high, 25))
    np.testing.assert_allclose(grids["size"].deciles, np.nanquantile(sizes, np.linspace(0.1, 0.9, 9)))
    assert grids["grade"].positions.tolist() == [1, 2, 3, 4]  # few different values are tried themselves
    assert grids["colour"].cells == ["blue", "green", "red"] and grids["colour"].positions is None
    assert grids["is_new"].cells == ["false", "true"]
    assert grids["when"].cells[0].startswith("2024-01")
    features = encoded(encoders["size"], table["size"], grids["size"])
    known = sizes[np.isfinite(sizes)]
    filled = np.where(np.isfinite(sizes), sizes, np.median(known))
    np.testing.assert_allclose(features[:, 0], (grids["size"].positions - filled.mean()) / filled.std(), rtol=1e-9)
    assert features[:, 1].tolist() == [0.0] * 25  # none of them is missing
    np.testing.assert_array_equal(encoded(encoders["colour"], table["colour"], grids["colour"]), np.eye(3))
    assert encoded(encoders["when"], table["when"], grids["when"]).shape == (
        12,
        3,
    )  # day, month and weekday move together
    assert encoded(encoders["is_new"], table["is_new"], grids["is_new"]).shape == (2, 1)
