"""Exponentials, logarithms, error function, trigonometry of float vectors: argument reduction and a polynomial.

Every function takes and returns values of float32 or float64 with any number of lanes, keeps NaN, infinities, signed
zeros and denormals as C99 asks, and is within 4 units in the last place (benchmarks/vector_math.py measures). No step
may be re-associated: `exactly` takes fast-math flags away.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

from chainrule.backends.native.value import Type, Value

INFINITY = math.inf


@dataclass(frozen=True)
class Format:
    """A float type: its bits, and the constants of its approximations. Polynomials start with the highest power."""

    integer: str
    mantissa_bits: int
    bias: int
    smallest_normal: float
    itself_below: float  # odd functions return arguments of this size as they are
    exp_range: tuple[float, float]  # beyond it exp is 0 and infinity
    exp_reach: int  # powers of two as far as exp_range goes are normal numbers when they are so much nearer to 1
    tanh_one: float  # from here on tanh is 1
    # ln 2 = high + low, high with so few bits that its product with an exponent is exact.
    ln2: tuple[float, float]
    exp: tuple[float, ...]  # (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2
    log: tuple[float, ...]  # (ln((1 + s) / (1 - s)) - 2 s) / (s s^2), in s^2
    erf_end: float  # from here on erf is 1
    erf_small: tuple[float, ...]  # erf(x) / x - 1 in x^2, up to 1
    erf_large: tuple[float, ...]  # -ln(1 - erf(x)), from 1 to erf_end
    sin: tuple[float, ...]  # (sin r - r) / r^3 in r^2 for |r| <= pi / 4
    cos: tuple[float, ...]  # (cos r - 1 + r^2 / 2) / r^4 in r^2

    @property
    def round_magic(self) -> float:
        """Adding it leaves a float's nearest integer in the low bits of the mantissa."""
        return 1.5 * 2.0**self.mantissa_bits

    def power_magic(self, exponent: int) -> float:
        """As `round_magic`, but what it leaves there, shifted to the exponent, is the float 2^(n + exponent)."""
        return self.round_magic + self.bias + exponent

    @property
    def round_magic_bits(self) -> int:
        """The bits of ``round_magic`` as an integer."""
        return ((self.bias + self.mantissa_bits) << self.mantissa_bits) + (1 << (self.mantissa_bits - 1))


FLOAT32 = Format(
    integer="int32",
    mantissa_bits=23,
    bias=127,
    smallest_normal=2.0**-126,
    itself_below=2.0**-13,
    exp_range=(-105.0, 89.0),
    exp_reach=64,
    tanh_one=10.0,
    ln2=(0.693359375, -2.12194440e-4),  # Cephes expf.c, as the polynomial
    exp=(1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1),
    log=(0.24279078841, 0.28498786688, 0.40000972152, 0.66666662693),  # FreeBSD msun k_logf.h
    erf_end=4.0,
    # Minimax fits by the Remez exchange in 60 digits; the second weighted by 1 - erf.
    erf_small=(
        7.8891191574878388e-5, -8.0208456984069044e-4, 5.1895364619392614e-3, -2.6854445581508076e-2,
        0.11283600211815889, -0.37612627140440546, 0.12837916591465432,
    ),
    erf_large=(
        -1.8557333199510908e-4, 2.9396013412463736e-3, -2.1805296809142225e-2, 0.10303732805494629,
        0.63822571967994627, 1.1270400129559405, 3.5372458889800319e-4,
    ),
    sin=(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),  # Cephes sinf.c
    cos=(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2),
)  # fmt: skip

