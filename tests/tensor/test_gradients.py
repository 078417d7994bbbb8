"""Gradients against PyTorch: accumulation, reads in between, shared graphs, modes, and the errors."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import GradientError, ShapeError

from .against_torch import Expression, agree, tensor, torch, values


@pytest.fixture(params=["reference", "native"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with cr.backend(request.param):
        yield request.param


def leaf(m: Any, shape: tuple[int, ...] = (3,), seed: int = 0) -> Any:
    return tensor(m, values(shape, "float64", seed), requires_grad=True)


def sgd(m: Any, parameters: list[Any], **options: Any) -> Any:
    return (optim if m is cr else torch.optim).SGD(parameters, **{"lr": 0.05, **options})


def check(program: Expression) -> None:
    agree([(program.__name__, program)])


@pytest.mark.parametrize(
    "function",
    [
        lambda m, w: (w * w).sum(), lambda m, w: w.exp().mean(), lambda m, w: (w @ w.T).sum(), lambda m, w: w[0].sum(),
        lambda m, w: w[:, 1:].sum(),
        lambda m, w: (w[1] * w[0]).sum(), lambda m, w: m.cat([w, w * 2]).square().sum(),
        lambda m, w: m.stack([w, w]).amax(), lambda m, w: w.max(1).values.sum(), lambda m,
        w: w.T.reshape(-1)[::2].sum(),
        lambda m, w: w.permute(1, 0).flatten().softmax(0)[0], lambda m, w: m.where(w > 0, w, w * 0.1).sum(),
        lambda m, w: w.clamp(-1, 1).sum(), lambda m, w: w.unsqueeze(0).expand(4, -1, -1).mul(2).sum(),
        lambda m, w: w[m.tensor([0, 0, 1])].square().sum(), lambda m, w: w.std(), lambda m, w: w.norm(),
        lambda m, w: m.logsumexp(w, 1).sum(), lambda m, w: m.log_softmax(w, dim=0)[1].sum(), lambda m,
        w: w.flip(0)[0].sum(),
        lambda m, w: (w.detach() * w).sum(), lambda m, w: (w / (w.abs() + 1)).tanh().sum(), lambda m, w: (2**w).sum(),
        lambda m, w: w.abs().sqrt().sum(), lambda m, w: (w.float() * 2).sum(), lambda m, w: w.squeeze().t().sum(),
    ],
)  # fmt: skip
def test_of_functions(function: Callable[[Any, Any], Any]) -> None:
    def run(m: Any) -> Any:
        w = leaf(m, (2, 3))
        function(m, w).backward()
        return w.grad

    agree([("gradient", run)])


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x, y: x.clamp(-0.5, 1), lambda m, x, y: x.clamp(min=0), lambda m, x, y: x.clamp(max=1),
        lambda m, x, y: m.clamp(x, y, y + 1), lambda m, x, y: m.clamp(x, y + 1, y), lambda m, x, y: m.maximum(x, y),
        lambda m, x, y: m.clamp(x, min=float("nan")), lambda m, x, y: m.clamp(x, max=y / y),
    ],
)  # fmt: skip
def test_at_limits_and_ties(function: Callable[[Any, Any, Any], Any]) -> None:
    def run(m: Any) -> Any:
        x = m.tensor([0.0, 1.0, -0.5, 2.0, -3.0, math.inf, math.nan], requires_grad=True)
        y = m.tensor([0.0, 0.0, -0.5, 0.5, -4.0, 0.0, 0.0], requires_grad=True)
        result = function(m, x, y)
        result.nan_to_num().sum().backward()
        return [result, x.grad, m.zeros(7) if y.grad is None else y.grad]

    agree([("values and gradients", run)])


@pytest.mark.parametrize(
    "write",
    [
        "x = p.t(); x.copy_(w)", "x = p.t(); x.add_(w)", "x = p.t(); x[0] = w[0]", "x = p[:, 1]; x.copy_(w[0])",
        "x = p.view(9); x[4] = w[0, 0]; y = x[3:6]", "x = p.t(); y = p.t(); x.mul_(w); y[1] += w[2]",
        "x = p.t(); s = x.sum(); x.index_add_(0, m.tensor([0]), w[:1]); x = x * s", "x = p[1:]; p[2] = w[0]; x[0] = 7",
    ],
)  # fmt: skip
def test_values_with_gradients_are_written_through_views_of_data(write: str) -> None:
    def run(m: Any) -> Any:
        w, p = leaf(m, (3, 3)), tensor(m, values((3, 3), "float64"))
        names = {"m": m, "w": w, "p": p, "y": p}
        exec(write, names)
        x, y = names["x"], names["y"]
        assert x.requires_grad == p.requires_grad
        assert "grad_fn" in repr(x)
        ((x * x).sum() + (p * 3).sum() + y.sum()).backward()
        return [x, y, p, w.grad]

    agree([(write, run)])


def test_accumulate_over_calls_and_iterations() -> None:
    def run(m: Any) -> Any:
        w, found = leaf(m), []
        for i in range(12):  # more than one program holds
            (w * w * i).sum().backward()
            if i % 5 == 4:
                found.append(w.grad.clone())
        optimizer = sgd(m, [w])
        for i in range(3):
            optimizer.zero_grad()
            for part in range(4):
                (w * (part + i)).square().mean().backward()
            optimizer.step()
            found.append(w.detach().clone())
        return [*found, w.grad]

    check(run)


def test_without_zero_grad_they_go_on_accumulating() -> None:
    def run(m: Any) -> Any:
        w = leaf(m)
        optimizer = sgd(m, [w])
        for _ in range(4):
            (w * w).sum().backward()
            optimizer.step()
        return [w.detach(), w.grad]

    check(run)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    def run(m: Any) -> Any:
        w, unused = leaf(m), leaf(m, (2,))
        optimizer = sgd(m, [w, unused], momentum=0.9)
        found = []
        for _ in range(3):
            optimizer.zero_grad(set_to_none=set_to_none)
            found.append(w.grad is None)
            (w * w).sum().backward()
            optimizer.step()
        optimizer.zero_grad(set_to_none=set_to_none)
        optimizer.step()
        return [*found, w.grad is None, unused.grad is None, w.detach()]

    check(run)


def test_gradients_read_changed_and_replaced_before_the_step() -> None:
    def run(m: Any) -> Any:
        w, v = leaf(m), leaf(m, (2, 2))
        optimizer, found = sgd(m, [w, v]), []
        for i in range(5):
            optimizer.zero_grad()
            ((w * w).sum() * v.sum()).backward()
            found.append(w.grad.norm().clone())
            w.grad.mul_(0.5)
            v.grad = v.grad * 2 if i % 2 else None
            if i == 3:
                w.grad[0] = 0
            optimizer.step()
            found += [w.detach().clone(), v.detach().clone()]
        return found

    check(run)


def test_replaced_gradients_are_the_ones_that_are_added_to() -> None:
    def run(m: Any) -> Any:
        w, found = leaf(m), []
        for i in range(4):
            (w * w).sum().backward()
            found.append(w.grad.clone())
            if i % 2:
                w.grad = m.ones(3, dtype=m.float64) * i
            kept = w.grad
            (w * 3).sum().backward()
            found += [kept.clone(), w.grad.clone()]
        w.grad = None
        (w * 3).sum().backward()
        return [*found, kept, w.grad]

    check(run)


def test_a_step_without_new_gradients() -> None:
    def run(m: Any) -> Any:
        w, found = leaf(m), []
        optimizer = sgd(m, [w])
        optimizer.step()
        found.append(w.detach().clone())
        (w * w).sum().backward()
        for _ in range(3):
            optimizer.step()
            found.append(w.detach().clone())
        optimizer.zero_grad()
        optimizer.step()
        return [*found, w.detach()]

    check(run)


def test_values_read_on_the_way() -> None:
    def run(m: Any) -> Any:
        w, x = leaf(m, (3, 2)), tensor(m, values((4, 3), "float64"))
        optimizer, found = sgd(m, [w]), []
        for i in range(4):
            optimizer.zero_grad()
            hidden = x @ w
            if i == 1:
                found.append(hidden.sum().item())
            loss = hidden.square().mean()
            if i > 1:
                found.append(loss.item())
            loss.backward()
            if i == 3:
                found += [loss.item(), w.grad.clone()]
            optimizer.step()
            found += [loss.item(), hidden.sum().item(), (hidden * 2).sum().detach()]
        return found

    check(run)


def test_parts_of_a_result_that_has_been_printed() -> None:
    def run(m: Any) -> Any:
        w = leaf(m, (2, 3))
        y = (w * 2).exp()
        repr(y), y.tolist()
        with m.no_grad():
            y * 1
        (y[0].sum() + y[:, 1:].mean() + y[m.tensor([1])].sum() + y.T[0].sum()).backward()
        return w.grad

    check(run)


def test_the_graph_is_used_once_or_kept() -> None:
    def run(m: Any) -> Any:
        w = leaf(m)
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        first = w.grad.clone()
        loss.backward()
        return [first, w.grad]

    check(run)
    for reads in (False, True):
        w = cr.ones(2, requires_grad=True)
        loss = (w * w).sum()
        loss.backward()
        if reads:
            loss.item()
        with pytest.raises(GradientError, match="backward through the graph a second time"):
            loss.backward()
        assert w.grad.tolist() == [2, 2]


def test_losses_that_share_a_graph() -> None:
    def run(m: Any, reads: bool) -> Any:
        w = leaf(m)
        shared = (w * w).exp()
        one, two = shared.sum(), (shared * 2).mean()
        if reads:
            one.item()
        one.backward(retain_graph=True)
        first = w.grad.clone()
        two.backward()
        return [first, w.grad]

    check(lambda m: run(m, False))
    check(lambda m: run(m, True))


def test_two_networks_against_each_other() -> None:
    """The pattern of adversarial training: one output, differentiated before and after the other network's step."""

    def run(m: Any) -> Any:
        g, d = leaf(m), leaf(m, seed=1)
        optimizer_g, optimizer_d, found = sgd(m, [g], lr=0.01), sgd(m, [d], lr=0.01), []
        for i in range(4):
            noise = tensor(m, values((3,), "float64", i))
            optimizer_d.zero_grad()
            (-(d * 0.5).sum()).backward()
            fake = noise * g
            loss_d = (fake.detach() * d).square().sum()
            loss_d.backward()
            if i % 2:
                found.append(loss_d.item())
            optimizer_d.step()
            optimizer_g.zero_grad()
            loss_g = -(fake * d).sum().tanh()
            loss_g.backward()
            optimizer_g.step()
            found += [loss_g.item(), g.detach().clone(), d.detach().clone()]
        return found

    check(run)


