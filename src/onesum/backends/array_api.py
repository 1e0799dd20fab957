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

from typing import Any

import numpy as np

from . import _words as words

Array = Any

# Infinities and underflow belong to the formulas: a caller gets values, not warnings.
quiet = np.errstate(all="ignore")


def _declined(*arguments):
    return NotImplemented


class direct:  # noqa: N801
    """What a public function asks first: here, nothing is computed before the checks."""

    softmax = log_softmax = logsumexp = staticmethod(_declined)
    softmax_vjp = log_softmax_vjp = log_softmax_jvp = staticmethod(_declined)
    logsumexp_vjp = logsumexp_jvp = staticmethod(_declined)


# --- softmax, its logarithm, and the logarithm of the sum ------------------------------------


@quiet
def softmax(x, axis, where, temperature, dtype, out):
    """p_i = e_i / (1 + r)."""
    xp, x = widen(x)
    p, _ = _probabilities(xp, x, axis, where, temperature)
    return finish(xp, words.rounded(xp, p) * 2.0**-32, dtype, out)


@quiet
def log_softmax(x, axis, where, temperature, dtype, out):
    """log p_i = (x_i - m) / T - log1p(r): two terms of one sign, so nothing cancels."""
    xp, x = widen(x)
    d, _, pivot = _exponents(xp, x, axis, where, temperature)
    log = words.log1p(xp, _others(xp, words.exp(xp, d), pivot, axis))
    logp = words.rounded(xp, words.add(d, words.negative(log)))
    return finish(xp, _fill(xp, where, logp, -xp.inf), dtype, out)


@quiet
def logsumexp(x, axis, where, temperature, dtype, out):
    """log(sum exp(x / T)) = m / T + log1p(r). Drops the axis."""
    xp, x = widen(x)
    d, m, pivot = _exponents(xp, x, axis, where, temperature)
    log = words.log1p(xp, _others(xp, words.exp(xp, d), pivot, axis))
    value = words.rounded(xp, words.add(_over(xp, m, temperature), log))
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
    size, pivot = _pivot(xp, _over(xp, x, temperature)[0] + xp.log(xp.abs(b)), axis)
    top, weight = _at(xp, pivot, x, axis), _at(xp, pivot, b, axis)
    d = _difference(xp, x, top, x == top, temperature)
    half = xp.exp(d[0] / 2.0)  # in two factors, for b may be huge where exp underflows
    ratio = (half * b / weight) * half
    r = _others(xp, (ratio, ratio * d[1]), pivot, axis)
    s = words.rounded(xp, words.add(r, (1.0, 0.0)))
    log = xp.where(r[0] > -0.5, words.rounded(xp, words.log1p(xp, r)), xp.log(xp.abs(s)))
    log = words.two_sum(xp.log(xp.abs(weight)), log)
    value = words.rounded(xp, words.add(_over(xp, top, temperature), log))
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
    top, pivot = _pivot(xp, p, axis)
    live = (p != 0.0) | xp.isnan(top)
    result = p * _centred(xp, p, xp.where(live, g, 0.0), pivot, axis) / temperature
    return finish(xp, xp.where(live, result, 0.0), dtype, out)


