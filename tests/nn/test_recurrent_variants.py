"""Recurrent layers that PyTorch does not have, against the formulas of their papers in NumPy; and cells."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

INPUTS, HIDDEN, STEPS, ROWS = 4, 3, 5, 2
Arrays = dict[str, np.ndarray[Any, Any]]


def values(tensor: Any) -> np.ndarray[Any, Any]:
    return np.array(tensor.detach())


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def randomised(layer: Any) -> tuple[Any, Arrays]:
    """The layer in float64 with random parameters everywhere, biases and peepholes too, and these by name."""
    rng = np.random.default_rng(7)
    layer = layer.double()
    for parameter in layer.parameters():
        parameter.write(rng.normal(size=tuple(parameter.shape)))
    return layer, {name.removesuffix("_l0"): values(value) for name, value in layer.named_parameters()}


def inputs(size: int = INPUTS) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(STEPS, ROWS, size))


def check(layer: Any, x: np.ndarray[Any, Any], expected: list[Any], last: Any) -> None:
    """Outputs and last state, once and compiled; gradients by the input, the first states and the weights."""
    for call in (layer, cr.compile(layer)):
        y, state = call(cr.tensor(x))
        np.testing.assert_allclose(values(y), expected, rtol=1e-10)
        parts = state if isinstance(state, tuple) else (state,)
        for part, array in zip(parts, last, strict=True):
            np.testing.assert_allclose(values(part)[0], array, rtol=1e-10)
    starts = [cr.tensor(np.random.default_rng(k).normal(size=(1, *array.shape))) for k, array in enumerate(last)]

    def total(x: Any, *states: Any) -> Any:
        y, state = layer(x, states if len(states) > 1 else states[0], lengths=[5, 2])
        parts = state if isinstance(state, tuple) else (state,)
        return y, *parts

    leaves = [cr.tensor(x), *starts]
    assert cr.autograd.gradcheck(total, tuple(leaf.requires_grad_() for leaf in leaves))
    given = cr.tensor(x)
    for name, parameter in layer.named_parameters():
        start = values(parameter)
        layer.zero_grad()
        layer(given)[0].square().sum().backward()
        direction = np.random.default_rng(1).normal(size=start.shape)
        slopes = []
        for sign in (1, -1):
            parameter.write(start + sign * 1e-6 * direction)
            slopes.append(layer(given)[0].square().sum().item())
        parameter.write(start)
        expected_slope = (slopes[0] - slopes[1]) / 2e-6
        np.testing.assert_allclose((values(parameter.grad) * direction).sum(), expected_slope, rtol=1e-6, err_msg=name)


def peephole_lstm(p: Arrays, x: Any) -> tuple[list[Any], Any]:
    """Gers & Schmidhuber 2000, equations 2 to 6, with a tanh behind the cell."""
    none = np.zeros(HIDDEN)
    h = c = np.zeros((ROWS, HIDDEN))
    outputs = []
    for row in x:
        net = row @ p["weight_ih"].T + p["bias_ih"] + h @ p["weight_hh"].T + p["bias_hh"]
        i, f, g, o = np.split(net, 4, -1)
        i, f = sigmoid(i + p.get("weight_ci", none) * c), sigmoid(f + p.get("weight_cf", none) * c)
        c = f * c + i * np.tanh(g)
        h = sigmoid(o + p.get("weight_co", none) * c) * np.tanh(c)
        outputs.append(h)
    return outputs, (h, c)


@pytest.mark.parametrize("peephole", [True, "i", "fo"])
def test_peepholes(peephole: Any) -> None:
    layer, p = randomised(nn.LSTM(INPUTS, HIDDEN, peephole=peephole))
    seen = "ifo" if peephole is True else peephole
    assert [name for name in p if name.startswith("weight_c")] == [f"weight_c{gate}" for gate in seen]
    check(layer, inputs(), *peephole_lstm(p, inputs()))


def gru(p: Arrays, x: Any, reset_after: bool, update_gate: str) -> tuple[list[Any], Any]:
    """Cho et al. 2014, equations 5 to 8, with biases."""
    h = np.zeros((ROWS, HIDDEN))
    outputs = []
    (w_r, w_z, w_n), (u_r, u_z, u_n) = np.split(p["weight_ih"], 3), np.split(p["weight_hh"], 3)
    (b_r, b_z, b_n), (c_r, c_z, c_n) = np.split(p["bias_ih"], 3), np.split(p["bias_hh"], 3)
    for row in x:
        r = sigmoid(row @ w_r.T + b_r + h @ u_r.T + c_r)
        z = sigmoid(row @ w_z.T + b_z + h @ u_z.T + c_z)
        of_h = r * (h @ u_n.T + c_n) if reset_after else (r * h) @ u_n.T + c_n
        n = np.tanh(row @ w_n.T + b_n + of_h)
        h = z * h + (1 - z) * n if update_gate == "keep" else (1 - z) * h + z * n
        outputs.append(h)
    return outputs, (h,)


@pytest.mark.parametrize(("reset_after", "update_gate"), [(False, "keep"), (False, "replace"), (True, "replace")])
def test_forms_of_gru(reset_after: bool, update_gate: str) -> None:
    layer, p = randomised(nn.GRU(INPUTS, HIDDEN, reset_after=reset_after, update_gate=update_gate))
    check(layer, inputs(), *gru(p, inputs(), reset_after, update_gate))


def sru(p: Arrays, x: Any, scale: float) -> tuple[list[Any], Any]:
    """Lei et al. 2018, equations 1 to 4 and section 3.2."""
    c = np.zeros((ROWS, HIDDEN))
    outputs = []
    w, w_f, w_r, *projection = np.split(p["weight_ih"], len(p["weight_ih"]) // HIDDEN)
    b_f, b_r = np.split(p["bias_ih"], 2)
    for row in x:
        f = sigmoid(row @ w_f.T + p["weight_cf"] * c + b_f)
        r = sigmoid(row @ w_r.T + p["weight_cr"] * c + b_r)
        c = f * c + (1 - f) * (row @ w.T)
        skip = row @ projection[0].T if projection else row
        outputs.append(r * c + (1 - r) * skip * scale)
    return outputs, (c,)


@pytest.mark.parametrize(
    ("size", "rescale", "highway_bias", "scale"),
    [(INPUTS, True, 0.0, 3**0.5), (HIDDEN, True, -1.0, (1 + 2 * np.exp(-1)) ** 0.5), (HIDDEN, False, 0.0, 1.0)],
)
def test_simple_recurrent_units(size: int, rescale: bool, highway_bias: float, scale: float) -> None:
    layer = nn.SRU(size, HIDDEN, rescale=rescale, highway_bias=highway_bias)
    assert values(layer.bias_ih_l0).tolist() == [0.0] * HIDDEN + [highway_bias] * HIDDEN
    layer, p = randomised(layer)
    check(layer, inputs(size), *sru(p, inputs(size), scale))


def test_simple_recurrent_units_keep_the_variance_of_their_input() -> None:
    """The purpose of the correction: after many layers the variance is still about 1."""
    cr.manual_seed(0)
    x = cr.randn(20, 16, 64)
    variance = {rescale: values(nn.SRU(64, 64, 8, rescale=rescale)(x)[0]).var() for rescale in (True, False)}
    assert 0.3 < variance[True] < 3
    assert variance[False] < 0.1


@pytest.mark.parametrize(("bias", "highway_bias", "gate"), [(True, -2.0, -2.0), (True, 1.0, 1.0), (False, -2.0, 0.0)])
def test_the_correction_keeps_the_variance_at_any_highway_bias(bias: bool, highway_bias: float, gate: float) -> None:
    """h = r c + (1 - r) α x has the variance of x if c has it and is independent of x: r² + (1 - r)² α² = 1."""
    layer = nn.SRU(HIDDEN, HIDDEN, bias=bias, highway_bias=highway_bias).double()
    with cr.no_grad():
        layer.weight_ih_l0.zero_()  # the gates are constant, c is 0
    x = inputs(HIDDEN)
    skipped = values(layer(cr.tensor(x))[0]) / x
    r = sigmoid(gate)
    np.testing.assert_allclose(r**2 + skipped**2, 1, rtol=1e-10)


@pytest.mark.parametrize("options", [{"num_layers": 2, "bidirectional": True}, {"bidirectional": True}])
def test_layers_and_directions_are_made_of_single_ones(options: dict[str, Any]) -> None:
    """An SRU whose directions and layers are run one by one; the first layer projects, the second one does too."""
    layer, p = randomised(nn.SRU(INPUTS, HIDDEN, **options))
    x = inputs()
    for number in range(options.get("num_layers", 1)):
        directions = []
        for suffix, order in (("", 1), ("_reverse", -1)):
            name = f"_l{number}{suffix}" if number or suffix else ""
            part = {key.removesuffix(name): value for key, value in p.items() if key.endswith(name)}
            outputs, last = sru(part, x[::order], 3**0.5)
            directions.append((np.array(outputs)[::order], last[0]))
        x = np.concatenate([output for output, _ in directions], -1)
    y, c = layer(cr.tensor(inputs()))
    np.testing.assert_allclose(values(y), x, rtol=1e-10)
    np.testing.assert_allclose(values(c)[-2:], [last for _, last in directions], rtol=1e-10)


# --------------------------------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize("shape", [(ROWS,), ()])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("RNNCell", {}),
        ("RNNCell", {"nonlinearity": "relu"}),
        ("LSTMCell", {}),
        ("GRUCell", {}),
        ("GRUCell", {"bias": False}),
    ],
)
def test_cells_equal_pytorch(kind: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(INPUTS, HIDDEN, **options).double()
    ours = getattr(nn, kind)(INPUTS, HIDDEN, **options).double()
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    arrays = [np.random.default_rng(k).normal(size=(*shape, INPUTS)) for k in range(3)]
    results, gradients = [], []
    for cell, tensor in ((theirs, torch.tensor), (ours, cr.tensor)):
        state = None
        for array in arrays:
            state = cell(tensor(array), state)
        parts = state if isinstance(state, tuple) else (state,)
        sum(part.sin().sum() for part in parts).backward()
        results.append([part.detach().numpy() for part in parts])
        gradients.append([parameter.grad.numpy() for parameter in cell.parameters()])
    for mine, other in zip(results[1] + gradients[1], results[0] + gradients[0], strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "cell"),
    [
        (nn.LSTM(INPUTS, HIDDEN, peephole="io"), nn.LSTMCell(INPUTS, HIDDEN, peephole="io", forget_bias=1.0)),
        (nn.GRU(INPUTS, HIDDEN, reset_after=False), nn.GRUCell(INPUTS, HIDDEN, reset_after=False)),
        (nn.SRU(INPUTS, HIDDEN), nn.SRUCell(INPUTS, HIDDEN)),
    ],
)
def test_cells_are_one_step_of_their_layers(layer: Any, cell: Any) -> None:
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = cr.tensor(inputs(), dtype=cr.float32)
    state, outputs = None, []
    for row in x:
        result = cell(row, state)
        state = result if isinstance(cell, nn.LSTMCell) else result[1] if isinstance(cell, nn.SRUCell) else result
        outputs.append(values(result[0] if isinstance(result, tuple) else result))
    np.testing.assert_allclose(values(layer(x)[0]), outputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.RNNCell(2, 3)(cr.ones(4, 3)), ShapeError, r"input_size 2 last, got shape \(4, 3\)"),
        (lambda: nn.LSTMCell(2, 3)(cr.ones(1, 4, 2)), ShapeError, "1D or 2D"),
        (lambda: nn.GRUCell(2, 3)(cr.ones(4, 2), cr.ones(3)), ShapeError, r"Expected hidden size \(4, 3\)"),
        (lambda: nn.RNNCell(2, 3, nonlinearity="sigmoid"), ArgumentError, "expected 'tanh' or 'relu'"),
        (lambda: nn.LSTMCell(-2, 3), ArgumentError, "input_size must be"),
    ],
)
def test_bad_input_of_cells_is_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
