"""The base class of optimisers, with PyTorch's methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from weakref import ref

import numpy as np

from ..errors import ArgumentError, StateDictError
from ..tensor.creation import zeros_like
from ..tensor.events import ParameterSet, record_step, record_zero_grad
from ..tensor.gradmode import enable_grad
from ..tensor.operands import from_array
from ..tensor.recording import Handle
from ..tensor.structure import note_change
from ..types import float64
from .state import Counter, memory_of, state_like, state_tensor

Gradients = dict[Any, Any]


class ParameterGroup(dict[str, Any]):
    """Options by name, and ``params``: the parameters they hold for.

    The learning rate is a run-time value: setting it writes a number that programs read (``rate``). Every other option
    is a constant of the program, so setting it makes the optimiser another one for the program cache.
    """

    def __init__(self, options: Mapping[str, Any], on_change: Callable[[], None]) -> None:
        self.rate = state_tensor((), float64)
        self._on_change = on_change
        super().__init__(options)
        memory_of(self.rate)[...] = float(options["lr"])

    def __setitem__(self, name: str, value: Any) -> None:
        old = self.get(name)
        super().__setitem__(name, value)
        if name == "lr":
            memory_of(self.rate)[...] = float(value)
        elif old is not value:
            self._on_change()

    def update(self, *arguments: Any, **options: Any) -> None:
        """Set several options."""
        for name, value in dict(*arguments, **options).items():
            self[name] = value


class Rule:
    """One version of an optimiser, as programs know it: changed options make a new one.

    Steps stay in the keys of bound programs, so they do not keep the optimiser alive.
    """

    __slots__ = ("_optimizer",)

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = ref(optimizer)

    def record_updates(self, gradient_of: Callable[[Any], Any]) -> None:
        """Record the new values of all parameters that have a gradient."""
        optimizer = self._optimizer()
        if optimizer is None:
            return
        for group in optimizer.param_groups:
            found = ((parameter, gradient_of(parameter)) for parameter in group["params"])
            gradients = {parameter: gradient for parameter, gradient in found if gradient is not None}
            if gradients:
                optimizer.record_group(group, gradients)


class Optimizer:
    """Changes parameters along their gradients. Subclasses write their rule in `record_group`.

    ``param_groups`` holds the options; ``state[parameter]`` what the rule keeps, under PyTorch's names.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Handle):
            raise ArgumentError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got Tensor. "
                "fix: [tensor]"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[ParameterGroup] = []
        self._counters: dict[Any, Counter] = {}
        groups = list(params)
        if not groups:
            raise ArgumentError("optimizer got an empty parameter list. fix: check that the model has parameters")
        for group in groups if isinstance(groups[0], Mapping) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters with options of their own: ``{"params": [...], "lr": 0.1}``; the rest are the defaults.

        Errors: `ArgumentError` for what cannot be optimised, for parameters that occur twice, and for bad options.
        """
        given = param_group["params"]
        members = [given] if isinstance(given, Handle) else list(given)
        members = [member[1] if isinstance(member, tuple) else member for member in members]
        taken = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        for parameter in members:
            if not isinstance(parameter, Handle):
                found = type(parameter).__name__
                raise ArgumentError(f"optimizer can only optimize Tensors, but one of the params is {found}")
            if not parameter.is_leaf:  # type: ignore[attr-defined]
                raise ArgumentError("can't optimize a non-leaf Tensor. fix: use tensor.detach().requires_grad_()")
            if id(parameter) in taken:
                raise ArgumentError("some parameters appear in more than one parameter group, or twice in one")
            taken.add(id(parameter))
        options = {**self.defaults, **param_group, "params": members}
        self.check_options(options)
        self.param_groups.append(ParameterGroup(options, self._options_changed))
        self._all = ParameterSet(parameter for group in self.param_groups for parameter in group["params"])
        self._options_changed()

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Errors: `ArgumentError` for values out of range."""
        for name in ("lr", "eps", "weight_decay", "momentum"):
            if name in options and not float(options[name]) >= 0:
                title = {"lr": "learning rate", "eps": "epsilon", "momentum": "momentum"}.get(name, f"{name} value")
                raise ArgumentError(f"Invalid {title}: {options[name]}; it must be at least 0")

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        """Record the new values of some parameters of a group, given their gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define record_group(group, gradients)")

    def _options_changed(self) -> None:
        self._rule = Rule(self)
        note_change()

    # Stepping --------------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run everything that is pending and change the parameters that have gradients.

        ``closure`` computes the loss anew, and is called first; its result is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        record_step(self._rule)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` make them zeros."""
        if set_to_none:
            record_zero_grad(self._all)
            return
        for parameter in self._all.parameters:
            if parameter.grad is not None:
                parameter.grad = zeros_like(parameter.grad)

    def state_of(self, parameter: Any, *names: str) -> list[Any]:
        """The state tensors of a parameter under these names, made now if it has none yet."""
        entries = self.state[parameter]
        for name in names:
            if name not in entries:
                entries[name] = state_like(parameter)
        return [entries[name] for name in names]

    def counted(self, parameters: Iterable[Any], betas: Sequence[float] = ()) -> Iterator[tuple[Counter, list[Any]]]:
        """Group parameters by their counter of steps, each advanced by one.

        Parameters share a counter as long as they are always stepped together. Those that are stepped without the
        others from now on go on with a copy.
        """
        together: dict[Counter | None, list[Any]] = {}
        for parameter in parameters:
            together.setdefault(self._counters.get(parameter), []).append(parameter)
        for counter, members in together.items():
            if counter is None:
                counter = self._share_counter(members, betas, 0.0)
            elif len(members) < len(counter.members):
                counter = self._share_counter(members, betas, counter.value)
                self._options_changed()  # programs that advanced the common counter are not for these any more
            elif counter.betas != tuple(betas):
                counter.set(betas, counter.value)
            counter.advance()
            yield counter, members

    def _share_counter(self, members: Iterable[Any], betas: Sequence[float], steps: float) -> Counter:
        counter = Counter(betas, steps)
        for parameter in members:
            if parameter in self._counters:
                self._counters[parameter].members.discard(parameter)
            self._counters[parameter] = counter
            counter.members.add(parameter)
        return counter

    # Saving ----------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Options and state in PyTorch's form: parameters are numbered in order. The tensors are copies."""
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                numbers[id(parameter)] = len(numbers)
        saved = {
            numbers[id(parameter)]: {name: from_array(np.array(memory_of(value))) for name, value in entries.items()}
            for parameter, entries in self.state.items()
            if entries
        }
        groups = [{**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": saved, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over options and state from `state_dict`, also PyTorch's.

        Errors: `StateDictError` if the groups have other numbers of parameters; nothing is changed then.
        """
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise StateDictError(
                f"loaded state dict has a different number of parameter groups: {len(groups)}, "
                f"expected {len(self.param_groups)}"
            )
        for mine, loaded in zip(self.param_groups, groups, strict=True):
            if len(mine["params"]) != len(loaded["params"]):
                raise StateDictError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"{len(loaded['params'])} parameters, expected {len(mine['params'])}"
                )
        self.state.clear()
        self._counters.clear()
        for mine, loaded in zip(self.param_groups, groups, strict=True):
            mine.update({name: value for name, value in loaded.items() if name != "params"})
            self._load_group(mine, loaded["params"], state_dict["state"])
        self._options_changed()

    def _load_group(self, group: ParameterGroup, numbers: Sequence[Any], saved: Mapping[Any, Any]) -> None:
        at_step: dict[float, list[Any]] = {}
        for parameter, number in zip(group["params"], numbers, strict=True):
            entries = {name: value for name, value in saved.get(number, {}).items() if value is not None}
            if entries:
                at_step.setdefault(float(entries.pop("step", 1)), []).append(parameter)
            for name, value in entries.items():
                (tensor,) = self.state_of(parameter, name)
                memory_of(tensor)[...] = np.asarray(value)
        for steps, members in at_step.items():
            self._share_counter(members, self.betas_of(group), steps)
            self.note_steps(members)

    def betas_of(self, group: ParameterGroup) -> Sequence[float]:
        """The numbers whose powers the rule needs: none by default."""
        return ()

    def note_steps(self, members: Iterable[Any]) -> None:
        """Show the counter of steps in the state, for rules that have it there."""

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])
