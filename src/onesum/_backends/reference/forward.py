# mypy: allow-untyped-defs, allow-untyped-calls
"""Softmax, its logarithm, and the logarithm of the sum, in the words of the package."""

from ..._library import finish, quiet, select, widen
from . import words
from .normalizer import (
    at_pivot,
    exact,
    exponents,
    fill,
    log1p,
    over,
    pivot_of,
    probabilities,
    rest_of,
    scaled_difference,
    sum_of_others,
)


@quiet
def softmax(x, axis, where, temperature, dtype, out):
    """p_i = e_i / (1 + r)."""
    xp, x = widen(x)
    (p, root), _ = probabilities(xp, x, axis, where, temperature)
    return finish(xp, words.rounded(xp, p) * root * root, dtype, out)


@quiet
def log_softmax(x, axis, where, temperature, dtype, out):
    """log p_i = (x_i - m) / T - log1p(r): two terms of one sign, so nothing cancels."""
    xp, x = widen(x)
    d, _, log = _row(xp, x, axis, where, temperature)
    logp = words.rounded(xp, words.add(d, words.negative(log)))
    return finish(xp, fill(xp, where, logp, -xp.inf), dtype, out)


@quiet
def logsumexp(x, axis, where, temperature, dtype, out):
    """log(sum exp(x / T)) = m / T + log1p(r). Drops the axis."""
    xp, x = widen(x)
    _, m, log = _row(xp, x, axis, where, temperature)
    value = words.rounded(xp, words.add(over(xp, exact(xp, m), temperature), log))
    value = xp.where(xp.isinf(m), m, value)
    return finish(xp, xp.squeeze(value, axis=axis), dtype, out)


def _row(xp, x, axis, where, temperature):
    """(x - m) / T, m and log1p(r)."""
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    r = rest_of(xp, words.scaled_exp(xp, d), pivot, axis)
    return d, m, words.plain(log1p(xp, r))


def _log(xp, a):
    """log(a) and, by a step of Newton's, what it lacks."""
    log = xp.log(a)
    return log, words.finite(xp, a * xp.exp(-log) - 1.0)


@quiet
def signed_logsumexp(x, b, axis, where, temperature, dtype):
    """log(abs(s)) and the sign of s = sum b exp(x / T). Drops the axis."""
    xp, x, b = widen(x, b)
    value = log_of_signed(xp, signed_sum(xp, x, b, axis, where, temperature), temperature)
    return tuple(finish(xp, xp.squeeze(a, axis=axis), dtype, None) for a in value)


def signed_sum(xp, x, b, axis, where, temperature):
    """The sum by its pivot, the term of largest absolute value: the logarithm of that, its x and b,
    and r, the sum of the others over it. Several x of +inf are a sum of infinities: it has no
    value, nor a sign, if these have not all one sign, and are `split`.
    """
    live = b != 0.0 if where is None else where & (b != 0.0)
    x, b = select(xp, live, x, -xp.inf), select(xp, live, b, 1.0)
    size, pivot = pivot_of(xp, over(xp, exact(xp, x), temperature)[0] + xp.log(xp.abs(b)), axis)
    top, weight = at_pivot(xp, pivot, x, axis), at_pivot(xp, pivot, b, axis)
    d = scaled_difference(xp, x, top, x == top, temperature)
    half = xp.exp(d[0] / 2.0)  # in two factors, for b may be huge where exp underflows
    ratio = (half * b / weight) * half
    r = sum_of_others(xp, (ratio, ratio * d[1]), pivot, axis)
    infinite = (x == xp.inf) & (xp.sign(b) != xp.sign(weight))
    return size, top, weight, r, xp.any(infinite, axis=axis, keepdims=True)


def log_of_signed(xp, signed, temperature):
    """log(abs(s)) and the sign: abs(s) = abs(b) exp(x / T) abs(1 + r), b and x of the pivot."""
    size, top, weight, r, split = signed
    s = words.rounded(xp, words.add(r, (1.0, 0.0)))
    log = xp.where(r[0] > -0.5, words.rounded(xp, words.log1p(xp, r)), xp.log(xp.abs(s)))
    log = words.add(_log(xp, xp.abs(weight)), (log, 0.0))
    value = words.rounded(xp, words.add(over(xp, exact(xp, top), temperature), log))
    value = select(xp, size == -xp.inf, -xp.inf, value)
    sign = select(xp, size == -xp.inf, 0.0, xp.sign(weight) * xp.sign(s))
    undecided = xp.isnan(value) | split
    return tuple(select(xp, undecided, xp.nan, a) for a in (value, sign))
