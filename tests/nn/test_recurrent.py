"""Recurrent layers against PyTorch's: outputs, last states and all gradients, met once and compiled."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.settings import settings

INPUTS, HIDDEN, STEPS, ROWS = 4, 5, 7, 3
KINDS = ("RNN", "LSTM", "GRU")
LENGTHS = [3, 6, 1]


def values(tensor: Any) -> np.ndarray[Any, Any]:
    return np.array(tensor.detach())


def run(train: Any, is_compiled: bool) -> Any:
    """What a training step gives, vertex by vertex or as one program."""
    return (cr.compile(train) if is_compiled else train)()


class Twins:
    """A layer and PyTorch's with the same weights, an input and first states for both."""

    def __init__(self, kind: str, is_single: bool = False, **options: Any) -> None:
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        self.torch, self.batch_first = torch, options.get("batch_first", False)
        self.theirs = getattr(torch.nn, kind)(INPUTS, HIDDEN, **options).double()
        self.ours = getattr(nn, kind)(INPUTS, HIDDEN, **options).double()
        self.ours.load_state_dict(self.theirs.state_dict())
        count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        sizes = [options.get("proj_size") or HIDDEN, HIDDEN][: 1 + (kind == "LSTM")]
        shape = (STEPS, INPUTS) if is_single else (STEPS, ROWS, INPUTS)
        shape = (ROWS, STEPS, INPUTS) if self.batch_first else shape
        states = [(count, size) if is_single else (count, ROWS, size) for size in sizes]
        sizes = [shape, *states]
        self.x, *self.states = (torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)

    def step(self, call: Any, x: Any, states: list[Any], weigh: Any) -> list[Any]:
        """Outputs and last states; what follows from them has been differentiated."""
        output, last = call(x, tuple(states) if len(states) == 2 else states[0])
        found = [output, *(last if len(states) == 2 else [last])]
        sum((value * weigh(value)).sum() for value in found).backward()
        return found

    def check(self, call_ours: Any, call_theirs: Any, is_compiled: bool) -> None:
        torch = self.torch

        def weights(shape: Any) -> Any:
            return np.sin(np.arange(np.prod(shape))).reshape(tuple(shape)) + 0.5

        expected = self.step(call_theirs, self.x, self.states, lambda value: torch.tensor(weights(value.shape)))
        expected += [leaf.grad for leaf in (self.x, *self.states, *self.theirs.parameters())]
        leaves = [nn.Parameter(cr.tensor(leaf.detach().numpy())) for leaf in (self.x, *self.states)]

        def train() -> list[Any]:
            found = self.step(call_ours, leaves[0], leaves[1:], lambda value: cr.tensor(weights(value.shape)))
            return [value.detach() for value in found] + [leaf.grad for leaf in (*leaves, *self.ours.parameters())]

        found = run(train, is_compiled)
        assert len(found) == len(expected)
        for mine, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(values(mine), other.detach().numpy(), rtol=1e-6, atol=1e-12)


def compiled() -> Any:
    return pytest.mark.parametrize("is_compiled", [False, True], ids=["once", "compiled"])


@compiled()
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in KINDS),
        *((kind, {"num_layers": 2, "bidirectional": True, "batch_first": True}) for kind in KINDS),
        *((kind, {"is_single": True, "bidirectional": True, "bias": False}) for kind in KINDS),
        ("RNN", {"nonlinearity": "relu"}),
        ("LSTM", {"proj_size": 2, "num_layers": 2, "bidirectional": True}),
    ],
)
def test_layers_equal_pytorch(kind: str, options: dict[str, Any], is_compiled: bool) -> None:
    twins = Twins(kind, **options)
    twins.check(twins.ours, twins.theirs, is_compiled)


