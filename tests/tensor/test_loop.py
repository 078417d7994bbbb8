"""`scan`: recurrent networks against PyTorch's, what a function may do inside, and what it is told when it may not."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, CaptureError, DTypeError, GradientError, NonFiniteError, ShapeError

BACKENDS = ("reference", "one-off", "compiled")


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Calls a function on a backend: what is met once runs vertex by vertex, the second time it is compiled."""

    def twice(function: Callable[[], Any]) -> Any:
        function()
        return function()

    if request.param == "reference":
        with cr.backend("reference"):
            yield lambda function: function()
    else:
        yield twice if request.param == "compiled" else lambda function: function()


def rnn_cell(p: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    (h,) = state
    h = (x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]).tanh()
    return (h,), h


def lstm_cell(p: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    h, c = state
    gates = x @ p["weight_ih_l0"].T + p["bias_ih_l0"] + h @ p["weight_hh_l0"].T + p["bias_hh_l0"]
    i, f, g, o = gates.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h, c), h


def gru_cell(p: dict[str, Any], state: Any, x: Any) -> tuple[Any, Any]:
    (h,) = state
    of_x = (x @ p["weight_ih_l0"].T + p["bias_ih_l0"]).chunk(3, -1)
    of_h = (h @ p["weight_hh_l0"].T + p["bias_hh_l0"]).chunk(3, -1)
    r, z = ((of_x[k] + of_h[k]).sigmoid() for k in (0, 1))
    n = (of_x[2] + r * of_h[2]).tanh()
    h = (1 - z) * n + z * h
    return (h,), h


CELLS = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell}


@pytest.mark.parametrize("length", [1, 7, 50])
@pytest.mark.parametrize("kind", CELLS)
def test_recurrent_networks_agree_with_torch(kind: str, length: int, run: Callable[..., Any]) -> None:
    """Outputs, last states, and gradients by the input, by the first states and by the weights, in float64."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(length)
    twin = getattr(torch.nn, kind)(4, 5).double()
    count = 2 if kind == "LSTM" else 1
    x = torch.randn(length, 3, 4, dtype=torch.float64, requires_grad=True)
    starts = [torch.randn(1, 3, 5, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    y, ends = twin(x, tuple(starts) if count == 2 else starts[0])
    values = [y, *(ends if count == 2 else [ends])]
    weights = [torch.randn_like(value) for value in values]
    sum((value * weight).sum() for value, weight in zip(values, weights, strict=True)).backward()

    def train() -> list[Any]:
        p = {name: cr.nn.Parameter(cr.tensor(value.detach().numpy())) for name, value in twin.named_parameters()}
        ours, *states = (cr.nn.Parameter(cr.tensor(value.detach().numpy())) for value in (x, *(s[0] for s in starts)))
        last, stacked = cr.scan(lambda state, x: CELLS[kind](p, state, x), tuple(states), ours)
        found = [stacked, *last]
        shaped = [cr.tensor(w.numpy()).reshape(v.shape) for w, v in zip(weights, found, strict=True)]
        sum((value * weight).sum() for value, weight in zip(found, shaped, strict=True)).backward()
        leaves = [ours, *states, *p.values()]
        return [value.detach().numpy() for value in found] + [leaf.grad.numpy() for leaf in leaves]

    expected = [*values, *(leaf.grad for leaf in (x, *starts, *twin.parameters()))]
    for ours, theirs in zip(run(train), expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy().reshape(ours.shape), rtol=1e-6, atol=1e-12)


def test_a_loop_is_the_same_as_steps_one_after_another(run: Callable[..., Any]) -> None:
    x = cr.tensor(np.random.default_rng(0).normal(size=(6, 3)))

    def step(state: Any, x: Any) -> tuple[Any, Any]:
        total, count = state["total"] * 0.5 + x.exp(), state["count"] + 1
        return {"total": total, "count": count}, (total * count, [x.sum(), None])

    start = {"total": cr.zeros(3, dtype=cr.float64), "count": cr.tensor(0)}
    for reverse in (False, True):
        last, (products, [sums, nothing]) = run(lambda reverse=reverse: cr.scan(step, start, x, reverse=reverse))
        state, rows = start, []
        for t in range(6)[:: -1 if reverse else 1]:
            state, (product, (total, _)) = step(state, x[t])
            rows.append((product.numpy(), total.item()))
        rows = rows[:: -1 if reverse else 1]
        assert last["count"].item() == 6
        assert nothing is None
        np.testing.assert_allclose(last["total"].numpy(), state["total"].numpy(), rtol=1e-14)
        np.testing.assert_allclose(products.numpy(), [row for row, _ in rows], rtol=1e-14)
        np.testing.assert_allclose(sums.numpy(), [total for _, total in rows], rtol=1e-14)


def test_no_steps_give_the_first_carry_and_nothing(run: Callable[..., Any]) -> None:
    w = cr.nn.Parameter(cr.ones(3))
    start = cr.nn.Parameter(cr.tensor([1.0, 2.0, 3.0]))

    def train() -> Any:
        last, ys = cr.scan(lambda h, x: (h * w + x, h.sum()), start, cr.zeros(0, 3))
        (last * 2).sum().backward()
        gradient, start.grad = start.grad, None
        return last.detach(), ys, gradient

    last, ys, gradient = run(train)
    assert (last.tolist(), ys.shape, gradient.tolist()) == ([1, 2, 3], (0,), [2, 2, 2])


def test_without_inputs_the_length_is_given(run: Callable[..., Any]) -> None:
    last, powers = run(lambda: cr.scan(lambda h, _: (h * 2, h), cr.tensor([1.0, 3.0]), length=4))
    assert last.tolist() == [16, 48]
    assert powers.tolist() == [[1, 3], [2, 6], [4, 12], [8, 24]]


def test_loops_inside_loops(run: Callable[..., Any]) -> None:
    """The inner function uses a tensor of the outer step, and one from outside of both."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=shape) for shape in ((3,), (4, 2, 3), (3,))]

    def train() -> list[Any]:
        start, xs, w = (cr.nn.Parameter(cr.tensor(array)) for array in arrays)

        def outer(h: Any, rows: Any) -> tuple[Any, Any]:
            def inner(k: Any, x: Any) -> tuple[Any, Any]:
                k = (k * w + x * h).tanh()
                return k, k * x

            k, ys = cr.scan(inner, h, rows)
            return k + h * 0.5, ys.sum(0)

        last, ys = cr.scan(outer, start, xs)
        ((last**2).sum() + ys.sin().sum()).backward()
        return [start.grad.numpy(), xs.grad.numpy(), w.grad.numpy()]

    start, xs, w = (torch.tensor(array, requires_grad=True) for array in arrays)
    h, total = start, 0.0
    for rows in xs:
        k, ys = h, 0.0
        for x in rows:
            k = (k * w + x * h).tanh()
            ys = ys + k * x
        h, total = k + h * 0.5, total + ys.sin().sum()
    ((h**2).sum() + total).backward()
    for ours, theirs in zip(run(train), (start.grad, xs.grad, w.grad), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9)


