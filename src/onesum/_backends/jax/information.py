# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code=call-arg
"""The entropy of rows of logits, and the divergence of two.

KL is sum p log(p / q). With u = (y - x) / T, less what that is at the pivot, and w = u - sum p u,
the ratio q / p is exp(w - KL), and exp(KL) is 1 plus the sum of p (exp(w) - 1 - w): no term is
negative, however near p and q are. Where w is above 4, q stands for p exp(w - KL). The gradients by
x / T and y / T are -p w and q - p, and that is p (exp(w - KL) - 1).
"""

from functools import partial

import jax
import jax.numpy as jnp

from .blocks import in_blocks
from .forward import change, distance, log_softmax, softmax
from .functions import compiled, rows_of, wide
from .numbers import log1p, two_sum
from .rows import (
    at,
    below,
    normalizer,
    over,
    pivot_of,
    probabilities,
    softmax_product,
    summed,
)


@compiled
def entropy(x, where, temperature, axis, dtype):
    x, t = rows_of(x, where, temperature, dtype)
    value = _left(_entropy(x, t, axis), where, axis)
    return jnp.squeeze(value, axis).astype(dtype)


@partial(jax.jit, static_argnames=("axis", "gradient", "dtype"))
def kl_divergence(x, y, where, temperature, by, axis, gradient, dtype):
    """The values, of the widest type, and `by` times the gradients of their sum by x and y."""
    kind, widest = wide(dtype, x, y), jnp.result_type(float)

    def values_of(x, y):
        x, t = rows_of(x, where, temperature, kind)
        y, _ = rows_of(y, where, temperature, kind)
        return jnp.squeeze(_left(_divergence(x, y, t, axis), where, axis), axis)

    if not gradient:
        return values_of(x, y).astype(widest), None
    values, pull = jax.vjp(values_of, x.astype(kind), y.astype(kind))
    grads = pull(jnp.broadcast_to(jnp.asarray(by, kind), values.shape))
    return values.astype(widest), tuple(grad.astype(dtype) for grad in grads)


def _left(value, where, axis):
    """0 where nothing is left of a row."""
    if where is None:
        return value
    return jnp.where(jnp.any(where, axis=axis, keepdims=True), value, 0.0)


# --- entropy ----------------------------------------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _entropy(x, t, axis):
    """log(1 + r) + sum p (m - x) / T: no term is negative."""

    def of_rows(x, t, axis):
        z, p = normalizer(x, t, axis), probabilities(x, t, axis)
        return z.log + summed(jnp.where(p == 0.0, 0.0, -p * below(x, z.m, t)), axis)

    return in_blocks(of_rows, axis, x, t)


@partial(_entropy.defjvp, symbolic_zeros=True)
def _entropy_rule(axis, primals, tangents):
    """-p (d - sum p d), with d = (x - m) / T."""
    x, t = primals
    v, _ = change(*primals, *tangents, axis)
    p, d = softmax(x, t, axis), distance(x, t, axis)
    slope = -p * (d - summed(p * d, axis))
    result = summed(jnp.where(p == 0.0, 0.0, slope * v), axis)
    return _entropy(*primals, axis), over(result, t)


# --- divergence -------------------------------------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _divergence(x, y, t, axis):
    p, q = softmax(x, t, axis), softmax(y, t, axis)
    live = p != 0.0
    ratio = jnp.where(live, log_softmax(x, t, axis) - log_softmax(y, t, axis), 0.0)
    far = summed(p * ratio, axis)
    w, usable = _ratio(x, y, t, p, axis)
    apart = ~usable | (w > 4.0)
    line = jnp.where(apart, -1.0 - w, _exp_less_line(jnp.where(apart, 0.0, w)))
    q_apart = jnp.where(apart, q, 0.0)
    near = summed(q_apart + p * line, axis) / (1.0 - summed(q_apart, axis))
    small = (far < 0.5) & jnp.all(usable | ~live, axis=axis, keepdims=True)
    return jnp.where(small, log1p(jnp.maximum(near, 0.0)), far)


def _ratio(x, y, t, p, axis):
    """w, and where there is one."""
    pivot = pivot_of(x, axis)
    (a, a_lo), (b, b_lo) = two_sum(y, -at(y, pivot, axis)), two_sum(x, -at(x, pivot, axis))
    hi, lo = two_sum(a, -b)
    u = over(hi + (lo + (a_lo - b_lo)), t)
    usable = (p != 0.0) & jnp.isfinite(u)
    u = jnp.where(usable, u, 0.0)
    return u - summed(p * u, axis), usable


def _exp_less_line(w):
    """exp(w) - 1 - w."""
    near = jnp.abs(w) < 1.0
    small, series = jnp.where(near, w, 0.0), jnp.zeros_like(w)
    for k in range(20, 1, -1):
        series = (series * small + 1.0) / k  # to 1 / 2! + w / 3! + ...
    h, error = two_sum(jnp.expm1(w), -w)
    return jnp.where(near, series * small * small, h + error)


@partial(_divergence.defjvp, symbolic_zeros=True)
def _divergence_rule(axis, primals, tangents):
    x, y, t = primals
    value = _divergence(*primals, axis)
    p = softmax(x, t, axis)
    w, usable = _ratio(x, y, t, p, axis)
    slope = jnp.where(usable, -p * w, 0.0) + jnp.where(jnp.isfinite(value), 0.0, jnp.nan)
    v, _ = change(x, t, tangents[0], tangents[2], axis)
    result = summed(jnp.where((x == -jnp.inf), 0.0, slope * v), axis)
    v, _ = change(y, t, tangents[1], tangents[2], axis)
    difference = _difference(x, y, t, axis)
    result = result + summed(jnp.where(y == -jnp.inf, 0.0, difference * v), axis)
    return value, over(result, t)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _difference(x, y, t, axis):
    """q - p."""
    p, q = softmax(x, t, axis), softmax(y, t, axis)
    value = _divergence(x, y, t, axis)
    w, usable = _ratio(x, y, t, p, axis)
    small = usable & (jnp.abs(w) + value < 1.0)
    z = jnp.where(small, w - value, 0.0)
    return jnp.where(small, p * (z + _exp_less_line(z)), q - p)


@partial(_difference.defjvp, symbolic_zeros=True)
def _difference_rule(axis, primals, tangents):
    x, y, t = primals
    v_x, _ = change(x, t, tangents[0], tangents[2], axis)
    v_y, _ = change(y, t, tangents[1], tangents[2], axis)
    by_y = softmax_product(softmax(y, t, axis), v_y, t, axis)
    by_x = softmax_product(softmax(x, t, axis), v_x, t, axis)
    return _difference(*primals, axis), by_y - by_x