@compiled()
@pytest.mark.parametrize("is_packed", [False, True], ids=["lengths", "packed"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {}) for kind in KINDS),
        ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True, "proj_size": 2}),
    ],
)
def test_lengths_equal_pytorch(kind: str, options: dict[str, Any], is_packed: bool, is_compiled: bool) -> None:
    """What lies behind the ends, here NaN, changes nothing and gets no gradient."""
    twins = Twins(kind, **options)
    first = twins.batch_first
    padded = twins.x.detach() if first else twins.x.detach().transpose(0, 1)
    for row, length in enumerate(LENGTHS):
        padded[row, length:] = np.nan

    def packing(rnn: Any, layer: Any, lengths: Any) -> Any:
        def call(x: Any, states: Any) -> Any:
            output, last = layer(rnn.pack_padded_sequence(x, lengths, first, enforce_sorted=False), states)
            return rnn.pad_packed_sequence(output, first, total_length=STEPS)[0], last

        return call

    theirs = packing(twins.torch.nn.utils.rnn, twins.theirs, twins.torch.tensor(LENGTHS))
    if is_packed:
        twins.check(packing(nn.utils.rnn, twins.ours, LENGTHS), theirs, is_compiled)
    else:
        twins.check(lambda x, states: twins.ours(x, states, lengths=LENGTHS), theirs, is_compiled)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("kind", KINDS)
