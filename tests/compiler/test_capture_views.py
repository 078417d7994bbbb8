"""Views and writes in place inside captured functions."""

import pytest

import chainrule as cr
from chainrule.compiler import launch, programs
from chainrule.errors import CaptureError


def test_memory_found_outside_is_written_through_views() -> None:
    x = cr.zeros(2, 3)
    row = x[0]

    @cr.compile
    def step() -> cr.Tensor:
        row.add_(1)
        x.view(-1)[::2].mul_(2)
        return x.sum()

    assert [step().item() for _ in range(3)] == [5, 14, 31]
    assert x.tolist() == [[14, 3, 14], [0, 0, 0]]
    assert row.tolist() == [14, 3, 14]


def test_arguments_are_written_and_tensors_made_inside_are_new_each_time() -> None:
    @cr.compile
    def step(a: cr.Tensor, b: cr.Tensor) -> cr.Tensor:
        a.add_(b)
        a[0] = 5
        made = cr.zeros(3)
        made[1] += 2
        made.view(-1)[2:] = b.sum()
        return made

    a, other, b = cr.ones(2, 2), cr.zeros(2, 2), cr.ones(2, 2)
    for argument in (a, a, other):
        assert step(argument, b).tolist() == [0, 2, 4]
    assert a.tolist() == [[5, 5], [3, 3]] and other.tolist() == [[5, 5], [1, 1]]


def test_arguments_that_share_memory_with_a_written_one_are_refused() -> None:
    step = cr.compile(lambda a, b: a.add_(b).sum())
    x = cr.ones(4)
    assert step(cr.ones(2), x[:2]).item() == 4
    with pytest.raises(CaptureError, match="share memory"):
        step(x[:2], x[2:])


def test_pending_values_and_their_views() -> None:
    @cr.compile
    def step(x: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
        y = x * 2
        z = y.T
        z[0] = 7
        y[1] += z[1]
        y[y > 6] = 0
        return y, z

    y, z = step(cr.ones(2, 2))
    assert (y.tolist(), z.tolist()) == ([[0, 2], [0, 4]], [[0, 0], [2, 4]])
    y.zero_()
    assert z.tolist() == [[0, 0], [2, 4]]


def test_gradients_flow_through_what_was_written() -> None:
    w = cr.ones(3, requires_grad=True)

    @cr.compile
    def step() -> cr.Tensor:
        out = cr.zeros(3)
        for i in range(3):
            out[i] = w[i] * i
        loss = (out * out).sum()
        loss.backward()
        return loss

    assert step().item() == 5
    assert w.grad.tolist() == [0, 2, 8]


def test_a_mask_as_an_index_needs_its_values() -> None:
    x = cr.ones(3)
    with pytest.raises(CaptureError, match="an index by a mask"):
        cr.compile(lambda: x[x > 0])()


def test_a_loop_that_writes_to_views_compiles_nothing_after_its_first_rounds() -> None:
    confusion, data = cr.zeros(3, 3), cr.arange(12).reshape(4, 3).float()
    weight = cr.ones(3, requires_grad=True)
    counts = []
    for i in range(8):
        loss = (data[i % 4] * weight).sum()
        weight.grad = None
        loss.backward()
        weight.data.add_(weight.grad.data, alpha=-0.01)
        confusion[i % 3][i % 2] += 1
        confusion.view(-1)[i % 3 :: 3].mul_(2)
        data[i % 4, 1:] = data[(i + 1) % 4, 1:]
        counts.append(len(programs._PROGRAMS))
    assert counts[-1] == counts[3]
    assert launch._LAUNCHES
