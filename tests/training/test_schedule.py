"""Schedules, clipping and averages in Trainer: weights equal those of PyTorch's own loop over the same batches."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.optim import lr_scheduler
from chainrule.training import EMA, SWA, Callback, LossPlateau, LRFinder, LRSchedule, ReduceLROnPlateau

ROWS, BATCH, EPOCHS = 22, 5, 6
STEPS = 5
"""per epoch; the last batch has 2 rows"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 3)), rng.normal(size=(ROWS, 1))


def network(library: Any) -> Any:
    rng = np.random.default_rng(1)
    layers = library.nn
    model = layers.Sequential(layers.Linear(3, 4), layers.Tanh(), layers.Linear(4, 1)).to(library.float64)
    with library.no_grad():
        for parameter in model.parameters():
            parameter.copy_(library.tensor(rng.normal(size=tuple(parameter.shape))))
    return model


def torch_training(
    make: Callable[[Any], Any],
    after_step: Callable[[Any], Any] = lambda model: None,
    after_epoch: Callable[[Any, Any], Any] = lambda model, optimizer: None,
    before_step: Callable[[Any], Any] = lambda model: None,
) -> tuple[Any, list[float]]:
    """PyTorch's loop over the rows in their order: the model, and the losses of all batches."""
    torch = pytest.importorskip("torch")
    model = network(torch)
    optimizer, scheduler, per = make(model)
    X, y = map(torch.tensor, data())
    losses = []
    for _ in range(EPOCHS):
        for start in range(0, ROWS, BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(X[start : start + BATCH]), y[start : start + BATCH])
            loss.backward()
            losses.append(loss.item())
            before_step(model)
            optimizer.step()
            after_step(model)
            if scheduler is not None and per == "step":
                scheduler.step()
        if scheduler is not None and per == "epoch":
            scheduler.step()
        after_epoch(model, optimizer)
    return model, losses


def trained(make: Callable[[Any], Any], *callbacks: Any, **options: Any) -> cr.Trainer:
    model = network(cr)
    trainer = cr.Trainer(model, "mse", make(model.parameters()), callbacks=callbacks, seed=0, **options)
    trainer.fit(*data(), epochs=EPOCHS, batch_size=BATCH, shuffle=False, verbose=0)
    return trainer


def assert_equal(ours: Any, theirs: Any, rtol: float = 1e-8) -> None:
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=rtol)


def sgd(library: Any) -> Callable[[Any], Any]:
    return lambda parameters: library.optim.SGD(parameters, lr=0.05, momentum=0.9)


def adam(library: Any) -> Callable[[Any], Any]:
    return lambda parameters: library.optim.Adam(parameters, lr=0.05)


OWN: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "one cycle": ("step", lambda s, o: s.OneCycleLR(o, 0.1, EPOCHS * STEPS)),
    "cyclic": ("step", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4)),
    "exponential": ("step", lambda s, o: s.ExponentialLR(o, 0.9)),
    "warm-up": ("step", lambda s, o: s.SequentialLR(o, [s.LinearLR(o), s.CosineAnnealingLR(o, 25)], [5])),
    "per epoch": ("epoch", lambda s, o: s.StepLR(o, 2, 0.3)),
    "cycle per epoch": ("epoch", lambda s, o: s.OneCycleLR(o, 0.1, EPOCHS)),
}


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("name", OWN)
def test_training_with_a_schedule_equals_pytorch(name: str, optimizer: Callable[[Any], Any]) -> None:
    torch = pytest.importorskip("torch")
    per, make = OWN[name]

    def make_torch(model: Any) -> Any:
        theirs = optimizer(torch)(model.parameters())
        return theirs, make(torch.optim.lr_scheduler, theirs), per

    model, _ = torch_training(make_torch)
    trainer = trained(optimizer(cr), LRSchedule(lambda o: make(lr_scheduler, o), per=per))
    assert_equal(trainer.model, model)