def test_state_dicts_go_both_ways(kind: str) -> None:
    torch = pytest.importorskip("torch")
    options = {"num_layers": 2, "bidirectional": True} | ({"proj_size": 2} if kind == "LSTM" else {})
    ours, theirs = getattr(nn, kind)(INPUTS, HIDDEN, **options), getattr(torch.nn, kind)(INPUTS, HIDDEN, **options)
    assert repr(ours) == repr(theirs)
    assert [(name, tuple(value.shape)) for name, value in ours.state_dict().items()] == [
        (name, tuple(value.shape)) for name, value in theirs.state_dict().items()
    ]
    theirs.load_state_dict({name: torch.tensor(values(value)) for name, value in ours.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(STEPS, ROWS, INPUTS)).astype("float32")
    np.testing.assert_allclose(values(ours(x)[0]), theirs(torch.tensor(x))[0].detach().numpy(), rtol=1e-4, atol=1e-6)
    assert [len(part) for part in ours.all_weights] == [len(part) for part in theirs.all_weights]
    ours.flatten_parameters()


def test_dropout_lies_between_layers_and_only_in_training() -> None:
    cr.manual_seed(0)
    layer = nn.LSTM(INPUTS, HIDDEN, num_layers=2, dropout=1.0)
    x = cr.randn(STEPS, ROWS, INPUTS)
    everything_dropped = layer(x)[1][0]
    np.testing.assert_array_equal(values(everything_dropped[0]), values(layer.eval()(x)[1][0][0]))
    layer.train()
    silent = layer(cr.zeros(STEPS, ROWS, INPUTS))[0]
    np.testing.assert_array_equal(values(layer(x)[0]), values(silent))
    assert not np.array_equal(values(layer(x)[0]), values(layer.eval()(x)[0]))
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nn.GRU(INPUTS, HIDDEN, dropout=0.5)


def test_dropout_differs_from_step_to_step() -> None:
    cr.manual_seed(0)
    layer = nn.RNN(1, 8, num_layers=2, dropout=0.5, bias=False, nonlinearity="relu")
    layer.weight_hh_l0.write(0.0)
    layer.weight_hh_l1.write(0.0)
    layer.weight_ih_l0.write(1.0)
    layer.weight_ih_l1.write(np.eye(8))
    seen = values(layer(cr.ones(20, 1, 1))[0])[:, 0]
    assert set(np.unique(seen)) == {0.0, 2.0}
    assert len({tuple(row) for row in seen}) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_default_initial_values(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cr.manual_seed(0)
    layer = getattr(nn, kind)(30, 50)
    for gate in np.split(values(layer.weight_hh_l0), len(layer.weight_hh_l0) // 50):
        np.testing.assert_allclose(gate @ gate.T, np.eye(50), atol=1e-5)
    bound = (6 / (30 + 50)) ** 0.5
    assert 0.98 * bound < np.abs(values(layer.weight_ih_l0)).max() <= bound
    assert not values(layer.bias_ih_l0).any()
    assert not values(layer.bias_hh_l0).any()
    monkeypatch.setattr(settings, "initialization", "pytorch")
    layer.reset_parameters()
    for parameter in layer.parameters():
        assert 0.8 / 50**0.5 < np.abs(values(parameter)).max() <= 1 / 50**0.5


def test_rectifiers_and_forget_gates_start_as_asked() -> None:
    largest = np.abs(values(nn.RNN(30, 50, nonlinearity="relu").weight_ih_l0)).max()
    assert 0.98 * (6 / 30) ** 0.5 < largest <= (6 / 30) ** 0.5
    bias = values(nn.LSTM(2, 3, forget_bias=1.0).bias_ih_l0)
    assert bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6


@compiled()
def test_truncated_back_propagation_carries_the_state(is_compiled: bool) -> None:
    """Two halves with the state carried over: the same outputs; gradients of the second half only."""
    layer = nn.LSTM(INPUTS, HIDDEN).double()
    x = cr.tensor(np.random.default_rng(1).normal(size=(STEPS, ROWS, INPUTS)))
    whole = values(layer(x)[0])

    def halves() -> Any:
        first, state = layer(x[:3])
        state = tuple(part.detach() for part in state)
        second, _ = layer(x[3:], state)
        second.sin().sum().backward()
        gradient, layer.weight_hh_l0.grad = layer.weight_hh_l0.grad, None
        return first.detach(), second.detach(), gradient

    first, second, gradient = run(halves, is_compiled)
    np.testing.assert_allclose(np.concatenate([values(first), values(second)]), whole, rtol=1e-12)
    state = tuple(cr.tensor(values(part)) for part in layer(x[:3])[1])
    for parameter in layer.parameters():
        parameter.grad = None
    layer(x[3:], state)[0].sin().sum().backward()
    np.testing.assert_allclose(values(gradient), values(layer.weight_hh_l0.grad), rtol=1e-9)


def test_one_program_serves_all_lengths() -> None:
    layer = nn.GRU(INPUTS, HIDDEN, batch_first=True, bidirectional=True)
    x = cr.randn(ROWS, STEPS, INPUTS)
    step = cr.compile(lambda x, lengths: layer(x, lengths=lengths)[1])
    for lengths in ([7, 7, 7], [1, 2, 3], [5, 1, 7]):
        whole = values(step(x, cr.tensor(lengths)))
        for row, length in enumerate(lengths):
            alone = values(layer(x[row : row + 1, :length])[1])
            np.testing.assert_allclose(whole[:, row : row + 1], alone, rtol=1e-5, atol=1e-6)
    assert step.explain().startswith("<lambda>: 1 capture(s)")


def test_layers_are_copied_and_saved(tmp_path: Path) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            self.lstm = nn.LSTM(INPUTS, HIDDEN, 2, batch_first=True, peephole="if", forget_bias=1.0, proj_size=2)

        def forward(self, x: Any) -> Any:
            return self.lstm(x)[0][:, -1]

    model, x = Last(), cr.randn(ROWS, STEPS, INPUTS)
    np.testing.assert_array_equal(values(copy.deepcopy(model)(x)), values(model(x)))
    model.lstm.save(tmp_path / "layer.zip")
    loaded = cr.load(tmp_path / "layer.zip")
    np.testing.assert_array_equal(values(loaded(x)[0]), values(model.lstm(x)[0]))


def test_a_network_with_a_recurrent_layer_trains() -> None:
    """The sign of the first of ten numbers, told from the last state."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            self.gru = nn.GRU(1, 8, batch_first=True)
            self.out = nn.Linear(8, 1)

        def forward(self, x: Any) -> Any:
            return self.out(self.gru(x)[1][-1])

    x = np.random.default_rng(0).normal(size=(64, 10, 1)).astype("float32")
    trainer = cr.Trainer(
        Classifier(), loss="bce_with_logits", optimizer=lambda parameters: cr.optim.Adam(parameters, lr=0.03), seed=0
    )
    history = trainer.fit(x, (x[:, 0] > 0).astype("float32"), epochs=25, batch_size=32, verbose=0)
    assert history["loss"][-1] < 0.2 < history["loss"][0]


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.RNN(2, 3, nonlinearity="tan"), ArgumentError, "did you mean 'tanh'"),
        (lambda: nn.LSTM(2, 0), ArgumentError, "hidden_size must be a whole number greater than zero, got 0"),
        (lambda: nn.LSTM(2.0, 3), ArgumentError, "input_size must be a whole number"),
        (lambda: nn.GRU(2, 3, num_layers=0), ArgumentError, "num_layers must be"),
        (lambda: nn.GRU(2, 3, 2, dropout=1.5), ArgumentError, r"dropout should be a number in range \[0, 1\]"),
        (lambda: nn.LSTM(2, 3, proj_size=3), ArgumentError, "proj_size has to be smaller than hidden_size"),
        (lambda: nn.LSTM(2, 3, peephole="ig"), ArgumentError, "a string of the gates i, f and o"),
        (lambda: nn.GRU(2, 3, update_gate="forget"), ArgumentError, "can 'keep' or 'replace'"),
        (lambda: nn.RNN(2, 3)(cr.ones(5, 4, 3)), ShapeError, r"Expected 2, got 3: the input has shape \(5, 4, 3\)"),
        (lambda: nn.RNN(2, 3)(cr.ones(2)), ShapeError, "Expected input to be 2D or 3D, got 1D"),
        (lambda: nn.RNN(2, 3)(cr.ones(0, 4, 2)), ShapeError, "sequence length to be larger than 0"),
        (
            lambda: nn.RNN(2, 3)(cr.ones(5, 4, 2), cr.ones(1, 5, 3)),
            ShapeError,
            r"Expected hidden size \(1, 4, 3\), got \(1, 5, 3\)",
        ),
        (
            lambda: nn.LSTM(2, 3)(cr.ones(5, 4, 2), (cr.ones(1, 4, 3), cr.ones(4, 3))),
            ShapeError,
            r"Expected hidden\[1\] size \(1, 4, 3\)",
        ),
        (lambda: nn.LSTM(2, 3)(cr.ones(5, 4, 2), cr.ones(1, 4, 3)), ArgumentError, r"a pair \(h, c\) of states"),
        (lambda: nn.RNN(2, 3)(cr.ones(5, 4, 2), lengths=[5, 6, 1, 1]), ArgumentError, "row 1 has length 6"),
        (lambda: nn.RNN(2, 3)(cr.ones(5, 4, 2), lengths=[5, 5, 5, 0]), ArgumentError, "row 3 has length 0"),
        (lambda: nn.RNN(2, 3)(cr.ones(5, 4, 2), lengths=[5, 5]), ShapeError, r"shape \(2,\) for 4 rows"),
        (lambda: nn.RNN(2, 3)(cr.ones(5, 4, 2), lengths=[1.5] * 4), DTypeError, "lengths must be whole numbers"),
        (
            lambda: nn.RNN(2, 3)(nn.utils.rnn.pack_sequence([cr.ones(5, 2)]), lengths=[5]),
            ArgumentError,
            "has its lengths already",
        ),
        (lambda: nn.LSTM(2, 3, device="cuda"), Exception, "cuda"),
    ],
)
def test_bad_input_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with warnings.catch_warnings(), pytest.raises(error, match=message):
        warnings.simplefilter("ignore")
        call()
