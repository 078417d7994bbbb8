"""Sequences of many lengths: a new one compiles nothing, and nothing but time tells."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler import launch, programs
from chainrule.execution import native_code, native_loops, stepwise
from chainrule.passes.pipeline import optimize
from chainrule.settings import settings

ROWS, INPUTS, CLASSES = 4, 3, 5


@pytest.fixture(autouse=True)
def nothing_met(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settings, "cache_enabled", False)
    forget()
    yield
    forget()


def forget() -> None:
    launch.forget_launches()
    for known in (programs._PROGRAMS, programs._MET, programs._SHAPES, native_loops._loops):
        known.clear()


class Classifier(cr.nn.Module):
    def __init__(self, kind: str, rows: int, has_lengths: bool = False, **options: Any) -> None:
        super().__init__()
        self.lengths = np.arange(rows) % 3 + 1 if has_lengths else None
        self.layer = getattr(cr.nn, kind)(INPUTS, 8, batch_first=True, **options)
        self.last = cr.nn.Linear(16 if options.get("bidirectional") else 8, CLASSES)

    def forward(self, x: Any) -> Any:
        lengths = {} if self.lengths is None else {"lengths": cr.tensor(np.minimum(self.lengths, x.shape[1]))}
        return self.last(cr.nn.functional.dropout(self.layer(x, **lengths)[0], 0.2).sum(1))


KINDS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "LSTM": ({}, lambda parameters: cr.optim.Adam(parameters, weight_decay=0.01)),
    "GRU": ({"has_lengths": True}, lambda parameters: cr.optim.SGD(parameters, 0.1, momentum=0.9)),
    "RNN": ({"bidirectional": True}, lambda parameters: cr.optim.AdamW(parameters, amsgrad=True)),
}


def train(
    kind: str, lengths: list[int], is_compiled: bool, clip: bool = True, spoil: bool = False, rows: int = ROWS
) -> list[bytes]:
    """Losses, weights and state of the optimiser."""
    cr.manual_seed(0)
    rng = np.random.default_rng(0)
    options, optimizer = KINDS[kind]
    model = Classifier(kind, rows, **options)
    rule = optimizer(model.parameters())

    def step(x: Any, y: Any) -> Any:
        loss = cr.nn.functional.cross_entropy(model(x), y)
        rule.zero_grad()
        loss.backward()
        if clip:
            cr.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        rule.step()
        return loss

    run = cr.compile(step) if is_compiled else step
    results = []
    for length in lengths:
        x = rng.normal(size=(rows, length, INPUTS)).astype("float32")
        if spoil:
            x[0, 0], x[1, -1] = np.inf, np.nan
        results.append(run(cr.tensor(x), cr.tensor(rng.integers(0, CLASSES, rows))))
    results += model.parameters()
    for state in rule.state.values():
        results += [value for value in state.values() if isinstance(value, cr.Tensor)]
    return [bits(tensor) for tensor in results]


def bits(tensor: Any) -> bytes:
    """The bits of a tensor; any NaN is like any other."""
    array = tensor.detach().numpy()
    return np.where(array == array, array, np.array(np.nan, array.dtype)).tobytes()


LENGTHS = [3, 4, 7, 5, 3, 7, 1, 7]


@pytest.fixture(scope="module")
def compiled_apart() -> dict[str, list[bytes]]:
    """What programs compute of which each was compiled for one length."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "FEW_LENGTHS", 1000)
        results = {}
        for kind in KINDS:
            forget()
            results[kind] = train(kind, LENGTHS, is_compiled=True)
            assert program_kinds().count("Executable") >= len(set(LENGTHS))
            assert "Stepwise" not in program_kinds()
    return results


