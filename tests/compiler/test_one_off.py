"""Which graphs run vertex by vertex, and that nothing but time tells."""

import gc
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
    programs._SHAPES.clear()
    yield
    programs._MET.clear()
    programs._SHAPES.clear()


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


def test_where_shapes_vary_few_are_compiled_before_they_are_met_often() -> None:
    def total(size: int) -> float:
        return float((cr.arange(float(size)) * 2).sum().item())

    few, patience = programs.FEW_SHAPES, programs.PATIENCE
    for turn in range(patience):
        for size in range(1, 2 * few + 1):
            assert total(size) == size * (size - 1)
        assert len(programs._PROGRAMS) == (0 if turn == 0 else few if turn < patience - 1 else 2 * few)
    other = [(cr.arange(3.0) + 2).sum().item() for _ in range(2)]  # other primitives do not wait
    assert other == [9, 9]
    assert len(programs._PROGRAMS) == 2 * few + 1


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


OPTIMIZERS: dict[str, Any] = {
    "Adam": {}, "AdamW": {"amsgrad": True}, "Adamax": {"maximize": True}, "NAdam": {"weight_decay": 0.01}, "RAdam": {},
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}, "ASGD": {}, "Rprop": {}, "Lion": {"weight_decay": 0.1},
    "RMSprop": {"centered": True, "momentum": 0.5}, "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.1},
    "Adadelta": {"weight_decay": 0.01}, "LAMB": {},
}  # fmt: skip


@pytest.mark.parametrize("name", [*OPTIMIZERS, "SGD with dampening"])
def test_training_gives_the_same_bits_compiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = OPTIMIZERS.get(name, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "nesterov": False})
    runs = []

    def optimizer(parameters: Any) -> Any:
        return getattr(cr.optim, name.split()[0])(parameters, **options)

    for is_once in (True, False):
        monkeypatch.setattr(programs, "_recurs", lambda *graph, is_once=is_once: not is_once)
        runs.append(train(6, optimizer))
        assert bool(programs._PROGRAMS) != is_once
    assert runs[0] == runs[1]


