"""`Module`: registration, state dicts, modes, hooks, copies and text behave as PyTorch's."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, StateDictError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(3, 2, bias=False)
        self.scale = nn.Parameter(cr.ones(2))
        self.register_buffer("offset", cr.zeros(2))
        self.register_buffer("scratch", cr.zeros(1), persistent=False)
        self.calls = 0

    def forward(self, x: cr.Tensor) -> cr.Tensor:
        self.calls += 1
        return self.head(self.encoder(x)) * self.scale + self.offset


def test_names_of_parts() -> None:
    net = Net()
    names = ["scale", "encoder.0.weight", "encoder.0.bias", "head.weight"]
    assert [name for name, _ in net.named_parameters()] == names
    assert [name for name, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [name for name, _ in net.named_buffers()] == ["offset", "scratch"]
    assert [name for name, _ in net.named_children()] == ["encoder", "head"]
    assert [name for name, _ in net.named_modules()] == ["", "encoder", "encoder.0", "encoder.1", "encoder.2", "head"]
    assert list(net.state_dict()) == ["scale", "offset", *names[1:]]
    assert net.get_submodule("encoder.0") is net.encoder[0]
    assert net.get_parameter("head.weight") is net.head.weight
    with pytest.raises(ArgumentError, match=r"no submodule 'encodr' \(did you mean 'encoder'\?\)"):
        net.get_submodule("encodr.0")


def test_a_shared_parameter_counts_once() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert len(list(net.parameters())) == 3
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4


def test_attributes_move_between_registries() -> None:
    net = Net()
    net.scale = None
    assert [name for name, _ in net.named_parameters(recurse=False)] == []
    net.head = nn.Identity()
    assert isinstance(net.get_submodule("head"), nn.Identity)
    del net.head
    assert not hasattr(net, "head") and "head" not in dict(net.named_modules())
    net.offset = cr.ones(2)
    assert net.state_dict()["offset"].tolist() == [1.0, 1.0]


def test_wrong_attributes() -> None:
    net = Net()
    with pytest.raises(ArgumentError, match="cannot assign 'Tensor' as parameter 'scale'"):
        net.scale = cr.ones(2)
    with pytest.raises(ArgumentError, match='without "."'):
        net.add_module("a.b", nn.ReLU())
    with pytest.raises(ArgumentError, match="already exists"):
        net.register_buffer("forward", cr.ones(1))
    with pytest.raises(ArgumentError, match=r"Sequential takes modules, got \[Linear.*fix: .*nn.ReLU\(\) .* \*layers"):
        nn.Sequential([nn.Linear(1, 1)])
    with pytest.raises(ArgumentError, match="is not a Module subclass"):
        net.add_module("layer", "ReLU")
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward"'):
        nn.Module()(cr.ones(1))


def test_a_module_that_forgets_to_call_super() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

    assert len(list(Careless().parameters())) == 2


def test_state_dict_goes_round() -> None:
    one, two = Net(), Net()
    saved = copy.deepcopy(one.state_dict())
    assert str(two.load_state_dict(saved)) == "<All keys matched successfully>"
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    with cr.no_grad():
        one.scale.fill_(5.0)
    assert saved["scale"].tolist() == [1.0, 1.0] and one.state_dict()["scale"].tolist() == [5.0, 5.0]


def test_state_dict_errors_say_everything_at_once_and_change_nothing() -> None:
    net = nn.Sequential(nn.Linear(2, 3))
    before = net[0].weight.detach().numpy().copy()
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict({"0.weight": cr.ones(5, 2), "extra": cr.ones(1)})
    message = str(caught.value)
    assert message.startswith("Error(s) in loading state_dict for Sequential:\n\t")
    assert 'Missing key(s) in state_dict: "0.bias". ' in message
    assert 'Unexpected key(s) in state_dict: "extra". ' in message
    assert "copying a param with shape torch.Size([5, 2]) from checkpoint" in message
    report = net.load_state_dict({"extra": cr.ones(1)}, strict=False)
    assert (report.missing_keys, report.unexpected_keys) == (["0.weight", "0.bias"], ["extra"])
    np.testing.assert_array_equal(net[0].weight.detach().numpy(), before)


def test_weights_go_to_pytorch_and_back() -> None:
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(OrderedDict(a=nn.Linear(4, 3), b=nn.Tanh()))
    theirs = torch.nn.Sequential(OrderedDict(a=torch.nn.Linear(4, 3), b=torch.nn.Tanh()))
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(
        ours(cr.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-5, atol=1e-6
    )
    theirs.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in ours.state_dict().items()})


def test_modes_reach_all_parts() -> None:
    net = Net().eval()
    assert not any(module.training for module in net.modules())
    x = cr.ones(5, 4)
    np.testing.assert_array_equal(net(x).detach().numpy(), net(x).detach().numpy())
    assert net.train() is net and all(module.training for module in net.modules())


def test_apply_and_freezing() -> None:
    net, seen = Net(), []
    net.apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "ReLU", "Dropout", "Sequential", "Linear", "Net"]
    net.requires_grad_(False)
    assert not net.eval()(cr.ones(1, 4)).requires_grad
    net.head.requires_grad_()
    net(cr.ones(1, 4)).sum().backward()
    assert net.head.weight.grad is not None and net.scale.grad is None


def test_zero_grad() -> None:
    net = Net().eval()
    net(cr.ones(1, 4)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0.0, 0.0]
    net.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_conversion_keeps_parameters_and_layout() -> None:
    net = Net()
    weight, values = net.encoder[0].weight, net.encoder[0].weight.detach().numpy().copy()
    assert net.double() is net and net.encoder[0].weight is weight
    assert {parameter.dtype for parameter in net.parameters()} == {cr.float64} and net.offset.dtype is cr.float64
    np.testing.assert_array_equal(weight.detach().numpy(), values)
    assert weight._strides == (1, 3)
    assert net.to("cpu").to(cr.float32).eval()(cr.ones(1, 4)).dtype is cr.float32
    with pytest.raises(ArgumentError, match="floating point"):
        net.to(cr.int64)


def test_hooks() -> None:
    layer = nn.Linear(2, 2)
    x = cr.ones(1, 2)
    plain = layer(x).detach().numpy().copy()
    seen = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append((module, len(inputs))))
    layer(x)
    assert seen == [(layer, 1)]
    with layer.register_forward_hook(lambda module, inputs, output: output * 0):
        assert layer(x).tolist() == [[0.0, 0.0]]
    handle.remove()
    with layer.register_forward_pre_hook(lambda module, inputs: inputs[0] * 0):
        np.testing.assert_array_equal(layer(x).detach().numpy()[0], layer.bias.detach().numpy())
    np.testing.assert_array_equal(layer(x).detach().numpy(), plain)
    assert len(seen) == 2


def test_copies_are_independent() -> None:
    net = Net().eval()
    x = cr.ones(2, 4)
    before = net(x).detach().numpy().copy()
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net.encoder))):
        assert not {id(p) for p in made.parameters()} & {id(p) for p in net.parameters()}
        for parameter in made.parameters():
            assert isinstance(parameter, nn.Parameter) and parameter.requires_grad
            with cr.no_grad():
                parameter.fill_(0.0)
        assert not made(x).detach().numpy().any()
    np.testing.assert_array_equal(net(x).detach().numpy(), before)


def test_a_parameter() -> None:
    parameter = nn.Parameter(cr.tensor([1.0, 2.0]))
    assert isinstance(parameter, nn.Parameter) and isinstance(parameter, cr.Tensor) and parameter.requires_grad
    assert repr(parameter) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert not isinstance(parameter * 2, nn.Parameter)
    assert not nn.Parameter(cr.ones(1), requires_grad=False).requires_grad


def test_printing_equals_pytorch() -> None:
    torch = pytest.importorskip("torch")

    def build(library: object) -> object:
        class Net(library.Module):
            def __init__(self) -> None:
                super().__init__()
                self.body = library.Sequential(library.Linear(2, 3), library.ReLU(inplace=True), library.Dropout(0.2))
                self.blocks = library.ModuleList([library.Linear(3, 3) for _ in range(3)] + [library.Tanh()])
                self.heads = library.ModuleDict({"a": library.Softmax(dim=1), "b": library.Sequential()})
                self.loss = library.CrossEntropyLoss()

        return Net()

    assert repr(build(nn)) == repr(build(torch.nn))


def test_summary() -> None:
    net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 1))
    net[0].requires_grad_(False)
    summary = net.summary(cr.ones(10, 8))
    assert (summary.parameters, summary.trainable) == (121, 13)
    rows = [(layer.output, layer.parameters) for layer in summary.layers]
    assert rows == [("(10, 12)", 108), ("(10, 12)", 0), ("(10, 1)", 13)]
    assert "121 parameters, 108 of them frozen" in str(summary)
    assert "Output" not in str(net.summary())
