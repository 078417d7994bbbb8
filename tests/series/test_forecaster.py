"""The forecaster: against least squares and forecasts written out, without leakage, whole through a file."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DataError, ModelFileError, ShapeError
from chainrule.files.archive import read_archive, write_archive
from chainrule.series import Forecaster, Jitter, TimeWarp, Windows, backtest
from chainrule.training import EarlyStopping

TIME = np.arange(160)
SERIES = np.exp(0.01 * TIME + 0.3 * np.sin(TIME * 2 * np.pi / 12) + 0.1 * np.random.default_rng(0).normal(size=160))
TWO = np.stack([SERIES, np.cos(TIME / 5)], axis=1)


def linear(inputs, outputs, seed=0):
    cr.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs, dtype=cr.float64))


def trained(network=None, inputs=6, horizon=4, series=SERIES, epochs=2, **options):
    forecaster = Forecaster(network or linear(inputs, horizon), inputs, horizon, seed=0, **options)
    forecaster.fit(series, rows=range(100), epochs=epochs, verbose=0)
    return forecaster


def test_a_linear_network_finds_the_least_squares_forecast():
    """Full batches and Rprop reach what NumPy's least squares say of windows made by hand."""
    forecaster = Forecaster(linear(6, 2), 6, 2, optimizer=lambda p: cr.optim.Rprop(p, lr=0.01))
    forecaster.fit(SERIES, rows=range(100), epochs=1500, batch_size=1000, verbose=0)
    mean, deviation = SERIES[:100].mean(), SERIES[:100].std()
    z = (SERIES - mean) / deviation
    X = np.stack([np.append(z[row - 6 : row], 1) for row in range(6, 99)])
    Y = np.stack([z[row : row + 2] for row in range(6, 99)])
    weights = np.linalg.lstsq(X, Y, rcond=None)[0]
    expected = np.append(z[114:120], 1) @ weights * deviation + mean
    np.testing.assert_allclose(forecaster.predict(SERIES[:120]), expected, rtol=1e-4)


@pytest.mark.parametrize(("log", "difference"), [(False, 0), (True, 0), (False, 3), (True, 12)])
def test_recursive_forecasts_are_written_out(log, difference):
    """With weights that are known: prepared, multiplied, undone, and fed back, row by row in NumPy."""
    forecaster = trained(log=log, difference=difference, horizon=1)
    logged = np.log(SERIES) if log else SERIES
    changes = logged[difference:] - logged[: len(logged) - difference] if difference else logged
    mean, deviation = changes[: 100 - difference].mean(), changes[: 100 - difference].std()
    weight = forecaster.network[1].weight.detach().numpy()[0]
    bias = float(forecaster.network[1].bias.detach().numpy()[0])
    known = list(logged[:120])
    for _ in range(20):
        recent = np.array(known)[-6 - difference :]
        changed = recent[difference:] - recent[: len(recent) - difference] if difference else recent
        next_change = ((changed - mean) / deviation) @ weight + bias
        known.append(next_change * deviation + mean + (known[-difference] if difference else 0))
    expected = np.exp(known[120:]) if log else np.array(known[120:])
    np.testing.assert_allclose(forecaster.predict(SERIES[:120], 20), expected, rtol=1e-9)


def test_direct_forecasts_go_on_recursively_and_are_cut():
    forecaster = trained(difference=2)
    long = forecaster.predict(SERIES[:120], 10)
    np.testing.assert_array_equal(long[:4], forecaster.predict(SERIES[:120]))
    np.testing.assert_array_equal(long[:3], forecaster.predict(SERIES[:120], 3))
    further = forecaster.predict(np.concatenate([SERIES[:120], long[:4]]), 6)
    np.testing.assert_allclose(long[4:], further, rtol=1e-12)


def test_only_the_end_of_the_history_matters():
    forecaster = trained(log=True, difference=3)
    np.testing.assert_array_equal(forecaster.predict(SERIES[:120]), forecaster.predict(SERIES[111:120]))
    with pytest.raises(DataError, match="history has 8 rows, and a forecast needs the last 9: 6 inputs and 3 for"):
        forecaster.predict(SERIES[112:120])


