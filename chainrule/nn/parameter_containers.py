"""Modules that hold parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..errors import ArgumentError, IndexOutOfRangeError, MissingKeyError, did_you_mean
from ..tensor.recording import Handle
from .module import Module
from .parameter import Parameter


def _as_parameter(value: Any) -> Any:
    return value if isinstance(value, Parameter) else Parameter(value)


class ParameterList(Module):
    """A list of parameters that a module finds. Plain tensors become parameters.

    >>> import chainrule as cr
    >>> [name for name, _ in cr.nn.ParameterList([cr.ones(2), cr.zeros(3)]).named_parameters()]
    ['0', '1']
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.extend(values or ())

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add several parameters at the end."""
        for value in values:
            self.append(value)
        return self

    __iadd__ = extend

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._parameters[self._name_at(index)]

    def __setitem__(self, index: int, value: Any) -> None:
        self.register_parameter(self._name_at(index), _as_parameter(value))

    def _name_at(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexOutOfRangeError(f"index {index} is out of range: there are {len(self)} parameters")
        return str(index % len(self))

    def __repr__(self) -> str:
        return _listing(self, enumerate(self))


class ParameterDict(Module):
    """A dictionary of parameters that a module finds. Plain tensors become parameters; the order is kept.

    >>> import chainrule as cr
    >>> table = cr.nn.ParameterDict({"scale": cr.ones(2)})
    >>> table["shift"] = cr.zeros(2)
    >>> [name for name, _ in table.named_parameters()]
    ['scale', 'shift']
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        self.update(parameters or ())

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add or replace several parameters."""
        for name, value in parameters.items() if hasattr(parameters, "items") else parameters:
            self[name] = value

    def __getitem__(self, name: str) -> Any:
        if name not in self._parameters:
            raise MissingKeyError(f"there is no parameter {name!r}{did_you_mean(name, self._parameters)}")
        return self._parameters[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(value, Handle) and value is not None:
            raise ArgumentError(f"ParameterDict: {name!r} must be a tensor, got {type(value).__name__}")
        self.register_parameter(name, None if value is None else _as_parameter(value))

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in self._parameters

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __or__(self, other: Mapping[str, Any]) -> ParameterDict:
        joined = self.copy()
        joined.update(other)
        return joined

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return self._parameters.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and parameters."""
        return self._parameters.items()

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter of that name, or ``default``."""
        return self._parameters.get(name, default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The parameter of that name, made from ``default`` if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def pop(self, name: str) -> Any:
        """Take a parameter out and return it."""
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        """Take the last parameter out and return it with its name."""
        if not self._parameters:
            raise MissingKeyError("popitem(): the ParameterDict is empty")
        name = list(self._parameters)[-1]
        return name, self.pop(name)

    def clear(self) -> None:
        """Take all parameters out."""
        for name in list(self._parameters):
            del self[name]

    def copy(self) -> ParameterDict:
        """Another dictionary of the same parameters."""
        return ParameterDict(self.items())

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dictionary with ``default`` under every one of the names."""
        return ParameterDict((name, default) for name in keys)

    def __repr__(self) -> str:
        return _listing(self, self.items())


def _listing(container: Module, items: Iterable[tuple[Any, Any]]) -> str:
    """PyTorch's layout: a line per parameter with its type and its sizes."""
    lines = [
        f"  ({name}): Parameter containing: [{value.dtype} of size {'x'.join(map(str, value.shape))}]"
        for name, value in items
        if value is not None
    ]
    return "\n".join([f"{type(container).__name__}(", *lines, ")"])
