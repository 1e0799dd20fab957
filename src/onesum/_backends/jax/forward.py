# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code=call-arg
"""softmax, log_softmax and logsumexp of whole rows, with their derivatives of any order.

Their arguments are in the type that is computed in; T is None or in two words, and differentiated
too: with d = (x - m) / T, what is added to all of x / T by the side of d no softmax feels.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from . import core
from .blocks import in_blocks
from .linear import Linear, pair
from .numbers import log1p
from .rows import (
    at,
    below,
    below_in_words,
    dominant,
    is_at,
    normalizer,
    over,
    pivot_of,
    pivot_weights,
    probabilities,
    softmax_product,
    summed,
)


def is_zero(tangent):
    return type(tangent) is SymbolicZero


def change(x, t, dx, dt, axis):
    """T times the change of x / T, but for what is the same for all classes: dx - d dT.

    And dT, or None where there is none.
    """
    v = jnp.zeros_like(x) if is_zero(dx) else dx
    if t is None or (is_zero(dt.hi) and is_zero(dt.lo)):
        return v, None
    dt = sum(0.0 if is_zero(word) else word for word in dt)
    return v - distance(x, t, axis) * dt, dt


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def distance(x, t, axis):
    """d = (x - m) / T, with 0 for what is infinite."""
    d = below(x, jnp.max(x, axis=axis, keepdims=True), t)
    return jnp.where(jnp.isinf(d), 0.0, d)


@partial(distance.defjvp, symbolic_zeros=True)
def _distance_rule(axis, primals, tangents):
    """But for what is the same for all classes, which nothing here feels."""
    v, _ = change(*primals, *tangents, axis)
    return distance(*primals, axis), over(v, primals[1])


def mean_change(shares, x, t, dx, dt, axis):
    """The change of a mean of x / T, m and all, under shares that sum to 1."""
    v, dt = change(x, t, dx, dt, axis)
    mean = over(summed(jnp.where(shares == 0.0, 0.0, shares * v), axis), t)
    return mean if dt is None else mean - common_change(x, t, dt, axis)


def common_change(x, t, dt, axis):
    """What T takes from x / T of all classes alike: m dT / T^2."""
    m = jax.lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    return over(jnp.where(jnp.isinf(m), 0.0, over(m, t)) * dt, t)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def softmax(x, t, axis):
    def formula(x, t):
        return in_blocks(probabilities, axis, x, t)

    return core.either("softmax", formula, (x,), t, axis)


@partial(softmax.defjvp, symbolic_zeros=True)
def _softmax_rule(axis, primals, tangents):
    p = softmax(*primals, axis)
    v, _ = change(*primals, *tangents, axis)
    return p, softmax_product(p, v, primals[1], axis)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def log_softmax(x, t, axis):
    def of_rows(x, t, axis):
        z = normalizer(x, t, axis)
        return below(x, z.m, t) - z.log

    def formula(x, t):
        return in_blocks(of_rows, axis, x, t)

    return core.either("log_softmax", formula, (x,), t, axis)


@partial(log_softmax.defjvp, symbolic_zeros=True)
def _log_softmax_rule(axis, primals, tangents):
    logp = log_softmax(*primals, axis)
    v, _ = change(*primals, *tangents, axis)
    return logp, _log_softmax_jvp((logp, primals[0]), v, primals[1], axis)


def _log_softmax_product(logp, x, v, t, axis):
    """(v_i - sum p v) / T; in dead classes 0, and v is not read. See `softmax_product`."""
    p = softmax(x, t, axis)
    dead, rho = logp == -jnp.inf, pivot_weights(p, axis)
    v = jnp.where(dead, 0.0, v)
    # At a dominant class nothing is left: said so, it transposes to the sum of all but this.
    u = jnp.where(dominant(p), 0.0, over(v - summed(rho * v, axis), t))
    return jnp.where(dead, 0.0, u - summed(p * u, axis))


# The kernels take p from log p, with a relative error as large as what log p was rounded by. Beside
# g that is little; but a sum in proportion to some p, as in the JVP, is only as good as these are.
_log_softmax_jvp, _ = pair(
    Linear("log_softmax_product", None, _log_softmax_product),
    Linear("log_softmax_product_transposed", "log_softmax_vjp", reads=(0,)),
)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def logsumexp(x, t, axis):
    """Keeps the axis."""

    def of_rows(x, t, axis):
        z = normalizer(x, t, axis)
        # Infinite is what m says; a NaN is in r, for a maximum may pass it over.
        return over(z.m, t) + jnp.where(z.m == jnp.inf, z.r * 0.0, log1p(z.r))

    def formula(x, t):
        return in_blocks(of_rows, axis, x, t)

    return core.either("logsumexp", formula, (x,), t, axis, row=True)


@partial(logsumexp.defjvp, symbolic_zeros=True)
def _logsumexp_rule(axis, primals, tangents):
    (x, t), (v, dt) = primals, change(*primals, *tangents, axis)
    result = logsumexp_jvp((x,), v, t, axis)
    if dt is not None:
        result = result - common_change(x, t, dt, axis)
    return logsumexp(*primals, axis), result


def _logsumexp_product(x, v, t, axis):
    """sum(p v) / T; 0 in a row that is all -inf."""
    p = jnp.where(jnp.max(x, axis=axis, keepdims=True) == -jnp.inf, 0.0, softmax(x, t, axis))
    return over(summed(jnp.where(p == 0.0, 0.0, p * v), axis), t)


logsumexp_jvp, logsumexp_vjp = pair(
    Linear("logsumexp_jvp", "logsumexp_jvp", _logsumexp_product, row=True),
    Linear("logsumexp_vjp", "logsumexp_vjp"),
)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def signed_logsumexp(x, b, t, axis):
    """log abs(sum b exp(x / T)) and the sign of the sum. Keeps the axis; not x, where b is 0."""
    top, weight, _, r = _terms(x, b, t, axis)
    s = 1.0 + r
    near = jnp.where(r < 0.0, jnp.log1p(jnp.maximum(r, -0.5)), log1p(jnp.maximum(r, 0.0)))
    log = jnp.where(r > -0.5, near, jnp.log(jnp.abs(s)))
    value = over(top, t) + (jnp.log(jnp.abs(weight)) + log)
    value = jnp.where(jnp.isinf(top), top + 0.0 * r, value)
    sign = jnp.sign(weight) * jnp.sign(s)
    mixed = (x == jnp.inf) & (b != 0.0) & (jnp.sign(b) != jnp.sign(weight))
    lost = jnp.isnan(value) | jnp.any(mixed, axis=axis, keepdims=True)
    empty = jnp.all((b == 0.0) | (x == -jnp.inf), axis=axis, keepdims=True)
    value = jnp.where(lost, jnp.nan, jnp.where(empty, -jnp.inf, value))
    return value, jnp.where(lost, jnp.nan, jnp.where(empty, 0.0, sign))


@partial(signed_logsumexp.defjvp, symbolic_zeros=True)
def _signed_logsumexp_rule(axis, primals, tangents):
    """With u = exp(x / T) over the sum: the shares of x are b u, and b changes it by sum u db."""
    (x, b, t), (dx, db, dt) = primals, tangents
    _, weight, e, r = _terms(x, b, t, axis)
    u = e / (weight * (1.0 + r))
    result = mean_change(b * u, x, t, dx, dt, axis)
    if not is_zero(db):
        result = result + summed(u * db, axis)
    value, sign = signed_logsumexp(*primals, axis)
    return (value, sign), (result, jnp.zeros_like(sign))


def _terms(x, b, t, axis):
    """Of a sum of terms b exp(x / T): x and b of the largest, all exponentials over that of this x,
    and the sum of the other terms over it.
    """
    dead = (b == 0.0) | (x == -jnp.inf)
    size = jnp.where(dead, -jnp.inf, over(x, t) + jnp.log(jnp.abs(jnp.where(dead, 1.0, b))))
    pivot = pivot_of(jax.lax.stop_gradient(size), axis)
    top, weight = at(x, pivot, axis), at(b, pivot, axis)
    weight = jnp.where(weight == 0.0, 1.0, weight)
    d, lost = below_in_words(x, top, t)
    half = jnp.exp(0.5 * d)  # in two factors, for b may be huge where exp underflows
    ratio = (half * (b / weight)) * (half + half * lost)
    ratio = jnp.where(dead | is_at(pivot, x, axis), 0.0, ratio)
    return top, weight, half * (half + half * lost), summed(ratio, axis)