FLOAT64 = Format(
    integer="int64",
    mantissa_bits=52,
    bias=1023,
    smallest_normal=2.0**-1022,
    itself_below=2.0**-28,
    exp_range=(-746.0, 710.0),
    exp_reach=512,
    tanh_one=20.0,
    ln2=(6.93147180369123816490e-01, 1.90821492927058770002e-10),  # FreeBSD msun e_exp.c
    exp=(  # SLEEF, sleefdp.c
        2.08127637823771645e-9, 2.511210703042288022e-8, 2.755762628169491192e-7, 2.755723402025388239e-6,
        2.480158687479686264e-5, 1.984126989855865850e-4, 1.388888888914497797e-3, 8.333333333314938210e-3,
        4.166666666666602598e-2, 0.1666666666666669072, 0.5,
    ),
    log=(  # FreeBSD msun e_log.c
        1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
        2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01,
    ),
    erf_end=6.0,
    # Minimax fits, as above.
    erf_small=(
        -7.8011888740977516e-10, 1.3722976265924503e-8, -1.6209175911748696e-7, 1.6447517677871874e-6,
        -1.492474466333549e-5, 1.2055295320494294e-4, -8.548325989696758e-4, 5.2239776074234678e-3,
        -2.6866170643276218e-2, 0.11283791670945253, -0.37612638903183547, 0.12837916709551257,
    ),
    erf_large=(
        4.8644598018039105e-12, -2.0201026871131961e-10, 3.8895973141691217e-9, -4.592878471355335e-8,
        3.6953297406080409e-7, -2.1146257496712734e-6, 8.5780732680609214e-6, -2.2530641472304692e-5,
        1.951732397791504e-5, 1.3656684576095371e-4, -7.7306252581474716e-4, 1.9189690212419394e-3,
        -4.13558350351309e-4, -1.8988026672152759e-2, 0.10270228186969142, 0.63664405792110551,
        1.1283739910928232, 5.1330427922546696e-7,
    ),
    sin=(  # FreeBSD msun k_sin.c and k_cos.c
        1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
        -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01,
    ),
    cos=(
        -1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
        2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02,
    ),
)  # fmt: skip

FORMATS = {"float32": FLOAT32, "float64": FLOAT64}


def exactly(function: Callable[..., Value]) -> Callable[..., Value]:
    """Emit without fast-math flags: the compensation terms of these functions would be optimised away."""

    @wraps(function)
    def emit(*values: Value) -> Value:
        with values[0].function.flags(""):
            return function(*values)

    return emit


def horner(x: Value, coefficients: tuple[float, ...]) -> Value:
    """A polynomial, highest power first."""
    result = x.like(coefficients[0])
    for coefficient in coefficients[1:]:
        result = result.fma(x, coefficient)
    return result


def clamp(x: Value, low: float, high: float) -> Value:
    """x limited to [low, high]; NaN stays NaN."""
    return x.maximum(low).minimum(high)


def nearest(x: Value) -> tuple[Value, Value]:
    """The nearest integer, as a float and as an integer, for |x| below 2^21 (float32) or 2^50 (float64)."""
    format = FORMATS[x.type.element]
    shifted = x + format.round_magic
    return shifted - format.round_magic, shifted.bitcast(format.integer) - format.round_magic_bits


def floor(x: Value) -> Value:
    """The largest integer not above x."""
    return x.function.intrinsic(f"llvm.floor.{x.type.mangled}", [x], x.type)


def small_integer_to_float(n: Value, format: Format, element: str) -> Value:
    """An integer as small as an exponent as a float; vectors of int64 have no instruction for it before AVX-512."""
    return (n + format.round_magic_bits).bitcast(element) - format.round_magic


def reduce_exp(x: Value, magic: Value | float, low: Value | float = 0.0) -> tuple[Value, Value]:
    """r and 2^(n + exponent), for the integer n with x + low = r + n ln 2 and |r| <= ln 2 / 2.

    ``magic`` is `Format.power_magic` of the exponent; n + exponent must be that of a normal number.
    """
    format = FORMATS[x.type.element]
    shifted = x.fma(1.0 / math.log(2.0), magic)
    power = (shifted.bitcast(format.integer) << format.mantissa_bits).bitcast(x.type.element)
    n, (high_part, low_part) = shifted - magic, format.ln2
    r = n.fma(-high_part, x)
    return n.fma(-low_part, r if isinstance(low, float) else r + low), power


def expm1_near_zero(r: Value) -> Value:
    """e^r - 1 for |r| <= ln 2 / 2. The polynomial goes by pairs of coefficients, which need not wait for each other."""
    square, coefficients = r * r, FORMATS[r.type.element].exp
    first = len(coefficients) % 2
    pairs = [r.fma(high, low) for high, low in zip(coefficients[first::2], coefficients[first + 1 :: 2], strict=True)]
    result = r.like(coefficients[0]) if first else pairs.pop(0)
    for pair in pairs:
        result = result.fma(square, pair)
    return result.fma(square, r)


def odd(x: Value, result: Value) -> Value:
    """The result, but x itself where x is tiny: keeps -0 and denormals."""
    return (abs(x) < FORMATS[x.type.element].itself_below ** 2).select(x, result)


@exactly
def exp(x: Value) -> Value:
    """e^x."""
    return exp_sum(clamp(x, *FORMATS[x.type.element].exp_range), 0.0)


