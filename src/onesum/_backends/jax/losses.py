# mypy: allow-untyped-defs, allow-untyped-calls
"""The cross entropy of rows, its gradient and its Hessian.

Both derivatives are those that JAX takes of the losses: the rules of `row_losses.py` are exact.
"""

from functools import partial

import jax
import jax.numpy as jnp

from . import row_losses
from .forward import logsumexp
from .functions import compiled, masked, rows_of, wide
from .numbers import exp
from .rows import at, summed


@partial(jax.jit, static_argnames=("axis", "gradient", "dtype"))
def cross_entropy(x, target, z_loss, softcap, where, temperature, by, axis, gradient, dtype):
    """The losses of the rows, in the widest type, and `by` times the gradient of their sum."""
    x = x.astype(wide(dtype, x))

    def losses_of(x):
        return _losses(x, target, z_loss, softcap, where, temperature, axis)

    if not gradient:
        return losses_of(x).astype(_widest()), None
    losses, pull = jax.vjp(losses_of, x)
    (grad,) = pull(jnp.broadcast_to(jnp.asarray(by, x.dtype), losses.shape))
    return losses.astype(_widest()), grad.astype(dtype)


@compiled
def cross_entropy_hvp(x, target, v, z_loss, softcap, where, temperature, by, axis, dtype):
    kind = wide(dtype, x, v)

    def slope(x):
        losses, pull = jax.vjp(
            lambda x: _losses(x, target, z_loss, softcap, where, temperature, axis), x
        )
        return pull(jnp.broadcast_to(jnp.asarray(by, kind), losses.shape))[0]

    return jax.jvp(slope, (x.astype(kind),), (v.astype(kind),))[1].astype(dtype)


def _widest():
    return jnp.result_type(float)


def _losses(x, target, z_loss, softcap, where, temperature, axis):
    kind = x.dtype
    if softcap is not None:
        x = _capped(masked(where, x, 0.0), softcap)
    x, t = rows_of(x, where, temperature, kind)
    s, weight = 1.0, target.weight
    if target.sample_weight is not None:
        s = jnp.expand_dims(target.sample_weight.astype(kind), axis)
    if weight is not None:
        weight = weight.astype(kind)
    counted, losses = True, 0.0
    if target.probabilities is None:
        classes = jnp.expand_dims(target.classes, axis)
        counted = classes != -1
        mass = s if target.smoothing is None else s * (1.0 - target.smoothing)
        if weight is not None:
            mass = mass * jnp.take(weight, jnp.maximum(classes, 0), mode="clip")
        losses = _of_class(x, t, classes, where, axis)
        losses = mass * jnp.where((mass == 0.0) & jnp.isinf(losses), 0.0, losses)
    if target.probabilities is not None or target.smoothing is not None:
        q = jnp.where(counted, s * _masses(x, target, weight, where, axis), 0.0)
        losses = losses + _of_masses(x, t, q, where, axis)
    losses = jnp.where(counted, losses, 0.0)
    if z_loss is not None:
        factor = jnp.where(counted, z_loss * s, 0.0)
        log_sum = jnp.where(factor == 0.0, 0.0, logsumexp(x, t, axis))
        losses = losses + factor * log_sum * log_sum
    return jnp.squeeze(losses, axis)


def _of_class(x, t, classes, where, axis):
    """-log p: infinite for a class outside."""
    value = row_losses.of_class(x, t, classes, axis)
    if where is None:
        return value
    return jnp.where(at(where, jnp.maximum(classes, 0), axis), value, jnp.inf)


def _of_masses(x, t, q, where, axis):
    value = row_losses.of_masses(x, t, q, axis)
    return value if where is None else jnp.where(_left(where, axis), value, 0.0)


def _masses(x, target, weight, where, axis):
    """What all classes have of a row's mass, before it is weighted with s."""
    q = 0.0
    if target.probabilities is not None:
        q = masked(where, target.probabilities, 0.0).astype(x.dtype)
        q = q if target.smoothing is None else q * (1.0 - target.smoothing)
    if target.smoothing is not None:
        choices = x.shape[axis] if where is None else summed(where.astype(x.dtype), axis)
        spread = jnp.broadcast_to(target.smoothing / choices, x.shape).astype(x.dtype)
        q = q + masked(where, spread, 0.0)
    if weight is not None:
        q = q * jnp.reshape(weight, (-1,) + (1,) * (x.ndim - 1 - axis))
    return q


def _left(where, axis):
    return jnp.any(where, axis=axis, keepdims=True)


# --- softcap ----------------------------------------------------------------------------------


@jax.custom_jvp
def _capped(x, c):
    """c tanh(x / c)."""
    return c * jnp.tanh(x / c)


@_capped.defjvp
def _capped_rule(primals, tangents):
    x, c = primals
    return _capped(x, c), _slope(x / c) * tangents[0]


@jax.custom_jvp
def _slope(u):
    """1 - tanh(u)^2, also where nothing is left of it beside 1."""
    e = exp(-2.0 * jnp.abs(u))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


@_slope.defjvp
def _slope_rule(primals, tangents):
    (u,) = primals
    return _slope(u), -2.0 * jnp.tanh(u) * _slope(u) * tangents[0]


def total(losses):
    return jnp.sum(losses)
