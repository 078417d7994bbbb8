"""The base class of optimisers, with PyTorch's methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from weakref import ref

import numpy as np

from ..errors import ArgumentError, StateDictError, did_you_mean
from ..tensor.creation import zeros_like
from ..tensor.events import ParameterSet, Step, record_step, record_zero_grad
from ..tensor.gradmode import enable_grad
from ..tensor.operands import from_array
from ..tensor.recording import Handle, make_slot
from ..tensor.structure import note_change
from .example import Example, record_by_example
from .state import Counter, fixed, memory_of, state_like, state_number, write_running

Gradients = dict[Any, Any]


EXECUTION_OPTIONS = ("foreach", "fused", "capturable", "differentiable")
"""Options that say how PyTorch runs an optimiser; accepted, and without effect, for here every step is compiled."""

NOT_NEGATIVE = {
    "lr": "learning rate", "eps": "epsilon value", "weight_decay": "weight_decay value", "momentum": "momentum value",
    "alpha": "alpha value", "lr_decay": "lr_decay value", "momentum_decay": "momentum_decay value",
    "initial_accumulator_value": "initial_accumulator_value value",
}  # fmt: skip
"""Options that must be at least 0, as PyTorch's messages name them."""

SCHEDULED = (
    "initial_lr",
    "max_lr",
    "min_lr",
    "base_momentum",
    "max_momentum",
    "name",
    "swa_lr",
    "decoupled_weight_decay",
)
"""Further names that parameter groups have in PyTorch's programs."""


class ParameterGroup(dict[str, Any]):
    """Options by name, and ``params``: the parameters they hold for.

    The learning rate is a run-time value: setting it writes a number that programs read (``rate``). Every other option
    is a constant of the program until it is changed. A number that is changed becomes a run-time value too, so that
    the next change compiles nothing; to or from 0, and where it is no number, another program is needed.
    """

    def __init__(self, options: Mapping[str, Any], optimizer: Optimizer) -> None:
        self.rate = state_number(float(options["lr"]))
        self._rate = memory_of(self.rate)
        self._varying: dict[str, Any] = {}
        self._optimizer = ref(optimizer)  # which owns this group: no circle, whose memory would wait for the collector
        super().__init__(options)

    def number(self, name: str) -> Any:
        """The value of an option for the arithmetic of a rule: numbers, or tensors if it has been changed before."""
        return self._varying.get(name, self[name])

    def variable(self, name: str) -> Any:
        """The tensor, or for a tuple the tensors, of a numeric option, which becomes a run-time value if it is none."""
        if name not in self._varying:
            self._make_variable(name, self[name])
            self._note_change()
        return self._varying[name]

    @property
    def varying(self) -> list[str]:
        """The options that are run-time values."""
        return list(self._varying)

    def let_vary(self, names: Iterable[str]) -> None:
        """Let these options be run-time values, and no others."""
        self._varying.clear()
        for name in names:
            self._make_variable(name, self[name])
        self._note_change()

    def write_numbers(self) -> None:
        """Write all run-time values to where programs read them: a program may have overwritten them."""
        self._rate[...] = float(self["lr"])
        for name in self._varying:
            self._write(name, self[name])

    def __setitem__(self, name: str, value: Any) -> None:
        old = self.get(name)
        super().__setitem__(name, value)
        if name == "lr":
            self._rate[...] = float(value)
        elif old is not None and old != value:
            self._vary(name, old, value)

    def _vary(self, name: str, old: Any, value: Any) -> None:
        has_same_form = _form(old) == _form(value) is not None
        if has_same_form and name in self._varying:
            self._write(name, value)
            return
        self._varying.pop(name, None)
        if has_same_form:
            self._make_variable(name, value)
        self._note_change()

    def _note_change(self) -> None:
        optimizer = self._optimizer()
        if optimizer is not None:
            optimizer._options_changed()

    def _make_variable(self, name: str, value: Any) -> None:
        self._varying[name] = tuple(map(state_number, value)) if isinstance(value, tuple) else state_number(value)

    def _write(self, name: str, value: Any) -> None:
        numbers = zip(*(x if isinstance(x, tuple) else (x,) for x in (self._varying[name], value)), strict=True)
        for number, new in numbers:
            memory_of(number)[...] = new

    def update(self, *arguments: Any, **options: Any) -> None:
        """Set several options."""
        for name, value in dict(*arguments, **options).items():
            self[name] = value


