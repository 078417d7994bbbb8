"""Operations in place, indexed assignment, and views that see each other's changes, against PyTorch."""

from typing import Any

import pytest

import chainrule as cr
from chainrule.errors import ChainruleError, GradientError

from .against_torch import agree, agree_all, tensor, values


@pytest.fixture(params=["reference", "native"], autouse=True)
def backend(request: pytest.FixtureRequest) -> Any:
    with cr.backend(request.param):
        yield request.param


def stored(m: Any) -> Any:
    return tensor(m, values((2, 3, 4), "float32"))


METHODS = (
    "add_(1)", "sub_(2)", "mul_(2)", "div_(2)", "pow_(2)", "clamp_(1, 3)", "clamp_(max=3)", "copy_(m.ones(4))",
    "fill_(3)",
    "zero_()", "add_(m.ones(4), alpha=2)", "lerp_(m.ones(2, 3, 4), 0.5)", "addcmul_(m.ones(4), m.ones(4), value=3)",
    "addcdiv_(m.ones(4), m.ones(4) * 2, value=3)", "add_(m.ones(5, 2, 3, 4))", "add_(1.5)", "copy_(m.ones(4).long())",
)  # fmt: skip


def test_methods() -> None:
    for text in ("X", "(X * 2)", "X.mT", "X[0]", "X.long().clone().double()"):
        agree_all([f"{text}.{method}" for method in METHODS if "lerp" not in method or text == "X"], X=stored)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (7, 2), (3, 3, 3), (0, 2), (4,), (2, 3, 4)])
def test_diagonals(shape: tuple[int, ...]) -> None:
    for text in ("X", "(X * 2)", "X.transpose(0, -1)"):
        agree_all(
            [text, f"{text}.fill_diagonal_(7)", f"{text}.fill_diagonal_(7, wrap=True)"],
            X=lambda m: tensor(m, values(shape, "float32")),
        )


def test_they_return_the_tensor_itself() -> None:
    for x in (cr.ones(2), cr.ones(2) * 2):
        assert x.add_(1) is x
        y = x
        x += 1
        assert x is y


SELECTIONS = (
    "0", "-1", "1:", "::2", "...", "0, 1", "0, 1, 2", "..., 1", "[0, 1]", "X > 1", "m.tensor([1, 0])", ":, 1:3, ::2",
    "0:0",
    "1, :, m.tensor([0, 2])", "0, X[0] > 1",
)  # fmt: skip


@pytest.mark.parametrize("make", ["X = X0", "X = X0 * 2"])
@pytest.mark.parametrize("value", ["9", "1.5", "m.tensor(7.0)"])
def test_indexed_assignment(make: str, value: str) -> None:
    def run(m: Any, selection: str) -> Any:
        names = {"m": m, "X0": stored(m)}
        exec(f"{make}; X[{selection}] = {value}", names)
        return names["X"]

    agree((f"X[{s}] = {value}", lambda m, s=s: run(m, s)) for s in SELECTIONS)


def test_assignment_of_parts_and_to_parts() -> None:
    def run(m: Any) -> Any:
        x = stored(m)
        x[0] += 1
        x[:, 1] *= 2
        x[1] = x[0] + x[1]
        x[0, :, 0] = m.tensor([1.0, 2.0, 3.0])
        x[m.tensor([1, 0]), 0] = m.zeros(2, 4)
        return x

    agree([("parts", run)])


def test_assignments_that_do_not_fit_are_refused() -> None:
    x = cr.zeros(2, 3)
    with pytest.raises(ChainruleError, match=r"value of shape \(7,\) does not fit"):
        x[0] = cr.ones(7)
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 2"):
        x[5] = 1
    with pytest.raises(ChainruleError, match="doesn't match the broadcast shape"):
        x.add_(cr.ones(5, 2, 3))
    assert x.tolist() == [[0, 0, 0]] * 2


def test_views_of_stored_tensors_see_changes() -> None:
    def run(m: Any) -> Any:
        x = stored(m)
        row, part, last = x[0], x[1, 1:], x[..., -1]
        row += 100
        part.zero_()
        before = x * 1
        x[0, 0, 0] = -5
        x.mul_(2)
        last.add_(1)
        return [x, row, part, last, before]

    agree([("views", run)])