def test_a_gradient_that_vanishes_is_zero_before_numbers_become_subnormal(run: Callable[..., Any]) -> None:
    def slope(steps: int) -> float:
        start = cr.nn.Parameter(cr.ones(20))
        cr.scan(lambda h, x: (h * x, None), start, cr.full((steps,), 0.5))[0].sum().backward()
        return float(start.grad[3].item())

    assert [run(lambda n=n: slope(n)) for n in (50, 100, 101, 140)] == [2.0**-50, 2.0**-100, 0, 0]


def test_derivatives_of_second_order_agree_with_finite_differences() -> None:
    w = cr.tensor([0.3, -0.7, 1.1], dtype=cr.float64)
    xs = cr.tensor(np.random.default_rng(2).normal(size=(5, 3)))

    def last(w: Any, xs: Any) -> Any:
        return cr.scan(lambda h, x: ((h * w + x).tanh(), h * x), cr.zeros(3, dtype=cr.float64), xs)

    assert cr.autograd.gradcheck(lambda w, xs: last(w, xs)[0], (w.requires_grad_(), xs.requires_grad_()))

    def slope(w: Any, xs: Any) -> Any:
        carry, ys = last(w, xs)
        return cr.autograd.grad(carry.sin().sum() + (ys**2).sum(), w, create_graph=True)[0]

    assert cr.autograd.gradcheck(slope, (w, xs))


def test_the_bits_do_not_depend_on_how_a_loop_is_run() -> None:
    rng = np.random.default_rng(3)
    x, w = (cr.tensor(rng.normal(size=shape).astype("float32")) for shape in ((20, 7, 9), (9, 9)))

    def values() -> list[Any]:
        h, ys = cr.scan(lambda h, x: ((h @ w * 0.1 + x).tanh(), (h.exp() * x).sum(-1)), cr.zeros(7, 9), x)
        return [h.numpy().tobytes(), ys.numpy().tobytes()]

    assert values() == values()


def test_a_step_is_recorded_once_and_compiled_once() -> None:
    calls = []

    def function(h: Any, x: Any) -> tuple[Any, Any]:
        calls.append(x.shape)
        return h + x, None

    compiled = cr.compile(lambda h, x: cr.scan(function, h, x)[0])
    assert compiled(cr.zeros(2), cr.ones(1000, 2)).tolist() == [1000, 1000]
    assert compiled(cr.zeros(2), cr.ones(1000, 2)).tolist() == [1000, 1000]
    assert calls == [(2,)]
    assert "loop loop_0 of 1000 steps forwards" in compiled.ir("plan")
    assert len(compiled.ir("plan").splitlines()) < 25


