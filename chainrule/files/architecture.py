"""A network as JSON: the class of every layer and the arguments it was made with.

A layer keeps each constructor argument under the argument's own name (``Dropout.p``, ``Linear.in_features``), so its
description is read from its signature; an argument may be a layer itself. Containers are described by their children as
well. Only classes of ``chainrule.nn`` and ``chainrule.models`` can be made again from a file; of a user's class the
name is kept, for the message.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from chainrule.errors import ModelFileError, did_you_mean, type_in_words, with_article

HOMES = ("chainrule.nn", "chainrule.models")

LARGEST = 1 << 63

_NOT_RECORDED = frozenset({"self", "device"})
_UNNAMED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_PLAIN = (bool, int, float, str, type(None))


def describe(module: Any) -> dict[str, Any]:
    """Return ``{"class", "arguments"}``, with ``"children"`` for a container, in JSON types.

    A module that only its author can make again gets ``{"class", "unknown": reason}``.

    >>> from chainrule import nn
    >>> describe(nn.Sequential(nn.Linear(2, 1)))["children"]["0"]["arguments"]
    {'in_features': 2, 'out_features': 1, 'bias': True, 'dtype': 'float32'}
    """
    kind = type(module)
    if inspect.isfunction(module):
        return {"class": module.__qualname__, "unknown": "it is a function"}
    if not kind.__module__.startswith(HOMES):
        return {"class": kind.__qualname__, "unknown": "its class is not part of chainrule"}
    parameters = [
        item for name, item in inspect.signature(kind.__init__).parameters.items() if name not in _NOT_RECORDED
    ]
    named = [item for item in parameters if item.kind not in _UNNAMED]
    arguments = {}
    for item in named:
        if item.name != "dtype" and not hasattr(module, item.name):
            return {"class": kind.__name__, "unknown": f"it does not keep its argument {item.name}"}
        value = _argument(module, item)
        if not (_is_plain(value) or _is_module(value)):
            return {"class": kind.__name__, "unknown": f"its argument {item.name} is {type_in_words(value)}"}
        arguments[item.name] = describe(value) if _is_module(value) else value
    description = {"class": kind.__name__, "arguments": arguments}
    if any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters):
        children = {name: child for name, child in module._modules.items() if name not in arguments}
        description["children"] = {name: describe(child) for name, child in children.items() if child is not None}
    return description


def build(description: Any, classes: Mapping[str, Any], where: str = "the network") -> Any:
    """Make the module of a description again, with new weights; ``classes`` are those of ``chainrule`` by name.

    Raises ModelFileError for a class that chainrule does not have or cannot make from a file, naming its place.
    """
    if not isinstance(description, dict) or not isinstance(description.get("class"), str):
        raise ModelFileError(f"{where}: the architecture is damaged: expected a class name, got {description!r:.80}")
    name = description["class"]
    if "unknown" in description:
        raise ModelFileError(
            f"{where} is {with_article(name)}, which cannot be made from a file: {description['unknown']}; build it in "
            "Python, then module.load_state_dict(chainrule.load_weights(path))"
        )
    if not inspect.isclass(classes.get(name)):
        hint = did_you_mean(name, [key for key, value in classes.items() if inspect.isclass(value)])
        raise ModelFileError(f"{where}: chainrule has no class {name!r:.80}{hint}: the file may need a newer chainrule")
    try:
        given = {
            key: _given(value, classes, _below(where, key)) for key, value in description.get("arguments", {}).items()
        }
        _check_arguments(classes[name], given)
        module = classes[name](**given)
        for key, child in description.get("children", {}).items():
            module.add_module(key, build(child, classes, _below(where, key)))
        return module
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{where}: the description of {name} is damaged: {error!s:.300}") from None


def _check_arguments(kind: Any, given: Mapping[str, Any]) -> None:
    """Raises TypeError for values of options that no description has: constructors store them as they are."""
    for name, item in inspect.signature(kind.__init__).parameters.items():
        value = given.get(name)
        if isinstance(item.default, bool) and not isinstance(value, bool | str | None):
            raise TypeError(f"{name} must be true or false, got {value!r:.80}")
        if isinstance(item.default, float) and (isinstance(value, bool) or not isinstance(value, int | float | None)):
            raise TypeError(f"{name} must be a number, got {value!r:.80}")


def _below(where: str, key: str) -> str:
    return f"layer {key!r}" if where == "the network" else f"{where}.{key}"


def _given(value: Any, classes: Mapping[str, Any], where: str) -> Any:
    """An argument as the constructor takes it: layers made, lists as tuples."""
    if isinstance(value, dict):
        return build(value, classes, where)
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"a number of {value.bit_length()} bits")
    return tuple(_given(item, classes, where) for item in value) if isinstance(value, list) else value


def _argument(module: Any, parameter: inspect.Parameter) -> Any:
    """The value of a constructor argument: ``dtype`` is that of the weights, ``bias=True`` the weights that it made."""
    if parameter.name == "dtype":
        dtypes = [tensor.dtype for tensor in (*module.parameters(), *module.buffers())]
        return next((dtype.name for dtype in dtypes if dtype.is_floating_point), None)
    value = getattr(module, parameter.name)
    if isinstance(parameter.default, bool) and not isinstance(value, bool | str):
        return value is not None
    return list(value) if isinstance(value, tuple) else value


def _is_module(value: Any) -> bool:
    return hasattr(value, "_modules")


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (
        isinstance(value, tuple | list) and all(isinstance(item, _PLAIN) for item in value)
    )
