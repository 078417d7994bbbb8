"""``compile``: the same results as without it, state read and written in place, and what it recaptures for."""

import math
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.compiler import programs
from chainrule.errors import ArgumentError, CaptureError, ChainruleError


def network(seed: int = 0, *more: nn.Module) -> nn.Sequential:
    cr.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), *more, nn.Linear(5, 1))


def batches(count: int = 6, rows: int = 4) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    return [
        (
            cr.tensor(rng.normal(size=(rows, 3)).astype("float32")),
            cr.tensor(rng.normal(size=(rows, 1)).astype("float32")),
        )
        for _ in range(count)
    ]


def make_step(model: nn.Module, optimizer: Any) -> Any:
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


@pytest.mark.parametrize("rule", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), lambda p: optim.Adam(p, lr=0.01)])
def test_training_is_the_same(rule: Any) -> None:
    results = []
    for wrap in (lambda step: step, cr.compile):
        model = network()
        step = wrap(make_step(model, rule(model.parameters())))
        losses = [step(x, y).item() for x, y in batches()]
        results.append((losses, [p.numpy().copy() for p in map(cr.Tensor.detach, model.parameters())]))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    for plain, compiled in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(plain, compiled, rtol=1e-4, atol=1e-6)
    assert results[0][0][-1] != results[0][0][0]


def test_several_steps_in_one_function() -> None:
    """The second forward pass sees what the first step has written, and gradients flow to it."""
    results = []
    for wrap in (lambda step: step, cr.compile):
        model = network()
        one = make_step(model, optim.SGD(model.parameters(), lr=0.1))

        def several(x: Any, y: Any, one: Any = one) -> Any:
            return cr.stack([one(x, y) for _ in range(3)])

        step = wrap(several)
        results.append([step(x, y).tolist() for x, y in batches(3)])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)
    assert results[0][0][2] < results[0][0][0]


def test_gradients_are_left_in_the_parameters() -> None:
    model = network()

    @cr.compile
    def accumulate(x: Any) -> None:
        model(x).sum().backward()

    x = cr.ones(2, 3)
    accumulate(x)
    first = [p.grad.clone() for p in model.parameters()]
    accumulate(x)
    for parameter, once in zip(model.parameters(), first, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), 2 * once.numpy(), rtol=1e-6)


def test_state_changed_in_place() -> None:
    count, total = cr.zeros(()), nn.Parameter(cr.zeros(3), requires_grad=False)

    @cr.compile
    def add(x: Any) -> Any:
        total.add_(x)
        return total * 2

    for _ in range(3):
        last = add(cr.ones(3))
    assert (total.tolist(), last.tolist(), count.item()) == ([3, 3, 3], [6, 6, 6], 0)
    total.write([10, 10, 10])
    assert add(cr.ones(3)).tolist() == [22, 22, 22]


def test_dropout_draws_anew_in_every_call_and_repeats_with_the_seed() -> None:
    model = network(0, nn.Dropout(0.5))
    run = cr.compile(lambda x: model(x))
    x = cr.ones(8, 3)
    cr.manual_seed(7)
    first, second = run(x), run(x)
    assert not (first == second).all()
    cr.manual_seed(7)
    assert (run(x) == first).all()


def test_captured_once_per_shape_and_type() -> None:
    times = []

    @cr.compile
    def double(x: Any) -> Any:
        times.append(1)
        return x * 2

    for _ in range(3):
        assert double(cr.ones(2)).tolist() == [2, 2]
        assert double(cr.ones(3)).tolist() == [2, 2, 2]
        assert double(cr.ones(2, dtype=cr.int64)).dtype is cr.int64
        assert double(cr.tensor([0.0, 1.0, 2.0, 3.0])[::2]).tolist() == [0, 4]
    assert len(times) == 4
    assert "argument 1 was float32[2] and is float32[3]" in double.explain()


def test_other_arguments_are_fixed_by_their_value() -> None:
    @cr.compile
    def power(x: Any, exponent: float, *, shift: float = 0.0, names: tuple[str, ...] = ()) -> Any:
        return x**exponent + shift + len(names)

    x = cr.tensor([2.0])
    assert power(x, 2).item() == 4
    assert power(x, 3, shift=1.0).item() == 9
    assert power(x, 2, names=("a", "b")).item() == 6
    assert math.copysign(1, (cr.compile(lambda x, n: x * n)(x, -0.0)).item()) == -1
    with pytest.raises(ArgumentError, match="argument of type bytearray"):
        power(x, bytearray())


def test_zero_and_minus_zero_are_two_arguments() -> None:
    scale = cr.compile(lambda x, n: x * n)
    x = cr.ones(())
    assert [math.copysign(1, scale(x, n).item()) for n in (0.0, -0.0, 0.0)] == [1, -1, 1]
    for _ in range(3):
        assert math.isnan(scale(x, float("nan")).item())
    assert len(scale._captures) == 3


def test_arguments_and_results_in_containers() -> None:
    @cr.compile
    def swap(pair: Any, table: dict[str, Any]) -> Any:
        a, b = pair
        return {"sum": a + b, "parts": [b, (a, table["c"] * 2)], "name": "x"}

    a, b, c = cr.tensor([1.0]), np.array([2.0], np.float32), cr.tensor([3.0]) + 0
    found = swap((a, b), {"c": c})
    assert found["name"] == "x"
    assert [found["sum"].item(), found["parts"][0].item(), found["parts"][1][1].item()] == [3, 2, 6]
    assert cr.compile(lambda: None)() is None


