"""The arctangent of two arguments of float vectors; the rules of transcendental.py hold."""

from __future__ import annotations

import math

from chainrule.backends.native.transcendental import FORMATS, exactly, horner
from chainrule.backends.native.value import Value

# (atan(t) - t) / t^3 in t^2 for |t| <= tan(pi / 8): near-minimax fits through Chebyshev points, in 50 digits.
POLYNOMIALS = {
    "float32": (
        0.0504793743204009103, -0.0862459821519612667, 0.110713545712013515, -0.142841506297302882,
        0.199999772482335304, -0.333333332792245395,
    ),
    "float64": (
        0.0162843750500433944, -0.0345693150633260898, 0.0455154473402216165, -0.0523044364068694771,
        0.0587892755447380676, -0.0666642476020052014, 0.0769229636804229712, -0.0909090875325911294,
        0.111111111051505879, -0.142857142856597778, 0.199999999999998043, -0.333333333333333332,
    ),
}  # fmt: skip
# What is lost when pi / 4 is rounded to the type; that of pi / 2 and pi is twice and four times as much.
LOST = {"float32": -2.1855694143368964e-08, "float64": 3.0616169978683830e-17}


@exactly
def atan2(y: Value, x: Value) -> Value:
    """The angle of the point (y, x), with the special values of C99.

    The smaller of |x| and |y| by the larger is t = tan(angle) <= 1; if it is above tan(pi / 8), the angle is
    pi / 4 + atan((t - 1) / (t + 1)). Then the octants are put together.
    """
    element, quarter = x.type.element, math.pi / 4
    width, height = abs(x), abs(y)
    is_steep = width < height
    small, large = is_steep.select(width, height), is_steep.select(height, width)
    both_end = small.equal(math.inf) | large.equal(0.0)
    # Neither may the sum overflow, nor the comparison be coarse because the numbers are denormal.
    scale = (large > 2.0 ** (FORMATS[element].bias - 1)).select(x.like(0.25), 1.0)
    scale = (large < FORMATS[element].smallest_normal * 2.0).select(x.like(2.0**64), scale)
    small, large = small * scale, large * scale
    is_wide = (small > large * math.tan(math.pi / 8)) | both_end
    ratio = is_wide.select(small - large, small) / is_wide.select(small + large, large)
    ratio = both_end.select(0.0, ratio)
    square = ratio * ratio
    tail = horner(square, POLYNOMIALS[element]) * (square * ratio)
    # The angle is eighths * pi / 4 + sign * (ratio + tail), where the tail takes what is lost of pi / 4.
    eighths, zero = x.like(0.0), large.equal(0.0)
    eighths = (is_wide & ~zero).select(1.0, eighths)
    eighths = is_steep.select(2.0 - eighths, eighths)
    is_left = x.bitcast(FORMATS[element].integer) < 0
    sign = (is_steep ^ is_left).select(x.like(-1.0), 1.0)
    eighths = is_left.select(4.0 - eighths, eighths)
    rounded = {"float32": 0.785398185253143310546875, "float64": quarter}[element]
    angle = eighths * rounded + (sign * ratio + (sign * tail + eighths * LOST[element]))
    return (x.is_nan() | y.is_nan()).select(math.nan, angle).copysign(y)
