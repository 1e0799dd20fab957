# mypy: allow-untyped-defs, allow-untyped-calls
"""The definition of onesum, in plain array formulas.

This file is meant to be read beside the papers. It serves every array library that speaks the
Python array API standard, and NumPy itself where the compiled core was not built.

For one row of logits x and the temperature T:

    m        the largest x
    pivot    the first index where x is m
    e_i      exp((x_i - m) / T), so that the pivot has e = 1
    r        the sum of e over all classes but the pivot
    p_i      e_i / (1 + r)
    log p_i  (x_i - m) / T - log1p(r)
    log sum  m / T + log1p(r)

Leaving the pivot's 1 out of the sum keeps what the others add to it, however little that is. The
derivatives leave the pivot out likewise: 1 - p of the largest class is the sum of the other p.

Half and single precision are computed in double precision and rounded once. Double precision needs
more: there each number that matters is kept in two words, its value and what rounding took from it
(`_words.py`). Everything acts along one axis, and sums keep that axis with size 1 until the end.
"""

from . import _words as words
from ._library import finish, quiet, widen
from ._normalizer import (
    at_pivot,
    centred,
    exact,
    exponents,
    fill,
    normalizer_of,
    over,
    pivot_of,
    probabilities,
    scaled_difference,
    sum_of_others,
)
from .array_api_losses import cross_entropy, cross_entropy_hvp, entropy, kl_divergence

__all__ = [
    "cross_entropy",
    "cross_entropy_hvp",
    "direct",
    "entropy",
    "kl_divergence",
    "log_softmax",
    "log_softmax_diagonal",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_jvp",
    "logsumexp_vjp",
    "signed_logsumexp",
    "softmax",
    "softmax_diagonal",
    "softmax_vjp",
]


def _declined(*arguments):
    return NotImplemented


class direct:  # noqa: N801
    """What a public function asks first: here, nothing is computed before the checks."""

    softmax = log_softmax = logsumexp = staticmethod(_declined)
    softmax_vjp = log_softmax_vjp = log_softmax_jvp = staticmethod(_declined)
    logsumexp_vjp = logsumexp_jvp = staticmethod(_declined)
    cross_entropy = staticmethod(_declined)


# --- softmax, its logarithm, and the logarithm of the sum ------------------------------------


@quiet
def softmax(x, axis, where, temperature, dtype, out):
    """p_i = e_i / (1 + r)."""
    xp, x = widen(x)
    p, _ = probabilities(xp, x, axis, where, temperature)
    return finish(xp, words.rounded(xp, p) * 2.0**-32, dtype, out)


@quiet
def log_softmax(x, axis, where, temperature, dtype, out):
    """log p_i = (x_i - m) / T - log1p(r): two terms of one sign, so nothing cancels."""
    xp, x = widen(x)
    d, _, pivot = exponents(xp, x, axis, where, temperature)
    log = words.log1p(xp, sum_of_others(xp, words.exp(xp, d), pivot, axis))
    logp = words.rounded(xp, words.add(d, words.negative(log)))
    return finish(xp, fill(xp, where, logp, -xp.inf), dtype, out)


@quiet
def logsumexp(x, axis, where, temperature, dtype, out):
    """log(sum exp(x / T)) = m / T + log1p(r). Drops the axis."""
    xp, x = widen(x)
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    log = words.log1p(xp, sum_of_others(xp, words.exp(xp, d), pivot, axis))
    value = words.rounded(xp, words.add(over(xp, m, temperature), log))
    value = xp.where(xp.isinf(m), m, value)
    return finish(xp, xp.squeeze(value, axis=axis), dtype, out)


@quiet
def signed_logsumexp(x, b, axis, where, temperature, dtype):
    """log(abs(s)) and the sign of s = sum b exp(x / T). Drops the axis.

    The pivot is the term of largest absolute value, and r the sum of the others over it:
    abs(s) = abs(b) exp(x / T) abs(1 + r), with b and x of the pivot.
    """
    xp, x, b = widen(x, b)
    live = b != 0.0 if where is None else where & (b != 0.0)
    x, b = xp.where(live, x, -xp.inf), xp.where(live, b, 1.0)
    size, pivot = pivot_of(xp, over(xp, x, temperature)[0] + xp.log(xp.abs(b)), axis)
    top, weight = at_pivot(xp, pivot, x, axis), at_pivot(xp, pivot, b, axis)
    d = scaled_difference(xp, x, top, x == top, temperature)
    half = xp.exp(d[0] / 2.0)  # in two factors, for b may be huge where exp underflows
    ratio = (half * b / weight) * half
    r = sum_of_others(xp, (ratio, ratio * d[1]), pivot, axis)
    s = words.rounded(xp, words.add(r, (1.0, 0.0)))
    log = xp.where(r[0] > -0.5, words.rounded(xp, words.log1p(xp, r)), xp.log(xp.abs(s)))
    log = words.two_sum(xp.log(xp.abs(weight)), log)
    value = words.rounded(xp, words.add(over(xp, top, temperature), log))
    value = xp.where(size == -xp.inf, -xp.inf, value)
    sign = xp.where(size == -xp.inf, 0.0, xp.sign(weight) * xp.sign(s))
    value, sign = xp.squeeze(value, axis=axis), xp.squeeze(sign, axis=axis)
    return finish(xp, value, dtype, None), finish(xp, sign, dtype, None)