@pytest.mark.parametrize("difference", [0, 5])
@pytest.mark.parametrize("transforms", [(), (Jitter(), TimeWarp())], ids=["plain", "augmented"])
def test_nothing_later_than_the_training_rows_has_influence(difference, transforms):
    changed = SERIES.copy()
    changed[100:] = np.random.default_rng(1).uniform(1, 1000, 60)
    found = []
    for series in (SERIES, changed):
        forecaster = Forecaster(linear(6, 4), 6, 4, log=True, difference=difference, seed=0)
        history = forecaster.fit(series, rows=range(100), epochs=3, transforms=transforms, verbose=0)
        found.append((forecaster.preparation, history["loss"], forecaster.predict(SERIES[:100]).tolist()))
    assert found[0] == found[1]


def test_validation_stops_but_does_not_teach():
    changed = SERIES.copy()
    changed[100:130] *= 3
    losses = []
    for series in (SERIES, changed):
        forecaster = Forecaster(linear(6, 4), 6, 4, seed=0)
        history = forecaster.fit(series, rows=range(100), validation_rows=range(100, 130), epochs=3, verbose=0)
        losses.append((history["loss"], history["val_loss"]))
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


@pytest.mark.parametrize("channels_first", [False, True])
def test_channels_in_the_order_that_the_network_reads(channels_first):
    """A network that repeats the last row of its first channel forecasts that, in the unit of the series."""

    class LastOfFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Parameter(cr.zeros(1, dtype=cr.float64))

        def forward(self, x):
            assert tuple(x.shape[1:]) == ((2, 6) if channels_first else (6, 2))
            last = x[:, 0, -1] if channels_first else x[:, -1, 0]
            return cr.stack([last, last], 1) + self.unused

    options = {"channels_first": channels_first, "targets": [0], "optimizer": lambda p: cr.optim.SGD(p, lr=0.0)}
    forecaster = trained(LastOfFirst(), horizon=2, series=TWO, **options)
    np.testing.assert_allclose(forecaster.predict(TWO[:120]), np.full((2, 1), SERIES[119]), rtol=1e-12)
    with pytest.raises(ArgumentError, match=r"forecasts 2 rows of channels \[0\] only; 3 rows need"):
        forecaster.predict(TWO[:120], 3)
    found = backtest(forecaster.predict, TWO, range(130, 160), horizon=2, targets=[0])
    assert found.measures["forecast"]["MAE"] == pytest.approx(found.measures["naive"]["MAE"])


def test_all_channels_are_forecast_recursively():
    cr.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6))
    forecaster = trained(network, horizon=3, series=TWO, channels_first=True, difference=1)
    forecast = forecaster.predict(TWO[:120], 8)
    assert forecast.shape == (8, 2) and np.isfinite(forecast).all()
    further = forecaster.predict(np.concatenate([TWO[:120], forecast[:3]]), 5)
    np.testing.assert_allclose(forecast[3:], further, rtol=1e-5)


def test_a_network_beats_the_baselines_where_there_is_something_to_learn():
    series = np.exp(0.02 * TIME + 0.3 * np.sin(TIME * 2 * np.pi / 12)) + np.random.default_rng(0).normal(size=160) / 20
    stopping = EarlyStopping(patience=5)
    forecaster = Forecaster(linear(12, 12), 12, 12, log=True, difference=12, callbacks=[stopping], seed=0)
    forecaster.fit(series, rows=range(80), validation_rows=range(80, 100), epochs=60, verbose=0)
    found = backtest(forecaster.predict, series, range(100, 160), horizon=12, period=12)
    errors = {name: figures["MAE"] for name, figures in found.measures.items()}
    assert errors["forecast"] < min(errors["naive"], errors["seasonal naive"]) / 2


