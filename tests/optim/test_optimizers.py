"""Optimisers: 200 steps in float64 equal PyTorch's; options, groups and state behave as PyTorch's."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, StateDictError

CASES = [
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.001, "momentum": 0.5, "maximize": True}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.001, "maximize": True, "betas": (0.0, 0.9), "eps": 1e-2}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True, "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adagrad", {"lr": 0.01, "maximize": True}),
    ("RMSprop", {"lr": 0.001}),
    ("RMSprop", {"lr": 0.001, "alpha": 0.9, "eps": 1e-2, "weight_decay": 0.1, "momentum": 0.8}),
    ("RMSprop", {"lr": 0.001, "centered": True, "momentum": 0.5, "eps": 1e-2}),
    ("RMSprop", {"lr": 0.001, "centered": True, "maximize": True, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    ("Adadelta", {"lr": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.002}),
    ("NAdam", {"lr": 0.002, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.02}),
    ("RAdam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.02, "betas": (0.9, 0.5), "weight_decay": 0.3, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.001, "maximize": True}),
    ("Adamax", {"lr": 0.02}),
    ("Adamax", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {"lr": 0.01}),
    ("Rprop", {"lr": 1e-4, "etas": (0.3, 1.1), "step_sizes": (1e-6, 1e-2), "maximize": True}),
    ("ASGD", {"lr": 0.05}),
    ("ASGD", {"lr": 0.01, "lambd": 0.5, "alpha": 0.5, "t0": 20, "weight_decay": 0.1, "maximize": True}),
]


class Problem:
    """A small regression in float64, in chainrule or in torch, from the same start."""

    def __init__(self, library: object, dtype: str = "float64") -> None:
        rng = np.random.default_rng(0)
        self.library = library
        self.dtype = getattr(library, dtype)
        self.weights = [self.parameter(rng.normal(size=shape)) for shape in ((4, 3), (3,), (3, 2))]
        self.X, self.y = self.constant(rng.normal(size=(8, 4))), self.constant(rng.normal(size=(8, 2)))

    def constant(self, values: np.ndarray) -> object:
        return self.library.tensor(values, dtype=self.dtype)

    def parameter(self, values: np.ndarray) -> object:
        return self.library.nn.Parameter(self.constant(values))

    def loss(self) -> object:
        W, b, V = self.weights
        hidden = self.library.tanh(self.library.matmul(self.X, W) + b)
        difference = self.library.matmul(hidden, V) - self.y
        return (difference * difference).mean()

    def step(self, optimizer: object) -> float:
        optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        optimizer.step()
        return loss.item()

    def values(self) -> list[np.ndarray]:
        return [np.array(weight.detach().numpy()) for weight in self.weights]


def assert_equal(ours: Problem, theirs: Problem, rtol: float = 1e-9) -> None:
    for a, b in zip(ours.values(), theirs.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda value: str(value))
def test_trajectories_equal_pytorch(name: str, options: dict, torch_in_double: Any) -> None:
    torch = torch_in_double
    problems = Problem(cr), Problem(torch)
    optimizers = [getattr(p.library.optim, name)(p.weights, **options) for p in problems]
    for step in range(200):
        losses = [problem.step(optimizer) for problem, optimizer in zip(problems, optimizers, strict=True)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9), f"step {step}"
    assert_equal(*problems)


FIRST_CASES = list({name: (name, options) for name, options in reversed(CASES)}.values())


@pytest.mark.parametrize(("name", "options"), [CASES[3], *FIRST_CASES])
def test_float32_stays_close(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    problems = Problem(cr, "float32"), Problem(torch, "float32")
    optimizers = [getattr(p.library.optim, name)(p.weights, **options) for p in problems]
    for _ in range(20):
        for problem, optimizer in zip(problems, optimizers, strict=True):
            problem.step(optimizer)
    assert_equal(*problems, rtol=2e-3)


CHANGED = {
    "SGD": {"momentum": 0.9},
    "Adam": {"betas": (0.7, 0.9)},
    "AdamW": {"betas": (0.7, 0.9), "eps": 1e-3},
    "Adagrad": {"lr_decay": 0.2},
    "RMSprop": {"alpha": 0.8, "eps": 1e-3},
    "Adadelta": {"rho": 0.7},
    "NAdam": {"betas": (0.7, 0.9), "momentum_decay": 0.1},
    "RAdam": {"betas": (0.7, 0.9), "eps": 1e-3},
    "Adamax": {"betas": (0.7, 0.9), "eps": 1e-3},
    "ASGD": {"lambd": 0.1, "alpha": 0.5},
}


@pytest.mark.parametrize("name", CHANGED)
def test_groups_rates_and_options_that_change(name: str, torch_in_double: Any) -> None:
    problems = Problem(cr), Problem(torch_in_double)
    optimizers = []
    for problem in problems:
        W, b, V = problem.weights
        groups = [{"params": [W, b], "lr": 0.1, "weight_decay": 0.05}, {"params": V}]
        optimizers.append(getattr(problem.library.optim, name)(groups, lr=0.01))
    for step in range(30):
        for problem, optimizer in zip(problems, optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            if step == 10:
                optimizer.param_groups[1]["weight_decay"] = 0.2
            if step == 15:
                optimizer.param_groups[0].update(CHANGED[name])
            problem.step(optimizer)
        assert_equal(*problems)


@pytest.mark.parametrize(("name", "options"), [("SGD", {"momentum": 0.9, "dampening": 0.2}), ("Adam", {})])
def test_parameters_that_pause_keep_their_own_count(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    problems = Problem(cr), Problem(torch)
    optimizers = [getattr(p.library.optim, name)(p.weights, lr=0.05, **options) for p in problems]
    for step in range(12):
        for problem, optimizer in zip(problems, optimizers, strict=True):
            problem.weights[1].requires_grad_(step % 3 != 1)
            problem.step(optimizer)
        assert_equal(*problems)


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("SGD", "momentum", np.linspace(0.9, 0.5, 20).tolist()),
        ("Adam", "betas", [(0.9 - 0.01 * i, 0.999 - 0.01 * i) for i in range(20)]),
        ("NAdam", "betas", [(0.9 - 0.01 * i, 0.999 - 0.01 * i) for i in range(20)]),
        ("Rprop", "etas", [(0.5 + 0.01 * i, 1.2 + 0.01 * i) for i in range(20)]),
    ],
)
def test_numbers_that_change_in_every_step_become_values_at_run_time(
    name: str, option: str, values: list, torch_in_double: Any
) -> None:
    from chainrule.compiler.launch import _LAUNCHES

    problems = Problem(cr), Problem(torch_in_double)
    optimizers = [getattr(p.library.optim, name)(p.weights, lr=0.01, **{option: values[0]}) for p in problems]
    for step, value in enumerate(values):
        for problem, optimizer in zip(problems, optimizers, strict=True):
            optimizer.param_groups[0][option] = value
            problem.step(optimizer)
        assert_equal(*problems)
        if step == 2:
            launches = len(_LAUNCHES)
    assert len(_LAUNCHES) == launches


def test_a_changed_rate_needs_no_new_program() -> None:
    from chainrule.compiler.launch import _LAUNCHES

    problem = Problem(cr)
    optimizer = optim.Adam(problem.weights)
    for _ in range(3):
        problem.step(optimizer)
    before = len(_LAUNCHES)
    for rate in (0.1, 0.2, 0.3, 0.4, 0.5):
        optimizer.param_groups[0]["lr"] = rate
        problem.step(optimizer)
    assert len(_LAUNCHES) == before


def test_options_that_change_reach_a_compiled_step() -> None:
    weight = nn.Parameter(cr.tensor([2.0]))
    optimizer = optim.SGD([weight], lr=1.0)

    @cr.compile
    def step(factor: cr.Tensor) -> None:
        optimizer.zero_grad()
        (weight * factor).sum().backward()
        optimizer.step()

    step(cr.zeros(1))
    assert weight.item() == 2.0
    optimizer.param_groups[0]["weight_decay"] = 0.25
    step(cr.zeros(1))
    assert weight.item() == 1.5
    optimizer.param_groups[0]["lr"] = 2.0
    step(cr.zeros(1))
    assert weight.item() == 0.75


@pytest.mark.parametrize(("name", "options"), [CASES[2], CASES[7]])
def test_state_goes_to_pytorch_and_back(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = Problem(cr), Problem(torch)
    first = getattr(optim, name)(ours.weights, **options)
    for _ in range(5):
        ours.step(first)
    saved = first.state_dict()
    theirs.weights = [theirs.parameter(values) for values in ours.values()]
    second = getattr(torch.optim, name)(theirs.weights, **options)
    second.load_state_dict(
        {
            "param_groups": saved["param_groups"],
            "state": {
                number: {key: torch.tensor(np.asarray(value)) for key, value in entries.items()}
                for number, entries in saved["state"].items()
            },
        }
    )
    third_problem = Problem(cr)
    third_problem.weights = [third_problem.parameter(values) for values in ours.values()]
    third = getattr(optim, name)(third_problem.weights, **{**options, "lr": 1.0})
    third.load_state_dict(copy.deepcopy(second.state_dict()))
    assert third.param_groups[0]["lr"] == options["lr"]
    for _ in range(5):
        ours.step(first), theirs.step(second), third_problem.step(third)
    assert_equal(ours, theirs)
    assert_equal(ours, third_problem, rtol=1e-12)


def reference_lion(p: np.ndarray, g: np.ndarray, state: dict, lr: float, betas: tuple, decay: float) -> np.ndarray:
    """Chen et al. 2023, program 1, line by line."""
    m = state.get("m", np.zeros_like(p))
    c = betas[0] * m + (1 - betas[0]) * g
    state["m"] = betas[1] * m + (1 - betas[1]) * g
    return p - lr * (np.sign(c) + decay * p)


def reference_lamb(p: np.ndarray, g: np.ndarray, state: dict, lr: float, betas: tuple, decay: float) -> np.ndarray:
    """You et al. 2019, algorithm 2, line by line, with epsilon 1e-6."""
    state["t"] = state.get("t", 0) + 1
    state["m"] = betas[0] * state.get("m", np.zeros_like(p)) + (1 - betas[0]) * g
    state["v"] = betas[1] * state.get("v", np.zeros_like(p)) + (1 - betas[1]) * g**2
    m, v = state["m"] / (1 - betas[0] ** state["t"]), state["v"] / (1 - betas[1] ** state["t"])
    r = m / (np.sqrt(v) + 1e-6)
    update = r + decay * p
    sizes = np.linalg.norm(p), np.linalg.norm(update)
    return p - lr * (sizes[0] / sizes[1] if all(sizes) else 1.0) * update


@pytest.mark.parametrize(("name", "reference", "lr"), [("Lion", reference_lion, 0.001), ("LAMB", reference_lamb, 0.01)])
@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lion_and_lamb_follow_their_papers(
    name: str, reference: Callable, lr: float, maximize: bool, decay: float
) -> None:
    problem = Problem(cr)
    problem.weights[1].data = np.zeros(3)  # a norm of 0
    options = {"lr": lr, "betas": (0.9, 0.95), "weight_decay": decay}
    optimizer = getattr(optim, name)(problem.weights, maximize=maximize, **options)
    states: list[dict] = [{} for _ in problem.weights]
    for _ in range(200):
        optimizer.zero_grad()
        problem.loss().backward()
        gradients = [np.array(weight.grad.numpy()) * (-1 if maximize else 1) for weight in problem.weights]
        expected = [
            reference(value, gradient, state, lr, (0.9, 0.95), decay)
            for value, gradient, state in zip(problem.values(), gradients, states, strict=True)
        ]
        optimizer.step()
        for value, wanted in zip(problem.values(), expected, strict=True):
            np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["Adagrad", "RMSprop", "Adadelta", "NAdam", "RAdam", "Adamax", "Rprop", "ASGD"])
def test_every_state_goes_to_pytorch_and_back(name: str, torch_in_double: Any) -> None:
    test_state_goes_to_pytorch_and_back(name, {"lr": 0.01})


def test_execution_options_of_pytorch_are_accepted_and_others_named() -> None:
    weight = nn.Parameter(cr.ones(1))
    for name in ("SGD", "Adam", "AdamW", "Adagrad"):
        getattr(optim, name)([weight], foreach=True, fused=False, differentiable=False)
    for name in ("RMSprop", "Adadelta", "NAdam", "RAdam", "Adamax", "Rprop", "ASGD", "Lion", "LAMB"):
        getattr(optim, name)([weight], foreach=False, capturable=True)
        with pytest.raises(TypeError, match=f"{name} got an unexpected keyword argument 'learning_rate'"):
            getattr(optim, name)([weight], learning_rate=1)
    with pytest.raises(ArgumentError, match=r"unexpected keyword argument 'weight_dcay' \(did you mean 'weight_decay'"):
        optim.Adam([weight], weight_dcay=0.1)
    with pytest.raises(
        ArgumentError, match=r"unknown option 'momentun' in a parameter group \(did you mean 'momentum'"
    ):
        optim.SGD([{"params": [weight], "momentun": 0.1}])
    optim.SGD([{"params": [weight], "name": "head", "initial_lr": 0.1, "purpose": "mine"}])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Adagrad", {"lr_decay": -1}, "Invalid lr_decay value: -1"),
        ("Adagrad", {"initial_accumulator_value": -1}, "Invalid initial_accumulator_value value: -1"),
        ("RMSprop", {"alpha": -1}, "Invalid alpha value: -1"),
        ("RMSprop", {"momentum": -1}, "Invalid momentum value: -1"),
        ("Adadelta", {"rho": 1.5}, "Invalid rho value: 1.5"),
        ("NAdam", {"momentum_decay": -1}, "Invalid momentum_decay value: -1"),
        ("RAdam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ("Adamax", {"eps": -1}, "Invalid epsilon value: -1"),
        ("Rprop", {"etas": (1.5, 1.2)}, "Invalid eta values: 1.5, 1.2"),
        ("Lion", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
        ("LAMB", {"lr": float("nan")}, "Invalid learning rate: nan"),
    ],
)
def test_options_out_of_range(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([nn.Parameter(cr.ones(1))], **options)


def test_state_has_pytorchs_names() -> None:
    problem = Problem(cr)
    optimizer = optim.Adam(problem.weights, amsgrad=True)
    assert optimizer.state_dict()["state"] == {}
    for _ in range(3):
        problem.step(optimizer)
    state = optimizer.state[problem.weights[0]]
    assert set(state) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    assert state["step"].item() == 3 and state["exp_avg"].shape == (4, 3)
    assert optimizer.state_dict()["param_groups"][0]["params"] == [0, 1, 2]
    assert "Parameter Group 0\n    amsgrad: True\n    betas: (0.9, 0.999)" in repr(optimizer)


def test_state_lies_as_the_parameter_does() -> None:
    layer = nn.Linear(4, 3)
    optimizer = optim.Adam(layer.parameters())
    layer(cr.ones(2, 4)).sum().backward()
    optimizer.step()
    assert optimizer.state[layer.weight]["exp_avg"]._strides == layer.weight._strides == (1, 3)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    problem = Problem(cr)
    optimizer = optim.Adam(problem.weights)
    problem.step(optimizer)
    other = optim.Adam(problem.weights[:2])
    with pytest.raises(StateDictError, match="doesn't match the size of optimizer's group: 2 parameters, expected 3"):
        optimizer.load_state_dict(other.state_dict())
    with pytest.raises(StateDictError, match="different number of parameter groups"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    assert optimizer.state[problem.weights[0]]["step"].item() == 1


def test_parameters_without_gradient_stay() -> None:
    used, unused = nn.Parameter(cr.ones(2)), nn.Parameter(cr.ones(2))
    optimizer = optim.Adam([used, unused], weight_decay=0.1)
    (used * 2).sum().backward()
    optimizer.step()
    assert unused.tolist() == [1.0, 1.0] and used.tolist() != [1.0, 1.0]
    assert list(optimizer.state) == [used]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9}),
        ("Adam", {"betas": (0.9, 0.9)}),
        ("RMSprop", {"alpha": 0.9, "centered": True, "momentum": 0.9}),
        ("Adadelta", {"rho": 0.9}),
        ("Lion", {"lr": 0.1, "betas": (0.9, 0.9)}),
    ],
)
def test_state_fades_to_zero_while_gradients_are_zero(name: str, options: dict) -> None:
    parameter = nn.Parameter(cr.ones(20))
    optimizer = getattr(optim, name)([parameter], **options)
    parameter.grad = cr.full((20,), 1e-18)
    optimizer.step()
    for _ in range(1000):  # 0.9^1000 is 1e-46, but nine tenths of the smallest numbers are rounded back to them
        parameter.grad = cr.zeros(20)
        optimizer.step()
    kept = {key: value.numpy() for key, value in optimizer.state[parameter].items() if key != "step"}
    assert kept
    assert {key: np.abs(value).max() for key, value in kept.items()} == dict.fromkeys(kept, 0.0)


def test_a_closure() -> None:
    weight = nn.Parameter(cr.tensor([2.0]))
    optimizer = optim.SGD([weight], lr=0.25)

    def closure() -> cr.Tensor:
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    with cr.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert weight.tolist() == [1.0]


def test_weights_that_numpy_looks_at_are_still_trained() -> None:
    weight = nn.Parameter(cr.tensor([2.0]))
    view = weight.detach().numpy()
    optimizer = optim.SGD([weight], lr=0.25)
    for _ in range(2):
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()
    assert view.tolist() == weight.tolist() == [0.5]


def test_zero_grad_to_zeros() -> None:
    weight = nn.Parameter(cr.tensor([2.0]))
    optimizer = optim.SGD([weight], lr=0.25)
    (weight * weight).sum().backward()
    optimizer.zero_grad(set_to_none=False)
    assert weight.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert weight.grad is None


def test_a_group_added_later() -> None:
    first, second = nn.Parameter(cr.ones(1)), nn.Parameter(cr.ones(1))
    optimizer = optim.SGD([first], lr=0.5)
    optimizer.add_param_group({"params": second, "lr": 0.25})
    (first + second).sum().backward()
    optimizer.step()
    assert (first.item(), second.item()) == (0.5, 0.75)


def test_wrong_arguments() -> None:
    weight = nn.Parameter(cr.ones(1))
    with pytest.raises(ArgumentError, match="empty parameter list"):
        optim.SGD([])
    with pytest.raises(ArgumentError, match="should be an iterable of Tensors or dicts, but got Tensor"):
        optim.SGD(weight)
    with pytest.raises(ArgumentError, match=r"but got method. fix: model.parameters\(\)"):
        optim.SGD(nn.Linear(1, 1).parameters)
    with pytest.raises(ArgumentError, match=r"one of the params is Linear. fix: model.parameters\(\)"):
        optim.SGD(nn.Sequential(nn.Linear(1, 1)))
    with pytest.raises(ArgumentError, match="non-leaf"):
        optim.SGD([weight * 2])
    with pytest.raises(ArgumentError, match="one of the params is ndarray"):
        optim.SGD([np.ones(2)])
    with pytest.raises(ArgumentError, match="more than one parameter group, or twice"):
        optim.SGD([{"params": [weight]}, {"params": [weight]}])
    with pytest.raises(ArgumentError, match="Invalid learning rate: -1"):
        optim.Adam([weight], lr=-1)
    with pytest.raises(ArgumentError, match="Invalid beta parameter at index 1: 1.5"):
        optim.Adam([weight], betas=(0.9, 1.5))
    with pytest.raises(ArgumentError, match="Nesterov momentum requires"):
        optim.SGD([weight], nesterov=True)