def test_classes_are_told_how_many_steps_there_are() -> None:
    schedule = LRSchedule(lr_scheduler.OneCycleLR, max_lr=0.1, per="step")
    trainer = trained(sgd(cr), schedule)
    assert schedule.scheduler is not None and schedule.scheduler.total_steps == EPOCHS * STEPS
    assert trainer.optimizer.param_groups[0]["lr"] < 1e-3
    other = trained(sgd(cr), LRSchedule(lambda o: lr_scheduler.OneCycleLR(o, 0.1, EPOCHS * STEPS), per="step"))
    assert_equal(trainer.model, other.model)
    cosine = LRSchedule(lr_scheduler.CosineAnnealingLR)
    assert trained(sgd(cr), cosine).optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)
    assert cosine.scheduler is not None and cosine.scheduler.T_max == EPOCHS


def test_a_fit_starts_its_schedule_anew_with_the_step_captured_before() -> None:
    schedule = LRSchedule(lr_scheduler.ExponentialLR, gamma=0.9, per="step")
    trainer = trained(sgd(cr), schedule)
    rate = trainer.optimizer.param_groups[0]["lr"]
    assert rate == pytest.approx(0.05 * 0.9 ** (EPOCHS * STEPS))
    trainer.fit(*data(), epochs=EPOCHS, batch_size=BATCH, shuffle=False, verbose=0)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    assert float(trainer.optimizer.param_groups[0].rate) == pytest.approx(rate)


def test_options_that_a_schedule_does_not_have() -> None:
    with pytest.raises(ArgumentError, match=r"StepLR has no argument 'stepsize' \(did you mean 'step_size'"):
        LRSchedule(lr_scheduler.StepLR, stepsize=3)
    with pytest.raises(ArgumentError, match="per must be 'epoch' or 'step', got 'batch'"):
        LRSchedule(lr_scheduler.StepLR, per="batch")
    with pytest.raises(ArgumentError, match="expects a schedule's class or a function of the optimizer, got 0.1"):
        LRSchedule(0.1)
    with pytest.raises(ArgumentError, match="needs a measure"):
        LRSchedule(lr_scheduler.ReduceLROnPlateau)
    with pytest.raises(ArgumentError, match="ReduceLROnPlateau has no argument 'patient'"):
        ReduceLROnPlateau(patient=3)
    with pytest.raises(ArgumentError, match="mode must be"):
        ReduceLROnPlateau(mode="least")


@pytest.mark.parametrize("limits", [{"clip_norm": 0.5}, {"clip_value": 0.1}, {"clip_norm": 0.5, "clip_value": 0.1}])
def test_clipping_equals_pytorch(limits: dict[str, float]) -> None:
    torch = pytest.importorskip("torch")

    def clip(model: Any) -> None:
        if "clip_norm" in limits:
            torch.nn.utils.clip_grad_norm_(model.parameters(), limits["clip_norm"])
        if "clip_value" in limits:
            torch.nn.utils.clip_grad_value_(model.parameters(), limits["clip_value"])

    model, _ = torch_training(lambda model: (sgd(torch)(model.parameters()), None, ""), before_step=clip)
    assert_equal(trained(sgd(cr), **limits).model, model)