def test_modes() -> None:
    def run(m: Any) -> Any:
        w = leaf(m)
        with m.no_grad():
            a = w * 2
            with m.enable_grad():
                b = w * 3

        @m.no_grad()
        def silent(x: Any) -> Any:
            return x * 4

        c = silent(w)
        found = [a.requires_grad, b.requires_grad, c.requires_grad, m.is_grad_enabled()]
        (b.sum() + (a * w).sum()).backward()
        found.append(w.grad)
        with m.set_grad_enabled(False):
            found.append((w * 2).requires_grad)
        w.requires_grad_(False)
        found.append((w * 2).requires_grad)
        w.requires_grad_(True)
        (w * 5).sum().backward()
        return [*found, w.grad, w.detach().requires_grad, (w.detach() * w).requires_grad]

    check(run)


def test_a_detached_tensor_shares_the_values() -> None:
    w = cr.ones(2, requires_grad=True)
    w.detach()[0] = 5
    assert w.tolist() == [5, 1]


def test_of_several_elements_with_a_cotangent() -> None:
    def run(m: Any) -> Any:
        w = leaf(m, (2, 3))
        (w * w).backward(tensor(m, values((2, 3), "float64", 1)))
        (w[0] * 2).backward(gradient=m.ones(3, dtype=m.float64))
        w.sum().backward(m.tensor(3.0, dtype=m.float64))
        return w.grad

    check(run)


