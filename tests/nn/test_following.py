"""Default initial values in networks whose ``forward`` the user has written: found in the graph, drawn when needed."""

import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import functional as F
from chainrule.nn.module import Module

WIDE = 64


class Net(nn.Module):
    """A layer, something behind it, another layer."""

    def __init__(self, behind: Callable[[Any], Any], wide: int = WIDE) -> None:
        super().__init__()
        self.behind = behind
        self.hidden = nn.Linear(8, wide)
        self.out = nn.Linear(wide, 1)

    def forward(self, x: Any) -> Any:
        return self.out(self.behind(self.hidden(x)))


class Centred(Module, is_builtin=True):
    """A normalisation: the question which activation follows goes through it."""

    is_transparent = True

    def forward(self, input: Any) -> Any:
        return (input - input.mean(0)) / (input.var(0) + 1.0)


def values(tensor: Any) -> np.ndarray[Any, Any]:
    return np.array(tensor.detach())


def start_of(network: Any) -> str:
    """What the first layer's weight was drawn for, after a forward; its spread is that of the distribution."""
    network(cr.ones(3, 8)).sum().item()
    weight = network.hidden.weight
    bound = {"he": math.sqrt(6 / 8 / (1 + weight.start.slope**2)), "glorot": math.sqrt(6 / (8 + WIDE))}
    family = weight.start.family
    if family == "lecun":
        assert values(weight).std() == pytest.approx(1 / math.sqrt(8), rel=0.1)
    else:
        largest = np.abs(values(weight)).max()
        assert 0.98 * bound[family] < largest <= bound[family] * (1 + 1e-6)
    return str(weight.start.describe(weight))


DROPOUT, CENTRED = nn.Dropout(0.3), Centred()
BATCH_NORM, LAYER_NORM = nn.BatchNorm1d(WIDE), nn.LayerNorm(WIDE)

