"""The base class of layers and networks, with PyTorch's methods."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Self

from ..devices import Device
from ..errors import ArgumentError, did_you_mean
from ..files.network import write_network
from ..files.opened import File
from ..tensor.creation import zeros_like
from ..tensor.events import ParameterSet, record_zero_grad
from ..tensor.operands import as_tensor
from ..tensor.recording import Handle, make_slot, resolve
from ..tensor.segment import flush, state
from ..tensor.structure import note_change, note_switch, structure
from ..tensor.tensor import Tensor
from ..types import DTYPES, DType, as_dtype, float32, float64
from .memo import BuiltinCall, Memo
from .parameter import Parameter
from .state_dict import StateDictMethods
from .summary import Summary, summarize

_KINDS = {"_parameters": "parameter", "_buffers": "buffer", "_modules": "module"}


class Module(StateDictMethods):
    """A part of a network: parameters, buffers, child modules, and a ``forward`` that computes with them.

    Parameters and modules assigned as attributes are registered under the attribute's name. They live in the
    instance's dictionary like every other attribute, so reading them costs nothing extra.

    Class flag ``is_builtin``: ``forward`` is a function of one input, the module's attributes and parameters alone,
    reads no values, and changes nothing but its buffers; what it recorded may then be remembered (`chainrule.nn.memo`).
    ``is_transparent``: a layer before it takes initial values that suit the activation behind it.

    >>> import chainrule as cr
    >>> class Net(cr.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = cr.nn.Linear(2, 3)
    ...     def forward(self, x):
    ...         return self.hidden(x).relu()
    >>> [tuple(p.shape) for p in Net().parameters()]
    [(3, 2), (3,)]
    """

    is_builtin = False
    is_transparent = False
    training: bool
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]
    _transient: set[str]
    _forward_hooks: dict[int, Callable[..., Any]]
    _forward_pre_hooks: dict[int, Callable[..., Any]]
    _has_hooks: bool
    _memo: Memo | None
    _parameter_set: tuple[int, ParameterSet] | None

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        # Here and not in __init__, so that a subclass may assign attributes before, or without, super().__init__().
        module = super().__new__(cls)
        module.__dict__.update(
            training=True, _parameters={}, _buffers={}, _modules={}, _transient=set(),
            _forward_hooks={}, _forward_pre_hooks={}, _has_hooks=False, _memo=None, _parameter_set=None,
        )  # fmt: skip
        return module

    def __init__(self) -> None:
        pass

    def __init_subclass__(cls, is_builtin: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.is_builtin = is_builtin
        if "forward" in cls.__dict__ and "__call__" not in cls.__dict__:
            cls.__call__ = BuiltinCall.__call__ if is_builtin else Module.__call__  # type: ignore[method-assign]

    # Calling ---------------------------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function. fix: def forward(self, x): ...'
        )

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        return self._call_hooked(inputs, options) if self._has_hooks else self.forward(*inputs, **options)

    def _call_hooked(self, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
        for hook in tuple(self._forward_pre_hooks.values()):
            changed = hook(self, inputs)
            if changed is not None:
                inputs = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*inputs, **options)
        for hook in tuple(self._forward_hooks.values()):
            changed = hook(self, inputs, result)
            if changed is not None:
                result = changed
        return result

    def register_forward_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, inputs, output)`` after every forward; a result other than None replaces the output."""
        return self._register_hook(self._forward_hooks, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> HookHandle:
        """Call ``hook(module, inputs)`` before every forward; a result other than None replaces the inputs."""
        return self._register_hook(self._forward_pre_hooks, hook)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle holds: everything but what was remembered about this very module."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_memo", "_parameter_set")}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        """Take over what a copy or a pickle holds. Copied tensors are no state of programs yet."""
        self.__dict__.update(saved)
        for buffer in self._buffers.values():
            if buffer is not None:
                _as_state(buffer)

    def _register_hook(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> HookHandle:
        handle = HookHandle(self, hooks)
        hooks[handle.id] = hook
        self._hooks_changed()
        return handle

    def _hooks_changed(self) -> None:
        self.__dict__["_has_hooks"] = bool(self._forward_hooks or self._forward_pre_hooks)
        note_change()

    # Attributes ------------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif not self._replace_registered(name, value):
            if self.is_builtin or name == "forward":
                note_change()
            object.__setattr__(self, name, value)

    def _replace_registered(self, name: str, value: Any) -> bool:
        """Write to a name that is already a parameter, buffer or child; False if it is none of these."""
        for registry, kind in _KINDS.items():
            if name in self.__dict__[registry]:
                accepted = value is None or (kind == "buffer" and isinstance(value, Handle))
                if not accepted:
                    raise ArgumentError(
                        f"cannot assign '{type(value).__name__}' as {kind} '{name}' "
                        f"({'nn.Parameter' if kind == 'parameter' else f'a {kind}'} or None expected). "
                        f"fix: with no_grad(): module.{name}.copy_(value), or del module.{name} first"
                    )
                self._register(registry, name, _as_state(value) if kind == "buffer" and value is not None else value)
                return True
        return False

    def __delattr__(self, name: str) -> None:
        for registry in _KINDS:
            self.__dict__[registry].pop(name, None)
        note_change()
        object.__delattr__(self, name)

    def _register(self, registry: str, name: str, value: Any) -> None:
        """Enter ``value`` in one registry, out of the others, and in the instance's dictionary."""
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(f'{_KINDS[registry]} name must be a non-empty string without ".", got {name!r}')
        if name not in self.__dict__ and hasattr(type(self), name):
            raise ArgumentError(f"attribute '{name}' already exists in class {type(self).__name__}")
        for other in _KINDS:
            if other != registry:
                self.__dict__[other].pop(name, None)
        self.__dict__[registry][name] = self.__dict__[name] = value
        note_change()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter, readable as an attribute; None reserves the name."""
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}'. fix: nn.Parameter(tensor)"
            )
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a tensor that is no parameter; saved with the module if ``persistent``.

        Programs overwrite it in place where ``forward`` writes to it (``copy_``, ``mul_`` ...), as they do parameters.
        """
        self._register("_buffers", name, None if tensor is None else _as_state(as_tensor(tensor)))
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module, readable as an attribute."""
        if module is not None and not isinstance(module, Module):
            raise ArgumentError(
                f"{type(self).__name__} takes modules, got {module!r}, which is not a Module subclass. fix: "
                "e.g. nn.ReLU() for a function such as relu, and *layers for a list of layers"
            )
        self._register("_modules", name, module)

    register_module = add_module

    # Going through the parts -----------------------------------------------------------------------------------------

    def named_modules(
        self, memo: set[Any] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """The module itself and all below it, with dotted names; each once, or under all its names."""
        memo = set() if memo is None else memo
        if self not in memo:
            if remove_duplicate:
                memo.add(self)
            yield prefix, self
            for name, child in self._modules.items():
                if child is not None:
                    below = f"{prefix}.{name}" if prefix else name
                    yield from child.named_modules(memo, below, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """The module itself and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children with their names, each once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct children, each once."""
        return (child for _, child in self.named_children())

    def _named_tensors(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen = set()
        found = self.named_modules(None, prefix, remove_duplicate) if recurse else [(prefix, self)]
        for path, module in found:
            for name, tensor in module.__dict__[registry].items():
                if tensor is not None and not (remove_duplicate and id(tensor) in seen):
                    seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with dotted names, each once."""
        return self._named_tensors("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters of this module and, with ``recurse``, of all below it, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with dotted names, each once."""
        return self._named_tensors("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and, with ``recurse``, of all below it, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module under a dotted name; the empty name is the module itself."""
        module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                raise ArgumentError(
                    f"{type(module).__name__} has no submodule {name!r}{did_you_mean(name, module._modules)} "
                    f"(looking for {target!r})"
                )
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter under a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._parameters.get(name) is None:
            raise ArgumentError(
                f"{type(module).__name__} has no parameter {name!r}{did_you_mean(name, module._parameters)} "
                f"(looking for {target!r})"
            )
        parameter: Parameter = module._parameters[name]
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer under a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._buffers.get(name) is None:
            raise ArgumentError(
                f"{type(module).__name__} has no buffer {name!r}{did_you_mean(name, module._buffers)} "
                f"(looking for {target!r})"
            )
        buffer: Tensor = module._buffers[name]
        return buffer

    # Changing all parts ----------------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` with every child, depth first, then with the module itself; returns the module."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch the module and all below it to training (dropout active), or with False to evaluation."""
        for module in self.modules():
            module.__dict__["training"] = bool(mode)
        note_switch()
        return self

    def eval(self) -> Self:
        """Switch the module and all below it to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say for every parameter whether its gradient is wanted."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; with ``set_to_none=False`` make them zeros."""
        if not set_to_none:
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad = zeros_like(parameter.grad)
            return
        found = self._parameter_set
        if found is None or found[0] != structure.version:
            found = (structure.version, ParameterSet(self.parameters()))
            self.__dict__["_parameter_set"] = found
        record_zero_grad(found[1])

    def to(self, *arguments: Any, dtype: Any = None, device: Any = None, **ignored: Any) -> Self:
        """Convert floating-point parameters and buffers to ``dtype``; devices other than the CPU are refused."""
        for argument in arguments:
            if isinstance(argument, Tensor):
                dtype = argument.dtype
            elif isinstance(argument, Device) or (isinstance(argument, str) and argument not in DTYPES):
                device = argument
            elif argument is not None and not isinstance(argument, bool):
                dtype = argument
        if device is not None:
            Device(device)
        return self if dtype is None else self._convert(as_dtype(dtype))

    def _convert(self, dtype: DType) -> Self:
        if not dtype.is_floating_point:
            raise ArgumentError(f"nn.Module.to only accepts floating point dtypes, but got desired dtype={dtype}")
        for parameter in self.parameters():
            parameter.convert_(dtype)
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_floating_point():
                    module.register_buffer(name, buffer.to(dtype), name not in module._transient)
        return self

    def float(self) -> Self:
        """Parameters and buffers as float32."""
        return self._convert(float32)

    def double(self) -> Self:
        """Parameters and buffers as float64."""
        return self._convert(float64)

    def cpu(self) -> Self:
        """The module itself."""
        return self

    # Text ------------------------------------------------------------------------------------------------------------

    def save(self, path: File) -> None:
        """Save the module as a model file, which `chainrule.load` reads: JSON and safetensors in one zip.

        ``path`` may be a binary file that is open, such as `io.BytesIO`; it is written where it stands.

        Errors: `ModelFileError` where the file cannot be written; an earlier file is then unchanged.
        """
        write_network(path, self)

    def summary(self, *inputs: Any) -> Summary:
        """A table of all layers with their numbers of parameters and, given example inputs, their output shapes.

        >>> import chainrule as cr
        >>> cr.nn.Linear(8, 12).summary().parameters
        108
        """
        return summarize(self, inputs)

    def extra_repr(self) -> str:
        """What ``print(module)`` shows between the parentheses; subclasses override it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): " + _indent(repr(child)) for name, child in self._modules.items()]
        return _with_parts(type(self).__name__, lines, children)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})


def _as_state(buffer: Any) -> Any:
    """``buffer`` with an address and a vertex of its own, so that programs may overwrite it. What is being recorded,
    or was computed from parameters, is left as it is."""
    if buffer._slot is None and not buffer.requires_grad and not state.segment.is_capturing:
        if buffer._segment is not None:
            flush()  # it may have been read as ordinary data
        resolve(buffer)
        make_slot(buffer)
    return buffer


def _with_parts(name: str, extra: list[str], children: list[str]) -> str:
    """PyTorch's layout of a module: one line without children, else one line per part."""
    if len(extra) == 1 and not children:
        return f"{name}({extra[0]})"
    if not extra and not children:
        return f"{name}()"
    return f"{name}(\n  " + "\n  ".join([*extra, *children]) + "\n)"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


class HookHandle:
    """What registering a hook returns: ``remove()`` takes the hook away."""

    _numbers = itertools.count()

    def __init__(self, module: Module, hooks: dict[int, Callable[..., Any]]) -> None:
        self.id = next(self._numbers)
        self._module = module
        self._hooks = hooks

    def remove(self) -> None:
        """Call the hook no more."""
        self._hooks.pop(self.id, None)
        self._module._hooks_changed()

    def __enter__(self) -> HookHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()
