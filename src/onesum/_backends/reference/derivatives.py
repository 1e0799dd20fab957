# mypy: allow-untyped-defs, allow-untyped-calls
"""Products with the Jacobians, and their diagonals, in the words of the package.

The Jacobian of p is (diag(p) - p p^T) / T. It sends constant vectors to 0, so the pivot's g may
be subtracted from every g first. Then the pivot, whose p may be 1 to the last bit, takes no part
in the sum, and what the small classes contribute survives. Classes with p = 0 are left out: their
result is 0 and their g is not read.

A p may be next to nothing, and its product with g a number like any other. So p, where it comes
from a logarithm, is scaled, and multiplied last: what it is multiplied with is already over T.
"""

from ..._library import finish, quiet, select, widen
from . import words
from .normalizer import (
    at_pivot,
    centred,
    either,
    exact,
    fill,
    over,
    pivot_of,
    probabilities,
    rest_of,
    shared,
    sum_of_others,
)


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
