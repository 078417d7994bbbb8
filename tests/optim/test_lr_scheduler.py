"""Schedules: rates, momenta and states equal PyTorch's over 200 steps, alone, chained and resumed."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.optim import lr_scheduler

SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda t: 0.97**t),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda t: 1 / (1 + t), lambda t: 0.9**t]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda t: 1 - 1 / (t + 2)),
    "step": lambda s, o: s.StepLR(o, 7, 0.8),
    "multi-step": lambda s, o: s.MultiStepLR(o, [10, 30, 30, 80], 0.3),
    "constant": lambda s, o: s.ConstantLR(o, 0.2, 15),
    "linear": lambda s, o: s.LinearLR(o, 0.1, 0.8, 20),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.95),
    "polynomial": lambda s, o: s.PolynomialLR(o, 50, 2.0),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 30, 0.001),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.001),
    "one cycle": lambda s, o: s.OneCycleLR(o, 0.5, 201),
    "one cycle in three": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=3, steps_per_epoch=67, three_phase=True, anneal_strategy="linear", pct_start=0.25
    ),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 15, 25),
    "cyclic 2": lambda s, o: s.CyclicLR(o, [0.01, 0.02], 0.3, 15, mode="triangular2", base_momentum=[0.6, 0.7]),
    "cyclic exp": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 15, mode="exp_range", gamma=0.99, cycle_momentum=False),
    "cyclic own": lambda s, o: s.CyclicLR(o, 0.01, 0.3, 15, scale_fn=lambda x: 1 / (1 + x), scale_mode="iterations"),
    "sequence": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=10), s.CosineAnnealingLR(o, 90), s.StepLR(o, 20)], [10, 100]
    ),
    "sequence of others": lambda s, o: s.SequentialLR(
        o,
        [s.ConstantLR(o, 0.5, 30), s.PolynomialLR(o, 40), s.ExponentialLR(o, 0.9), s.LambdaLR(o, lambda t: 1 / (t + 1)),
         s.CosineAnnealingWarmRestarts(o, 10), s.MultiStepLR(o, [3, 5])],
        [30, 60, 90, 120, 150],
    ),
    "chain": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.98)]),
    "chain of cosine": lambda s, o: s.ChainedScheduler([s.CosineAnnealingLR(o, 40), s.StepLR(o, 30, 0.5)]),
    "sequence of a chain": lambda s, o: s.SequentialLR(
        o, [s.ChainedScheduler([s.LinearLR(o), s.ExponentialLR(o, 0.9)]), s.StepLR(o, 10)], [25]
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def make_optimizer(library: Any, name: str = "SGD") -> Any:
    groups = [{"params": [library.nn.Parameter(library.ones(2))], "lr": lr} for lr in (0.1, 0.02)]
    return getattr(library.optim, name)(groups, lr=0.05, **({"momentum": 0.9} if name == "SGD" else {}))


def momenta(optimizer: Any) -> list[float]:
    return [group["betas"][0] if "betas" in group else group["momentum"] for group in optimizer.param_groups]


def assert_same_path(schedulers: list[Any], optimizers: list[Any], steps: int) -> None:
    for step in range(steps):
        ours, theirs = ([group["lr"] for group in optimizer.param_groups] for optimizer in optimizers)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-17, err_msg=f"step {step}")
        np.testing.assert_allclose(*map(momenta, optimizers), rtol=1e-12)
        assert schedulers[0].get_last_lr() == ours
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_equal_pytorch(name: str, optimizer: str) -> None:
    torch = pytest.importorskip("torch")
    optimizers = [make_optimizer(library, optimizer) for library in (cr, torch)]
    schedulers = [
        SCHEDULES[name](s, o) for s, o in zip((lr_scheduler, torch.optim.lr_scheduler), optimizers, strict=True)
    ]
    assert_same_path(schedulers, optimizers, 200)


@pytest.mark.parametrize("name", SCHEDULES)
def test_many_steps_at_once_are_the_same_steps(name: str) -> None:
    one, other = (SCHEDULES[name](lr_scheduler, make_optimizer(cr)) for _ in range(2))
    for steps in (0, 1, 3, 60, 100):
        expected = []
        for _ in range(steps):
            groups = one.optimizer.param_groups
            expected.append([[group["lr"] for group in groups], momenta(one.optimizer)])
            one.step()
        rates, cycled = other.ahead(steps)
        assert rates.shape == (steps, 2)
        if steps:
            np.testing.assert_allclose(rates, [row[0] for row in expected], rtol=1e-13, atol=1e-18)
            if getattr(other, "cycle_momentum", False):
                np.testing.assert_allclose(cycled, [row[1] for row in expected], rtol=1e-13)
    assert_same_path([one, other], [one.optimizer, other.optimizer], 20)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_state_goes_on_where_it_was_taken(name: str) -> None:
    optimizer, other = make_optimizer(cr), make_optimizer(cr)
    scheduler = SCHEDULES[name](lr_scheduler, optimizer)
    for _ in range(37):
        scheduler.step()
    resumed = SCHEDULES[name](lr_scheduler, other)
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(scheduler.state_dict())
    assert_same_path([scheduler, resumed], [optimizer, other], 60)


@pytest.mark.parametrize("name", ["step", "multi-step", "constant", "linear", "cosine", "restarts", "polynomial"])
def test_a_state_of_pytorch_is_understood(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = make_optimizer(cr), make_optimizer(torch)
    first, second = SCHEDULES[name](lr_scheduler, ours), SCHEDULES[name](torch.optim.lr_scheduler, theirs)
    for _ in range(12):
        second.step()
    ours.load_state_dict(theirs.state_dict())
    first.load_state_dict(second.state_dict())
    assert_same_path([first, second], [ours, theirs], 40)


@pytest.mark.parametrize("name", ["step", "multi-step", "constant", "linear", "exponential", "polynomial", "cosine"])
def test_any_epoch_can_be_asked_for(name: str) -> None:
    torch = pytest.importorskip("torch")
    optimizers = [make_optimizer(library) for library in (cr, torch)]
    schedulers = [
        SCHEDULES[name](s, o) for s, o in zip((lr_scheduler, torch.optim.lr_scheduler), optimizers, strict=True)
    ]
    for epoch in (3, 40, 7, 30):
        for scheduler in schedulers:
            scheduler.step(epoch)
        assert schedulers[0].get_last_lr() == pytest.approx(schedulers[1].get_last_lr(), rel=1e-12)


def test_restarts_take_fractions_of_an_epoch() -> None:
    torch = pytest.importorskip("torch")
    optimizers = [make_optimizer(library) for library in (cr, torch)]
    schedulers = [
        s.CosineAnnealingWarmRestarts(o, 3, 2)
        for s, o in zip((lr_scheduler, torch.optim.lr_scheduler), optimizers, strict=True)
    ]
    for epoch in (0.5, 2.9, 3.0, 8.25, 20.75, 1.5):
        for scheduler in schedulers:
            scheduler.step(epoch)
        assert schedulers[0].get_last_lr() == pytest.approx(schedulers[1].get_last_lr(), rel=1e-12)
    with pytest.raises(ArgumentError, match="non-negative epoch, but got -1"):
        schedulers[0].step(-1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "factor": 0.5, "patience": 2, "threshold": 0.05},
        {"patience": 1, "threshold_mode": "abs", "threshold": 0.1, "cooldown": 3, "min_lr": [0.01, 1e-4]},
        {"mode": "max", "threshold_mode": "abs", "patience": 0, "eps": 1e-3},
    ],
)
def test_plateaus_equal_pytorch(options: dict) -> None:
    torch = pytest.importorskip("torch")
    optimizers = [make_optimizer(library) for library in (cr, torch)]
    ours = lr_scheduler.ReduceLROnPlateau(optimizers[0], **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizers[1], **options)
    for step, metric in enumerate(np.random.default_rng(0).normal(size=200).cumsum()):
        ours.step(cr.tensor(float(metric)) if step % 2 else metric)
        theirs.step(float(np.float32(metric)) if step % 2 else metric)
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-12)
        assert (ours.num_bad_epochs, ours.best) == (theirs.num_bad_epochs, pytest.approx(theirs.best))
    resumed = lr_scheduler.ReduceLROnPlateau(make_optimizer(cr), **options)
    resumed.load_state_dict(ours.state_dict())
    assert (resumed.best, resumed.num_bad_epochs) == (ours.best, ours.num_bad_epochs)


def test_the_rate_one_over_t() -> None:
    optimizer = make_optimizer(cr)
    scheduler = lr_scheduler.InverseTimeLR(optimizer, decay=0.5)
    rates = []
    for _ in range(20):
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    np.testing.assert_allclose(rates, 0.1 / (1 + 0.5 * np.arange(20)), rtol=1e-13)
    scheduler.step(3)
    assert scheduler.get_last_lr()[0] == pytest.approx(0.04)


def test_a_schedule_trains_as_in_pytorch_and_compiles_once() -> None:
    torch = pytest.importorskip("torch")
    from chainrule.compiler.launch import _LAUNCHES

    results = []
    for library, schedulers in ((cr, lr_scheduler), (torch, torch.optim.lr_scheduler)):
        weight = library.nn.Parameter(library.tensor([1.0, -2.0], dtype=library.float64))
        optimizer = library.optim.SGD([weight], lr=0.1, momentum=0.9)
        scheduler = schedulers.OneCycleLR(optimizer, max_lr=0.1, total_steps=40)
        for step in range(40):
            optimizer.zero_grad()
            (weight * weight).sum().backward()
            optimizer.step()
            scheduler.step()
            if library is cr and step == 5:
                launches = len(_LAUNCHES)
        if library is cr:
            assert len(_LAUNCHES) == launches
        results.append(weight.detach().numpy().copy())
    np.testing.assert_allclose(*results, rtol=1e-10)


def test_schedules_of_ones_own() -> None:
    class Halving(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2**self.last_epoch for base in self.base_lrs]

    scheduler = Halving(make_optimizer(cr))
    scheduler.step()
    assert scheduler.get_last_lr() == [0.05, 0.01]
    with pytest.raises(NotImplementedError, match="LRScheduler must define get_lr"):
        lr_scheduler.LRScheduler(make_optimizer(cr))


def test_a_schedule_before_the_first_step_is_noticed() -> None:
    optimizer = make_optimizer(cr)
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    with pytest.warns(UserWarning, match="before `optimizer.step\\(\\)`"):
        scheduler.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.StepLR(nn.Linear(1, 1), 3), "Linear is not an Optimizer"),
        (lambda o: lr_scheduler.LambdaLR(nn.Linear(1, 1), lambda t: 1), "Linear is not an Optimizer"),
        (lambda o: lr_scheduler.OneCycleLR("sgd", 0.1, 10), "str is not an Optimizer"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(None), "NoneType is not an Optimizer"),
        (lambda o: lr_scheduler.StepLR(o, 3, last_epoch=5), r"'initial_lr' is not specified in param_groups\[0\]"),
        (lambda o: lr_scheduler.LambdaLR(o, [lambda t: 1]), "has 1 values, param_groups has 2"),
        (lambda o: lr_scheduler.MultiplicativeLR(o, 0.9), "lr_lambda should be a function, but got float"),
        (lambda o: lr_scheduler.ConstantLR(o, 1.5), "between 0 and 1, got 1.5"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), "greater than 0 and less or equal to 1, got 0.0"),
        (lambda o: lr_scheduler.LinearLR(o, 0.5, 2.0), "Ending multiplicative factor .* got 2.0"),
        (lambda o: lr_scheduler.InverseTimeLR(o, -1), "at least 0, got -1"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), "positive integer T_0, but got 0"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 1, 0.5), "integer T_mult >= 1, but got 0.5"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "either total_steps OR"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, -3), "positive integer total_steps, but got -3"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=0), "positive integer steps_per_epoch"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, pct_start=2.0), "pct_start, but got 2.0"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, anneal_strategy="cosine"), "instead got cosine"),
        (lambda o: lr_scheduler.OneCycleLR(o, [0.1], 10), "max_lr must have the same length"),
        (
            lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="triangle"),
            r"mode 'triangle' .* \(did you mean 'triangular",
        ),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), "got no scheduler"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]), "1 schedulers and 1 milestones"),
        (lambda o: lr_scheduler.ChainedScheduler([]), "got no scheduler"),
        (lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(o)]), "does not support `ReduceLR"),
        (lambda o: lr_scheduler.SequentialLR(o, [o], []), "at index 0 should have `optimizer`"),
        (
            lambda o: lr_scheduler.SequentialLR(make_optimizer(cr), [lr_scheduler.StepLR(o, 1)], []),
            "StepLR at index 0 belongs to another",
        ),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, "least"), "mode 'least' is unknown"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold_mode="x"), "threshold mode 'x' is unknown"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), "Factor should be < 1.0"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o).step(), "is missing the metric"),
    ],
)
def test_wrong_arguments(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(make_optimizer(cr))


def test_cycling_needs_a_momentum_and_ends() -> None:
    plain = optim.Adagrad([nn.Parameter(cr.ones(1))])
    with pytest.raises(ArgumentError, match="must support momentum or beta1"):
        lr_scheduler.OneCycleLR(plain, 0.1, 10)
    with pytest.raises(ArgumentError, match="must support momentum or beta1"):
        lr_scheduler.CyclicLR(plain, 0.1, 0.2)
    scheduler = lr_scheduler.OneCycleLR(plain, 0.1, 3, cycle_momentum=False)
    with pytest.raises(ArgumentError, match="Tried to step 4 times. The specified number of total steps is 3"):
        for _ in range(4):
            scheduler.step()