def test_limits_that_change_between_fits_hold() -> None:
    trainer = trained(sgd(cr), clip_norm=1e9)
    trainer.clip_norm = 0.0
    before = trainer.copy_weights()
    trainer.optimizer.param_groups[0]["momentum"] = 0.0
    trainer.fit(*data(), epochs=1, batch_size=BATCH, verbose=0)
    for value, now in zip(before, trainer.copy_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_moving_averages_equal_pytorch() -> None:
    torch = pytest.importorskip("torch")
    averages = []

    def update(model: Any) -> None:
        if not averages:
            tools = torch.optim.swa_utils
            averages.append(tools.AveragedModel(model, multi_avg_fn=tools.get_ema_multi_avg_fn(0.8)))
        averages[0].update_parameters(model)

    model, _ = torch_training(lambda model: (sgd(torch)(model.parameters()), None, ""), after_step=update)
    kept = EMA(0.8, replace=False)
    trainer = trained(sgd(cr), kept)
    assert kept.averaged is not None
    assert_equal(kept.averaged.module, averages[0].module)
    assert_equal(trainer.model, model)
    assert_equal(trained(sgd(cr), EMA(0.8)).model, averages[0].module)


def test_stochastic_weight_averaging_equals_pytorch() -> None:
    torch = pytest.importorskip("torch")
    tools = torch.optim.swa_utils
    average: list[Any] = []
    epochs = []

    def update(model: Any, optimizer: Any) -> None:
        epochs.append(1)
        if len(epochs) < 3:
            return
        if not average:
            average.extend([tools.AveragedModel(model), tools.SWALR(optimizer, 0.01, 2)])
        average[0].update_parameters(model)
        average[1].step()

    torch_training(lambda model: (sgd(torch)(model.parameters()), None, ""), after_epoch=update)
    assert_equal(trained(sgd(cr), SWA(start=0.5, lr=0.01, anneal_epochs=2)).model, average[0].module, rtol=1e-6)
    assert_equal(trained(sgd(cr), SWA(start=3, lr=0.01, anneal_epochs=2)).model, average[0].module, rtol=1e-6)


@pytest.mark.parametrize("dtype", [cr.float32, cr.float64])
@pytest.mark.parametrize("average", [EMA, SWA])
def test_averages_have_statistics_of_their_own(average: Any, dtype: Any) -> None:
    """As PyTorch's update_bn gives them to the averaged weights, over the rows in batches of their order."""
    torch = pytest.importorskip("torch")
    X, y = data()

    def fitted(replace: bool) -> tuple[Any, Any]:
        cr.manual_seed(0)
        model = nn.Sequential(nn.Linear(X.shape[1], 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1)).to(dtype)
        callback = average(0.5, replace=replace)
        cr.Trainer(model, "mse", sgd(cr)(model.parameters()), callbacks=[callback], seed=0).fit(
            X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0
        )
        return model, callback.averaged.module

    last, kept = fitted(False)
    model, averaged = fitted(True)
    twin = torch.nn.Sequential(
        torch.nn.Linear(X.shape[1], 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
    ).double()
    twin.load_state_dict({name: torch.tensor(np.array(value)) for name, value in kept.state_dict().items()})
    count = -(-len(X) // BATCH)
    edges = [len(X) * number // count for number in range(count + 1)]
    batches = [torch.tensor(X[a:b]) for a, b in itertools.pairwise(edges)]
    torch.optim.swa_utils.update_bn(batches, twin)
    for name, value in twin.state_dict().items():
        for network in (kept, model, averaged):
            found = network.state_dict()[name].numpy()
            np.testing.assert_allclose(found, value, rtol=1e-9 if dtype is cr.float64 else 1e-4, atol=1e-6)
    assert not np.allclose(last[1].running_mean.numpy(), kept[1].running_mean.numpy())
    assert not kept.training and not model.training


def test_an_average_of_nothing_changes_nothing() -> None:
    assert_equal(trained(sgd(cr), SWA(start=100)).model, trained(sgd(cr)).model)
    with pytest.raises(ArgumentError, match="SWA: start must be"):
        SWA(start=-1)
    with pytest.raises(ArgumentError, match="Invalid decay value 2"):
        EMA(2)


@pytest.mark.parametrize("forgetting", [None, 0.3, 1.0])
def test_the_running_functional(forgetting: float | None) -> None:
    torch = pytest.importorskip("torch")
    _, losses = torch_training(lambda model: (sgd(torch)(model.parameters()), None, ""))
    plateau = LossPlateau(tolerance=0.0, forgetting=forgetting)
    trained(sgd(cr), plateau)
    share, estimate, expected = forgetting or 1 / STEPS, losses[0], []
    for number, loss in enumerate(losses):
        estimate = (1 - share) * estimate + share * loss if number else loss
        if number % STEPS == STEPS - 1:
            expected.append(estimate)
    np.testing.assert_allclose(plateau.values, expected, rtol=1e-9)


def test_training_stops_when_the_functional_or_the_weights_settle() -> None:
    X, y = np.linspace(-1, 1, 40).reshape(-1, 1), np.linspace(-2, 2, 40)

    def epochs(**options: Any) -> int:
        trainer = cr.Trainer(
            nn.Linear(1, 1), "mse", lambda p: optim.SGD(p, lr=0.05), callbacks=[LossPlateau(**options)], seed=0
        )
        return len(trainer.fit(X, y + 1, epochs=2000, batch_size=40, verbose=0))

    loose, strict, patient = epochs(tolerance=0.1), epochs(tolerance=0.01), epochs(tolerance=0.1, patience=50)
    assert loose < patient < 2000 and loose <= strict < 2000
    assert epochs(tolerance=1e-4, weights=True) < 2000
    with pytest.raises(ArgumentError, match="patience at least 1, got 0.001 and 0"):
        LossPlateau(patience=0)
    with pytest.raises(ArgumentError, match=r"forgetting must lie in \(0, 1\], got 1.5"):
        LossPlateau(forgetting=1.5)


def test_rates_are_reduced_on_a_plateau() -> None:
    plateau = ReduceLROnPlateau("loss", factor=0.5, patience=0, threshold=10.0)  # nothing is good enough
    trainer = trained(sgd(cr), plateau)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * 0.5**EPOCHS)
    with pytest.raises(ArgumentError, match=r"ReduceLROnPlateau: no 'val_los' in the history"):
        trained(sgd(cr), ReduceLROnPlateau("val_los"))
    scored = ReduceLROnPlateau("val_accuracy")
    model = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid())
    table = [[0.0], [1.0]], [0.0, 1.0]
    cr.Trainer(model, "bce", metrics=["accuracy"], callbacks=[scored]).fit(
        *table, epochs=2, validation_data=table, verbose=0
    )
    assert scored.scheduler is not None and scored.scheduler.mode == "max"


def test_the_range_test_leaves_everything_as_it_was() -> None:
    trainer = trained(adam(cr))
    weights, state = trainer.copy_weights(), trainer.optimizer.state_dict()
    finder = LRFinder(trainer).run(*data(), batch_size=BATCH, steps=50, end_lr=100.0)
    for before, now in zip(weights, trainer.copy_weights(), strict=True):
        np.testing.assert_array_equal(before, now)
    after = trainer.optimizer.state_dict()
    assert after["param_groups"] == state["param_groups"]
    assert after["state"][0]["step"].item() == state["state"][0]["step"].item() == EPOCHS * STEPS
    assert finder.rates[4] < finder.suggestion < 100 and len(finder.rates) == len(finder.losses) > 5
    trainer.fit(*data(), epochs=1, batch_size=BATCH, verbose=0)


def test_the_range_test_finds_the_limit_of_stability() -> None:
    """Gradient descent on ½ h w² diverges above 2 / h, and its loss falls fastest below."""
    X, y = np.full((64, 1), 10.0), np.zeros((64, 1))
    model = nn.Linear(1, 1, bias=False)
    finder = LRFinder(cr.Trainer(model, "mse", lambda p: optim.SGD(p, lr=0.1), seed=0)).run(X, y, steps=200)
    assert finder.rates[0] == 1e-6 and finder.rates[-1] < 10 and finder.losses[-1] > 4 * min(finder.losses)
    assert 1e-5 < finder.suggestion < 2 / 200
    with pytest.raises(ArgumentError, match="has not run yet"):
        _ = LRFinder(finder.trainer).suggestion
    with pytest.raises(ArgumentError, match="expected 0 < start_lr < end_lr"):
        finder.run(X, y, start_lr=1.0, end_lr=0.1)
    with pytest.raises(ArgumentError, match="smoothing must lie in"):
        finder.run(X, y, smoothing=1.0)


def test_callbacks_of_ones_own_are_part_of_the_step() -> None:
    class Halve(Callback):
        def __init__(self) -> None:
            self.epochs = 0

        def on_epoch_begin(self, trainer: cr.Trainer) -> None:
            self.epochs += 1

        def before_update(self, trainer: cr.Trainer) -> None:
            for parameter in trainer.model.parameters():
                parameter.grad.mul_(0.5)

        def after_update(self, trainer: cr.Trainer, loss: cr.Tensor) -> None:
            for parameter in trainer.model.parameters():
                parameter.mul_(0.99)

    torch = pytest.importorskip("torch")

    def halve(model: Any) -> None:
        for parameter in model.parameters():
            parameter.grad.mul_(0.5)

    def shrink(model: Any) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(0.99)

    model, _ = torch_training(
        lambda model: (sgd(torch)(model.parameters()), None, ""), before_step=halve, after_step=shrink
    )
    callback = Halve()
    assert_equal(trained(sgd(cr), callback).model, model)
    assert callback.epochs == EPOCHS


def test_lbfgs_says_that_it_needs_a_closure() -> None:
    with pytest.raises(ArgumentError, match="missing the closure"):
        trained(lambda parameters: optim.LBFGS(parameters))
