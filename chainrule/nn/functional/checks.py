"""What losses refuse: shapes that do not meet, and stored targets of impossible values.

Values are looked at only where they lie in memory already, once per block of memory and change of it, so that a check
costs a look-up per batch and never waits for a computation. A captured function is checked when it is captured;
`Trainer` checks all its targets before it loops.
"""

from __future__ import annotations

import math
import weakref
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, IndexOutOfRangeError, ShapeError, TargetError, did_you_mean
from ...graph.site import find_site
from ...tensor.operands import as_tensor
from ...tensor.recording import Handle, type_of
from ...tensor.segment import state
from ...tensor.storage import Clock, view_array

REDUCTIONS = ("mean", "sum", "none")
DIVERGENCE_REDUCTIONS = ("mean", "sum", "none", "batchmean")

Array = np.ndarray[Any, Any]


def as_handle(value: Any) -> Any:
    """A tensor, or what can be made one."""
    return value if isinstance(value, Handle) else as_tensor(value)


def check_reduction(reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    """Errors: `ArgumentError` for anything but mean, sum and none, or what else is ``known``."""
    if reduction not in known:
        raise ArgumentError(
            f"{reduction!r} is not a valid value for reduction{did_you_mean(reduction, known)}; "
            f"expected {', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
        )


def check_same_shape(name: str, input: Any, target: Any, second: str = "target") -> None:
    """Losses never broadcast: (N, 1) against (N) would compare every prediction with every target."""
    got, wanted = type_of(target).shape, type_of(input).shape
    if got == wanted:
        return
    fix = "give both the same shape"
    if math.prod(got) == math.prod(wanted):
        fix = f"{second}.reshape({', '.join(map(str, wanted))})"
    elif wanted and got[:1] == wanted[:1] and math.prod(got[1:]) == 1:
        fix = f"a network with 1 output instead of {wanted[-1]}, or targets of shape {wanted}"
    raise ShapeError(
        f"{name} got input of shape {wanted} and {second} of shape {got}: they must be equal\n"
        f"  where: {find_site()}\n  fix: {fix}"
    )


# Values ---------------------------------------------------------------------------------------------------------------


class Allowed(NamedTuple):
    """Which values a tensor may hold: from ``low`` to ``high``, or ``ignored``; with ``is_sign`` only -1 and 1."""

    low: float
    high: float
    ignored: int | None = None
    is_sign: bool = False

    def allows_all(self, values: Array) -> bool:
        """Whether no element is refused, for the most part from the extremes."""
        if not self.is_sign and self.low <= values.min() and values.max() <= self.high:
            return True
        return not self.refuses(values).any()

    def refuses(self, values: Array) -> Array:
        """True where an element is not allowed; NaN never is."""
        measured = np.abs(values) if self.is_sign else values
        wrong = ~((measured >= self.low) & (measured <= self.high))
        return wrong if self.ignored is None else wrong & (values != self.ignored)


PROBABILITIES = Allowed(0, 1)


class Looked(NamedTuple):
    """What is known of a whole block of memory since the time at which it was looked at."""

    array: weakref.ref[Any]
    time: int
    verdicts: dict[Allowed, bool]


_LOOKED_AT: dict[int, Looked] = {}
"""By the identity of the block's array."""


def find_refused(tensor: Any, allowed: Allowed) -> tuple[int, Any] | None:
    """Row and value of the first stored element that is not allowed; None: all is well.

    Also None for a tensor that is not computed yet: nobody waits for it.
    """
    storage = tensor._storage
    if storage is None or not tensor._type.size:
        return None
    is_shared = storage.is_exported and storage.is_shared
    known = None if is_shared else _LOOKED_AT.get(id(storage.array))
    if known is not None and storage.was_written_after(known.time):
        known = None
    if known is not None and known.verdicts.get(allowed):
        return None
    values = view_array(storage, tensor._address, tensor._type, tensor._strides)
    if not allowed.allows_all(values):
        place = tuple(np.argwhere(allowed.refuses(values))[0])
        return int(place[0]) if place else 0, values[place].item()
    if not is_shared and (known is None or allowed not in known.verdicts):
        _remember(storage.array, values, allowed, known)
    return None


def _remember(array: Array, values: Array, allowed: Allowed, known: Looked | None) -> None:
    """Note for the whole block what has been found true of some of its values."""
    if known is None:
        key = id(array)
        known = _LOOKED_AT[key] = Looked(weakref.ref(array, partial(_LOOKED_AT.pop, key)), Clock.now, {})
    size = values.itemsize
    elements = array[: array.nbytes // size * size].view(values.dtype)
    known.verdicts[allowed] = elements.size == values.size or allowed.allows_all(elements)


def check_probabilities(name: str, tensor: Any) -> None:
    """Errors: `TargetError` for a stored element outside [0, 1]."""
    found = find_refused(tensor, PROBABILITIES)
    if found is not None:
        row, value = found
        fix = {"input": "a Sigmoid as the last layer, or BCEWithLogitsLoss for logits"}.get(name)
        if fix is None:
            fix = "(target + 1) / 2" if value == -1 else "targets 0 and 1, or probabilities"
        raise TargetError(
            f"all elements of {name} should be between 0 and 1, got {value:g} in row {row}\n"
            f"  where: {find_site()}\n  fix: {fix}"
        )


def check_signs(name: str, target: Any) -> None:
    """Errors: `TargetError` for a stored target other than -1 and 1."""
    found = find_refused(target, Allowed(1, 1, is_sign=True))
    if found is not None:
        row, value = found
        raise TargetError(
            f"{name} needs targets -1 and 1, got {value:g} in row {row}\n  where: {find_site()}\n"
            f"  fix: {'2 * target - 1, if the targets are 0 and 1' if value == 0 else 'targets -1 and 1'}"
        )


def check_labels(target: Any, classes: int, ignored: int | None = None) -> bool:
    """Refuse stored class indices outside [0, classes) that are not ``ignored``; tell if all are known to be inside.

    Labels that are not known yet are not waited for: the loss becomes NaN. Those of a captured function may change.
    Errors: `IndexOutOfRangeError`, `TargetError` for what is no class index.
    """
    dtype = type_of(target).dtype
    if dtype.is_floating_point:
        raise TargetError(f"expected class indices (int64), got {dtype}\n  where: {find_site()}\n  fix: target.long()")
    is_known = target._storage is not None and target._type.size > 0
    counts_all = ignored is None or not 0 <= ignored < classes
    if is_known and counts_all and find_refused(target, Allowed(0, classes - 1)) is None:
        return target._storage.written_in is not state.segment and not state.segment.is_capturing
    found = find_refused(target, Allowed(0, classes - 1, ignored))
    if found is None:
        return False
    row, label = found
    largest = int(view_array(target._storage, target._address, target._type, target._strides).max())
    fix = f"an output layer with {largest + 1} units" if largest >= classes else f"labels from 0 to {classes - 1}"
    if largest == classes:
        fix += f", or target - 1 if labels run from 1 to {classes}"
    raise IndexOutOfRangeError(
        f"Target {label} is out of bounds: label {label} in row {row}, but the input has {classes} classes "
        f"(labels 0 to {classes - 1})\n  where: {find_site()}\n  fix: {fix}"
    )