def test_a_loop_that_is_recorded_again_is_the_same_vertex() -> None:
    x, w = cr.ones(5, 3), cr.ones(3)
    first = cr.scan(lambda h, x: (h * w + x, h), cr.zeros(3), x)
    again = cr.scan(lambda h, x: (h * w + x, h), cr.zeros(3), x)
    assert first[1]._vertex.attributes["body"] is not None
    assert first[1]._vertex.primitive is again[1]._vertex.primitive
    assert first[1]._vertex.attributes["body"] == again[1]._vertex.attributes["body"]


def test_gradients_are_cut_where_the_function_cuts_them() -> None:
    w = cr.nn.Parameter(cr.tensor([2.0]))

    def step(h: Any, _: Any) -> tuple[Any, Any]:
        with cr.no_grad():
            fixed = h * w
        return h * w + fixed.detach(), None

    cr.scan(step, cr.ones(1), length=2)[0].sum().backward()
    assert w.grad.tolist() == [6.0]  # h₁ = w + 2 = 4, h₂ = h₁·w + 8: dh₂/dw = h₁ + w·1
    with cr.no_grad():
        assert not cr.scan(step, cr.ones(1), length=2)[0].requires_grad


def test_random_numbers_are_the_same_in_all_steps() -> None:
    _, noise = cr.scan(lambda h, _: (h, cr.rand(4)), cr.zeros(1), length=3)
    assert noise[0].tolist() == noise[1].tolist() == noise[2].tolist()
    assert len(set(noise[0].tolist())) == 4


def test_debug_names_the_line_inside_the_function() -> None:
    with cr.debug(), pytest.raises(NonFiniteError, match=r"(?s)log .*test_loop\.py:\d+"):
        cr.scan(lambda h, x: (h, (x - 2).log()), cr.zeros(()), cr.tensor([3.0, 1.0]))[1].sum().item()


# -------------------------------------------------------------------------------------------------------------- errors


def add(h: Any, x: Any) -> tuple[Any, Any]:
    return h + x, h


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cr.scan(add, cr.zeros(1), cr.ones(4, 3)), ShapeError, r"carry 0 of .*\[1\] .*\[3\]"),
        (lambda: cr.scan(add, cr.tensor(0), cr.ones(4)), DTypeError, r"is int64\[\] before a step and float32\[\]"),
        (lambda: cr.scan(add, cr.zeros(3), (cr.ones(4, 3), cr.ones(5, 3))), ShapeError, "xs of one length"),
        (lambda: cr.scan(add, cr.zeros(3), cr.ones(4, 3), length=5), ShapeError, "and length=5"),
        (lambda: cr.scan(add, cr.zeros(3), cr.tensor(1.0)), ShapeError, "no dimensions"),
        (lambda: cr.scan(add, cr.zeros(3)), ShapeError, "without xs, say length="),
        (lambda: cr.scan(add, cr.zeros(3), length=-1), ArgumentError, "a number of steps, got length=-1"),
        (lambda: cr.scan(lambda h, x: h + x, cr.zeros(3), cr.ones(4, 3)), ArgumentError, r"must return \(carry, y\)"),
        (lambda: cr.scan(lambda h, x: ((h, h), x), cr.zeros(3), cr.ones(4, 3)), ArgumentError, "in the form in which"),
        (lambda: cr.scan(lambda h, x: (h, x.item()), cr.zeros(3), cr.ones(4)), CaptureError, "read values"),
    ],
)  # fmt: skip
def test_what_scan_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
    assert (cr.ones(2) + 1).tolist() == [2, 2]  # nothing of the failed recording is left


@pytest.mark.parametrize(
    "make", [lambda: cr.zeros(3), lambda: cr.zeros(3) + 0, lambda: cr.nn.Parameter(cr.zeros(3)).data]
)
def test_a_function_that_changes_what_is_outside_is_refused(make: Callable[[], Any]) -> None:
    total = make()

    def step(h: Any, x: Any) -> tuple[Any, Any]:
        total.add_(x)
        return h, x

    with pytest.raises((CaptureError, GradientError)):
        cr.scan(step, cr.zeros(3), cr.ones(4, 3))
        total.numpy()


def test_a_tensor_that_leaves_a_step_has_no_value() -> None:
    kept = []

    def step(h: Any, x: Any) -> tuple[Any, Any]:
        kept.append(h * x)
        return h + x, None

    assert cr.scan(step, cr.zeros(()), cr.ones(3))[0].item() == 3
    with pytest.raises(GradientError, match="no value"):
        kept[0].item()
