"""What modules remember is forgotten as soon as it could be wrong."""

import gc
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.tensor.segment import state


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def by_hand(net: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """The same network in NumPy, from its weights of now."""
    (w1, b1), (w2, b2) = [(net[i].weight.detach().numpy(), net[i].bias.detach().numpy()) for i in (0, 2)]
    return np.maximum(x @ w1.T + b1, 0) @ w2.T + b2


def check(net: nn.Sequential) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for _ in range(3):
        np.testing.assert_allclose(net(cr.tensor(x)).detach().numpy(), by_hand(net, x), rtol=1e-4, atol=1e-6)


def test_a_repeated_call_records_one_vertex_and_no_parameter() -> None:
    net, x = network(), cr.ones(5, 3)
    first = net(x)
    first.detach().numpy()
    again = net(x)
    assert again._vertex is first._vertex
    assert not state.segment.slots and state.segment.handles == [again]


@pytest.mark.parametrize(
    "change",
    [
        lambda net: setattr(net[0], "weight", nn.Parameter(cr.ones(4, 3))),
        lambda net: setattr(net[0], "bias", nn.Parameter(cr.ones(4))),
        lambda net: net.__setitem__(2, nn.Linear(4, 2)),
        lambda net: net[0].weight.detach().numpy().fill(0.5),
        lambda net: net[0].weight.data.fill_(0.25),
        lambda net: nn.init.ones_(net[2].weight),
        lambda net: net.load_state_dict(network().state_dict()),
        lambda net: net.double().float(),
    ],
)
def test_changed_weights_are_seen(change: object) -> None:
    net = network()
    check(net)
    change(net)
    check(net)


def test_a_weight_changed_in_the_same_segment_is_seen() -> None:
    net, x = network(), cr.ones(2, 3)
    before = net(x).detach().numpy().copy()
    kept = net(x)
    with cr.no_grad():
        net[2].bias.add_(1.0)
    np.testing.assert_allclose(net(x).detach().numpy(), before + 1, rtol=1e-6)
    np.testing.assert_allclose(kept.tolist(), before, rtol=1e-6)


def test_an_attribute_of_a_layer_is_seen() -> None:
    net, x = nn.Sequential(nn.LeakyReLU(0.5)), cr.tensor([-2.0])
    assert net(x).item() == -1.0
    net[0].negative_slope = 0.25
    assert net(x).item() == -0.5


def test_hooks_and_replaced_functions_are_called() -> None:
    net, x, calls = network(), cr.ones(1, 3), []
    plain = net(x).detach().numpy().copy()
    handle = net[1].register_forward_hook(lambda *arguments: calls.append("hook"))
    net(x), net(x)
    handle.remove()
    net(x)
    assert calls == ["hook", "hook"]
    net[2].forward = lambda value: value * 0
    assert net(x).detach().numpy().shape == (1, 4)
    del net[2].forward
    np.testing.assert_array_equal(net(x).detach().numpy(), plain)


def test_modes_are_seen() -> None:
    cr.manual_seed(0)
    net, x = nn.Sequential(nn.Dropout(0.5)), cr.ones(100)
    assert (net(x).numpy() == 0).any()
    assert (net.eval()(x).numpy() == 1).all()
    net[0].train()
    assert (net(x).numpy() == 0).any()
    net[0].p = 0.0
    assert (net(x).numpy() == 1).all()


def test_gradient_modes_are_seen() -> None:
    net, x = network(), cr.ones(2, 3)
    for _ in range(2):
        assert net(x).requires_grad
        with cr.no_grad():
            assert not net(x).requires_grad
    net.requires_grad_(False)
    assert not net(x).requires_grad
    net[0].weight.requires_grad = True
    net(x).sum().backward()
    assert net[0].weight.grad is not None and net[2].weight.grad is None


def test_a_user_module_inside_is_called_every_time() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            self.calls += 1
            return x + self.calls

    net = nn.Sequential(nn.ReLU(), Counting())
    assert [net(cr.zeros(1)).item() for _ in range(3)] == [1.0, 2.0, 3.0]


def test_writing_to_a_user_module_forgets_nothing() -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            self.last_shape = x.shape
            return self.net(x)

    wrapper, x = Wrapper(), cr.ones(2, 3)
    wrapper(x).detach().numpy()
    memo = wrapper.net._memo
    wrapper(x).detach().numpy()
    assert wrapper.net._memo is memo


def test_a_pending_result_keeps_the_weights() -> None:
    net, x = network(), cr.ones(2, 3)
    expected = net(x).detach().numpy().copy()
    pending = net(x)
    del net
    gc.collect()
    np.testing.assert_array_equal(pending.detach().numpy(), expected)


def test_dropout_in_a_remembered_network_never_repeats_a_mask() -> None:
    cr.manual_seed(1)
    net, x = nn.Sequential(nn.Dropout(0.5), nn.Identity()), cr.ones(64)
    masks = [tuple(net(x).tolist()) for _ in range(5)]
    both = [net(x), net(x)]
    masks += [tuple(value.tolist()) for value in both]
    assert len(set(masks)) == 7


def test_changing_inputs_do_not_fill_the_memory() -> None:
    layer, value = nn.Linear(2, 2), cr.ones(1, 2)
    with cr.no_grad():
        for _ in range(600):
            value = layer(value) * 0.1
    assert len(layer._memo.found) <= 256
    value.numpy()


def test_running_statistics_advance_once_per_call() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(3).standard_normal((6, 2)).astype("f")

    def run(library: Any) -> list[Any]:
        first, second = library.nn.BatchNorm1d(2), library.nn.BatchNorm1d(2, momentum=0.3)
        for _ in range(3):  # remembered from the second round on; the third call sees what the first one wrote
            y = first(second(first(library.tensor(x))))
            y.sum().backward()
        tensors = [y, first.running_mean, first.running_var, second.running_mean, second.running_var]
        return [tensor.tolist() for tensor in (*tensors, first.num_batches_tracked)]

    for ours, theirs in zip(run(cr), run(torch), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
