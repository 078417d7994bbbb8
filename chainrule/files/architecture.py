"""A network as JSON: the class of every layer and the arguments it was made with.

A layer keeps each constructor argument under the argument's own name (``Dropout.p``, ``Linear.in_features``), so its
description is read from its signature. Containers are described by their children. Only classes of ``chainrule.nn``
can be made again from a file; of a user's class the name is kept, for the message.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from chainrule.errors import ModelFileError, did_you_mean

HOME = "chainrule.nn"

_NOT_RECORDED = frozenset({"self", "device"})
_PLAIN = (bool, int, float, str, type(None))


def describe(module: Any) -> dict[str, Any]:
    """Return ``{"class", "arguments"}`` or ``{"class", "children"}`` for a module, in JSON types.

    A module that only its author can make again gets ``{"class", "unknown": reason}``.

    >>> from chainrule import nn
    >>> describe(nn.Sequential(nn.Linear(2, 1)))["children"]["0"]["arguments"]
    {'in_features': 2, 'out_features': 1, 'bias': True, 'dtype': 'float32'}
    """
    kind = type(module)
    if not kind.__module__.startswith(HOME):
        return {"class": kind.__qualname__, "unknown": "its class is not part of chainrule.nn"}
    parameters = [
        item for name, item in inspect.signature(kind.__init__).parameters.items() if name not in _NOT_RECORDED
    ]
    if any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters):
        children = {name: describe(child) for name, child in module._modules.items() if child is not None}
        return {"class": kind.__name__, "children": children}
    arguments = {}
    for item in parameters:
        if item.name != "dtype" and not hasattr(module, item.name):
            return {"class": kind.__name__, "unknown": f"it does not keep its argument {item.name}"}
        value = _argument(module, item)
        if not _is_plain(value):
            return {"class": kind.__name__, "unknown": f"its argument {item.name} is a {type(value).__name__}"}
        arguments[item.name] = list(value) if isinstance(value, tuple) else value
    return {"class": kind.__name__, "arguments": arguments}


def build(description: Any, classes: Mapping[str, Any], where: str = "the network") -> Any:
    """Make the module of a description again, with new weights; ``classes`` are those of ``chainrule.nn`` by name.

    Raises ModelFileError for a class that chainrule does not have or cannot make from a file, naming its place.
    """
    if not isinstance(description, dict) or not isinstance(description.get("class"), str):
        raise ModelFileError(f"{where}: the architecture is damaged: expected a class name, got {description!r:.80}")
    name = description["class"]
    if "unknown" in description:
        raise ModelFileError(
            f"{where} is a {name}, which cannot be made from a file: {description['unknown']}; build it in Python, "
            "then module.load_state_dict(chainrule.load_weights(path))"
        )
    if not inspect.isclass(classes.get(name)):
        hint = did_you_mean(name, [key for key, value in classes.items() if inspect.isclass(value)])
        raise ModelFileError(f"{where}: chainrule.nn has no class {name!r}{hint}: the file may need a newer chainrule")
    try:
        if "children" in description:
            return _build_container(description["children"], classes, name, where)
        given = {
            key: tuple(value) if isinstance(value, list) else value for key, value in description["arguments"].items()
        }
        return classes[name](**given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{where}: the description of {name} is damaged: {error}") from None


def _build_container(children: dict[str, Any], classes: Mapping[str, Any], name: str, where: str) -> Any:
    container = classes[name]()
    for key, child in children.items():
        container.add_module(
            key, build(child, classes, f"layer {key!r}" if where == "the network" else f"{where}.{key}")
        )
    return container


def _argument(module: Any, parameter: inspect.Parameter) -> Any:
    """The value of a constructor argument: ``dtype`` is that of the weights, ``bias=True`` the weights that it made."""
    if parameter.name == "dtype":
        return next((weights.dtype.name for weights in module.parameters(recurse=False)), None)
    value = getattr(module, parameter.name)
    if isinstance(parameter.default, bool) and not isinstance(value, bool):
        return value is not None
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (
        isinstance(value, tuple | list) and all(isinstance(item, _PLAIN) for item in value)
    )
