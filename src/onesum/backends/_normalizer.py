# mypy: allow-untyped-defs, allow-untyped-calls
"""The parts that the definitions share: the pivot of a row, its exponents, its normalizer.

The words are those of `array_api.py`. A number that matters is kept in two words (`_words.py`).
"""

from . import _words as words
from ._library import device


def probabilities(xp, x, axis, where, temperature):
    """2^32 e / (1 + r) in two words, and m. What rounding takes from a tiny e would underflow."""
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    e = words.exp(xp, d)
    normalizer = normalizer_of(xp, e, pivot, axis)
    e = e[0] * 2.0**32
    p, error = words.divide(xp, (e, e * d[1]), normalizer)
    return (fill(xp, where, p, 0.0), fill(xp, where, error, 0.0)), m


def exponents(xp, x, axis, where, temperature):
    """(x - m) / T in two words, m, and the mask of the pivot."""
    x = fill(xp, where, x, -xp.inf)
    m, pivot = pivot_of(xp, x, axis)
    # A pivot of +inf has won; where m is -inf or NaN, the row has no answer.
    return scaled_difference(xp, x, m, pivot & (m > -xp.inf), temperature), m, pivot


def normalizer_of(xp, e, pivot, axis):
    """1 + r."""
    return words.add(sum_of_others(xp, e, pivot, axis), (1.0, 0.0))


def sum_of_others(xp, a, pivot, axis):
    """The sum over all but the pivot."""
    return words.total(xp, (xp.where(pivot, 0.0, a[0]), xp.where(pivot, 0.0, a[1])), axis)


def centred(xp, p, g, pivot, axis):
    """w - S, with w = g - g_pivot and S = sum p w."""
    w = words.two_sum(g, -at_pivot(xp, pivot, g, axis))
    s = words.dot(xp, exact(xp, p), w, axis)
    return words.rounded(xp, words.add(w, words.negative(s)))


def scaled_difference(xp, x, m, same, temperature):
    """(x - m) / T in two words; 0 where `same`, which matters for inf - inf."""
    t = temperature_array(xp, temperature, x)
    if t is None:
        d = words.two_sum(x, -m)
    else:
        # A power of two, so that the difference cannot overflow where its quotient does not.
        scale = xp.where(t > 1.0, xp.full_like(t, 2.0**-64), 1.0)
        d = words.two_sum(x * scale, -m * scale)
        d = words.divide(xp, d, (t * scale, 0.0))
    hi = xp.where(xp.isinf(x) | xp.isinf(m), x - m, d[0])
    return xp.where(same, 0.0, hi), words.finite(xp, d[1])


def over(xp, a, temperature):
    """a / T in two words; an infinite a stays infinite."""
    t = temperature_array(xp, temperature, a)
    if t is None:
        return exact(xp, a)
    hi, lo = words.divide(xp, exact(xp, a), (t, 0.0))
    return xp.where(xp.isinf(a), a, hi), lo


def temperature_array(xp, temperature, like):
    """The temperature as an array, or None where it is 1 and there is nothing to divide by."""
    if not isinstance(temperature, float):
        return temperature
    if temperature == 1.0:
        return None
    return xp.full((1,) * like.ndim, temperature, dtype=like.dtype, device=device(like))


def pivot_of(xp, x, axis):
    """The maximum (NaN if there is one in the row), and the mask of its first place."""
    if x.shape[axis] == 0:
        return xp.sum(x, axis=axis, keepdims=True) - xp.inf, x == x
    index = xp.arange(x.shape[axis], device=device(x))
    index = xp.reshape(index, (-1,) + (1,) * (x.ndim - 1 - axis))
    first = xp.argmax(x, axis=axis, keepdims=True)
    return xp.max(x, axis=axis, keepdims=True), index == first


def at_pivot(xp, pivot, x, axis):
    """The value at the pivot."""
    return xp.sum(xp.where(pivot, x, 0.0), axis=axis, keepdims=True)


def fill(xp, where, x, value):
    return x if where is None else xp.where(where, x, value)


def exact(xp, x):
    """A number that no rounding has touched, in two words."""
    return x, xp.zeros_like(x)
