"""Arithmetic in two words: a number is kept as hi + lo, where lo is what rounding took from hi.

The exact errors of one addition (Knuth) and one multiplication (Dekker, Veltkamp) are the whole
trick. Nothing here may be reordered by a compiler, and eager array libraries do not.
"""

from typing import Any

from ..._library import select

Array = Any
Words = tuple[Array, Array]
Scaled = tuple[Words, Array]  # a number times the square of its root, a power of two


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
    # Below the normal numbers no error is exact. In float32 it is 0 as soon as one of its terms is
    # subnormal: of the devices without float64, many take these for 0.
    least = 2.0**-76 if h.dtype == xp.float32 else 2.0**-1018
    return h, finite(xp, select(xp, xp.abs(h) > least, error, 0.0))


def _halves(xp: Any, a: Array) -> Words:
    """a in two numbers of half as many bits, whose products are exact."""
    c = a * (2.0**27 + 1.0 if a.dtype == xp.float64 else 2.0**12 + 1.0)
    hi = c - (c - a)
    return hi, a - hi


def finite(xp: Any, error: Array) -> Array:
    """The error, or 0 where there is none to speak of: beside an infinity it comes out as NaN."""
    return select(xp, xp.isfinite(error), error, 0.0)


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
    """a / b, corrected by the remainder a - q b, which underflows unless a tiny a is enlarged."""
    tiny, factor = (2.0**-800, 2.0**200) if a[0].dtype == xp.float64 else (2.0**-60, 2.0**60)
    scale = select(xp, xp.abs(a[0]) < tiny, xp.full_like(a[0], factor), 1.0)
    a = a[0] * scale, a[1] * scale
    q = a[0] / b[0]
    h, error = two_product(xp, q, b[0])
    rest = finite(xp, (((a[0] - h) - error) + a[1] - q * b[1]) / b[0])
    return q / scale, rest / scale


def _ln2(xp: Any, dtype: Any) -> Words:
    """log(2) in two words."""
    if dtype == xp.float64:
        return 0.6931471805599453, 2.3190468138462996e-17
    return 0.693147182464599609375, -1.904654299957768e-09


def exp(xp: Any, a: Words) -> Words:
    """exp(hi + lo) = exp(hi) (1 + lo), for lo is tiny."""
    e = xp.exp(a[0])
    return e, e * a[1]


def scaled_exp(xp: Any, a: Words) -> Scaled:
    """exp(a) for any a, though the number itself would underflow.

    There exp(a + k log(2)) is kept: a has two words, so that this takes k without a rounding.
    """
    limit, k = (-600.0, 1024) if a[0].dtype == xp.float64 else (-40.0, 64)
    far = a[0] < limit
    hi, lo = _ln2(xp, a[0].dtype)
    near = add(a, (hi * k, lo * k))
    e = exp(xp, (xp.where(far, near[0], a[0]), finite(xp, xp.where(far, near[1], a[1]))))
    return e, select(xp, far, xp.full_like(a[0], 2.0 ** (-k // 2)), 1.0)


def plain(a: Scaled) -> Words:
    """A scaled number as it is, perhaps 0."""
    (hi, lo), root = a
    return hi * root * root, lo * root * root


def times(xp: Any, a: Scaled, b: Words) -> Words:
    """a b, right where the product does not underflow, though a does."""
    words, root = a
    hi, lo = multiply(xp, words, (b[0] * root, b[1] * root))
    return hi * root, lo * root


def log1p(xp: Any, a: Words) -> Words:
    """log(1 + a) = k log(2) + 2 atanh(s), s = (f - 1) / (f + 1), with f = 2^-k (1 + a) near 1.

    Not the library's, whose rounding would remain where another term cancels the logarithm.
    """
    whole = add(a, (1.0, 0.0))
    k, scale = xp.zeros_like(a[0]), xp.ones_like(a[0])
    for limit, step in (*((2.0**i, i) for i in (32, 16, 8, 4, 2, 1)), (4.0 / 3.0, 1)):
        large = whole[0] * scale >= limit
        k, scale = xp.where(large, k + step, k), xp.where(large, scale * 2.0**-step, scale)
    less, error = two_sum(whole[0] * scale, -1.0)
    less, error = xp.where(k == 0.0, a[0], less), xp.where(k == 0.0, a[1], error + whole[1] * scale)
    hi, lo = divide(xp, (less, error), add((less, error), (2.0, 0.0)))
    square, series = hi * hi, xp.zeros_like(hi)
    for n in range(33, 1, -2):
        series = (series + 1.0 / n) * square  # at last s^2 / 3 + s^4 / 5 + ...
    log_f = add((2.0 * hi, 2.0 * lo), (2.0 * hi * series, 0.0))
    hi, lo = _ln2(xp, k.dtype)
    return add(multiply(xp, (k, 0.0), (hi + 0.0 * k, lo)), log_f)


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