def test_parts_and_copies_of_arguments_are_those_of_each_call() -> None:
    """A view of the memory of the first call's argument would be a constant of the program."""

    def function(x: Any, rows: Any) -> Any:
        row, rest, last = x[0], x[1:], x[..., -1]
        return [row, rest, last, x.detach() * 2, x.clone(), cr.tensor(x), x[rows], x.T, x[:, None].sum(0)]

    compiled = cr.compile(function)
    for i in range(3):
        x, rows = cr.tensor(np.arange(6.0).reshape(3, 2) * (i + 1)), cr.tensor([i, -1 - i])
        for found, expected in zip(compiled(x, rows), function(x, rows), strict=True):
            assert found.tolist() == expected.tolist()


def test_closures_are_read_when_called() -> None:
    w = nn.Parameter(cr.ones(2))
    constant = cr.ones(2)
    run = cr.compile(lambda x: x * w + constant)
    x = cr.ones(2)
    assert run(x).tolist() == [2, 2]
    with cr.no_grad():
        w.mul_(5)
    assert run(x).tolist() == [6, 6]
    constant[0] = 10
    assert run(x).tolist() == [15, 6]


def test_modes_and_changed_modules_are_seen() -> None:
    model = network(0, nn.Dropout(0.5))
    run = cr.compile(lambda x: model(x))
    x = cr.ones(4, 3)
    model.eval()
    assert (run(x) == model(x)).all()
    model.train()
    assert not (run(x) == run(x)).all()
    model.eval()
    model[1] = nn.ReLU()
    np.testing.assert_allclose(run(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-6)


def reads_a_value(x: Any) -> Any:
    if (x > 0).all():
        return x
    return -x


def test_reading_a_value_is_refused_with_the_line() -> None:
    line = reads_a_value.__code__.co_firstlineno + 1
    for function in (reads_a_value, lambda x: x * x.sum().item(), lambda x: [print(x), x][1]):
        with pytest.raises(CaptureError, match="while compile") as error:
            cr.compile(function)(cr.ones(2))
        if function is reads_a_value:
            assert f"test_capture.py:{line}" in str(error.value)
    assert cr.ones(2).sum().item() == 2


def test_after_an_error_inside_everything_goes_on() -> None:
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    step = cr.compile(make_step(model, optimizer))
    before = [p.tolist() for p in model.parameters()]
    with pytest.raises(ChainruleError):
        step(cr.ones(2, 7), cr.ones(2, 1))
    assert [p.tolist() for p in model.parameters()] == before
    x, y = batches(1)[0]
    first = step(x, y).item()
    assert step(x, y).item() < first


def test_results_of_functions_that_change_state_have_no_history() -> None:
    w = nn.Parameter(cr.ones(2))
    run = cr.compile(make_step(nn.Identity(), optim.SGD([w], lr=0.1))) if hasattr(nn, "Identity") else None
    optimizer = optim.SGD([w], lr=0.1)

    @cr.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        optimizer.step()
        return loss

    loss = step()
    assert (loss.item(), loss.requires_grad) == (2, False)
    assert run is None or callable(run)


def test_gradients_flow_through_functions_that_change_nothing() -> None:
    model = network()
    run = cr.compile(lambda x: model(x))
    x = cr.ones(2, 3)
    for parameter in model.parameters():
        parameter.grad = None
    run(x).sum().backward()
    compiled = [p.grad.clone() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = None
    model(x).sum().backward()
    for parameter, found in zip(model.parameters(), compiled, strict=True):
        np.testing.assert_allclose(found.numpy(), parameter.grad.numpy(), rtol=1e-6)


def test_gradients_flow_into_arguments() -> None:
    square = cr.compile(lambda x: (x * x).sum())
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    square(w).backward()
    assert w.grad.tolist() == [2, 4]
    w.grad = None
    square(w * 3).backward()
    assert w.grad.tolist() == [18, 36]


def test_compiled_functions_call_each_other() -> None:
    inner = cr.compile(lambda x: x + 1)
    outer = cr.compile(lambda x: inner(x) * inner(x))
    assert outer(cr.ones(2)).tolist() == [4, 4]
    assert inner(cr.ones(2)).tolist() == [2, 2]


def test_pending_arguments_and_results_that_stay() -> None:
    double = cr.compile(lambda x: x * 2)
    x = cr.ones(3)
    kept = [double(x + i) for i in range(5)]
    assert [k.tolist()[0] for k in kept] == [2, 4, 6, 8, 10]
    x.add_(1)
    assert double(x).tolist() == [4, 4, 4]
    assert kept[0].tolist() == [2, 2, 2]


def test_no_grad_is_another_capture() -> None:
    w = nn.Parameter(cr.ones(2))
    run = cr.compile(lambda: (w * 2).sum())
    assert run().requires_grad
    with cr.no_grad():
        assert not run().requires_grad


def test_looking_inside() -> None:
    model = network()
    run = cr.compile(lambda x: model(x))
    with pytest.raises(ArgumentError, match="call the function once"):
        run.explain()
    run(cr.ones(2, 3))
    text = run.explain()
    assert "first call, with float32[2,3]" in text
    assert "kernels" in text and "floating point operations" in text
    for stage, part in (("graph", "matmul"), ("passes", "== "), ("plan", "float32"), ("llvm", "define"), ("asm", "\n")):
        assert part in run.ir(stage), stage
    assert "test_capture.py" in run.ir("graph")
    with pytest.raises(ArgumentError, match="did you mean 'graph'"):
        run.ir("grph")


def test_equal_models_share_their_program() -> None:
    x, y = batches(1)[0]
    counts = []
    for seed in range(3):
        model = network(seed)
        cr.compile(make_step(model, optim.SGD(model.parameters(), lr=0.1)))(x, y).item()
        counts.append(len(programs._PROGRAMS))
    assert counts[0] == counts[-1]
