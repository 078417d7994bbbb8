"""Which graphs run vertex by vertex, and that nothing but time tells."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler import launch, programs
from chainrule.graph import primitive


@pytest.fixture(autouse=True)
def nothing_met() -> Iterator[None]:
    launch.forget_launches()
    programs._PROGRAMS.clear()
    programs._MET.clear()
    yield
    programs._MET.clear()


def kinds() -> list[str]:
    return [type(program).__name__ for program in programs._PROGRAMS.values()]


def test_a_graph_is_compiled_when_it_is_met_for_the_second_time() -> None:
    x = cr.tensor([1.0, 2.0, 3.0])
    results = []
    for count in (0, 1, 1, 1):
        results.append((x * 2 + 1).exp().sum().item())
        assert kinds() == ["Executable"] * count
    assert len(set(results)) == 1
    assert len(launch._LAUNCHES) == 1


def test_a_second_model_of_equal_structure_shares_the_program() -> None:
    x = cr.randn(5, 3)
    for _ in range(3):
        cr.nn.Linear(3, 4)(x).sum().item()
    assert kinds() == ["Executable"]


def test_compile_and_heavy_graphs_do_not_wait_for_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    x = cr.randn(9, 9)
    cr.compile(lambda x: x + 1)(x).sum()
    assert kinds() == ["Executable"]
    monkeypatch.setattr(programs, "HEAVY", 1000)
    (x @ x).numpy()
    assert len(kinds()) == 2


def test_a_primitive_without_a_rule_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.execution import one_off

    monkeypatch.delitem(one_off.RULES, "sum")
    assert cr.tensor([1.0, 2.0]).sum().item() == 3
    assert kinds() == ["Executable"]


def test_other_backends_are_as_they_were() -> None:
    for name, kind in (("reference", "Interpreter"), ("native", "")):
        with cr.backend(name):
            assert (cr.tensor([1.0, 2.0]) * 3).tolist() == [3, 6]
        assert kinds() == ([kind] if kind else ["Interpreter"])
    with cr.debug(), pytest.raises(cr.errors.NonFiniteError):
        (cr.zeros(2) - 1).log().sum().item()


def test_what_has_been_met_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "MAX_MET", 5)
    for size in range(1, 30):
        assert (cr.ones(size) + cr.arange(size)).sum().item() == size + size * (size - 1) / 2
        assert len(programs._MET) <= 5
    assert not programs._PROGRAMS


def train(steps: int, optimizer: Any) -> tuple[list[bytes], list[float]]:
    """Weights and losses of a loop whose graph is new at every step."""
    cr.manual_seed(0)
    rng = np.random.default_rng(0)
    model = cr.nn.Sequential(
        cr.nn.Linear(6, 17), cr.nn.BatchNorm1d(17), cr.nn.GELU(), cr.nn.Dropout(0.3), cr.nn.Linear(17, 3)
    )
    step, losses = optimizer(model.parameters()), []
    for number in range(steps):
        rows = 5 + number
        x = cr.tensor(rng.normal(size=(rows, 6)).astype("float32"))
        y = cr.tensor(rng.integers(0, 3, rows))
        loss = cr.nn.functional.cross_entropy(model(x), y)
        step.zero_grad()
        loss.backward()
        step.step()
        losses.append(loss.item())
    return [parameter.detach().numpy().tobytes() for parameter in model.parameters()], losses


@pytest.mark.parametrize(
    "optimizer", [cr.optim.Adam, lambda parameters: cr.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)]
)
def test_training_gives_the_same_bits_compiled(optimizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    for is_once in (True, False):
        monkeypatch.setattr(programs, "_is_new", lambda *graph, is_once=is_once: is_once)
        runs.append(train(6, optimizer))
        assert bool(programs._PROGRAMS) != is_once
    assert runs[0] == runs[1]


def test_values_are_read_before_anything_is_overwritten() -> None:
    a = cr.tensor([1.0, 2.0], requires_grad=True)
    b = cr.tensor([3.0, 4.0], requires_grad=True)
    with cr.no_grad():
        old = a * 1
        a.copy_(b.flip(0))
        b.copy_(old.flip(0))
    assert a.tolist() == [4, 3]
    assert b.tolist() == [2, 1]
    assert not programs._PROGRAMS


def test_gradients_views_and_writes() -> None:
    x = cr.arange(6.0).reshape(2, 3).requires_grad_()
    y = x.T[1:] * 2
    y[0] += 1
    (y * y).sum().backward()
    assert x.grad.tolist() == [[0, 2 * 2 * 3, 8 * 2], [0, 2 * 2 * 9, 8 * 5]]
    assert not programs._PROGRAMS


def test_results_outlive_later_runs_and_may_be_written() -> None:
    x = cr.tensor([1.0, 2.0])
    view = x.flip(0)
    array = view.numpy()
    x.add_(1)
    assert array.tolist() == [2, 1]
    view.add_(5)
    assert view.tolist() == [7, 6]


def test_threads_run_at_the_same_time() -> None:
    wrong = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for size in range(20 + seed * 50, 60 + seed * 50):
            x = rng.normal(size=(size, 7)).astype("float32")
            found = (cr.tensor(x) @ cr.tensor(x).T).exp().sum(0).numpy()
            if not np.allclose(found, np.exp(x @ x.T).sum(0), rtol=1e-3):
                wrong.append(size)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_every_primitive_is_run_vertex_by_vertex() -> None:
    from chainrule.execution.one_off import RULES

    for name, record in primitive.PRIMITIVES.items():
        assert name in RULES or record.family == "elementwise" or name == "input", name
