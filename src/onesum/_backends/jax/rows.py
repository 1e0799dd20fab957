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

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from . import core
from .blocks import in_blocks
from .numbers import (
    exponentials,
    log1p,
    reciprocal,
    two_product,
    two_sum,
    units_of,
)

Array = Any

FEW = 16  # classes, up to so many of which are taken one by one


class Normalizer(NamedTuple):
    m: Array  # the largest logit
    r: Array
    lost: Array  # whether the row has no answer: several are +inf, or all -inf

    @property
    def log(self):
        """log(1 + r)."""
        return jnp.where(self.lost, jnp.nan, log1p(self.r))

    @property
    def less_than_one(self):
        """p - 1 of the pivot."""
        return jnp.where(self.lost, jnp.nan, -self.r / (1.0 + self.r))


def normalizer(x, t, axis):
    m = jnp.max(x, axis=axis, keepdims=True)
    if x.shape[axis] <= FEW:
        r = _rest_of_few(x, m, t, axis)
    else:
        e = exponentials(x, m, t)
        # 1 at each maximum and less elsewhere: with the ones apart, no digit of the rest is lost.
        rest = summed(e - jnp.floor(e), axis)
        r = (jnp.round(summed(e, axis) - rest) - 1.0) + rest
    return Normalizer(m, r, _lost(m, r))


def _lost(m, r):
    return (m == -jnp.inf) | ((m == jnp.inf) & (r > 0.0))


def _rest_of_few(x, m, t, axis):
    """r, class by class, which XLA makes one loop of: the sums of short rows cost it more."""
    terms, before = [], jnp.zeros(m.shape, bool)
    for i in range(x.shape[axis]):
        one = lax.slice_in_dim(x, i, i + 1, axis=axis)
        pivot = (one == m) & ~before
        terms.append(jnp.where(pivot, 0.0, exponentials(one, m, t)))
        before = before | pivot
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0]


def probabilities(x, t, axis):
    m = jnp.max(x, axis=axis, keepdims=True)
    e = exponentials(x, m, t)
    total = summed(e, axis)
    return divided(e, total, jnp.where(_lost(m, total - 1.0), jnp.nan, 1.0))


def divided(a, total, factor=1.0):
    """a over a sum of exponentials."""
    hi, lo = reciprocal(total)
    return a * (hi * factor) + a * lo


def summed(a, axis):
    return jnp.sum(a, axis=axis, keepdims=True)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def summed_in_words(a, axis):
    """The sum of terms that may cancel, its rounding errors added up beside it."""
    zero = jnp.zeros((), a.dtype)
    hi, lo = lax.reduce((a, jnp.zeros_like(a)), (zero, zero), _add_words, (axis % a.ndim,))
    return jnp.expand_dims(jnp.where(jnp.isfinite(lo), hi + lo, hi), axis)


@summed_in_words.defjvp
def _summed_in_words_rule(axis, primals, tangents):
    (a,), (da,) = primals, tangents
    return summed_in_words(a, axis), summed(da, axis)


def _add_words(a, b):
    hi, error = two_sum(a[0], b[0])
    return hi, (a[1] + b[1]) + error


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
    same = jnp.isinf(m) & (x == m)
    return jnp.where(same, 0.0, hi), jnp.where(same | ~jnp.isfinite(lo), 0.0, lo)


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


def pivot_weights(p, axis):
    """The weights of what is taken out of a tangent: all at a dominant class, else p itself."""
    some = jnp.max(p, axis=axis, keepdims=True) > 0.5
    return lax.stop_gradient(jnp.where(dominant(p), 1.0, jnp.where(some, 0.0, p)))


def product(p, v, t, axis):
    """p_i (w_i - S) / T, with w = v - v_pivot and S = sum p w.

    Where p is 0, so is the result, and v is not read; but NaN in p makes all of its row NaN.
    """
    dead = p == 0.0
    w = over(jnp.where(dead, 0.0, v - at(v, pivot_of(p, axis), axis)), t)
    result = p * (w - summed(p * w, axis))
    return jnp.where(dead & ~jnp.isnan(summed(p, axis)), 0.0, result)


def softmax_product(p, v, t, axis):
    """The same of p = softmax(x / T), as a linear operation of v, which is its own transposed.

    JAX knows one linear operation that may be told its transposed: the solution of linear
    equations. The Jacobian J solves c = v but for a constant, with c_i = T y_i / p_i: for
    J c is y where y sums to 0. So what JAX derives of it by p and T is right as well.
    """

    def solve(_, v):
        return core.either("softmax_vjp", formula, (p, v), t, axis)

    def formula(p, v, t):
        return in_blocks(product, axis, p, v, t)

    return lax.custom_linear_solve(lambda y: _quotient(y, p, t), v, solve, symmetric=True)


@jax.custom_jvp
def _quotient(y, p, t):
    """T y / p; 0 where p is 0."""
    c = jnp.where(p == 0.0, 0.0, y / p)
    return c if t is None else c * t.hi


@_quotient.defjvp
def _quotient_rule(primals, tangents):
    (y, p, t), (dy, dp, dt) = primals, tangents
    c, change = _quotient(y, p, t), jnp.where(p == 0.0, 0.0, -dp / p)
    if t is not None:
        change = change + over(dt.hi + dt.lo, t)
    return c, _quotient(dy, p, t) + c * change
