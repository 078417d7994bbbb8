"""The networks of `chainrule.models` in PyTorch: the same lines, with PyTorch's layers in place of chainrule's."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import types
from typing import Any

HOME = "chainrule_models_in_torch"


@functools.cache
def in_torch(name: str) -> Any:
    """The module ``chainrule.models.<name>`` with PyTorch's ``nn`` and functions of tensors.

    The files of that folder take layers by ``from .. import``, functions by ``from ..tensor.shaping import``, and each
    other by ``from .name import``.
    """
    original = importlib.import_module(f"chainrule.models.{name}")
    source = inspect.getsource(original).replace("from .. import ", "from torch import ")
    source = source.replace("from ..tensor.shaping import ", "from torch import ")
    if "from .resnet import " in source:
        in_torch("resnet")
        source = source.replace("from .resnet import ", f"from {HOME}.resnet import ")
    module = sys.modules[f"{HOME}.{name}"] = types.ModuleType(f"{HOME}.{name}")
    module.__package__ = original.__package__
    exec(compile(source, str(original.__file__), "exec"), module.__dict__)
    return module
