"""Containers: indexing, slicing, growing."""

from collections import OrderedDict

import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import IndexOutOfRangeError


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