def test_what_was_recorded_before_a_change_keeps_its_value() -> None:
    def run(m: Any) -> Any:
        x = stored(m)
        row = x[0]
        before, of_row = x * 2, row.sum()
        x += 1
        between = x * 2 + row.sum()
        x.detach().mul_(3)
        row.fill_(0)
        return [before, of_row, between, x, row]

    agree([("order", run)])


def test_a_copy_does_not_see_changes() -> None:
    def run(m: Any) -> Any:
        x = stored(m)
        copies = [x.clone(), m.tensor(x.tolist()), x * 1]
        x.zero_()
        pending = x + 1
        other = pending.clone()
        pending.add_(1)
        return [*copies, pending, other]

    agree([("copies", run)])


def test_equal_expressions_are_different_tensors() -> None:
    """They are one vertex; a change of one is no change of the other."""
    x = cr.ones(3)
    a, b = x + 1, x + 1
    a += 5
    assert (a.tolist(), b.tolist()) == ([7, 7, 7], [2, 2, 2])


def test_totals_take_over_the_gradient_of_what_is_added() -> None:
    def run(m: Any) -> Any:
        w = tensor(m, values((3,), "float32"), requires_grad=True)
        total = m.zeros(())
        for factor in (1.0, 2.0, 3.0):
            total += (w * w).sum() * factor
        total.backward()
        return [w.grad, total.detach()]

    agree([("total", run)])


def test_parameters_change_only_without_gradients() -> None:
    w = cr.ones(2, requires_grad=True)
    with pytest.raises(GradientError, match="leaf Variable that requires grad"):
        w.add_(1)
    with pytest.raises(GradientError, match="a view of a leaf Variable that requires grad"):
        w[0] = 1
    with cr.no_grad():
        w.add_(1)
        w[0] = 7
    assert w.tolist() == [7, 2]


def test_a_parameter_changed_in_place_is_a_leaf_still() -> None:
    def run(m: Any) -> Any:
        w = tensor(m, values((3,), "float32"), requires_grad=True)
        with m.no_grad():
            w.mul_(2)
        (w * w).sum().backward()
        first = w.grad.clone()
        with m.no_grad():
            w -= 0.5 * w.grad
            w.copy_(w + 1)
        (w * 3).sum().backward()
        return [first, w.grad, w.detach(), m.tensor([w.is_leaf, w.requires_grad])]

    agree([("leaf", run)])


def test_views_of_parameters_follow_pytorch() -> None:
    def run(m: Any) -> Any:
        layer = m.nn.Linear(3, 2)
        with m.no_grad():
            layer.weight.copy_(tensor(m, values((2, 3), "float32")))
        layer.weight.data.view(-1)[::2].mul_(2)
        flat = layer.weight.data.flatten()
        flat[0] = 9
        layer.weight.T[1].sum().backward()
        layer.weight.data.add_(layer.weight.grad, alpha=-0.5)
        return [layer.weight.detach(), flat, layer.weight.grad, m.tensor(layer.weight.is_contiguous())]

    agree([("weight", run)])


def test_types_that_do_not_fit_are_refused() -> None:
    for method in ("add_(1.5)", "div_(2)", "mul_(m.tensor(2.0))", "exp_()"):
        with pytest.raises(TypeError, match="result type float32 can't be cast to the desired output type int64"):
            eval(f"cr.arange(3).{method}", {"cr": cr, "m": cr})


def test_an_index_out_of_range_names_itself() -> None:
    x = cr.zeros(2, 3)
    for index in ((0, 3), (slice(None), [0, 3]), (cr.tensor([0]), cr.tensor([3]))):
        with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 1 with size 3"):
            x[index]
        with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 1 with size 3"):
            x[index] = 1
    with pytest.raises(IndexError, match="shape of the mask"):
        x[cr.tensor([True, False, True])] = 1
    with pytest.raises(ChainruleError, match="more than one element of the written-to tensor"):
        cr.ones(1).expand(3).add_(1)
