"""Devices: the CPU, and true answers about the others, under PyTorch's names."""

from __future__ import annotations

from typing import Any

from .errors import ArgumentError


class Device:
    """A device name that prints and compares as PyTorch's. Only the CPU is known here.

    >>> Device("cpu").type
    'cpu'
    """

    def __init__(self, name: Any = "cpu", index: int | None = None) -> None:
        self.type: str = name.type if isinstance(name, Device) else str(name).split(":")[0]
        self.index = index
        if self.type != "cpu":
            raise ArgumentError(f"device {name!r} is not available; this backend runs on 'cpu'")

    def __repr__(self) -> str:
        return f"device(type={self.type!r})"

    def __str__(self) -> str:
        return self.type

    def __eq__(self, other: object) -> bool:
        return str(other).split(":")[0] == self.type

    def __hash__(self) -> int:
        return hash(self.type)


class Absent:
    """The namespace of a device that programs do not run on here: it says so, and seeds for it change nothing.

    >>> Absent().is_available()
    False
    """

    benchmark = deterministic = enabled = False

    def is_available(self) -> bool:
        """Whether programs can run there."""
        return False

    def device_count(self) -> int:
        """The number of such devices."""
        return 0

    def current_accelerator(self) -> None:
        """The device that programs run on besides the CPU: none."""

    def manual_seed(self, seed: int) -> None:
        """Nothing: `chainrule.manual_seed` seeds everything."""

    manual_seed_all = manual_seed

    def empty_cache(self) -> None:
        """Nothing: there is no memory of such a device."""

    synchronize = empty_cache


cuda, mps, cudnn, accelerator = Absent(), Absent(), Absent(), Absent()
