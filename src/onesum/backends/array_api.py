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
from ._library import finish, quiet, select, widen
from ._normalizer import (
    at_pivot,
    centred,
    either,
    exact,
    exponents,
    fill,
    log1p,
    over,
    pivot_of,
    probabilities,
    rest_of,
    scaled_difference,
    shared,
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
    "total",
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
    """log(abs(s)) and the sign of s = sum b exp(x / T). Drops the axis.

    The pivot is the term of largest absolute value, and r the sum of the others over it:
    abs(s) = abs(b) exp(x / T) abs(1 + r), with b and x of the pivot. Several x of +inf are a sum of
    infinities: it has no value, nor a sign, if these have not all one sign.
    """
    xp, x, b = widen(x, b)
    live = b != 0.0 if where is None else where & (b != 0.0)
    x, b = select(xp, live, x, -xp.inf), select(xp, live, b, 1.0)
    size, pivot = pivot_of(xp, over(xp, exact(xp, x), temperature)[0] + xp.log(xp.abs(b)), axis)
    top, weight = at_pivot(xp, pivot, x, axis), at_pivot(xp, pivot, b, axis)
    d = scaled_difference(xp, x, top, x == top, temperature)
    half = xp.exp(d[0] / 2.0)  # in two factors, for b may be huge where exp underflows
    ratio = (half * b / weight) * half
    r = sum_of_others(xp, (ratio, ratio * d[1]), pivot, axis)
    s = words.rounded(xp, words.add(r, (1.0, 0.0)))
    log = xp.where(r[0] > -0.5, words.rounded(xp, words.log1p(xp, r)), xp.log(xp.abs(s)))
    log = words.add(_log(xp, xp.abs(weight)), (log, 0.0))
    value = words.rounded(xp, words.add(over(xp, exact(xp, top), temperature), log))
    value = select(xp, size == -xp.inf, -xp.inf, value)
    sign = select(xp, size == -xp.inf, 0.0, xp.sign(weight) * xp.sign(s))
    infinite = (x == xp.inf) & (xp.sign(b) != xp.sign(weight))
    undecided = xp.isnan(value) | xp.any(infinite, axis=axis, keepdims=True)
    value, sign = (select(xp, undecided, xp.nan, a) for a in (value, sign))
    value, sign = xp.squeeze(value, axis=axis), xp.squeeze(sign, axis=axis)
    return finish(xp, value, dtype, None), finish(xp, sign, dtype, None)


# --- derivatives -----------------------------------------------------------------------------
#
# The Jacobian of p is (diag(p) - p p^T) / T. It sends constant vectors to 0, so the pivot's g may
# be subtracted from every g first. Then the pivot, whose p may be 1 to the last bit, takes no part
# in the sum, and what the small classes contribute survives. Classes with p = 0 are left out: their
# result is 0 and their g is not read.
#
# A p may be next to nothing, and its product with g a number like any other. So p, where it comes
# from a logarithm, is scaled, and multiplied last: what it is multiplied with is already over T.


@quiet
def softmax_vjp(p, g, axis, temperature, dtype, out):
    """p_i (w_i - S) / T, with w_i = g_i - g_pivot and S = sum p w. J is symmetric: the JVP too."""
    xp, p, g = widen(p, g)
    top, pivot = pivot_of(xp, p, axis)
    live = (p != 0.0) | xp.isnan(top)
    given = exact(xp, p), xp.ones_like(p)
    g, down = shared(xp, select(xp, live, g, 0.0), axis, temperature)
    result = words.times(xp, given, centred(xp, given, g, pivot, axis))
    result = words.rounded(xp, result) / down
    return finish(xp, select(xp, live, result, 0.0), dtype, out)


@quiet
def log_softmax_vjp(logp, g, axis, temperature, dtype, out):
    """(g_i - p_i sum(g)) / T; at the pivot (sum over the others of p g_pivot - p_pivot g) / T."""
    xp, logp, g = widen(logp, g)
    top, pivot = pivot_of(xp, logp, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    p = words.scaled_exp(xp, exact(xp, logp))
    g, down = shared(xp, select(xp, live, g, 0.0), axis, temperature)
    g_pivot = at_pivot(xp, pivot, g[0], axis), at_pivot(xp, pivot, g[1], axis)
    g_others = sum_of_others(xp, g, pivot, axis)
    kept = either(xp, p[0][0] != 0.0, words.times(xp, p, g_pivot), (0.0, 0.0))
    keeps = either(xp, pivot, sum_of_others(xp, kept, pivot, axis), g)
    takes = either(xp, pivot, g_others, words.add(g_others, g_pivot))
    result = words.add(keeps, words.negative(words.times(xp, p, takes)))
    result = words.rounded(xp, result) / down
    result = xp.where(xp.isnan(top), top, result)
    return finish(xp, select(xp, live, result, 0.0), dtype, out)


@quiet
def log_softmax_jvp(logp, v, axis, temperature, dtype, out):
    """(w_i - S) / T, with w_i = v_i - v_pivot and S = sum p w."""
    xp, logp, v = widen(logp, v)
    top, pivot = pivot_of(xp, logp, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    p = words.scaled_exp(xp, exact(xp, logp))
    v, down = shared(xp, select(xp, live, v, 0.0), axis, temperature)
    result = words.rounded(xp, centred(xp, p, v, pivot, axis)) / down
    return finish(xp, select(xp, live, result, 0.0), dtype, out)


@quiet
def logsumexp_vjp(x, g, axis, where, temperature, dtype, out):
    """g p / T, where g has size 1 along the axis; 0 in a row that is all -inf."""
    xp, x, g = widen(x, g)
    p, m = probabilities(xp, x, axis, where, temperature)
    g, down = shared(xp, g, axis, temperature)
    result = words.rounded(xp, words.times(xp, p, g)) / down
    lost = (p[0][0] == 0.0) | (m == -xp.inf)
    return finish(xp, select(xp, lost, 0.0, result), dtype, out)


@quiet
def logsumexp_jvp(x, v, axis, where, temperature, dtype, out):
    """sum(p v) / T; 0 in a row that is all -inf. Drops the axis."""
    xp, x, v = widen(x, v)
    p, m = probabilities(xp, x, axis, where, temperature)
    v = fill(xp, where, select(xp, x == -xp.inf, 0.0, v), 0.0)
    v, down = shared(xp, v, axis, temperature)
    mean = words.total(xp, words.times(xp, p, v), axis)
    value = select(xp, m == -xp.inf, 0.0, words.rounded(xp, mean) / down)
    return finish(xp, xp.squeeze(value, axis=axis), dtype, out)


@quiet
def softmax_diagonal(p, axis, temperature, dtype):
    """p_i (1 - p_i) / T."""
    xp, p = widen(p)
    top, pivot = pivot_of(xp, p, axis)
    others = sum_of_others(xp, exact(xp, p), pivot, axis)
    complement = either(xp, pivot, others, words.two_sum(1.0, -p))
    result = words.multiply(xp, exact(xp, p), over(xp, complement, temperature))
    result = words.rounded(xp, result)
    return finish(xp, xp.where(xp.isnan(top), top, result), dtype, None)


@quiet
def log_softmax_diagonal(logp, axis, temperature, dtype):
    """(1 - p_i) / T; 0 where p = 0, as everywhere in that row and column of the Jacobian."""
    xp, logp = widen(logp)
    top, pivot = pivot_of(xp, logp, axis)
    one = over(xp, exact(xp, xp.ones_like(top)), temperature)
    r = rest_of(xp, words.scaled_exp(xp, exact(xp, logp)), pivot, axis)
    others = words.rounded(xp, words.times(xp, r, one))
    complement = words.rounded(xp, over(xp, exact(xp, -xp.expm1(logp)), temperature))
    result = xp.where(pivot, others, complement)
    result = select(xp, logp == -xp.inf, 0.0, result)
    return finish(xp, xp.where(xp.isnan(top), top, result), dtype, None)


# --- sums ------------------------------------------------------------------------------------


@quiet
def total(losses):
    """The sum of all numbers of an array of the widest type, as good as in twice its digits."""
    xp, losses = widen(losses)
    losses = exact(xp, xp.reshape(losses, (-1,)))
    return xp.squeeze(words.rounded(xp, words.total(xp, losses, 0)), axis=0)
