"""Averages of weights equal PyTorch's, in loops, in compiled steps, and for buffers."""

import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.optim import swa_utils

AVERAGES = {
    "mean": lambda tools: {},
    "mean of one": lambda tools: {"avg_fn": tools.get_swa_avg_fn()},
    "mean of all": lambda tools: {"multi_avg_fn": tools.get_swa_multi_avg_fn()},
    "moving": lambda tools: {"avg_fn": tools.get_ema_avg_fn(0.9)},
    "moving all": lambda tools: {"multi_avg_fn": tools.get_ema_multi_avg_fn(0.8)},
    "own": lambda tools: {"avg_fn": lambda mean, value, count: mean * 0.5 + value * 0.5 + count},
    "buffers": lambda tools: {"use_buffers": True, "multi_avg_fn": tools.get_ema_multi_avg_fn(0.5)},
}


def make_model(library: Any) -> Any:
    class Model(library.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = library.nn.Parameter(library.tensor(np.zeros((2, 3))))
            self.register_buffer("running", library.tensor(np.zeros(3)))
            self.register_buffer("count", library.tensor(0))

        def forward(self, x: Any) -> Any:
            return x + self.weight + self.running

    return Model()


@pytest.mark.parametrize("compiles", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages_equal_pytorch(name: str, compiles: bool, torch_in_double: Any) -> None:
    torch = torch_in_double
    values = np.random.default_rng(0).normal(size=(5, 2, 3))
    states = []
    for library in (cr, torch):
        tools = library.optim.swa_utils
        model = make_model(library)
        averaged = tools.AveragedModel(model, **AVERAGES[name](tools))
        update = partial(averaged.update_parameters, model)
        if compiles and library is cr:
            update = cr.compile(update)
        for number, value in enumerate(values):
            with library.no_grad():
                model.weight.copy_(library.tensor(value))
                model.running.copy_(library.tensor(value[0]))
                model.count.copy_(library.tensor(number))
            update()
        states.append({key: np.asarray(value.detach()) for key, value in averaged.state_dict().items()})
        assert averaged(library.tensor(np.zeros((2, 3)))).shape == (2, 3)
    assert states[0].keys() == states[1].keys()
    for key, value in states[1].items():
        np.testing.assert_allclose(states[0][key], value, rtol=1e-12, err_msg=key)


@pytest.mark.parametrize(
    "options",
    [{}, {"anneal_epochs": 5, "anneal_strategy": "linear"}, {"anneal_epochs": 0}, {"swa_lr": [0.3, 0.2]}],
)
def test_the_schedule_equals_pytorch(options: dict) -> None:
    torch = pytest.importorskip("torch")
    paths = []
    for library in (cr, torch):
        groups = [{"params": [library.nn.Parameter(library.ones(1))], "lr": lr} for lr in (0.1, 0.02)]
        optimizer = library.optim.SGD(groups, lr=0.1)
        scheduler = library.optim.swa_utils.SWALR(optimizer, **{"swa_lr": 0.05, **options})
        path = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(200):
                path.append([group["lr"] for group in optimizer.param_groups])
                scheduler.step()
        paths.append(path)
    np.testing.assert_allclose(*paths, rtol=1e-10)


def test_wrong_arguments() -> None:
    optimizer = cr.optim.SGD([nn.Parameter(cr.ones(1))])
    with pytest.raises(ArgumentError, match=r"Invalid decay value 1.5"):
        swa_utils.get_ema_avg_fn(1.5)
    with pytest.raises(ArgumentError, match="Invalid decay value -1"):
        swa_utils.get_ema_multi_avg_fn(-1)
    with pytest.raises(ArgumentError, match="Only one of avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(
            nn.Linear(1, 1), avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()
        )
    with pytest.raises(ArgumentError, match="instead got cosine"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="cosine")
    with pytest.raises(ArgumentError, match="equal or greater than 0, got -1"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ArgumentError, match="Linear is not an Optimizer"):
        swa_utils.SWALR(nn.Linear(1, 1), 0.1)
