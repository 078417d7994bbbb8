"""What the arguments of estimators may be: checked when they are used, as scikit-learn does."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np

from ..errors import ArgumentError, did_you_mean

RANGES: dict[str, tuple[Any, float, bool, float, bool]] = {
    "alpha": (Real, 0, True, np.inf, False),
    "learning_rate_init": (Real, 0, False, np.inf, False),
    "power_t": (Real, 0, True, np.inf, False),
    "max_iter": (Integral, 1, True, np.inf, False),
    "tol": (Real, 0, True, np.inf, False),
    "momentum": (Real, 0, True, 1, True),
    "validation_fraction": (Real, 0, True, 1, False),
    "beta_1": (Real, 0, True, 1, False),
    "beta_2": (Real, 0, True, 1, False),
    "epsilon": (Real, 0, False, np.inf, False),
    "n_iter_no_change": (Real, 1, True, np.inf, True),
    "max_fun": (Integral, 1, True, np.inf, False),
    "dropout": (Real, 0, True, 1, False),
}
"""Numbers: their kind, lower end, whether it belongs to them, upper end, whether that does."""

SWITCHES = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping", "batch_norm")
SCHEDULES = ("constant", "invscaling", "adaptive")


def check_arguments(estimator: Any) -> None:
    """Errors: `ArgumentError` for the first argument whose value makes no sense, with what would."""
    options = estimator.get_params(deep=False)
    name = type(estimator).__name__
    for option, (kind, low, has_low, high, has_high) in RANGES.items():
        if option not in options:
            continue
        value: Any = options[option]
        is_number = isinstance(value, kind) and not isinstance(value, bool | np.bool_)
        if not is_number or not (low <= value if has_low else low < value) or not (
            value <= high if has_high else value < high
        ):  # fmt: skip
            what = "a whole number" if kind is Integral else "a number"
            interval = f"{'[' if has_low else '('}{low:g}, {high:g}{']' if has_high else ')'}"
            raise ArgumentError(f"{name}: {option} must be {what} in {interval}, got {value!r}")
    for option in SWITCHES:
        if option in options and not isinstance(options[option], bool | np.bool_):
            raise ArgumentError(f"{name}: {option} must be True or False, got {options[option]!r}")
    schedule = options.get("learning_rate", "constant")
    if schedule not in SCHEDULES:
        hint = did_you_mean(schedule, SCHEDULES)
        raise ArgumentError(f"{name}: learning_rate must be one of {SCHEDULES}, got {schedule!r}{hint}")
    size: Any = options["batch_size"]
    if size != "auto" and not (_is_whole(size) and size >= 1):
        raise ArgumentError(f"{name}: batch_size must be 'auto' or a whole number of at least 1, got {size!r}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def keep_arguments(estimator: Any, arguments: dict[str, Any]) -> None:
    """Keep the arguments of a constructor, its ``locals()``, as attributes of their names."""
    for name, value in arguments.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)
