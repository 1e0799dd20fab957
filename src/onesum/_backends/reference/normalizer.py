# mypy: allow-untyped-defs, allow-untyped-calls
"""The parts that the definitions share: the pivot of a row, its exponents, its normalizer.

A number that matters is kept in two words, and e, p and r are scaled as well (`words.py`): in
double precision exp(-750) is 0, but 1e300 exp(-750) is not.
"""

from ..._library import device, select
from . import words


def probabilities(xp, x, axis, where, temperature):
    """p = e / (1 + r), scaled, and m."""
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    e = words.scaled_exp(xp, d)
    p, root = quotient(xp, e, normalizer_of(rest_of(xp, e, pivot, axis)))
    return (p if where is None else either(xp, where, p, (0.0, 0.0)), root), m


def quotient(xp, e, normalizer):
    """p, scaled as e is."""
    return words.divide(xp, e[0], normalizer), e[1]


def exponents(xp, x, axis, where, temperature):
    """(x - m) / T in two words, m, and the mask of the pivot."""
    x = fill(xp, where, x, -xp.inf)
    m, pivot = pivot_of(xp, x, axis)
    # A pivot of +inf has won; where m is -inf or NaN, the row has no answer.
    return scaled_difference(xp, x, m, pivot & (m > -xp.inf), temperature), m, pivot


def rest_of(xp, e, pivot, axis):
    """r, the sum of e over all but the pivot, scaled as the largest of these."""
    (hi, lo), root = e
    if hi.shape[axis] == 0:
        return words.total(xp, e[0], axis), xp.sum(root, axis=axis, keepdims=True) + 1.0
    others = xp.where(pivot, xp.min(root, axis=axis, keepdims=True), root)
    of_row = xp.max(others, axis=axis, keepdims=True)
    down = root / of_row  # 1, or so little that what is lost does not count beside the largest
    return sum_of_others(xp, (hi * down * down, lo * down * down), pivot, axis), of_row


def normalizer_of(r):
    """1 + r."""
    return words.add(words.plain(r), (1.0, 0.0))


def log1p(xp, r):
    """log(1 + r), scaled as r is: it is r itself, where that is so little."""
    return either(xp, r[1] < 1.0, r[0], words.log1p(xp, words.plain(r))), r[1]


def sum_of_others(xp, a, pivot, axis):
    """The sum over all but the pivot."""
    return words.total(xp, either(xp, pivot, (0.0, 0.0), a), axis)


def centred(xp, p, g, pivot, axis):
    """w - S, with w = g - g_pivot, S = sum p w, and g in two words."""
    w = words.add(g, (-at_pivot(xp, pivot, g[0], axis), -at_pivot(xp, pivot, g[1], axis)))
    s = words.total(xp, words.times(xp, p, w), axis)
    return words.add(w, words.negative(s))


def scaled_difference(xp, x, m, same, temperature):
    """(x - m) / T in two words; 0 where `same`, which matters for inf - inf."""
    t = temperature_array(xp, temperature, x)
    if t is None:
        d = words.two_sum(x, -m)
    else:
        # A power of two, so that the difference cannot overflow where its quotient does not.
        scale = select(xp, t > 1.0, xp.full_like(t, 2.0**-64), 1.0)
        d = words.two_sum(x * scale, -m * scale)
        d = words.divide(xp, d, (t * scale, 0.0))
    hi = xp.where(xp.isinf(x) | xp.isinf(m), x - m, d[0])
    return select(xp, same, 0.0, hi), words.finite(xp, d[1])


def over(xp, a, temperature):
    """a / T, of a number in two words; infinity stays what it is."""
    t = temperature_array(xp, temperature, a[0])
    if t is None:
        return a
    hi, lo = words.divide(xp, a, (t, 0.0))
    return xp.where(xp.isinf(a[0]), a[0], hi), lo


def shared(xp, g, axis, temperature):
    """g / T in two words, and what the result is to be divided by: a power of two, with which no
    row overflows before it is multiplied with p, which may be next to nothing.
    """
    t = temperature_array(xp, temperature, g)
    if t is None:
        return exact(xp, g), 1.0
    most, less = (2.0**1022, 2.0**-1000) if g.dtype == xp.float64 else (2.0**126, 2.0**-100)
    much = xp.any(xp.abs(g) > t * most, axis=axis, keepdims=True)
    down = select(xp, much, xp.full_like(t, less), 1.0)
    return over(xp, exact(xp, g * down), temperature), down


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
    return xp.sum(select(xp, pivot, x, 0.0), axis=axis, keepdims=True)


def fill(xp, where, x, value):
    return x if where is None else select(xp, where, x, value)


def either(xp, condition, a, b):
    """xp.where of numbers in two words."""
    return tuple(select(xp, condition, *parts) for parts in zip(a, b, strict=True))


def exact(xp, x):
    """A number that no rounding has touched, in two words."""
    return x, xp.zeros_like(x)


def exp_less_line(xp, w):
    """exp(w) - 1 - w."""
    series = xp.zeros_like(w)
    for k in range(20, 1, -1):
        series = (series * w + 1.0) / k  # to 1 / 2! + w / 3! + ...
    h, error = words.two_sum(xp.expm1(w), -w)
    return xp.where(xp.abs(w) < 1.0, series * w * w, h + error)
