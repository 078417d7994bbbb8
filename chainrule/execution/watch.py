"""The debugger's eye: stops at the first value that is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import NonFiniteError
from ..graph.vertex import Vertex


def stop_at_non_finite(vertex: Vertex, value: np.ndarray[Any, Any]) -> None:
    """Raise `NonFiniteError` if ``value``, just computed for ``vertex``, has a NaN or an infinity in it.

    The message names the operation, the first index, and the user's line.
    """
    if value.dtype.kind != "f" or not vertex.inputs or np.isfinite(value).all():
        return
    index = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
    operands = ", ".join(str(operand.type) for operand in vertex.inputs)
    raise NonFiniteError(
        f"{vertex.primitive.name} ({vertex.primitive.meaning}) of {operands} gave {value[index]} at index {index}, "
        f"the first value that is not finite\n  where: {vertex.site}"
    )