def test_errors() -> None:
    w = cr.ones(2, requires_grad=True)
    with pytest.raises(GradientError, match="only for scalar outputs"):
        (w * 2).backward()
    with pytest.raises(ShapeError, match=r"gradient has shape \(3,\)"):
        (w * 2).backward(cr.ones(3))
    with pytest.raises(GradientError, match="does not require grad"):
        cr.ones(2).sum().backward()
    with pytest.raises(GradientError, match="floating point"):
        cr.arange(3).requires_grad_()
    with pytest.raises(GradientError, match="leaf"):
        (w * 2).requires_grad_(False)
    with pytest.raises(GradientError, match="shape"):
        w.grad = cr.ones(5)
    assert w.grad is None


@pytest.mark.parametrize("change", ["parameter", "data"])
def test_a_changed_operand_is_never_used_for_an_old_gradient(change: str) -> None:
    """PyTorch's version counters: a value read stays as it was, and its gradient is refused."""
    w, x = cr.tensor([1.0, 2.0], requires_grad=True), cr.tensor([3.0, 4.0])
    loss = (w * w * x).sum()
    assert loss.item() == 19
    with cr.no_grad():
        (w if change == "parameter" else x).add_(1)
    assert (loss * 1).item() == 19
    with pytest.raises(GradientError, match="modified by an inplace operation"):
        loss.backward()
    (w * x).sum().backward()
    assert w.grad.tolist() == x.tolist()


def test_losses_of_all_steps_add_up() -> None:
    def run(m: Any) -> Any:
        w = leaf(m)
        optimizer, total, late = sgd(m, [w]), 0, 0
        for i in range(6):
            optimizer.zero_grad()
            loss = (w * w).sum() * (i + 1)
            late = late + loss
            loss.backward()
            optimizer.step()
            total += loss
        return [total.item(), late.item()]

    check(run)


def test_history_outlives_the_operands_names() -> None:
    def run(m: Any) -> Any:
        w = leaf(m)
        loss = (w * tensor(m, values((3,), "float64", 3))).sum()
        shift = w.exp()
        loss.item()
        for _ in range(3):
            m.ones(3).sum().item()
        (loss * shift.sum()).backward()
        return w.grad

    check(run)


def test_in_float64_to_full_precision() -> None:
    w = cr.tensor(np.array([0.1, 0.2]), requires_grad=True)
    (w.sin() * w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), np.cos([0.1, 0.2]) * [0.1, 0.2] + np.sin([0.1, 0.2]), rtol=1e-15)


def test_a_parameter_that_is_gone_when_its_gradient_is_computed() -> None:
    kept, dropped = cr.nn.Parameter(cr.ones(2)), cr.nn.Parameter(cr.ones(2))
    (kept * dropped * 3).sum().backward()
    del dropped
    assert kept.grad.tolist() == [3.0, 3.0]