@pytest.mark.parametrize(
    "options", [{"log": True, "difference": 4}, {"series": TWO, "targets": [1], "channels_first": True}]
)
def test_files_keep_network_and_preparation(tmp_path, options):
    network = linear(12 if "series" in options else 6, 4)
    series = options.get("series", SERIES)
    forecaster = trained(network, **options)
    forecaster.save(tmp_path / "forecaster.chain")
    loaded = Forecaster.load(tmp_path / "forecaster.chain")
    np.testing.assert_array_equal(loaded.predict(series[:120]), forecaster.predict(series[:120]))
    assert isinstance(cr.load(tmp_path / "forecaster.chain"), nn.Sequential)
    loaded.fit(series, rows=range(100), epochs=1, verbose=0)


def test_files_with_a_network_of_ones_own(tmp_path):
    path = tmp_path / "forecaster.chain"
    forecaster = trained(cr.models.mlp(6, hidden=(8,), num_classes=4), log=True)
    forecaster.save(path)
    with pytest.raises(ModelFileError, match="MLP, which cannot be made from a file"):
        Forecaster.load(path)
    loaded = Forecaster.load(path, cr.models.mlp(6, hidden=(8,), num_classes=4))
    np.testing.assert_array_equal(loaded.predict(SERIES), forecaster.predict(SERIES))


@pytest.mark.parametrize(
    "damage",
    [
        {"inputs": "6"},
        {"inputs": 0},
        {"inputs": 7},
        {"inputs": 10**12},
        {"inputs": 6.0},
        {"targets": [1]},
        {"preparation": {}},
        {"horizon": 3},
    ],
)
def test_damaged_files_are_refused(tmp_path, damage):
    path = tmp_path / "forecaster.chain"
    trained().save(path)
    archive = read_archive(path)
    documents = {**archive.documents, "forecaster": {**archive.documents["forecaster"], **damage}}
    write_archive(path, documents, archive.arrays, archive.chainrule_version)
    with pytest.raises(ModelFileError):
        Forecaster.load(path)
    cr.save(linear(6, 4), path)
    with pytest.raises(ModelFileError, match="no forecaster in it"):
        Forecaster.load(path)


def test_windows_train_without_a_forecaster():
    cr.manual_seed(0)
    windows = Windows(SERIES, 6, 4, rows=range(100))
    trainer = cr.Trainer(nn.Linear(6, 4), optimizer=lambda p: cr.optim.Adam(p, lr=0.01), seed=0)
    losses = trainer.fit(windows, epochs=30, verbose=0)["loss"]
    assert losses[-1] < losses[0] / 4
    assert trainer.predict(windows).shape == (91, 4)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="has not been trained. fix: forecaster.fit"):
        Forecaster(linear(6, 4), 6, 4).predict(SERIES)
    with pytest.raises(ArgumentError, match="whole numbers of at least 1, got 0 and 4"):
        Forecaster(linear(6, 4), 0, 4)
    with pytest.raises(ShapeError, match=r"gives shape \(2, 4\) for 2 windows of shape \(6, 1\), expected 5 · 1"):
        trained(linear(6, 4), horizon=5)
    with pytest.raises(ShapeError) as caught:
        trained(nn.Linear(6, 4))
    assert "reads windows of shape (N, 6, 1)" in caught.value.__notes__[0]
    with pytest.raises(ArgumentError, match="channels below 1"):
        trained(targets=[1])
    with pytest.raises(DataError, match="no window fits: one takes 6"):
        Forecaster(linear(6, 4), 6, 4).fit(SERIES[:9], epochs=1)
    with pytest.raises(ArgumentError, match=r"within 0 to 160, by steps of 1, got range\(100, 170\)"):
        Forecaster(linear(6, 4), 6, 4).fit(SERIES, rows=range(100), validation_rows=range(100, 170))
    with pytest.raises(DataError, match="NaN"):
        Forecaster(linear(6, 4), 6, 4).fit(np.append(SERIES, np.nan), epochs=1)
    with pytest.raises(DataError, match="positive values"):
        trained(series=SERIES - 2, log=True)
    with pytest.raises(ShapeError, match="measured on 1 channel"):
        trained().predict(TWO)
    with pytest.raises(ArgumentError, match="horizon must be at least 1"):
        trained().predict(SERIES, 0)