@quiet
def log_softmax_vjp(logp, g, axis, temperature, dtype, out):
    """(g_i - p_i sum(g)) / T; at the pivot (g (1 - p) - p sum(g of the others)) / T."""
    xp, logp, g = widen(logp, g)
    top, pivot = _pivot(xp, logp, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    p, g = xp.exp(logp), xp.where(live, g, 0.0)
    g_others = _others(xp, _exact(xp, g), pivot, axis)
    g_all = words.rounded(xp, words.add(g_others, (_at(xp, pivot, g, axis), 0.0)))
    complement = words.rounded(xp, _others(xp, _exact(xp, p), pivot, axis))
    at_pivot = g * complement - p * words.rounded(xp, g_others)
    result = xp.where(pivot, at_pivot, g - p * g_all) / temperature
    result = xp.where(xp.isnan(top), top, result)
    return finish(xp, xp.where(live, result, 0.0), dtype, out)


@quiet
def log_softmax_jvp(logp, v, axis, temperature, dtype, out):
    """(w_i - S) / T, with w_i = v_i - v_pivot and S = sum p w."""
    xp, logp, v = widen(logp, v)
    top, pivot = _pivot(xp, logp, axis)
    live = (logp != -xp.inf) | xp.isnan(top)
    result = _centred(xp, xp.exp(logp), xp.where(live, v, 0.0), pivot, axis) / temperature
    return finish(xp, xp.where(live, result, 0.0), dtype, out)


@quiet
def logsumexp_vjp(x, g, axis, where, temperature, dtype, out):
    """g p / T, where g has size 1 along the axis; 0 in a row that is all -inf."""
    xp, x, g = widen(x, g)
    p, m = _probabilities(xp, x, axis, where, temperature)
    g = g / temperature * 2.0**-32
    h, error = words.two_product(xp, p[0], g)
    result = words.rounded(xp, (h, error + p[1] * g))
    lost = (p[0] == 0.0) | (m == -xp.inf)
    return finish(xp, xp.where(lost, 0.0, result), dtype, out)


@quiet
def logsumexp_jvp(x, v, axis, where, temperature, dtype, out):
    """sum(e v) / (1 + r) / T; 0 in a row that is all -inf. Drops the axis."""
    xp, x, v = widen(x, v)
    d, m, pivot = _exponents(xp, x, axis, where, temperature)
    e = words.exp(xp, d)
    v = _fill(xp, where, xp.where(x == -xp.inf, 0.0, v), 0.0)
    mean = words.divide(xp, words.dot(xp, e, _exact(xp, v), axis), _normalizer(xp, e, pivot, axis))
    value = xp.where(m == -xp.inf, 0.0, words.rounded(xp, mean)) / temperature
    return finish(xp, xp.squeeze(value, axis=axis), dtype, out)


@quiet
def softmax_diagonal(p, axis, temperature, dtype):
    """p_i (1 - p_i) / T."""
    xp, p = widen(p)
    top, pivot = _pivot(xp, p, axis)
    others = words.rounded(xp, _others(xp, _exact(xp, p), pivot, axis))
    result = p * xp.where(pivot, others, 1.0 - p) / temperature
    return finish(xp, xp.where(xp.isnan(top), top, result), dtype, None)


@quiet
def log_softmax_diagonal(logp, axis, temperature, dtype):
    """(1 - p_i) / T; 0 where p = 0, as everywhere in that row and column of the Jacobian."""
    xp, logp = widen(logp)
    top, pivot = _pivot(xp, logp, axis)
    others = words.rounded(xp, _others(xp, _exact(xp, xp.exp(logp)), pivot, axis))
    result = xp.where(pivot, others, -xp.expm1(logp)) / temperature
    result = xp.where(logp == -xp.inf, 0.0, result)
    return finish(xp, xp.where(xp.isnan(top), top, result), dtype, None)


# --- the parts that they share ---------------------------------------------------------------


def _probabilities(xp, x, axis, where, temperature):
    """2^32 e / (1 + r) in two words, and m. What rounding takes from a tiny e would underflow."""
    d, m, pivot = _exponents(xp, x, axis, where, temperature)
    e = words.exp(xp, d)
    normalizer = _normalizer(xp, e, pivot, axis)
    e = e[0] * 2.0**32
    p, error = words.divide(xp, (e, e * d[1]), normalizer)
    return (_fill(xp, where, p, 0.0), _fill(xp, where, error, 0.0)), m


def _exponents(xp, x, axis, where, temperature):
    """(x - m) / T in two words, m, and the mask of the pivot."""
    x = _fill(xp, where, x, -xp.inf)
    m, pivot = _pivot(xp, x, axis)
    # A pivot of +inf has won; where m is -inf or NaN, the row has no answer.
    return _difference(xp, x, m, pivot & (m > -xp.inf), temperature), m, pivot


def _normalizer(xp, e, pivot, axis):
    """1 + r."""
    return words.add(_others(xp, e, pivot, axis), (1.0, 0.0))


def _others(xp, a, pivot, axis):
    """The sum over all but the pivot."""
    return words.total(xp, (xp.where(pivot, 0.0, a[0]), xp.where(pivot, 0.0, a[1])), axis)


def _centred(xp, p, g, pivot, axis):
    """w - S, with w = g - g_pivot and S = sum p w."""
    w = words.two_sum(g, -_at(xp, pivot, g, axis))
    s = words.dot(xp, _exact(xp, p), w, axis)
    return words.rounded(xp, words.add(w, words.negative(s)))


def _difference(xp, x, m, same, temperature):
    """(x - m) / T in two words; 0 where `same`, which matters for inf - inf."""
    t = _temperature(xp, temperature, x)
    if t is None:
        d = words.two_sum(x, -m)
    else:
        # A power of two, so that the difference cannot overflow where its quotient does not.
        scale = xp.where(t > 1.0, xp.full_like(t, 2.0**-64), 1.0)
        d = words.two_sum(x * scale, -m * scale)
        d = words.divide(xp, d, (t * scale, 0.0))
    hi = xp.where(xp.isinf(x) | xp.isinf(m), x - m, d[0])
    return xp.where(same, 0.0, hi), words.finite(xp, d[1])


def _over(xp, a, temperature):
    """a / T in two words; an infinite a stays infinite."""
    t = _temperature(xp, temperature, a)
    if t is None:
        return _exact(xp, a)
    hi, lo = words.divide(xp, _exact(xp, a), (t, 0.0))
    return xp.where(xp.isinf(a), a, hi), lo


def _temperature(xp, temperature, like):
    """The temperature as an array, or None where it is 1 and there is nothing to divide by."""
    if not isinstance(temperature, float):
        return temperature
    if temperature == 1.0:
        return None
    return xp.full((1,) * like.ndim, temperature, dtype=like.dtype, device=device(like))


def _pivot(xp, x, axis):
    """The maximum (NaN if there is one in the row), and the mask of its first place."""
    if x.shape[axis] == 0:
        return xp.sum(x, axis=axis, keepdims=True) - xp.inf, x == x
    index = xp.arange(x.shape[axis], device=device(x))
    index = xp.reshape(index, (-1,) + (1,) * (x.ndim - 1 - axis))
    first = xp.argmax(x, axis=axis, keepdims=True)
    return xp.max(x, axis=axis, keepdims=True), index == first


def _at(xp, pivot, x, axis):
    """The value at the pivot."""
    return xp.sum(xp.where(pivot, x, 0.0), axis=axis, keepdims=True)


def _fill(xp, where, x, value):
    return x if where is None else xp.where(where, x, value)


def _exact(xp, x):
    """A number that no rounding has touched, in two words."""
    return x, xp.zeros_like(x)


def widen(*arrays: Array) -> Any:
    xp = namespace(arrays[0])
    return xp, *(xp.astype(a, widest(xp, a), copy=False) for a in arrays)


def finish(xp: Any, x: Array, dtype: Any, out: Array) -> Array:
    """Round to the type of the result, the only rounding that the narrow types see."""
    x = xp.astype(x, dtype, copy=False)
    if out is None:
        return x[()] if xp is np and x.ndim == 0 else x  # NumPy's own reductions give scalars
    out[...] = x
    return out


# --- what depends on the library -------------------------------------------------------------


def namespace(x: Array) -> Any:
    """The module whose functions take x, by the array API standard."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    try:
        from array_api_compat import array_namespace
    except ImportError as error:
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        advice = "pip install onesum[array-api]"
        raise ImportError(f"arrays of type {kind} need array-api-compat: {advice}") from error
    return array_namespace(x)


def device(x: Array) -> Any:
    return getattr(x, "device", None)


def widest(xp: Any, x: Array) -> Any:
    """float64, or float32 where the library or the device of x has nothing wider."""
    info = getattr(xp, "__array_namespace_info__", None)
    if xp is np or info is None:
        return xp.float64
    return info().dtypes(device=device(x), kind="real floating").get("float64", xp.float32)
