"""Local rewriting: each rule replaces one vertex by a cheaper one of the same value.

No rule assumes that values are finite, or that zeros have no sign: ``x·0`` stays (it is NaN for infinite x), ``x + 0``
stays (it turns -0 into 0). Constants are combined where that changes the rounding of a product at most, never its
overflow. A rule looks at a vertex whose operands are simplified already; what it builds is simplified in turn, and every
rule leaves fewer vertices, simpler ones, or constants further to the right, so this ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import CompilationError
from ..graph.graph import Graph, rebuild
from ..graph.primitive import PRIMITIVES
from ..graph.vertex import Vertex, make_vertex
from ..ops.source import constant
from ..types import Shape
from .access import core
from .simplify_movement import MOVEMENT_RULES
from .simplify_reduction import REDUCTION_RULES