def test_steps_of_parameters_that_do_not_lie_as_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers, gradients in another order, gradients that somebody has set, several groups and types: as compiled."""

    def run(is_once: bool) -> list[Any]:
        monkeypatch.setattr(programs, "_recurs", lambda *graph: not is_once)
        launch.forget_launches()
        number = cr.tensor(2.0, requires_grad=True)
        wide = cr.arange(6.0).reshape(2, 3).to(cr.float64).requires_grad_()
        narrow = cr.nn.Parameter(cr.ones(3, 2))
        empty = cr.nn.Parameter(cr.zeros(0, 2))
        groups = [{"params": [number, wide], "lr": 0.1}, {"params": [narrow, empty]}]
        optimizer = cr.optim.Adam(groups, lr=0.5, weight_decay=0.1)
        for turn in range(3):
            optimizer.zero_grad()
            number.grad = cr.tensor(1.0 + turn)
            wide.grad = cr.arange(6.0).reshape(3, 2).to(cr.float64).T
            narrow.grad = (cr.ones(3, 2) * turn).exp()
            empty.grad = cr.zeros(0, 2)
            optimizer.step()
        assert bool(programs._PROGRAMS) != is_once
        return [parameter.tolist() for parameter in (number, wide, narrow, empty)]

    assert run(is_once=True) == run(is_once=False)


def test_a_step_that_cannot_be_evaluated_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.execution import one_off

    weight = cr.nn.Parameter(cr.ones(3))
    weight.grad = cr.ones(3)
    monkeypatch.delitem(one_off.RULES, "sqrt")  # which Adam takes of a number
    cr.optim.Adam([weight], lr=0.25).step()
    assert weight.tolist() == pytest.approx([0.75] * 3)
    assert kinds() == ["Executable"]


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


def test_a_step_of_a_new_network_leaves_nothing_for_the_garbage_collector() -> None:
    def step(width: int) -> None:
        model = cr.nn.Sequential(cr.nn.Linear(3, width), cr.nn.ReLU(), cr.nn.Linear(width, 2))
        optimizer = cr.optim.Adam(model.parameters())
        optimizer.zero_grad()
        loss = cr.nn.functional.cross_entropy(model(cr.ones(4, 3)), cr.tensor([0, 1, 1, 0]))
        loss.backward()
        optimizer.step()
        loss.item()

    step(5)  # loads the kernels
    gc.collect()
    gc.disable()
    try:
        step(6)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_large_products_have_the_same_bits_on_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.execution import generic_kernels

    monkeypatch.setattr(generic_kernels, "THREADS_ARE_DUE", 0)
    before = cr.get_num_threads()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(130, 200)).astype("float32"), rng.normal(size=(200, 99)).astype("float32")
    found = []
    try:
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            programs._MET.clear()
            found.append((cr.tensor(x) @ cr.tensor(y)).numpy().tobytes())
    finally:
        cr.set_num_threads(before)
    assert found[0] == found[1] == found[2]
    assert not programs._PROGRAMS


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
        assert name in RULES or record.family == "elementwise" or name in ("input", "loop"), name  # a rule for each run


NETWORKS: dict[str, Any] = {
    "batch norm and pooling": lambda nn: nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 17, 3, stride=2, padding=1), nn.BatchNorm2d(17), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(17, 5),
    ),
    "depthwise": lambda nn: nn.Sequential(
        # Without a bias, whose gradient in front of a normalisation is 0, and its rounding all there is to compare.
        nn.Conv2d(3, 9, 1), nn.ReLU(), nn.Conv2d(9, 9, 3, padding=1, groups=9, bias=False), nn.BatchNorm2d(9),
        nn.Tanh(), nn.Conv2d(9, 5, (1, 8)), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    ),
    "groups and gaps": lambda nn: nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=2, dilation=2, bias=False), nn.Sigmoid(),
        nn.Conv2d(12, 6, 3, groups=3, stride=(1, 2)), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Flatten(), nn.Linear(24, 5),
    ),
    "transposed": lambda nn: nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4), nn.ReLU(), nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.Flatten(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_convolutions_have_the_same_bits_however_they_run(name: str, dtype: str) -> None:
    """Loss, gradients and running statistics; the reference agrees to rounding."""
    cr.manual_seed(0)
    model = NETWORKS[name](cr.nn).to(getattr(cr, dtype))
    rng = np.random.default_rng(0)
    x, y = cr.tensor(rng.normal(size=(3, 3, 8, 8)).astype(dtype)), cr.tensor([4, 0, 2])
    state = {key: value.numpy().copy() for key, value in model.state_dict().items()}

    def step() -> list[np.ndarray]:
        model.load_state_dict({key: cr.tensor(value) for key, value in state.items()})
        model.zero_grad()
        loss = cr.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        gradients = [parameter.grad.numpy().copy() for parameter in model.parameters()]
        return [loss.detach().numpy().copy(), *gradients, *(value.numpy().copy() for value in model.buffers())]

    with cr.backend("reference"):
        meant = step()
    launch.forget_launches()
    programs._PROGRAMS.clear()
    programs._MET.clear()
    once = step()
    assert kinds() == []
    compiled = step()
    assert "Executable" in kinds()
    for i, (one, other, expected) in enumerate(zip(once, compiled, meant, strict=True)):
        assert one.tobytes() == other.tobytes(), f"value {i} of {one.shape} differs"
        tolerance = (1e-11 if dtype == "float64" else 2e-4) * max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(one, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("depth", [None, 3])
def test_a_convolution_in_tiles_has_the_same_bits_from_its_first_run_on(depth: int | None, padding: int) -> None:
    rng = np.random.default_rng(0)
    shape = (2, 16, 27, 24) if depth is None else (2, 16, depth, 27, 24)
    x = cr.tensor(rng.normal(size=shape).astype("float32"), requires_grad=True)
    convolution = cr.nn.Conv2d(16, 32, 3, padding=padding)
    if depth is not None:
        convolution = cr.nn.Conv3d(16, 32, (1, 3, 3), padding=(0, padding, padding))

    def step() -> list[bytes]:
        x.grad = None
        convolution.zero_grad()
        result = convolution(x)
        result.square().sum().backward()
        return [each.detach().numpy().tobytes() for each in (result, x.grad, convolution.weight.grad)]

    launch.forget_launches()
    programs._PROGRAMS.clear()
    programs._MET.clear()
    assert step() == step()


def test_a_convolution_over_planes_has_the_bits_of_its_program() -> None:
    """What a program computes in tiles, although the window has three dimensions."""
    convolution = cr.nn.Conv3d(16, 32, (1, 3, 3), padding=(0, 1, 1))
    x = cr.tensor(np.random.default_rng(0).normal(size=(1, 16, 3, 27, 24)).astype("float32"))
    launch.forget_launches()
    programs._PROGRAMS.clear()
    programs._MET.clear()
    with cr.no_grad():
        first, *others = (convolution(x).numpy().tobytes() for _ in range(3))
    assert others == [first, first]
