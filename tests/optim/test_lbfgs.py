"""L-BFGS: trajectories in float64 equal PyTorch's, evaluation by evaluation; it meets scikit-learn's loss."""

import copy
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError
from chainrule.optim import LBFGS
from chainrule.optim.inverse_hessian import InverseHessian
from chainrule.optim.line_search import Point, strong_wolfe

WOLFE = {"line_search_fn": "strong_wolfe"}


class Rosenbrock:
    """Σ 100 (xᵢ₊₁ - xᵢ²)² + (1 - xᵢ)², in chainrule or in torch; ``losses`` of all evaluations."""

    def __init__(self, library: Any, size: int, **options: Any) -> None:
        start = library.tensor(np.linspace(-1.2, 1.1, size))
        self.library, self.losses = library, []
        self.x = library.nn.Parameter(start)
        self.optimizer = library.optim.LBFGS([self.x], **options)

    def loss(self) -> Any:
        x = self.x
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    def closure(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        self.losses.append(loss.item())
        return loss


class Logistic(Rosenbrock):
    """Logistic regression of three parameters, with a penalty."""

    def __init__(self, library: Any, size: int, **options: Any) -> None:
        rng = np.random.default_rng(0)
        X, self.losses = rng.normal(size=(40, size)), []
        self.library = library
        self.X = library.tensor(X)
        self.y = library.tensor((X[:, 0] + rng.normal(size=40) > 0).astype(float))
        self.weight, self.unused = (library.nn.Parameter(library.tensor(np.zeros(size))) for _ in range(2))
        self.bias = library.nn.Parameter(library.tensor(np.zeros(())))
        self.optimizer = library.optim.LBFGS([self.weight, self.unused, self.bias], **options)

    def loss(self) -> Any:
        scores = self.library.matmul(self.X, self.weight) + self.bias
        function = self.library.nn.BCEWithLogitsLoss()
        return function(scores, self.y) + 0.01 * (self.weight * self.weight).sum()


@pytest.mark.parametrize(
    ("problem", "size", "options"),
    [
        (Rosenbrock, 2, WOLFE),
        (Rosenbrock, 2, {**WOLFE, "lr": 0.1, "max_iter": 3, "max_eval": 30}),
        (Rosenbrock, 5, {**WOLFE, "history_size": 2, "max_iter": 5}),
        (Rosenbrock, 4, {"lr": 1e-3, "max_iter": 7}),
        (Logistic, 3, {}),
        (Logistic, 3, {**WOLFE, "max_iter": 4}),
        (Logistic, 20, {**WOLFE, "history_size": 3}),
        (Logistic, 20, {**WOLFE, "tolerance_grad": 1e-2}),
        (Logistic, 20, {**WOLFE, "tolerance_change": 1e-3}),
        (Logistic, 20, {"lr": 50.0, **WOLFE, "max_iter": 3}),
    ],
)
def test_trajectories_equal_pytorch(problem: Any, size: int, options: dict) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = (problem(library, size, **options) for library in (cr, torch))
    for _ in range(3):
        returned = [each.optimizer.step(each.closure).item() for each in (ours, theirs)]
        assert returned[0] == pytest.approx(returned[1], rel=1e-8)
    assert len(ours.losses) == len(theirs.losses)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-7, atol=1e-14)
    for mine, other in zip(
        ours.optimizer.param_groups[0]["params"], theirs.optimizer.param_groups[0]["params"], strict=True
    ):
        np.testing.assert_allclose(mine.detach().numpy(), other.detach().numpy(), rtol=1e-7, atol=1e-12)
    assert ours.optimizer.state_dict()["state"][0]["n_iter"] == theirs.optimizer.state_dict()["state"][0]["n_iter"]


def test_the_state_goes_to_pytorch_and_back() -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = Rosenbrock(cr, 4, max_iter=5, **WOLFE), Rosenbrock(torch, 4, max_iter=5, **WOLFE)
    theirs.optimizer.step(theirs.closure)
    ours.x.data = theirs.x.detach().numpy()
    ours.optimizer.load_state_dict(copy.deepcopy(theirs.optimizer.state_dict()))
    resumed = Rosenbrock(cr, 4, max_iter=5, **WOLFE)
    resumed.x.data = ours.x.detach().numpy()
    resumed.optimizer.load_state_dict(ours.optimizer.state_dict())
    for each in (ours, theirs, resumed):
        each.losses.clear()
        each.optimizer.step(each.closure)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-8)
    np.testing.assert_allclose(ours.losses, resumed.losses, rtol=1e-12)