# --- derivatives -----------------------------------------------------------------------------
#
# The Jacobian of p is (diag(p) - p p^T) / T. It sends constant vectors to 0, so the pivot's g may
# be subtracted from every g first. Then the pivot, whose p may be 1 to the last bit, takes no part
# in the sum, and what the small classes contribute survives. Classes with p = 0 are left out: their
# result is 0 and their g is not read.


@quiet
def softmax_vjp(p, g, axis, temperature, dtype, out):
    """p_i (w_i - S) / T, with w_i = g_i - g_pivot and S = sum p w. J is symmetric: the JVP too."""
    xp, p, g = widen(p, g)
    top, pivot = pivot_of(xp, p, axis)
    live = (p != 0.0) | xp.isnan(top)
    result = p * centred(xp, p, xp.where(live, g, 0.0), pivot, axis) / temperature
    return finish(xp, xp.where(live, result, 0.0), dtype, out)


@quiet
def log_softmax_vjp(logp, g, axis, temperature, dtype, out):
    """(g_i - p_i sum(g)) / T; at the pivot (g (1 - p) - p sum(g of the others)) / T."""
    xp, logp, g = widen(logp, g)
    top, pivot = pivot_of(xp, logp, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    p, g = xp.exp(logp), xp.where(live, g, 0.0)
    g_others = sum_of_others(xp, exact(xp, g), pivot, axis)
    g_all = words.rounded(xp, words.add(g_others, (at_pivot(xp, pivot, g, axis), 0.0)))
    complement = words.rounded(xp, sum_of_others(xp, exact(xp, p), pivot, axis))
    result_there = g * complement - p * words.rounded(xp, g_others)
    result = xp.where(pivot, result_there, g - p * g_all) / temperature
    result = xp.where(xp.isnan(top), top, result)
    return finish(xp, xp.where(live, result, 0.0), dtype, out)


@quiet
def log_softmax_jvp(logp, v, axis, temperature, dtype, out):
    """(w_i - S) / T, with w_i = v_i - v_pivot and S = sum p w."""
    xp, logp, v = widen(logp, v)
    top, pivot = pivot_of(xp, logp, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    result = centred(xp, xp.exp(logp), xp.where(live, v, 0.0), pivot, axis) / temperature
    return finish(xp, xp.where(live, result, 0.0), dtype, out)


@quiet
def logsumexp_vjp(x, g, axis, where, temperature, dtype, out):
    """g p / T, where g has size 1 along the axis; 0 in a row that is all -inf."""
    xp, x, g = widen(x, g)
    p, m = probabilities(xp, x, axis, where, temperature)
    g = g / temperature * 2.0**-32
    h, error = words.two_product(xp, p[0], g)
    result = words.rounded(xp, (h, error + p[1] * g))
    lost = (p[0] == 0.0) | (m == -xp.inf)
    return finish(xp, xp.where(lost, 0.0, result), dtype, out)


@quiet
def logsumexp_jvp(x, v, axis, where, temperature, dtype, out):
    """sum(e v) / (1 + r) / T; 0 in a row that is all -inf. Drops the axis."""
    xp, x, v = widen(x, v)
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    e = words.exp(xp, d)
    v = fill(xp, where, xp.where(x == -xp.inf, 0.0, v), 0.0)
    mean = words.divide(xp, words.dot(xp, e, exact(xp, v), axis), normalizer_of(xp, e, pivot, axis))
    value = xp.where(m == -xp.inf, 0.0, words.rounded(xp, mean)) / temperature
    return finish(xp, xp.squeeze(value, axis=axis), dtype, out)


@quiet
def softmax_diagonal(p, axis, temperature, dtype):
    """p_i (1 - p_i) / T."""
    xp, p = widen(p)
    top, pivot = pivot_of(xp, p, axis)
    others = words.rounded(xp, sum_of_others(xp, exact(xp, p), pivot, axis))
    result = p * xp.where(pivot, others, 1.0 - p) / temperature
    return finish(xp, xp.where(xp.isnan(top), top, result), dtype, None)


@quiet
def log_softmax_diagonal(logp, axis, temperature, dtype):
    """(1 - p_i) / T; 0 where p = 0, as everywhere in that row and column of the Jacobian."""
    xp, logp = widen(logp)
    top, pivot = pivot_of(xp, logp, axis)
    others = words.rounded(xp, sum_of_others(xp, exact(xp, xp.exp(logp)), pivot, axis))
    result = xp.where(pivot, others, -xp.expm1(logp)) / temperature
    result = xp.where(logp == -xp.inf, 0.0, result)
    return finish(xp, xp.where(xp.isnan(top), top, result), dtype, None)
