# mypy: allow-untyped-defs, allow-untyped-calls
"""The functions of the backend on logits and on probabilities, each one compiled call.

What has a type of 16 bits is computed in float32, the others in their own, and all is rounded once.
Masks go in and out here: the functions of `forward.py` never see what is outside.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from . import forward
from .linear import Linear, pair
from .numbers import Temperature, exp, temperature_words
from .rows import at, is_at, over, pivot_of, product, summed, summed_in_words

compiled = functools.partial(jax.jit, static_argnames=("axis", "dtype"))


def wide(dtype, *arrays):
    """The type in which a result of this type is computed."""
    double = any(np.dtype(a).name == "float64" for a in (dtype, *(a.dtype for a in arrays)))
    return jnp.float64 if double else jnp.float32


def words(temperature, dtype, *arrays):
    """A temperature as a compiled function takes it: an array, or words of a number, or None."""
    if isinstance(temperature, float):
        return temperature_words(temperature, wide(dtype, *arrays))
    return temperature


def rows_of(x, where, temperature, dtype):
    """Logits and temperature in the type that is computed in."""
    kind = wide(dtype, x)
    x, t = masked(where, x.astype(kind), -jnp.inf), temperature
    if t is None:
        return x, None
    if not isinstance(t, Temperature):
        t = temperature_words(t, kind)
    hot = jnp.isinf(t.hi)  # then all finite logits are 0, and infinite ones remain
    x = jnp.where(hot & jnp.isfinite(x), 0.0, x)
    return x, Temperature(jnp.where(hot, 1.0, t.hi), jnp.where(hot, 0.0, t.lo))


def masked(where, a, nothing):
    return a if where is None else jnp.where(where, a, nothing)


# --- softmax, its logarithm, and the logarithm of the sum ------------------------------------


@compiled
def softmax(x, where, temperature, axis, dtype):
    p = forward.softmax(*rows_of(x, where, temperature, dtype), axis)
    return masked(where, p, 0.0).astype(dtype)


@compiled
def log_softmax(x, where, temperature, axis, dtype):
    logp = forward.log_softmax(*rows_of(x, where, temperature, dtype), axis)
    return masked(where, logp, -jnp.inf).astype(dtype)


@compiled
def logsumexp(x, where, temperature, axis, dtype):
    value = forward.logsumexp(*rows_of(x, where, temperature, dtype), axis)
    return jnp.squeeze(value, axis).astype(dtype)


@compiled
def signed_logsumexp(x, b, where, temperature, axis, dtype):
    kind = wide(dtype, x, b)
    b = masked(where, b.astype(kind), 0.0)
    x, t = rows_of(jnp.where((b == 0.0) & ~(x < jnp.inf), -jnp.inf, x), where, temperature, kind)
    value, sign = forward.signed_logsumexp(x, b, t, axis)
    return jnp.squeeze(value, axis).astype(dtype), jnp.squeeze(sign, axis).astype(dtype)


# --- derivatives of given probabilities -------------------------------------------------------
#
# p need not be a softmax, nor sum to one: what is computed is the formula, with the largest as the
# pivot, and what JAX derives of it is its derivative by numbers that are free.


def _products(temperature, dtype, p, g):
    """Both in the type that is computed in, and the temperature in words, or None."""
    kind = wide(dtype, p, g)
    t = temperature
    if not (t is None or isinstance(t, Temperature)):
        t = temperature_words(t, kind)
    return p.astype(kind), g.astype(kind), t


def _lives(dead, p, axis):
    """Where there is a result: not in dead classes, but everywhere in a row with NaN."""
    return ~dead | jnp.isnan(summed(p, axis))


def _log_softmax_vjp(logp, g, t, axis):
    """(g_i - p_i sum g) / T; at the pivot (g_pivot sum p - p_pivot sum g) / T, sums of others."""
    pivot, dead, p = pivot_of(logp, axis), logp == -jnp.inf, exp(logp)
    g = jnp.where(dead, 0.0, g)
    g_pivot, there = at(g, pivot, axis), is_at(pivot, g, axis)
    others, total = summed_in_words(jnp.where(there, 0.0, g), axis), summed_in_words(g, axis)
    rest = summed(jnp.where(there, 0.0, p), axis)
    result = jnp.where(there, rest * g_pivot, g) - p * jnp.where(there, others, total)
    return jnp.where(_lives(dead, p, axis), over(result, t), 0.0)


def _log_softmax_jvp(logp, v, t, axis):
    """(w_i - S) / T, with w = v - v_pivot and S = sum p w."""
    pivot, dead, p = pivot_of(logp, axis), logp == -jnp.inf, exp(logp)
    w = over(jnp.where(dead, 0.0, v - at(v, pivot, axis)), t)
    result = w - summed(p * w, axis)
    return jnp.where(_lives(dead, p, axis), result, 0.0)


_products_of = {
    "softmax_vjp": Linear("softmax_vjp", "softmax_vjp", product),
    "log_softmax_vjp": Linear("log_softmax_vjp", "log_softmax_vjp", _log_softmax_vjp),
    "log_softmax_jvp": Linear("log_softmax_jvp", "log_softmax_jvp", _log_softmax_jvp),
}
pair(_products_of["log_softmax_vjp"], _products_of["log_softmax_jvp"])


@compiled
def softmax_vjp(p, g, temperature, axis, dtype):
    p, g, t = _products(temperature, dtype, p, g)
    return _products_of["softmax_vjp"]((p,), g, t, axis).astype(dtype)


@compiled
def log_softmax_vjp(logp, g, temperature, axis, dtype):
    logp, g, t = _products(temperature, dtype, logp, g)
    return _products_of["log_softmax_vjp"]((logp,), g, t, axis).astype(dtype)


@compiled
def log_softmax_jvp(logp, v, temperature, axis, dtype):
    logp, v, t = _products(temperature, dtype, logp, v)
    return _products_of["log_softmax_jvp"]((logp,), v, t, axis).astype(dtype)


@compiled
def logsumexp_vjp(x, g, where, temperature, axis, dtype):
    """g p / T; 0 in a row that is all -inf."""
    kind = wide(dtype, x, g)
    x, t = rows_of(x, where, temperature, kind)
    g = _none_if_hot(g.astype(kind), temperature)
    return forward.logsumexp_vjp((x,), g, t, axis).astype(dtype)


@compiled
def logsumexp_jvp(x, v, where, temperature, axis, dtype):
    """sum(p v) / T; 0 in a row that is all -inf. Drops the axis."""
    kind = wide(dtype, x, v)
    x, t = rows_of(x, where, temperature, kind)
    result = forward.logsumexp_jvp((x,), v.astype(kind), t, axis)
    return jnp.squeeze(_none_if_hot(result, temperature), axis).astype(dtype)


def _none_if_hot(a, temperature):
    """What is over T still, for which `rows_of` puts 1 where it is infinite."""
    if temperature is None:
        return a
    t = temperature.hi if isinstance(temperature, Temperature) else temperature
    return a * jnp.where(jnp.isinf(t), 0.0, 1.0).astype(a.dtype)


@compiled
def softmax_diagonal(p, temperature, axis, dtype):
    """p_i (1 - p_i) / T, where 1 - p of the pivot is the sum of the others."""
    p, _, t = _products(temperature, dtype, p, p)
    there = is_at(pivot_of(p, axis), p, axis)
    rest = summed(jnp.where(there, 0.0, p), axis)
    result = p * over(jnp.where(there, rest, 1.0 - p), t)
    return jnp.where(jnp.isnan(summed(p, axis)), jnp.nan, result).astype(dtype)


@compiled
def log_softmax_diagonal(logp, temperature, axis, dtype):
    """(1 - p_i) / T; 0 where p = 0, as everywhere in that row and column of the Jacobian."""
    logp, _, t = _products(temperature, dtype, logp, logp)
    p, there = exp(logp), is_at(pivot_of(logp, axis), logp, axis)
    rest = summed(jnp.where(there, 0.0, p), axis)
    result = over(jnp.where(there, rest, jnp.where(p > 0.5, -jnp.expm1(logp), 1.0 - p)), t)
    return jnp.where(_lives(logp == -jnp.inf, p, axis), result, 0.0).astype(dtype)
