# mypy: allow-untyped-defs, allow-untyped-calls
"""A row of logits: its pivot, its normalizer, and the Jacobian that follows from them.

The pivot is the first class with the largest logit. r sums the exponentials of all others over that
of the pivot; what sums over the classes keeps the axis with size 1.

The Jacobian of softmax is a linear operation that JAX transposes by itself. It is the same without
what all classes of its argument have in common, which is taken out at both ends: what enters is
less its mean under some weights, and what leaves, the sum of which is 0, is less these weights
times its sum. The one transposes to the other, so that the VJP is as exact as the JVP, also where p
is 1 to the last bit: there all weight is on that class.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .numbers import (
    exponentials,
    log1p,
    reciprocal,
    two_product,
    two_sum,
    units_of,
)

Array = Any


class Normalizer(NamedTuple):
    m: Array  # the largest logit
    e: Array  # exp((x - m) / T)
    total: Array  # their sum
    r: Array  # the same less the pivot
    lost: Array  # whether the row has no answer: several are +inf, or all -inf

    @property
    def log(self):
        """log(1 + r)."""
        return jnp.where(self.lost, jnp.nan, log1p(self.r))

    @property
    def p(self):
        """e / (1 + r)."""
        return self.divided(self.e)

    def divided(self, a):
        """a / (1 + r)."""
        hi, lo = reciprocal(self.total)
        return a * jnp.where(self.lost, jnp.nan, hi) + a * lo


def normalizer(x, t, axis):
    m = jnp.max(x, axis=axis, keepdims=True)
    e = exponentials(x, m, t)
    total = summed(e, axis)
    # 1 at each maximum and less elsewhere: with the wholes apart, no digit of the rest is lost.
    whole = jnp.floor(e)
    r = (summed(whole, axis) - 1.0) + summed(e - whole, axis)
    lost = (m == -jnp.inf) | ((m == jnp.inf) & (total > 1.0))
    return Normalizer(m, e, total, r, lost)


def summed(a, axis):
    return jnp.sum(a, axis=axis, keepdims=True)


@jax.custom_jvp
def over(v, t):
    """v / T."""
    if t is None:
        return v
    units = units_of(t, v.dtype)
    return v * units.inverse + v * units.inverse_lo


@over.defjvp
def _over_rule(primals, tangents):
    (v, t), (dv, dt) = primals, tangents
    quotient = over(v, t)
    if t is None:
        return quotient, dv
    return quotient, over(dv, t) - over(quotient * (dt.hi + dt.lo), t)


def below(x, m, t):
    """(x - m) / T; 0 where x is m."""
    if t is None:
        return jnp.where(x == m, 0.0, x - m)
    # Halves: the difference may overflow where its quotient does not.
    d = over(0.5 * x - 0.5 * m, t)
    return jnp.where(x == m, 0.0, d + d)


def below_in_words(x, m, t):
    """(x - m) / T in two words."""
    d, error = two_sum(x, -m)
    if t is None:
        hi, lo = d, error
    else:
        hi = over(d, t)
        product, lost = two_product(hi, t.hi)
        lo = over(((d - product) - lost) + (error - hi * t.lo), t)
    return jnp.where(x == m, 0.0, hi), jnp.where((x == m) | ~jnp.isfinite(lo), 0.0, lo)


# --- the pivot --------------------------------------------------------------------------------


def pivot_of(x, axis):
    """The index of the first of the largest (of NaN, whatever index)."""
    n = x.shape[axis]
    index = lax.broadcasted_iota(jnp.int32, x.shape, axis)
    index = jnp.where(x == jnp.max(x, axis=axis, keepdims=True), index, n - 1)
    return jnp.min(index, axis=axis, keepdims=True)


def is_at(index, like, axis):
    return lax.broadcasted_iota(index.dtype, like.shape, axis) == index


def at(x, index, axis):
    return jnp.take_along_axis(x, index, axis=axis, mode="clip")


# --- the Jacobian -----------------------------------------------------------------------------


def dominant(p):
    """Where p is more than all others together."""
    return p > 0.5


def reference(p, axis):
    """The weights of what is taken out of a tangent: all at a dominant class, else p itself."""
    some = jnp.max(p, axis=axis, keepdims=True) > 0.5
    return lax.stop_gradient(jnp.where(dominant(p), 1.0, jnp.where(some, 0.0, p)))


def softmax_product(p, v, t, axis):
    """p_i (v_i - sum p v) / T. Where p is 0, so is the result, and v is not read."""
    dead, rho = p == 0.0, reference(p, axis)
    v = jnp.where(dead, 0.0, v)
    u = over(v - summed(rho * v, axis), t)
    w = p * (u - summed(p * u, axis))
    return jnp.where(dead, 0.0, w - rho * summed(w, axis))
