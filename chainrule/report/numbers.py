"""Numbers as people read them, and the round numbers beside an axis."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits, thousands apart, and a real minus; a dash for none.

    >>> number(0.84432), number(-1234567.0), number(12.0), number(None)
    ('0.8443', '−1,234,567', '12', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def score(value: float | None) -> str:
    """Return a measure: small ones with four decimals at most, so that rounding is no number.

    >>> score(-3.5e-17), score(0.01526), score(52286.3)
    ('0', '0.0153', '52,286')
    """
    return number(value if value is None or abs(value) >= 10 else round(value, 4) + 0.0)


def tick(value: float) -> str:
    """Return a number beside an axis or of a column: 1990 may be a year, so thousands are apart from 10,000 on.

    >>> tick(1990.0), tick(20000.0), tick(-0.5)
    ('1990', '20,000', '−0.5')
    """
    return number(value) if abs(value) >= 10_000 else f"{value:.6g}".replace("-", "−")


def sentence(text: str) -> str:
    """Return text with a capital letter at its beginning.

    >>> sentence("log loss is 0.5.")
    'Log loss is 0.5.'
    """
    return text[:1].upper() + text[1:]


def percent(share: float) -> str:
    """Return a share of one in percent; no line ends within it.

    >>> percent(0.1234), percent(0.0)
    ('12.3\\xa0%', '0\\xa0%')
    """
    return f"{100 * share:.3g}\N{NO-BREAK SPACE}%"


def count(amount: int, noun: str) -> str:
    """Return an amount with its noun.

    >>> count(1, "row"), count(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def ticks(low: float, high: float, most: int = 6) -> NDArray[np.float64]:
    """Return the multiples of 1, 2 or 5 times a power of ten from low to high, about ``most`` of them.

    >>> ticks(0.13, 0.92).tolist()
    [0.2, 0.4, 0.6, 0.8]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return np.round(np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step, 12)
