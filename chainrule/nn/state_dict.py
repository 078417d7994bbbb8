"""Parameters and buffers of a module as a dictionary of tensors, under PyTorch's names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import StateDictError
from ..tensor.operands import as_tensor
from ..tensor.recording import resolve
from ..tensor.segment import flush


class KeyReport(NamedTuple):
    """What ``load_state_dict`` returns: names without a value, and values without a name."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class StateDictMethods:
    """``state_dict`` and ``load_state_dict`` of modules."""

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """The module itself and all below it."""
        raise NotImplementedError

    def _named_state(self) -> Iterator[tuple[str, Any]]:
        for path, module in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    yield prefix + name, parameter
            for name, buffer in module._buffers.items():
                if buffer is not None and name not in module._transient:
                    yield prefix + name, buffer

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> OrderedDict[str, Any]:
        """All parameters and persistent buffers by dotted name; shared ones under each of their names.

        The tensors share memory with the module's: copy them (``copy.deepcopy``) to keep their values.
        """
        return OrderedDict(
            (prefix + name, tensor if keep_vars else tensor.detach()) for name, tensor in self._named_state()
        )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> KeyReport:
        """Copy the values of ``state_dict`` (tensors or arrays, also PyTorch's) into the parameters and buffers.

        With ``strict``, names must agree exactly. Nothing is changed if something does not fit.
        Errors: `StateDictError` listing every missing, unexpected and misshapen entry.
        """
        own = dict(self._named_state())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        values = {name: _as_array(state_dict[name]) for name in own if name in state_dict}
        problems = []
        if strict and missing:
            problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if strict and unexpected:
            problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        problems += [
            f"size mismatch for {name}: copying a param with shape torch.Size({list(value.shape)}) from checkpoint, "
            f"the shape in current model is torch.Size({list(own[name].shape)})."
            for name, value in values.items()
            if value.shape != tuple(own[name].shape)
        ]
        if problems:
            raise StateDictError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(problems)
            )
        flush()
        for name, value in values.items():
            own[name]._array()[...] = value
        return KeyReport(missing, unexpected)


def _as_array(value: Any) -> np.ndarray[Any, Any]:
    """The elements, copied: they may lie in the very memory that is about to be overwritten."""
    if hasattr(value, "detach"):
        value = value.detach()
    tensor = as_tensor(value)
    resolve(tensor)
    return np.array(tensor._array())


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