def exp_sum(x: Value, low: Value | float) -> Value:
    """e^(x + low) = 2^n e^r for x in `exp_range`; 2^n in two steps, for results that are denormal or infinite."""
    format = FORMATS[x.type.element]
    reach, is_small = format.exp_reach, x.bitcast(format.integer) < 0
    magic = is_small.select(x.like(format.power_magic(reach)), format.power_magic(-reach))
    r, power = reduce_exp(x, magic, low)
    return (expm1_near_zero(r) + 1.0) * power * is_small.select(x.like(2.0**-reach), 2.0**reach)


def exp_of_negative(x: Value) -> Value:
    """e^x for x <= 0."""
    format = FORMATS[x.type.element]
    r, power = reduce_exp(x.maximum(format.exp_range[0]), format.power_magic(format.exp_reach))
    return (expm1_near_zero(r) + 1.0) * power * 2.0**-format.exp_reach


@exactly
def expm1(x: Value) -> Value:
    """e^x - 1."""
    format = FORMATS[x.type.element]
    half = half_expm1(clamp(x, -2.0 - format.mantissa_bits, format.exp_range[1]))
    return odd(x, half + half)


def half_expm1(x: Value) -> Value:
    """(e^x - 1) / 2 = 2^(n-1) (e^r - 1) + (2^(n-1) - 1/2), halved so that n = 128 does not overflow early."""
    r, power = reduce_exp(x, FORMATS[x.type.element].power_magic(-1))
    return expm1_near_zero(r).fma(power, power - 0.5)