def test_it_meets_scikit_learns_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 5))
    y = (X @ rng.normal(size=5) + rng.normal(size=200) > 0).astype(float)
    model = linear_model.LogisticRegression(C=0.5, tol=1e-10, max_iter=1000).fit(X, y)
    layer = nn.Linear(5, 1).to(cr.float64)
    optimizer = LBFGS(layer.parameters(), max_iter=100, tolerance_change=1e-15, **WOLFE)
    inputs, targets, loss_function = cr.tensor(X), cr.tensor(y.reshape(-1, 1)), nn.BCEWithLogitsLoss()

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_function(layer(inputs), targets) * 200 + (layer.weight * layer.weight).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    np.testing.assert_allclose(layer.weight.detach().numpy(), model.coef_, rtol=1e-5)
    np.testing.assert_allclose(layer.bias.detach().numpy(), model.intercept_, rtol=1e-5)


def test_evaluations_compile_once() -> None:
    from chainrule.compiler.launch import _LAUNCHES

    problem = Rosenbrock(cr, 3, **WOLFE)
    problem.optimizer.step(problem.closure)
    before = len(_LAUNCHES)
    problem.optimizer.step(problem.closure)
    assert len(_LAUNCHES) == before


def test_float32_and_weights_that_lie_by_columns() -> None:
    layer = nn.Linear(3, 2)
    optimizer = LBFGS(layer.parameters(), max_iter=50, **WOLFE)
    X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    W = np.arange(6.0, dtype=np.float32).reshape(2, 3)

    @cr.compile
    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(layer(cr.tensor(X)), cr.tensor(X @ W.T))
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    np.testing.assert_allclose(layer.weight.detach().numpy(), W, atol=1e-4)


@pytest.mark.parametrize(("count", "limit"), [(0, 4), (1, 4), (4, 4), (9, 4), (9, 20), (14, 6), (3, 1)])
def test_the_compact_form_is_the_recursion(count: int, limit: int) -> None:
    """Against the update of BFGS itself, H := (I - s yᵀ/yᵀs) H (I - y sᵀ/yᵀs) + s sᵀ/yᵀs, over the last pairs."""
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(count, 6))
    hessian = np.diag(np.arange(1.0, 7.0))
    inverse = InverseHessian(6, limit)
    for step in steps:
        inverse.append(step, hessian @ step)
    expected = np.eye(6)
    if count:
        last = hessian @ steps[-1]
        expected = expected * (steps[-1] @ last) / (last @ last)
    for step in steps[-limit:]:
        change = hessian @ step
        turn = np.eye(6) - np.outer(change, step) / (change @ step)
        expected = turn.T @ expected @ turn + np.outer(step, step) / (change @ step)
    vector = rng.normal(size=6)
    np.testing.assert_allclose(inverse @ vector, expected @ vector, rtol=1e-8)
    np.testing.assert_array_equal(inverse.pairs()[0], steps[-limit:])


@pytest.mark.parametrize("first", [1e-4, 0.3, 2.0, 50.0, 1e6])
def test_line_searches_end_at_the_strong_wolfe_conditions(first: float) -> None:
    def evaluate(t: Any) -> Point:
        with np.errstate(all="ignore"):
            return Point(
                np.float64(t), (np.float64(t) - 3.0) ** 4 + 0.1 * t, 4 * (np.float64(t) - 3.0) ** 3 + 0.1, np.zeros(1)
            )

    origin = evaluate(0.0)
    point, evaluations = strong_wolfe(evaluate, origin, first, 1.0, 1e-9, 60)
    assert point.value <= origin.value + 1e-4 * point.t * origin.slope
    assert abs(point.slope) <= -0.9 * origin.slope
    assert evaluations <= 61


def test_wrong_use() -> None:
    weight = nn.Parameter(cr.ones(1))
    with pytest.raises(ArgumentError, match="missing the closure"):
        LBFGS([weight]).step()
    with pytest.raises(ArgumentError, match="doesn't support per-parameter options"):
        LBFGS([{"params": [weight]}, {"params": [nn.Parameter(cr.ones(1))]}])
    with pytest.raises(ArgumentError, match=r"only 'strong_wolfe' is supported .* \(did you mean 'strong_wolfe'"):
        LBFGS([weight], line_search_fn="strong wolfe")
    with pytest.raises(ArgumentError, match="Invalid learning rate: -1"):
        LBFGS([weight], lr=-1)
    with pytest.raises(ArgumentError, match="Invalid history_size: 0"):
        LBFGS([weight], history_size=0)
    with pytest.raises(ArgumentError, match="empty parameter list"):
        LBFGS([])


def test_a_minimum_is_left_alone() -> None:
    weight = nn.Parameter(cr.zeros(2))
    optimizer = LBFGS([weight], **WOLFE)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 0.0 and weight.tolist() == [0.0, 0.0]
