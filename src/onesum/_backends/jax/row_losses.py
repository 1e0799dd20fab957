# mypy: allow-untyped-defs, allow-untyped-calls, disable-error-code=call-arg
"""-log p of one class of each row, or of its classes by their masses, with derivatives.

The gradient by x / T is Q p - q, with the target masses q and their sum Q. At a dominant class,
where p may be 1 to the last bit, it is what q sums to in the others less Q (1 - p), and 1 - p is
r / (1 + r). Both gradients are functions with a rule of their own, so that the Hessian is as exact.
"""

from functools import partial

import jax
import jax.numpy as jnp

from . import core
from .blocks import in_blocks
from .forward import change, is_zero, log_softmax, softmax
from .rows import (
    at,
    below,
    dominant,
    is_at,
    normalizer,
    over,
    probabilities,
    softmax_product,
    summed,
)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def of_class(x, t, classes, axis):
    """-log p of a class of each row, with size 1 along the axis; 0 for the class -1."""
    formula = partial(_of_class_formula, axis=axis)
    return core.either("cross_entropy", formula, (x, classes), t, axis, row=True)


def _of_class_formula(x, classes, t, axis):
    def of_rows(x, t, chosen, axis):
        z = normalizer(x, t, axis)
        return z.log - below(chosen, z.m, t)

    outside = (classes < 0) | (classes >= x.shape[axis])  # under jit nobody has looked
    value = in_blocks(of_rows, axis, x, t, at(x, classes, axis))
    return jnp.where(classes == -1, 0.0, jnp.where(outside, jnp.nan, value))


@partial(of_class.defjvp, symbolic_zeros=True)
def _of_class_rule(axis, primals, tangents):
    x, t, _ = primals
    v, _ = change(x, t, *tangents[:2], axis)
    value, excess = _with_excess(*primals, axis)
    return value, over(_along(excess, v, axis), t)


def _along(excess, v, axis):
    """Where nothing is left v is not read."""
    return summed(jnp.where(excess == 0.0, 0.0, excess * v), axis)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _with_excess(x, t, classes, axis):
    """The same, and p - q of q that is all at one class."""

    def formula(x, classes, t):
        excess = _excess_formula(x, classes, None, t, axis)
        return _of_class_formula(x, classes, t, axis), excess

    if t is None:  # the core has both at a time
        name, rows = "cross_entropy_and_gradient", (True, False)
        return core.either(name, formula, (x, classes), t, axis, row=rows)
    formula, weight = partial(_excess_formula, axis=axis), jnp.ones_like(classes, x.dtype)
    excess = core.either("cross_entropy_gradient", formula, (x, classes, weight), t, axis)
    return of_class(x, t, classes, axis), excess


def _excess_formula(x, classes, weight, t, axis):
    def of_rows(x, t, classes, axis):
        z, p = normalizer(x, t, axis), probabilities(x, t, axis)
        there = jnp.where(x == z.m, z.less_than_one, p - 1.0)
        excess = jnp.where(is_at(classes, x, axis), there, p)
        return jnp.where((classes == -1) | (x == -jnp.inf), 0.0, excess)

    return in_blocks(of_rows, axis, x, t, classes)


@partial(_with_excess.defjvp, symbolic_zeros=True)
def _with_excess_rule(axis, primals, tangents):
    x, t, classes = primals
    v, _ = change(x, t, *tangents[:2], axis)
    value, excess = _with_excess(*primals, axis)
    p = jnp.where(classes == -1, 0.0, softmax(x, t, axis))
    return (value, excess), (over(_along(excess, v, axis), t), softmax_product(p, v, t, axis))


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def of_masses(x, t, q, axis):
    """The sum of -q log p, with size 1 along the axis; q = 0 counts as nothing."""

    def of_rows(x, t, q, axis):
        z = normalizer(x, t, axis)
        away = summed(jnp.where(q == 0.0, 0.0, -q * below(x, z.m, t)), axis)
        return summed(q, axis) * z.log + away

    return in_blocks(of_rows, axis, x, t, q)


@partial(of_masses.defjvp, symbolic_zeros=True)
def _of_masses_rule(axis, primals, tangents):
    x, t, q = primals
    dead = x == -jnp.inf
    v, _ = change(x, t, *tangents[:2], axis)
    result = summed(jnp.where(dead, 0.0, _excess_of_masses(x, t, q, axis) * v), axis)
    result = over(result, t)
    if not is_zero(tangents[2]):
        logp = log_softmax(x, t, axis)
        result = result - summed(jnp.where(dead, 0.0, logp) * tangents[2], axis)
    return of_masses(*primals, axis), result


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _excess_of_masses(x, t, q, axis):
    """Q p - q."""

    def of_rows(x, t, q, axis):
        z, p = normalizer(x, t, axis), probabilities(x, t, axis)
        there, total = dominant(p), summed(q, axis)
        others = summed(jnp.where(there, 0.0, q), axis)
        excess = jnp.where(there, others + total * z.less_than_one, total * p - q)
        return jnp.where(x == -jnp.inf, 0.0, excess)

    return in_blocks(of_rows, axis, x, t, q)


@partial(_excess_of_masses.defjvp, symbolic_zeros=True)
def _excess_of_masses_rule(axis, primals, tangents):
    x, t, q = primals
    v, _ = change(x, t, *tangents[:2], axis)
    p = softmax(x, t, axis)
    result = summed(q, axis) * softmax_product(p, v, t, axis)
    if not is_zero(tangents[2]):
        result = result + summed(tangents[2], axis) * p - tangents[2]
    return _excess_of_masses(*primals, axis), jnp.where(x == -jnp.inf, 0.0, result)