@exactly
def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x), from e^-|x| so that nothing overflows: the left tail keeps its precision."""
    tail = exp_of_negative(-abs(x))
    is_left = x.bitcast(FORMATS[x.type.element].integer) < 0
    return is_left.select(tail, 1.0) / (tail + 1.0)


@exactly
def tanh(x: Value) -> Value:
    """t / (t + 1) for t = (e^(2 |x|) - 1) / 2, with the sign of x."""
    size = abs(x).minimum(FORMATS[x.type.element].tanh_one)
    t = half_expm1(size + size)
    return (t / (t + 1.0)).copysign(x)


@exactly
def erf(x: Value) -> Value:
    """x + x P(x^2) up to 1, then 1 - e^-P(|x|)."""
    format = FORMATS[x.type.element]
    size = abs(x).minimum(format.erf_end)
    small = horner(x * x, format.erf_small).fma(x, x)
    large = (1.0 - exp_of_negative(-horner(size, format.erf_large))).copysign(x)
    return (size < 1.0).select(small, large)


def split_float(x: Value) -> tuple[Value, Value]:
    """m in [sqrt(1/2), sqrt(2)) and the integer n with x = m 2^n, for positive normal x."""
    format = FORMATS[x.type.element]
    one = format.bias << format.mantissa_bits
    offset = one - (math.floor(math.sqrt(0.5) * 2.0 ** (format.mantissa_bits + 1)) % 2**format.mantissa_bits
                    + ((format.bias - 1) << format.mantissa_bits))  # fmt: skip
    bits = x.bitcast(format.integer) + offset
    n = bits.shift_right_logical(format.mantissa_bits) - format.bias
    mantissa = (bits & ((1 << format.mantissa_bits) - 1)) + (one - offset)
    return mantissa.bitcast(x.type.element), n


def normalize(x: Value) -> tuple[Value, Value]:
    """`split_float` for denormal numbers too; n as a float."""
    element = x.type.element
    format = FORMATS[element]
    denormal = x < format.smallest_normal
    bits = format.mantissa_bits + 1
    m, n = split_float(denormal.select(x * 2.0**bits, x))
    n_float = small_integer_to_float(n, format, element)
    return m, denormal.select(n_float - float(bits), n_float)


def log_sum(f: Value, n: Value, low: Value | float) -> Value:
    """ln(1 + f) + n ln 2 + low, for 1 + f in [sqrt(1/2), sqrt(2)); the method of FreeBSD msun e_log.c."""
    format = FORMATS[f.type.element]
    s = f / (f + 2.0)
    square = s * s
    half_square = f * f * 0.5
    high, low_ln2 = format.ln2
    tail = s * horner(square, format.log).fma(square, half_square) + n.fma(low_ln2, low)
    return n.fma(high, f - (half_square - tail))


def log_domain(x: Value, zero_at: Value, result: Value) -> Value:
    """The result where a logarithm is finite; -inf where ``zero_at`` is 0, NaN below, NaN and infinity kept."""
    inside = (x < INFINITY).select(result, x)
    return (zero_at <= 0.0).select((zero_at < 0.0).select(x.like(math.nan), -INFINITY), inside)


@exactly
def log(x: Value) -> Value:
    """ln x = ln m + n ln 2."""
    m, n = normalize(x)
    return log_domain(x, x, log_sum(m - 1.0, n, 0.0))


@exactly
def log1p(x: Value) -> Value:
    """ln(1 + x): ln of u = fl(1 + x), and what was lost in u, divided by u."""
    format = FORMATS[x.type.element]
    u = x + 1.0
    m, exponent = split_float(u)
    n = small_integer_to_float(exponent, format, x.type.element)
    lost = (u > 2.0).select(1.0 - (u - x), x - (u - 1.0)) / u
    near = exponent.equal(0)
    f, lost = near.select(x, m - 1.0), near.select(0.0, lost)
    return odd(x, log_domain(x, u, log_sum(f, n, lost)))


PI_HALF = (1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624871116645580e-21, 8.47842766036889956997e-32)
"""pi / 2 in three parts of 33 bits and the rest, from FreeBSD msun e_rem_pio2.c; products with n < 2^20 are exact."""

LARGEST_REDUCED = 2.0**20
"""Larger arguments of sine and cosine go to the C library, one lane at a time."""


def two_sum_rest(a: Value, b: Value, total: Value) -> Value:
    """The rounding error of total = a + b."""
    c = total - a
    return (a - (total - c)) + (b - c)


def reduce_single(x: Value) -> tuple[Value, Value]:
    """x - n pi / 2 and the integer n, for float32; float64 inside has bits to spare."""
    n, integer = nearest(x.cast("float64") * (2.0 / math.pi))
    first, *rest = PI_HALF
    return n.fma(-sum(rest), n.fma(-first, x.cast("float64"))).cast("float32"), integer.cast("int32")


def reduce_double(x: Value) -> tuple[Value, Value, Value]:
    """High and low part of x - n pi / 2, and the integer n, for float64."""
    n, integer = nearest(x * (2.0 / math.pi))
    first, second, third, rest = PI_HALF
    a = n.fma(-first, x)
    b = n * -second
    ab = a + b
    c = n * -third
    abc = ab + c
    low = n.fma(-rest, two_sum_rest(a, b, ab) + two_sum_rest(ab, c, abc))
    high = abc + low
    return high, (abc - high) + low, integer


def quarter_wave(x: Value, low: Value | None, quarter: Value) -> Value:
    """sin(x + low + quarter pi / 2) for |x| <= pi / 4."""
    format = FORMATS[x.type.element]
    z = x * x
    sine_tail = horner(z, format.sin) * (z * x)
    cosine_tail = horner(z, format.cos) * (z * z)
    half = z * 0.5
    base = 1.0 - half
    # What 1 - z / 2 lost, and the first-order effect of `low`.
    lost = (1.0 - base) - half + cosine_tail
    if low is not None:
        sine_tail = sine_tail + (low - low * half)
        lost = lost - x * low
    result = (quarter & 1).equal(0).select(x + sine_tail, base + lost)
    sign_bit = 31 if x.type.element == "float32" else 63
    return (result.bitcast(format.integer) ^ ((quarter & 2) << (sign_bit - 1))).bitcast(x.type.element)


def trigonometric(x: Value, quarter: int, name: str) -> Value:
    """sin(x + quarter pi / 2)."""
    if x.type.element == "float32":
        r, n = reduce_single(x)
        result = quarter_wave(r, None, n + quarter)
    else:
        r, low, n = reduce_double(x)
        result = quarter_wave(r, low, n + quarter)
    huge = abs(x) > LARGEST_REDUCED
    with x.function.when(huge.any(), carried=[result], name=f"huge_{name}") as rare:
        rare.next([huge.select(library_call(name, x), result)])
    return rare.results[0]


def library_call(name: str, x: Value) -> Value:
    """A C function of double in every lane."""
    f, double = x.function, Type("float64")
    f.module.declare(name, [double], double)
    memory = f.allocate("float64", x.lanes)
    f.store(x.cast("float64"), memory)
    with f.loop(0, x.lanes, name="lane") as lane:
        place = memory.at(lane.index, "float64")
        f.store(f.call(name, [f.load(place, double)], double), place)
    return f.load(memory, Type("float64", x.lanes)).cast(x.type.element)


@exactly
def sin(x: Value) -> Value:
    """sin x, from sine and cosine of the remainder by pi / 2."""
    return odd(x, trigonometric(x, 0, "sin"))


@exactly
def cos(x: Value) -> Value:
    """cos x = sin(x + pi / 2)."""
    return trigonometric(x, 1, "cos")
