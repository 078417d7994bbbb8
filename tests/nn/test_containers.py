"""Containers: indexing, slicing, growing."""

from collections import OrderedDict

import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, IndexOutOfRangeError, MissingKeyError


def test_sequential_as_a_list() -> None:
    layers = [nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)]
    net = nn.Sequential(*layers)
    assert len(net) == 3 and list(net) == layers and net[-1] is layers[2]
    assert isinstance(net[:2], nn.Sequential) and list(net[:2]) == layers[:2]
    assert net.append(nn.Sigmoid()) is net and isinstance(net[3], nn.Sigmoid)
    net[1] = nn.Tanh()
    assert isinstance(net[1], nn.Tanh)
    del net[0]
    assert [name for name, _ in net.named_children()] == ["0", "1", "2"] and isinstance(net[0], nn.Tanh)
    with pytest.raises(IndexOutOfRangeError, match="there are 3 modules"):
        net[5]


def test_sequential_with_names() -> None:
    net = nn.Sequential(OrderedDict([("first", nn.Linear(2, 2)), ("second", nn.ReLU())]))
    assert net.first is net[0] and [name for name, _ in net.named_children()] == ["first", "second"]
    assert [name for name, _ in net[1:].named_children()] == ["second"]
    assert nn.Sequential()(cr.ones(2)).tolist() == [1.0, 1.0]


def test_a_subclass_of_sequential() -> None:
    class Doubled(nn.Sequential):
        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return super().forward(x) * 2

    assert Doubled(nn.ReLU())(cr.tensor([-1.0, 3.0])).tolist() == [0.0, 6.0]


def test_module_list() -> None:
    modules = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])
    modules.append(nn.Tanh()).extend([nn.Sigmoid()])
    modules.insert(1, nn.Identity())
    assert [type(module).__name__ for module in modules] == ["Linear", "Identity", "ReLU", "Tanh", "Sigmoid"]
    assert [name for name, _ in modules.named_parameters()] == ["0.weight", "0.bias"]
    assert isinstance(modules[-2:], nn.ModuleList) and len(modules[-2:]) == 2
    del modules[0]
    modules[0] = nn.ReLU()
    assert len(modules) == 4 and isinstance(modules[0], nn.ReLU)


def test_module_dict() -> None:
    modules = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    modules.update([("c", nn.Tanh())])
    assert list(modules) == ["a", "b", "c"] == list(modules.keys()) and "a" in modules and len(modules) == 3
    del modules["a"]
    assert list(modules.parameters()) == [] and [name for name, _ in modules.items()] == ["b", "c"]


def test_parameter_list() -> None:
    class Polynomial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.terms = nn.ParameterList([cr.ones(1), nn.Parameter(cr.ones(1))])

        def forward(self, x: cr.Tensor) -> cr.Tensor:
            return sum(term * x**power for power, term in enumerate(self.terms))

    net = Polynomial()
    net(cr.tensor([2.0])).backward()
    assert [parameter.grad.item() for parameter in net.parameters()] == [1.0, 2.0]
    assert len(net.terms) == 2 and net.terms[1] is list(net.parameters())[1]


@pytest.mark.parametrize("kind", [nn.Sequential, nn.ModuleList])
def test_lists_of_modules_change_as_pytorch_s(kind: type) -> None:
    torch = pytest.importorskip("torch")

    def lists() -> list:
        both = []
        for library, container in ((nn, kind), (torch.nn, getattr(torch.nn, kind.__name__))):
            layers = [library.Linear(1, size) for size in (1, 2, 3, 4)]
            made = container(*layers) if kind is nn.Sequential else container(layers)
            made.insert(1, library.ReLU())
            made.insert(4, library.Tanh())
            made.insert(len(made), library.Sigmoid())
            made.extend([library.Linear(1, 5)])
            both.append(made)
        return both

    ours, theirs = lists()
    assert repr(ours) == repr(theirs)
    assert repr(ours[1:6:2]) == repr(theirs[1:6:2])
    for each in (ours, theirs):
        del each[1:3]
        del each[-1]
        each.pop(0)
        each += each[:1]
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours + ours) == repr(theirs + theirs)
    for wrong in (lambda: ours.pop(9), lambda: ours.insert(9, nn.ReLU()), lambda: ours.__delitem__(9)):
        with pytest.raises(IndexOutOfRangeError, match=r"out of range: "):
            wrong()


def test_a_sequential_several_times_shares_its_parameters() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU()) * 3
    assert len(net) == 6 and len(list(net.parameters())) == 2
    with pytest.raises(ArgumentError, match="Non-positive"):
        0 * net


def test_module_dict_and_its_missing_names() -> None:
    table = nn.ModuleDict({"encoder": nn.Linear(1, 1), "decoder": nn.ReLU()})
    with pytest.raises(MissingKeyError, match=r"no module 'encodr' \(did you mean 'encoder'\?\)"):
        table["encodr"]
    with pytest.raises(KeyError):
        del table["other"]
    assert isinstance(table.pop("decoder"), nn.ReLU) and list(table) == ["encoder"]
    table.clear()
    assert len(table) == 0


def test_parameter_dict() -> None:
    table = nn.ParameterDict({"a": cr.ones(2), "b": nn.Parameter(cr.zeros(3))})
    assert [name for name, _ in table.named_parameters()] == ["a", "b"]
    assert isinstance(table["a"], nn.Parameter) and "a" in table and len(table) == 2
    joined = table | {"c": cr.ones(1)}
    assert list(joined.keys()) == ["a", "b", "c"] and joined["a"] is table["a"]
    assert table.setdefault("d", cr.ones(1)) is table["d"] and table.get("e") is None
    assert table.popitem()[0] == "d" and table.pop("b").shape == (3,)
    assert [len(value) for value in table.values()] == [2] and list(table.fromkeys("xy", cr.ones(1))) == ["x", "y"]
    with pytest.raises(MissingKeyError, match="no parameter 'b'"):
        table["b"]
    with pytest.raises(ArgumentError, match="'n' must be a tensor, got int"):
        table["n"] = 3
    table.clear()
    with pytest.raises(MissingKeyError, match="empty"):
        table.popitem()


def test_parameter_lists_are_sliced_and_written() -> None:
    values = nn.ParameterList([cr.ones(size) for size in (1, 2, 3)])
    values += [cr.ones(4)]
    values[-1] = cr.zeros(5)
    assert [len(value) for value in values] == [1, 2, 3, 5] and [len(value) for value in values[1:3]] == [2, 3]
    assert [name for name, _ in values.named_parameters()] == ["0", "1", "2", "3"]
    with pytest.raises(IndexOutOfRangeError, match="index 4 is out of range: there are 4 parameters"):
        values[4]
