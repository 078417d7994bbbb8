"""Optimisers: 100 steps in float64 equal PyTorch's; options, groups and state behave as PyTorch's."""

import copy

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
def test_trajectories_equal_pytorch(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    problems = Problem(cr), Problem(torch)
    optimizers = [getattr(p.library.optim, name)(p.weights, **options) for p in problems]
    for step in range(100):
        losses = [problem.step(optimizer) for problem, optimizer in zip(problems, optimizers, strict=True)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9), f"step {step}"
    assert_equal(*problems)


@pytest.mark.parametrize(("name", "options"), [CASES[3], CASES[5]])
def test_float32_stays_close(name: str, options: dict) -> None:
    torch = pytest.importorskip("torch")
    problems = Problem(cr, "float32"), Problem(torch, "float32")
    optimizers = [getattr(p.library.optim, name)(p.weights, **options) for p in problems]
    for _ in range(20):
        for problem, optimizer in zip(problems, optimizers, strict=True):
            problem.step(optimizer)
    assert_equal(*problems, rtol=2e-3)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_groups_rates_and_options_that_change(name: str) -> None:
    torch = pytest.importorskip("torch")
    problems = Problem(cr), Problem(torch)
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
                optimizer.param_groups[0].update({"momentum": 0.9} if name == "SGD" else {"betas": (0.7, 0.9)})
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
