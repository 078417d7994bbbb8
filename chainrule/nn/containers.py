"""Modules that hold modules."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from ..errors import ArgumentError, IndexOutOfRangeError, MissingKeyError, did_you_mean
from .initialization import follow_activations
from .module import Module


class _ModuleSequence(Module):
    """What `Sequential` and `ModuleList` share: a list of modules, named by their numbers unless given other names."""

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
            return self._part(index)
        return self._modules[_name_at(self, index)]

    def _part(self, part: slice) -> Self:
        raise NotImplementedError

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(_name_at(self, index), module)
        self._changed()

    def __delitem__(self, index: int | slice) -> None:
        if not isinstance(index, slice):
            _name_at(self, index)
        kept = list(self)
        del kept[index]
        self._replace(kept)

    def _replace(self, modules: Iterable[Module]) -> None:
        for name in list(self._modules):
            delattr(self, name)
        self._add(modules)

    def _add(self, modules: Iterable[Module]) -> None:
        for number, module in enumerate(modules, len(self)):
            self.add_module(str(number), module)
        self._changed()

    def _changed(self) -> None:
        """Called when modules have been added, removed or replaced."""

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self._add([module])
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        self._add(list(modules))
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module in before position ``index``; those behind it are numbered anew."""
        if not -len(self) <= index <= len(self):
            raise IndexOutOfRangeError(f"Index out of range: {index}, there are {len(self)} modules")
        modules = list(self)
        modules.insert(index, module)
        self._replace(modules)
        return self

    def pop(self, index: int | slice) -> Any:
        """Take a module, or several, out and return it."""
        taken = self[index]
        del self[index]
        return taken

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)


class Sequential(_ModuleSequence, is_builtin=True):
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
            self._changed()
        else:
            self._add(layers)

    def forward(self, input: Any) -> Any:
        for layer in self._modules.values():
            input = layer(input)
        return input

    def _part(self, part: slice) -> Self:
        return type(self)(OrderedDict(list(self._modules.items())[part]))

    def _changed(self) -> None:
        follow_activations(_flat(self))

    def __add__(self, other: Sequential) -> Sequential:
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        """The same layers, with the same parameters, several times in a row."""
        if times < 1:
            raise ArgumentError(f"Non-positive multiplication factor {times} for {type(self).__name__}")
        return Sequential(*(list(self) * times))

    __rmul__ = __mul__


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


class ModuleList(_ModuleSequence):
    """A list of modules whose parameters are found. It has no ``forward``: call its elements."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        self.extend(modules or ())

    def _part(self, part: slice) -> Self:
        return type(self)(list(self)[part])

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

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

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        self.update(modules or ())

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace several modules."""
        for name, module in modules.items() if isinstance(modules, Mapping) else modules:
            self[name] = module

    def __getitem__(self, name: str) -> Any:
        if name not in self._modules:
            raise MissingKeyError(f"there is no module {name!r}{did_you_mean(name, self._modules)}")
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        self[name]
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

    def pop(self, name: str) -> Any:
        """Take a module out and return it."""
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        """Take all modules out."""
        for name in list(self._modules):
            del self[name]
