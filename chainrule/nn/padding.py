"""Layers that put something around images and sequences."""

from __future__ import annotations

from typing import Any, ClassVar

from .functional.padding import pad
from .functional.windows import per_axis
from .module import Module


class _Padding(Module, is_builtin=True):
    """``padding``: a number for all sides, or (left, right, top, bottom, ...), the last dimension first."""

    rank: ClassVar[int]
    mode: ClassVar[str]

    padding: tuple[int, ...]

    def _set_sizes(self, padding: Any) -> None:
        self.padding = per_axis(type(self).__name__, "padding", padding, 2 * self.rank, -(1 << 31))

    def forward(self, input: Any) -> Any:
        return pad(input, self.padding, self.mode, getattr(self, "value", None))

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _Sized(_Padding):
    def __init__(self, padding: Any) -> None:
        self._set_sizes(padding)


class _Constant(_Padding):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        self._set_sizes(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_Constant):
    """``value`` around sequences (N, C, L) or (C, L)."""

    rank = 1


class ConstantPad2d(_Constant):
    """``value`` around images (N, C, H, W) or (C, H, W).

    >>> import chainrule as cr
    >>> cr.nn.ConstantPad2d((1, 0, 0, 0), 7.0)(cr.zeros(1, 1, 2))
    tensor([[[7., 0., 0.]]])
    """

    rank = 2


class ConstantPad3d(_Constant):
    """``value`` around volumes."""

    rank = 3


class ZeroPad1d(_Sized):
    """Zeros around sequences."""

    rank, mode = 1, "constant"


class ZeroPad2d(_Sized):
    """Zeros around images."""

    rank, mode = 2, "constant"


class ZeroPad3d(_Sized):
    """Zeros around volumes."""

    rank, mode = 3, "constant"


class ReflectionPad1d(_Sized):
    """The sequence mirrored at its ends, without the edge."""

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Sized):
    """The image mirrored at its edges, without the edge itself."""

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Sized):
    """The volume mirrored at its faces, without the face itself."""

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Sized):
    """The ends of the sequence repeated."""

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Sized):
    """The edges of the image repeated."""

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Sized):
    """The faces of the volume repeated."""

    rank, mode = 3, "replicate"


class CircularPad1d(_Sized):
    """What lies at the other end of the sequence."""

    rank, mode = 1, "circular"


class CircularPad2d(_Sized):
    """What lies on the other side of the image."""

    rank, mode = 2, "circular"


class CircularPad3d(_Sized):
    """What lies on the other side of the volume."""

    rank, mode = 3, "circular"