def program_kinds() -> list[str]:
    return [type(program).__name__ for program in programs._PROGRAMS.values()]


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize(
    ("kind", "enough_steps", "patience"),
    [*((kind, steps, 1000) for kind in KINDS for steps in (1, 1000)), ("LSTM", 1, 1)],
)
def test_the_bits_are_those_of_programs_compiled_for_one_length(
    kind: str,
    enough_steps: int,
    patience: int,
    is_compiled: bool,
    compiled_apart: dict[str, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether loops run by machine code or vertex by vertex, and whether a program is compiled when it comes again."""
    monkeypatch.setattr(native_loops, "ENOUGH_STEPS", enough_steps)
    monkeypatch.setattr(stepwise, "PATIENCE", patience)
    assert train(kind, LENGTHS, is_compiled) == compiled_apart[kind]
    assert "Stepwise" in program_kinds()


@pytest.mark.parametrize("is_compiled", [False, True])
def test_numbers_that_are_not_finite_have_the_same_bits(is_compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_loops, "ENOUGH_STEPS", 1)
    with monkeypatch.context() as patch:
        patch.setattr(programs, "FEW_LENGTHS", 1000)
        expected = train("LSTM", [4, 6, 5, 7], is_compiled=True, clip=False, spoil=True)
    forget()
    assert train("LSTM", [4, 6, 5, 7], is_compiled, clip=False, spoil=True) == expected
    assert np.isnan(np.frombuffer(expected[0], "float32")).all()


def test_parts_of_a_batch_on_several_threads_have_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_loops, "ENOUGH_STEPS", 1)
    monkeypatch.setattr("chainrule.passes.rows.LEAST_WORK", 1)
    before, results = cr.get_num_threads(), []
    try:
        for threads in (1, 3):
            cr.set_num_threads(threads)
            results.append(train("LSTM", [4, 6, 5, 7], is_compiled=False, rows=32))
            loops = [loop for loop in native_loops._loops.values() if isinstance(loop, native_loops.NativeLoop)]
            assert any(loop.layout.is_parallel for loop in loops)
            forget()
    finally:
        cr.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize(("enough_steps", "threads"), [(1, 1), (1, 3), (1000, 1)])
def test_sums_of_parts_of_a_batch_have_the_same_bits(
    enough_steps: int, threads: int, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients of biases and weights, of a batch that programs compiled for one length cut into parts."""
    for place, number in (("rows.LEAST_WORK", 1), ("products.LEAST_WORK", 1), ("products.LEAST_DEPTH", 1)):
        monkeypatch.setattr(f"chainrule.passes.{place}", number)
    monkeypatch.setattr(native_loops, "ENOUGH_STEPS", enough_steps)
    lengths = [4, 6, 5, 9, 17]
    with monkeypatch.context() as patch:
        patch.setattr(programs, "FEW_LENGTHS", 1000)
        expected = train("LSTM", lengths, is_compiled=True, rows=32)
        optimized = [optimize(program.graph) for program in programs._PROGRAMS.values()]
        assert any(each.attributes.get("result") == "product" for graph in optimized for each in graph.order())
    forget()
    before = cr.get_num_threads()
    try:
        cr.set_num_threads(threads)
        assert train("LSTM", lengths, is_compiled, rows=32) == expected
    finally:
        cr.set_num_threads(before)
    assert "Stepwise" in program_kinds()


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_new_length_compiles_nothing(is_compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    counts, compiled = [], []
    object_code = native_code.object_code
    monkeypatch.setattr(native_code, "object_code", lambda *given: compiled.append(1) or object_code(*given))
    for lengths in (list(range(30, 42)), list(range(42, 75))):
        train("LSTM", lengths, is_compiled)
        counts.append((len(compiled), program_kinds().count("Executable"), len(native_loops._loops)))
    assert counts[0] == counts[1]
    assert counts[0][1] <= programs.FEW_LENGTHS + 2
    assert counts[0][2] == 2  # the loop and the one that goes back through it


def test_programs_that_wait_can_be_looked_at() -> None:
    layer = cr.nn.RNN(2, 3)
    step = cr.compile(lambda x: layer(x)[0].sum())
    with cr.no_grad():
        for length in range(2, 6):
            step(cr.ones(length, 1, 2))
    assert program_kinds()[-2:] == ["Stepwise"] * 2
    assert "vertex by vertex" in step.explain()
    assert "loop loop_" in step.ir("plan")


def test_what_is_on_the_disk_is_used_at_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "cache_directory", tmp_path)
    monkeypatch.setattr(settings, "cache_enabled", True)
    with monkeypatch.context() as patch:
        patch.setattr(programs, "FEW_LENGTHS", 1000)
        expected = train("LSTM", [3, 4, 5, 6], is_compiled=True)
    forget()
    assert train("LSTM", [3, 4, 5, 6], is_compiled=True) == expected
    assert set(program_kinds()) == {"Executable"}


def test_other_bodies_are_no_other_lengths() -> None:
    """A search for the number of units compiles each network."""
    for units in (3, 4, 5, 6):
        layer = cr.nn.RNN(2, units)
        cr.compile(lambda x, layer=layer: layer(x)[0])(cr.ones(3, 1, 2)).detach()
    assert set(program_kinds()) == {"Executable"}


def test_state_that_follows_from_other_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates that read one another's old values, in one order of memory and in two, numbers and views of them."""

    def run() -> list[list[float]]:
        a, b, c = (cr.tensor(np.arange(6.0).reshape(2, 3) + shift) for shift in (1, 2, 3))
        turned, number = cr.tensor(np.arange(6.0).reshape(3, 2)).T, cr.tensor(2.0)

        def step(x: Any) -> Any:
            total = cr.scan(lambda carry, y: (carry + y, None), cr.zeros(2, 3, dtype=cr.float64), x)[0]
            old, first = a * 1, b[0, 0] * 1
            a.copy_(b * first + total)
            b.copy_(old - c * number)
            c.copy_(turned * a)
            turned.mul_(first + number)
            number.add_(total.sum())
            return old

        once = cr.compile(step)
        results = [once(cr.ones(length, 2, 3, dtype=cr.float64)).tolist() for length in (1, 2, 3, 4, 5)]
        return [*results, *(tensor.tolist() for tensor in (a, b, c, turned, number))]

    with monkeypatch.context() as patch:
        patch.setattr(programs, "FEW_LENGTHS", 1000)
        expected = run()
    forget()
    assert run() == expected
    assert "Stepwise" in program_kinds()