BEHIND: list[tuple[str, Callable[[Any], Any], str]] = [
    ("F.relu", F.relu, "he (relu)"),
    ("method", lambda x: x.relu(), "he (relu)"),
    ("cr.relu", cr.relu, "he (relu)"),
    ("in place", lambda x: F.relu(x, inplace=True), "he (relu)"),
    ("module", nn.ReLU(), "he (relu)"),
    ("clamp", lambda x: x.clamp(min=0), "he (relu)"),
    ("maximum", lambda x: cr.maximum(x, cr.zeros(())), "glorot"),
    ("where", lambda x: cr.where(x > 0, x, 0.0), "he (relu)"),
    ("where, leaky", lambda x: cr.where(x > 0, x, x * 0.1), "he (relu)"),
    ("leaky", lambda x: F.leaky_relu(x, 0.5), "he (leaky_relu)"),
    ("gelu", F.gelu, "he (gelu)"),
    ("gelu, tanh form", lambda x: F.gelu(x, "tanh"), "he (gelu)"),
    ("silu, not sigmoid", F.silu, "he (silu)"),
    ("mish, not softplus or tanh", F.mish, "he (mish)"),
    ("hardswish", F.hardswish, "he (hardswish)"),
    ("softplus", F.softplus, "he (softplus)"),
    ("elu", F.elu, "he (elu)"),
    ("selu", F.selu, "lecun (selu)"),
    ("tanh", cr.tanh, "glorot (tanh)"),
    ("sigmoid", lambda x: x.sigmoid(), "glorot (sigmoid)"),
    ("softmax", lambda x: F.softmax(x, 1), "glorot (softmax)"),
    ("nothing", lambda x: x, "glorot"),
    ("through dropout", lambda x: F.relu(DROPOUT(x)), "he (relu)"),
    ("through functional dropout", lambda x: F.relu(F.dropout(x, 0.5)), "he (relu)"),
    ("through shapes", lambda x: x.reshape(-1, 2, WIDE // 2).flatten(1).relu(), "he (relu)"),
    ("through a normalisation", lambda x: F.relu(CENTRED(x)), "he (relu)"),
    ("through batch normalisation", lambda x: F.relu(BATCH_NORM(x)), "he (relu)"),
    ("through batch normalisation in evaluation", lambda x: F.relu(BATCH_NORM.eval()(x)), "he (relu)"),
    ("through layer normalisation", lambda x: F.gelu(LAYER_NORM(x)), "he (gelu)"),
    ("through alpha dropout", lambda x: F.selu(nn.AlphaDropout(0.2)(x)), "lecun (selu)"),
    ("through a shortcut", lambda x: F.relu(x + 1.0), "he (relu)"),
    ("not through a product", lambda x: F.relu(x @ cr.ones(WIDE, WIDE)), "glorot"),
    ("not through a square", lambda x: F.relu(x * x), "glorot"),
]


@pytest.mark.parametrize(("behind", "expected"), [case[1:] for case in BEHIND], ids=[case[0] for case in BEHIND])
def test_the_weight_follows_what_the_forward_does(behind: Callable[[Any], Any], expected: str) -> None:
    assert start_of(Net(behind)) == expected


def train(network: Any) -> None:
    optimizer = cr.optim.SGD(network.parameters(), lr=0.0)
    F.mse_loss(network(cr.ones(4, 8)), cr.zeros(4, 1)).backward()
    optimizer.step()


def train_compiled(network: Any) -> None:
    optimizer = cr.optim.SGD(network.parameters(), lr=0.0)

    @cr.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = network(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    step(cr.ones(5, 8))


def predict(network: Any) -> None:
    with cr.no_grad():
        network.eval()(cr.ones(1, 8)).item()


def fit(network: Any) -> None:
    trainer = cr.Trainer(network, loss="mse", optimizer=lambda parameters: cr.optim.SGD(parameters, lr=0.0))
    trainer.fit(np.ones((6, 8), np.float32), np.zeros((6, 1), np.float32), epochs=1, batch_size=3, verbose=False)


@pytest.mark.parametrize("use", [train, train_compiled, predict, fit, lambda n: n.summary(cr.ones(2, 8))])
def test_the_values_do_not_depend_on_how_the_network_is_first_used(use: Callable[[Any], None]) -> None:
    cr.manual_seed(3)
    reference = nn.Sequential(nn.Linear(8, WIDE), nn.Dropout(0.5), nn.ReLU(), nn.Linear(WIDE, 1))
    cr.manual_seed(3)
    dropout = nn.Dropout(0.5)
    network = Net(lambda x: F.relu(dropout(x)))
    network.dropout = dropout
    use(network)
    for found, expected in zip(network.parameters(), reference.parameters(), strict=True):
        np.testing.assert_array_equal(values(found), values(expected))


def test_a_value_that_was_read_stays() -> None:
    network = Net(F.relu)
    read = values(network.hidden.weight)
    assert network.hidden.weight.start.family == "glorot"
    train(network)
    np.testing.assert_array_equal(values(network.hidden.weight), read)
    cr.manual_seed(1)
    first = values(Net(F.relu).hidden.weight)
    cr.manual_seed(1)
    np.testing.assert_array_equal(values(Net(F.relu).hidden.weight), first)


READERS: list[Callable[[Any], Any]] = [
    lambda w: w.detach().numpy(), lambda w: np.asarray(w.detach()), lambda w: w.tolist(), repr,
    lambda w: w[0, 0].item(), lambda w: (w * 1).sum().item(), lambda w: w.detach().sum().item(),
    lambda w: cr.compile(lambda x: x * 2)(w.detach()).numpy(), lambda w: w.detach()[1:].clone().tolist(),
    lambda w: np.from_dlpack(w.detach()), lambda w: copy.deepcopy(w.detach()),
    lambda w: nn.Parameter(w.detach()).sum().item(), lambda w: pickle.loads(pickle.dumps(w)),
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("is_frozen", [False, True])
def test_every_way_to_read_sees_drawn_values(read: Callable[[Any], Any], is_frozen: bool) -> None:
    cr.manual_seed(5)
    expected = values(nn.Linear(8, WIDE).weight)
    cr.manual_seed(5)
    weight = nn.Linear(8, WIDE).weight.requires_grad_(not is_frozen)
    read(weight)
    assert weight.start.is_drawn
    np.testing.assert_array_equal(values(weight), expected)


WRITERS: list[Callable[[Any], Any]] = [
    lambda layer: nn.init.constant_(layer.weight, 0.5), lambda layer: layer.weight.data.fill_(0.5),
    lambda layer: layer.load_state_dict({"weight": np.full((WIDE, 8), 0.5), "bias": np.zeros(WIDE)}),
    lambda layer: layer.weight.write(0.5), lambda layer: layer.weight.detach().numpy().fill(0.5),
    lambda layer: setattr(layer.weight, "data", cr.full((WIDE, 8), 0.5)),
    lambda layer: setattr(layer, "weight", nn.Parameter(cr.full((WIDE, 8), 0.5))),
]  # fmt: skip


def in_place(layer: Any) -> None:
    with cr.no_grad():
        layer.weight.fill_(0.5)


def by_index(layer: Any) -> None:
    with cr.no_grad():
        layer.weight[:] = 0.5


@pytest.mark.parametrize("choose", [*WRITERS, in_place, by_index])
def test_an_explicit_choice_wins(choose: Callable[[Any], Any]) -> None:
    network = Net(F.relu)
    choose(network.hidden)
    train(network)
    assert (values(network.hidden.weight) == 0.5).all()


def test_iteration_freezing_and_optimisers_need_no_values() -> None:
    network = Net(F.relu)
    optimizer = cr.optim.Adam(network.parameters(), lr=0.0)
    assert [tuple(p.shape) for p in network.parameters()] == [(WIDE, 8), (WIDE,), (1, WIDE), (1,)]
    network.hidden.requires_grad_(False)
    network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == 10 * WIDE + 1 - 0 * WIDE
    assert not network.hidden.weight.start.is_drawn
    network(cr.ones(2, 8)).sum().backward()
    optimizer.step()
    assert network.hidden.weight.start.describe(network.hidden.weight) == "he (relu)"
    assert network.hidden.weight.grad is None


@pytest.mark.parametrize("copy_first", [False, True])
def test_a_copy_has_the_same_values_whichever_is_used_first(copy_first: bool) -> None:
    network = Net(F.relu)
    twin = copy.deepcopy(network)
    averaged = copy.deepcopy(network.hidden.weight)  # as for a running average: it is never called
    train(twin if copy_first else network)
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(values(one), values(other))
    np.testing.assert_array_equal(values(averaged), values(network.hidden.weight))
    assert averaged.start.family == "he"


def test_saving_and_loading_before_the_first_forward(tmp_path: Any) -> None:
    network, other = Net(F.relu), Net(F.relu)
    other.load_state_dict(network.state_dict())
    train(network)
    train(other)
    np.testing.assert_array_equal(values(network.hidden.weight), values(other.hidden.weight))
    layer = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    layer.save(tmp_path / "model.chain")
    np.testing.assert_array_equal(values(cr.load(tmp_path / "model.chain")[0].weight), values(layer[0].weight))
    assert pickle.load(io.BytesIO(pickle.dumps(layer)))[0].weight.tolist() == layer[0].weight.tolist()


def test_double_precision_before_the_first_forward() -> None:
    cr.manual_seed(2)
    single = Net(F.relu)
    train(single)
    cr.manual_seed(2)
    network = Net(F.relu).double()
    network(cr.ones(2, 8, dtype=cr.float64)).sum().item()
    assert network.hidden.weight.dtype is cr.float64
    np.testing.assert_allclose(values(network.hidden.weight), values(single.hidden.weight), rtol=1e-6)


def test_a_network_used_in_parts() -> None:
    network = Net(F.relu)
    network.hidden(cr.ones(2, 8)).relu().sum().item()
    assert not network.out.weight.start.is_drawn
    assert start_of(network) == "he (relu)" and network.out.weight.start.family == "glorot"


def test_reset_parameters_of_a_network_whose_programs_are_bound() -> None:
    network = Net(F.relu)
    train(network)
    before = values(network.hidden.weight)
    network.apply(lambda part: part.reset_parameters() if isinstance(part, nn.Linear) else None)
    y = network(cr.ones(4, 8))
    assert start_of(network) == "he (relu)" and (values(network.hidden.weight) != before).all()
    hidden, out = network.hidden, network.out
    expected = np.maximum(np.ones((4, 8)) @ values(hidden.weight).T, 0) @ values(out.weight).T
    np.testing.assert_allclose(values(y), expected, rtol=1e-5, atol=1e-6)


def test_what_a_sequential_knows_is_used_and_the_graph_knows_better() -> None:
    inner = nn.Sequential(nn.Linear(8, WIDE), nn.Tanh(), nn.Linear(WIDE, WIDE))
    assert inner[0].weight.start.activation == "tanh" and inner[2].weight.start.activation is None
    F.relu(inner(cr.ones(2, 8))).sum().item()
    assert inner[2].weight.start.family == "he"


def test_the_summary_shows_the_choice() -> None:
    network = Net(F.relu)
    assert network.summary().layers[0].start == "glorot, not drawn yet"
    assert network.summary(cr.ones(2, 8)).layers[0].start == "he (relu), not drawn yet"
    train(network)
    assert network.summary().layers[0].start == "he (relu)"
    nn.init.orthogonal_(network.hidden.weight)
    assert network.summary().layers[0].start == "he (relu), changed"
    network.hidden.weight = nn.Parameter(cr.zeros(WIDE, 8))
    assert network.summary().layers[0].start == ""
    assert "Start" in str(network.summary())


def test_a_chain_of_many_layers_is_searched_quickly() -> None:
    layers = [nn.Linear(4, 4) for _ in range(60)]
    y = cr.ones(2, 4)
    for layer in layers:
        y = y + F.relu(layer(y))
    y.sum().item()
    assert {layer.weight.start.activation for layer in layers} == {"relu"}
