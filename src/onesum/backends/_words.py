"""Arithmetic in two words: a number is kept as hi + lo, where lo is what rounding took from hi.

The exact errors of one addition (Knuth) and one multiplication (Dekker, Veltkamp) are the whole
trick. Nothing here may be reordered by a compiler, and eager array libraries do not.
"""

from typing import Any

Array = Any
Words = tuple[Array, Array]


def two_sum(a: Array, b: Array) -> Words:
    """a + b and the exact error of that addition."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


def two_product(xp: Any, a: Array, b: Array) -> Words:
    """a b and the exact error of that multiplication."""
    h = a * b
    (a_hi, a_lo), (b_hi, b_lo) = _halves(xp, a), _halves(xp, b)
    error = ((a_hi * b_hi - h) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo
    if h.dtype == xp.float32:  # of the devices without float64, many take subnormal terms for 0
        error = xp.where(xp.abs(h) > 2.0**-76, error, 0.0)
    return h, finite(xp, error)


def _halves(xp: Any, a: Array) -> Words:
    """a in two numbers of half as many bits, whose products are exact."""
    c = a * (2.0**27 + 1.0 if a.dtype == xp.float64 else 2.0**12 + 1.0)
    hi = c - (c - a)
    return hi, a - hi


def finite(xp: Any, error: Array) -> Array:
    """The error, or 0 where there is none to speak of: beside an infinity it comes out as NaN."""
    return xp.where(xp.isfinite(error), error, 0.0)


def rounded(xp: Any, a: Words) -> Array:
    """The two words as one number."""
    return a[0] + finite(xp, a[1])


def negative(a: Words) -> Words:
    return -a[0], -a[1]


def add(a: Words, b: Words) -> Words:
    s, error = two_sum(a[0], b[0])
    return s, error + (a[1] + b[1])


def multiply(xp: Any, a: Words, b: Words) -> Words:
    h, error = two_product(xp, a[0], b[0])
    return h, error + finite(xp, a[0] * b[1] + a[1] * b[0])


def divide(xp: Any, a: Words, b: Words) -> Words:
    """a / b, corrected by the remainder a - q b."""
    q = a[0] / b[0]
    h, error = two_product(xp, q, b[0])
    return q, finite(xp, (((a[0] - h) - error) + a[1] - q * b[1]) / b[0])


def exp(xp: Any, a: Words) -> Words:
    """exp(hi + lo) = exp(hi) (1 + lo), for lo is tiny."""
    e = xp.exp(a[0])
    return e, e * a[1]


def log1p(xp: Any, a: Words) -> Words:
    """log(1 + hi + lo) = log1p(hi) + lo / (1 + hi)."""
    return xp.log1p(a[0]), a[1] / (1.0 + a[0])


def dot(xp: Any, a: Words, b: Words, axis: int) -> Words:
    """The sum of a b along the axis, kept with size 1."""
    return total(xp, multiply(xp, a, b), axis)


def total(xp: Any, a: Words, axis: int) -> Words:
    """The sum along the axis, kept with size 1.

    The axis is halved until one element is left, so that the order of the additions depends on
    the number of elements and on nothing else.
    """
    n = a[0].shape[axis]
    if n == 0:
        zero = xp.sum(a[0], axis=axis, keepdims=True)
        return zero, zero

    def part(start: int, stop: int) -> Words:
        index = (slice(None),) * axis + (slice(start, stop), ...)
        return a[0][index], a[1][index]

    left_over = []
    while n > 1:
        half = n // 2
        if n % 2:
            left_over.append(part(n - 1, n))
        a, n = add(part(0, half), part(half, 2 * half)), half
    for odd in left_over:
        a = add(a, odd)
    return a[0], finite(xp, a[1])
