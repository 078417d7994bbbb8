"""Modules that hold modules."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from ..errors import IndexOutOfRangeError
from .initialization import follow_activations
from .module import Module
from .parameter import Parameter


class Sequential(Module, is_builtin=True):
    """Modules applied one after another: given one by one, or in an OrderedDict with names of their own.

    Layers are started to suit the activations that follow them (`chainrule.nn.initialization`).

    >>> import chainrule as cr
    >>> cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *layers: Any) -> None:
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            for name, layer in layers[0].items():
                self.add_module(name, layer)
        else:
            for number, layer in enumerate(layers):
                self.add_module(str(number), layer)
        follow_activations(_flat(self))

    def forward(self, input: Any) -> Any:
        for layer in self._modules.values():
            input = layer(input)
        return input

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: slice) -> Self: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[_name_at(self, index)]

    def __setitem__(self, index: int, layer: Module) -> None:
        self.add_module(_name_at(self, index), layer)
        follow_activations(_flat(self))

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self._modules.values())
        del kept[index]
        for name in list(self._modules):
            delattr(self, name)
        for number, layer in enumerate(kept):
            self.add_module(str(number), layer)

    def append(self, layer: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), layer)
        follow_activations(_flat(self))
        return self

    def extend(self, layers: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for layer in layers:
            self.append(layer)
        return self


def _flat(sequence: Sequential) -> Iterator[Any]:
    """The layers in the order in which data passes, nested sequences opened."""
    for layer in sequence:
        if isinstance(layer, Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _name_at(container: Module, index: int) -> str:
    names = list(container._modules)
    try:
        return names[operator.index(index)]
    except IndexError:
        raise IndexOutOfRangeError(f"index {index} is out of range: there are {len(names)} modules") from None


class ModuleList(Module):
    """A list of modules whose parameters are found. It has no ``forward``: call its elements."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[_name_at(self, index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(_name_at(self, index), module)

    def __delitem__(self, index: int | slice) -> None:
        kept = list(self)
        del kept[index]
        self._replace(kept)

    def insert(self, index: int, module: Module) -> None:
        """Put a module in before position ``index``."""
        modules = list(self)
        modules.insert(index, module)
        self._replace(modules)

    def _replace(self, modules: Iterable[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        self.extend(modules)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def __repr__(self) -> str:
        """Equal neighbours on one line, as PyTorch prints them."""
        runs: list[tuple[int, int, str]] = []
        for position, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1] = (runs[-1][0], position, text)
            else:
                runs.append((position, position, text))
        lines = [
            f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}"
            for first, last, text in runs
        ]
        body = "".join("\n  " + line.replace("\n", "\n  ") for line in lines)
        return f"{type(self).__name__}({body}\n)" if lines else f"{type(self).__name__}()"


class ModuleDict(Module):
    """A dictionary of modules whose parameters are found. It has no ``forward``: call its values."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace several modules."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module

    def __getitem__(self, name: str) -> Any:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and modules."""
        return self._modules.items()


class ParameterList(Module):
    """A list of parameters that a module finds. Plain tensors become parameters."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        for value in values:
            self.append(value)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        return list(self._parameters.values())[index]