def _form(value: Any) -> Any:
    """What of a number, or a tuple of numbers, is fixed in a program: whether it is zero. None for anything else."""
    if isinstance(value, tuple):
        forms = tuple(map(_form, value))
        return None if None in forms else forms
    return bool(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


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

    def record_by_example(self, gradient_of: Callable[[Any], Any]) -> list[Example]:
        """`record_updates`, but for elementwise rules once only, on examples: the gradients must be stored tensors."""
        optimizer = self._optimizer()
        if optimizer is None:
            return []
        examples: list[Example] = []
        optimizer._examples = examples
        try:
            self.record_updates(gradient_of)
        finally:
            optimizer._examples = None
        return examples

    @property
    def structure(self) -> tuple[Any, ...]:
        """A key that is equal for optimisers whose updates are alike."""
        optimizer = self._optimizer()
        members = [] if optimizer is None else [p for group in optimizer.param_groups for p in group["params"]]
        return type(optimizer), tuple([member._type for member in members if member._grad is not None])


class Optimizer:
    """Changes parameters along their gradients. Subclasses write their rule in `record_group`.

    ``param_groups`` holds the options; ``state[parameter]`` what the rule keeps, under PyTorch's names.
    """

    shared: ClassVar[Mapping[str, float]] = {}
    """Numbers of the state that parameters stepped together have in common, and what they are at first."""

    shows_steps = True
    """Whether the number of steps is part of the state."""

    def __init__(
        self, params: Iterable[Any], defaults: dict[str, Any], ignored: Mapping[str, Any] | None = None
    ) -> None:
        for name in ignored or ():
            if name not in EXECUTION_OPTIONS:
                hint = did_you_mean(name, defaults)
                raise ArgumentError(f"{type(self).__name__} got an unexpected keyword argument {name!r}{hint}")
        if isinstance(params, Handle) or not isinstance(params, Iterable):
            found, fix = type(params).__name__, "model.parameters()"
            if isinstance(params, Handle):
                found, fix = "Tensor", "[tensor]"
            raise ArgumentError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"{found}. fix: {fix}"
            )
        self.defaults = defaults
        self.has_stepped = False
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[ParameterGroup] = []
        self._counters: dict[Any, Counter] = {}
        self._examples: list[Example] | None = None
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
                raise ArgumentError(
                    f"optimizer can only optimize Tensors, but one of the params is {found}. fix: model.parameters()"
                )
            if not parameter.is_leaf:  # type: ignore[attr-defined]
                raise ArgumentError("can't optimize a non-leaf Tensor. fix: use tensor.detach().requires_grad_()")
            if id(parameter) in taken:
                raise ArgumentError("some parameters appear in more than one parameter group, or twice in one")
            taken.add(id(parameter))
        options = {**self.defaults, **param_group, "params": members}
        self.check_options(options)
        self.param_groups.append(ParameterGroup(options, self))
        self._all = ParameterSet(parameter for group in self.param_groups for parameter in group["params"])
        self._options_changed()

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Errors: `ArgumentError` for values out of range, and for names that look like misspelt options."""
        known = ("params", *self.defaults, *EXECUTION_OPTIONS, *SCHEDULED)
        for name in options:
            hint = "" if name in known else did_you_mean(name, known)
            if hint:
                raise ArgumentError(f"unknown option {name!r} in a parameter group{hint}")
        for name, title in NOT_NEGATIVE.items():
            if name in options and not float(options[name]) >= 0:
                raise ArgumentError(f"Invalid {title}: {options[name]}; it must be at least 0")
        for index, beta in enumerate(options.get("betas", ())):
            if not 0 <= beta < 1:
                raise ArgumentError(f"Invalid beta parameter at index {index}: {beta}; it must lie in [0, 1)")

    def record_group(self, group: ParameterGroup, gradients: Gradients) -> None:
        """Record the new values of some parameters of a group, given their gradients."""
        raise NotImplementedError(f"{type(self).__name__} must define record_group(group, gradients)")

    def record_each(self, pairs: Iterable[tuple[Any, Any]], rule: Callable[[Any, Any], None]) -> None:
        """Record ``rule(parameter, gradient)``, which must be elementwise, for each pair."""
        if self._examples is not None:
            self._examples += record_by_example(self, pairs, rule)
            return
        for parameter, gradient in pairs:
            rule(parameter, gradient)

    def _options_changed(self) -> None:
        self._step = Step(Rule(self))
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
        self.has_stepped = True
        record_step(self._step)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients; with ``set_to_none=False`` make them zeros."""
        if set_to_none:
            record_zero_grad(self._all)
            return
        for parameter in self._all.parameters:
            if parameter.grad is not None:
                parameter.grad = zeros_like(parameter.grad)

    def descent(self, group: ParameterGroup, parameter: Any, gradient: Any) -> Any:
        """The gradient to go down along: turned round by ``maximize``, λ · p added for a coupled weight decay of λ."""
        if group["maximize"]:
            gradient = -gradient
        if group["weight_decay"] and not group.get("decoupled_weight_decay"):
            gradient = gradient + parameter * fixed(group.number("weight_decay"), parameter)
        return gradient

    def decayed(self, group: ParameterGroup, parameter: Any) -> Any:
        """The parameter shrunk by lr · λ · p for a decoupled weight decay of λ."""
        if not group["weight_decay"] or not group.get("decoupled_weight_decay", True):
            return parameter
        return parameter * (1 - group.rate * fixed(group.number("weight_decay"), group.rate))

    def write_moments(self, group: ParameterGroup, parameter: Any, gradient: Any) -> list[Any]:
        """The running means m := β₁ m + (1 - β₁) g of the gradient and v := β₂ v + (1 - β₂) g² of its square."""
        first_beta, second_beta = group.number("betas")
        mean, square = self.state_of(parameter, "exp_avg", "exp_avg_sq")
        kept, added = fixed(second_beta, square), fixed(1 - second_beta, square)
        write_running(mean, mean + (gradient - mean) * fixed(1 - first_beta, mean))
        write_running(square, square * kept + gradient * gradient * added)
        return [mean, square]

    def state_of(self, parameter: Any, *names: str, value: float = 0.0) -> list[Any]:
        """The state tensors of a parameter under these names, made now, with all elements ``value``, if it has none."""
        found = [self.kept_state(parameter, name, value) for name in names]
        for tensor in found:
            if tensor._slot is None:
                make_slot(tensor)
        return found

    def kept_state(self, parameter: Any, name: str, value: float) -> Any:
        """One tensor of `state_of`, which programs may not be able to overwrite yet."""
        entries = self.state[parameter]
        if name not in entries:
            entries[name] = state_like(parameter, value)
        return entries[name]

    def counted(self, parameters: Iterable[Any], betas: Sequence[Any] = ()) -> Iterator[tuple[Counter, list[Any]]]:
        """Group parameters by their counter of steps, each advanced by one.

        Parameters share a counter as long as they are always stepped together. Those that are stepped without the
        others from now on go on with a copy.
        """
        together: dict[Counter | None, list[Any]] = {}
        for parameter in parameters:
            together.setdefault(self._counters.get(parameter), []).append(parameter)
        for counter, members in together.items():
            if counter is None:
                counter = self._share_counter(members, betas, 0.0, self.shared)
            elif len(members) < len(counter.members):
                counter = self._share_counter(members, betas, counter.value, counter.state())
                self._options_changed()  # programs that advanced the common counter are not for these any more
            elif not counter.has_betas(betas):
                counter.set_betas(betas)
            counter.advance()
            yield counter, members

    def counted_in_state(
        self, gradients: Gradients, betas: Sequence[Any] = ()
    ) -> Iterator[tuple[Counter, list[tuple[Any, Any]]]]:
        """`counted`, with the count in the state, and each parameter with its gradient."""
        for counter, members in self.counted(gradients, betas):
            self.note_steps(members)
            yield counter, [(parameter, gradients[parameter]) for parameter in members]

    def note_steps(self, members: Iterable[Any]) -> None:
        """Show the counter of steps, and what else is shared, in the state."""
        for parameter in members:
            counter = self._counters[parameter]
            self.state[parameter].update(step=counter.steps, **counter.numbers)

    def _share_counter(
        self, members: Iterable[Any], betas: Sequence[Any], steps: float, numbers: Mapping[str, float]
    ) -> Counter:
        counter = Counter(betas, steps, numbers)
        for parameter in members:
            if parameter in self._counters:
                self._counters[parameter].members.discard(parameter)
            self._counters[parameter] = counter
            counter.members.add(parameter)
        return counter

    def state_tensors(self) -> Iterator[Any]:
        """Everything that is kept from step to step, the counters of steps included, always in the same order."""
        for entries in self.state.values():
            yield from (tensor for name, tensor in entries.items() if name != "step" and name not in self.shared)
        for counter in dict.fromkeys(self._counters.values()):
            yield from counter.tensors()

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
        together: dict[tuple[float, ...], list[Any]] = {}
        for parameter, number in zip(group["params"], numbers, strict=True):
            entries = {name: value for name, value in saved.get(number, {}).items() if value is not None}
            if not entries:
                continue
            counted = float(entries.pop("step", 1)), *(float(entries.pop(name)) for name in self.shared)
            together.setdefault(counted, []).append(parameter)
            for name, value in entries.items():
                (tensor,) = self.state_of(parameter, name)
                memory_of(tensor)[...] = np.asarray(value)
        for (steps, *shared), members in together.items():
            values = dict(zip(self.shared, shared, strict=True))
            self._share_counter(members, self.betas_of(group), steps, values)
            if self.shows_steps:
                self.note_steps(members)

    def exact_state(self) -> dict[str, Any]:
        """`state_dict`, and what it leaves out but the last bits of further steps follow from.

        That is the powers of betas as they were multiplied up, and which options are run-time values.
        """
        counters = [self._counters.get(parameter) for parameter in self._all.parameters]
        powers = {n: counter.stored_powers() for n, counter in enumerate(counters) if counter is not None}
        return {**self.state_dict(), "powers": powers, "varying": [group.varying for group in self.param_groups]}

    def load_exact_state(self, saved: Mapping[str, Any]) -> None:
        """Go on to the bit where `exact_state` was taken. Errors: those of `load_state_dict`."""
        for group, names in zip(self.param_groups, saved["varying"], strict=True):
            group.let_vary(names)
        self.load_state_dict(saved)
        parameters = self._all.parameters
        for number, powers in saved["powers"].items():
            self._counters[parameters[number]].load_powers(powers)

    def betas_of(self, group: ParameterGroup) -> Sequence[Any]:
        """The numbers whose powers the rule needs."""
        return tuple(group.number("betas")) if "betas" in group else ()

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])
