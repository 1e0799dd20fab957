# mypy: allow-untyped-defs, allow-untyped-calls
"""The losses, in the words of the package.

With the target masses q of a row (`Target`), their sum Q, and the normalizer (m, r):

    loss      Q log1p(r) + sum q (m - x) / T + z s (log sum)^2: no term is negative
    gradient  (a p - q) / T, with a = Q + 2 z s (log sum)
    Hessian   (a (diag(p) - p p^T) + 2 z s p p^T) / T^2

At the pivot, where p may be 1 to the last bit, Q p - q is (Q - q) - Q (1 - p), with Q - q and
Q (1 - p) as sums over the other classes. Where x is -inf, or masked, the gradient is 0. Since p may
be next to nothing, all that it is multiplied with is put together before.

With a softcap c, x stands for the capped logits, c tanh(x / c), and derivatives are multiplied by
the slope of the cap, 1 / cosh(x / c)^2.
"""

from ..._library import device, finish, quiet, select, widen
from . import words
from .normalizer import (
    at_pivot,
    either,
    exact,
    exponents,
    fill,
    log1p,
    normalizer_of,
    over,
    quotient,
    rest_of,
    sum_of_others,
    temperature_array,
)


@quiet
def cross_entropy(x, target, axis, z_loss, softcap, where, temperature, by, gradient, dtype, out):
    """The losses of the rows, in the widest type, and `by` times the gradient of their sum."""
    xp, x = widen(x)
    x, slope = capped(xp, x, softcap)
    d, p, pivot, log, m = row_of(xp, x, axis, where, temperature)
    q, counted, s = masses(xp, x, target, axis, where)
    q_others = sum_of_others(xp, q, pivot, axis)
    q_there = at_pivot(xp, pivot, q[0], axis), at_pivot(xp, pivot, q[1], axis)
    q_all = words.add(q_others, q_there)
    z, z_slope = z_terms(xp, log, m, z_loss, s, temperature)

    losses = words.dot(xp, q, away(xp, d, q[0]), axis)
    losses = words.add(losses, words.times(xp, log, q_all))
    losses = words.rounded(xp, words.add(losses, z))
    losses = xp.squeeze(select(xp, counted, losses, 0.0), axis=axis)
    if not gradient:
        return losses, None

    grad = _gradient(xp, p, pivot, axis, q, q_others, q_all, z_slope, by, temperature)
    dead = dead_of(xp, x, where, counted, slope)
    return losses, finish(xp, select(xp, dead, 0.0, sloped(xp, grad, slope)), dtype, out)


@quiet
def cross_entropy_hvp(x, target, v, axis, z_loss, softcap, where, temperature, by, dtype, out):
    """p (a (w - S) + b (p.v)) / T^2, with w = v - v_pivot, S = sum p w, p.v = S + v_pivot.

    a is Q + b (log sum), and b is 2 z s. With a softcap v is multiplied by its slope, as is what
    comes out, less 2 v x / c^2 times the gradient.
    """
    xp, x, v = widen(x, v)
    x, slope = capped(xp, x, softcap)
    _, p, pivot, log, m = row_of(xp, x, axis, where, temperature)
    q, counted, s = masses(xp, x, target, axis, where)
    _, z_slope = z_terms(xp, log, m, z_loss, s, temperature)
    q_all = words.total(xp, q, axis)
    a = words.add(q_all, z_slope)
    a, b = (scaled(xp, c, by, temperature) for c in (a, exact(xp, 2.0 * z_loss * s)))

    dead = dead_of(xp, x, where, counted, slope)
    still = dead_of(xp, x, where, counted, None) | (p[0][0] == 0.0)
    u = exact(xp, v)
    if softcap is not None:
        u = either(xp, still | (slope[0] == 0.0), (0.0, 0.0), words.multiply(xp, slope, u))
    u_pivot = tuple(at_pivot(xp, pivot, part, axis) for part in u)
    w = either(xp, still, (0.0, 0.0), words.add(u, words.negative(u_pivot)))
    w, u_pivot = (over(xp, c, temperature) for c in (w, u_pivot))
    a_w = finite_times(xp, a, w)
    mean = words.total(xp, words.times(xp, p, a_w), axis)
    result = words.add(a_w, words.negative(mean))
    if z_loss:
        mean = words.total(xp, words.times(xp, p, finite_times(xp, b, w)), axis)
        mean = words.add(mean, finite_times(xp, b, u_pivot))
        result = words.add(result, mean)
    result = either(xp, still, (0.0, 0.0), words.times(xp, p, result))
    if softcap is not None:
        q_others = sum_of_others(xp, q, pivot, axis)
        grad = _gradient(xp, p, pivot, axis, q, q_others, q_all, z_slope, by, temperature)
        bent = words.multiply(xp, grad, exact(xp, -2.0 / softcap * (x / softcap) * v))
        result = words.add(result, either(xp, grad[0] == 0.0, (0.0, 0.0), bent))
    return finish(xp, select(xp, dead, 0.0, sloped(xp, result, slope)), dtype, out)


@quiet
def entropy(x, axis, where, temperature, dtype):
    """log1p(r) + sum p (m - x) / T: no term is negative. Drops the axis."""
    xp, x = widen(x)
    d, p, _, log, _ = row_of(xp, x, axis, where, temperature)
    mean = words.total(xp, words.times(xp, p, away(xp, d, p[0][0])), axis)
    value = words.rounded(xp, words.add(words.plain(log), mean))
    return finish(xp, xp.squeeze(value, axis=axis), dtype, None)


# --- the parts that they share ---------------------------------------------------------------


@quiet
def total(losses):
    """The sum of all numbers of an array of the widest type, as good as in twice its digits."""
    xp, losses = widen(losses)
    losses = exact(xp, xp.reshape(losses, (-1,)))
    return xp.squeeze(words.rounded(xp, words.total(xp, losses, 0)), axis=0)


def row_of(xp, x, axis, where, temperature):
    """(x - m) / T, p, the pivot, log1p(r) and m; p and the logarithm scaled."""
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    if where is not None:  # of a row with nothing left, every log p is -inf
        left = xp.any(where, axis=axis, keepdims=True)
        d = either(xp, left, d, (-xp.inf, 0.0))
    e = words.scaled_exp(xp, d)
    r = rest_of(xp, e, pivot, axis)
    return d, quotient(xp, e, normalizer_of(r)), pivot, log1p(xp, r), m


def capped(xp, x, softcap):
    """c tanh(x / c) and its derivative, in two words; without a softcap x and None."""
    if softcap is None:
        return x, None
    c = xp.full_like(x, softcap)
    u, rest = words.divide(xp, exact(xp, x), exact(xp, c))
    rest = words.finite(xp, rest)
    tanh, cosh = xp.tanh(u), xp.cosh(u)
    slope, error = words.divide(xp, exact(xp, xp.ones_like(x)), words.two_product(xp, cosh, cosh))
    slope = slope, words.finite(xp, error) - 2.0 * slope * tanh * rest
    # What is next to nothing is left as it is.
    return xp.where(xp.abs(u) < 2.0**-28, x, c * tanh), slope


def sloped(xp, a, slope):
    """A derivative by the capped logits as one by the logits."""
    return words.rounded(xp, a if slope is None else words.multiply(xp, a, slope))


def _gradient(xp, p, pivot, axis, q, q_others, q_all, z_slope, by, temperature):
    """`by` times the gradient of the losses by the capped logits, in two words."""
    q, q_others, q_all, z_slope = (
        scaled(xp, a, by, temperature) for a in (q, q_others, q_all, z_slope)
    )
    # Beside a logit of +inf the factor of z_loss is infinite, and p is 0: their limit is 0.
    p_all, p_z = (
        either(xp, p[0][0] == 0.0, (0.0, 0.0), words.times(xp, p, a)) for a in (q_all, z_slope)
    )
    result = words.add(words.add(p_all, p_z), words.negative(q))
    there = words.add(q_others, words.negative(sum_of_others(xp, p_all, pivot, axis)))
    return either(xp, pivot, words.add(there, p_z), result)


def dead_of(xp, x, where, counted, slope):
    """Where no derivative is anything but 0."""
    dead = ~counted | (fill(xp, where, x, -xp.inf) == -xp.inf)
    return dead if slope is None else dead | (slope[0] == 0.0)


def away(xp, d, weight):
    """(m - x) / T, or 0 where its weight is 0, for the product of 0 and infinity is to be 0."""
    return either(xp, weight == 0.0, (0.0, 0.0), words.negative(d))


def finite_times(xp, a, w):
    """a w, which is 0 where w is, though a is infinite, as beside a logit of +inf."""
    zero = (w[0] == 0.0) & ~xp.isnan(a[0])
    return either(xp, zero, (0.0, 0.0), words.multiply(xp, a, w))


def masses(xp, x, target, axis, where, choices=None):
    """The target masses q in two words, which rows count, and the weights s of the rows.

    The number of `choices` of a row is known beforehand where x has but some of the classes.
    """
    along = (-1,) + (1,) * (x.ndim - 1 - axis)
    one = xp.ones((1,) * x.ndim, dtype=x.dtype, device=device(x))
    if target.probabilities is None:
        y = xp.expand_dims(target.classes, axis=axis)
        classes = xp.arange(x.shape[axis], dtype=y.dtype, device=device(x))
        q = xp.astype(xp.reshape(classes, along) == y, x.dtype)
        counted = y >= 0
    else:
        q = fill(xp, where, widen(target.probabilities)[1], 0.0)
        counted = one == one
    q, s = exact(xp, q), one
    if target.smoothing:
        if choices is None:
            choices = xp.broadcast_to(one, x.shape)
            choices = xp.sum(fill(xp, where, choices, 0.0), axis=axis, keepdims=True)
        spread = words.divide(xp, exact(xp, target.smoothing * one), exact(xp, choices * one))
        q = words.multiply(xp, q, words.two_sum(one, -target.smoothing * one))
        q = words.add(q, spread if where is None else either(xp, where, spread, (0.0, 0.0)))
    if target.weight is not None:
        q = words.multiply(xp, q, exact(xp, xp.reshape(target.weight, along)))
    if target.sample_weight is not None:
        s = xp.expand_dims(xp.astype(target.sample_weight, x.dtype, copy=False), axis=axis)
        q = words.multiply(xp, q, exact(xp, s))
    q = either(xp, counted, q, (0.0, 0.0))
    return q, counted, select(xp, counted, s, 0.0)


def z_terms(xp, log, m, z_loss, s, temperature):
    """z s (log sum)^2 and, of its derivative, what multiplies p: 2 z s (log sum)."""
    if not z_loss:
        return exact(xp, 0.0 * s), exact(xp, 0.0 * s)
    log_sum = words.add(over(xp, exact(xp, m), temperature), words.plain(log))
    # Where its terms cancel, the second word may be the longer.
    log_sum = words.two_sum(log_sum[0], words.finite(xp, log_sum[1]))
    log_sum = either(xp, xp.isinf(m), exact(xp, m), log_sum)
    slope = words.multiply(xp, exact(xp, z_loss * s), log_sum)
    value = words.multiply(xp, slope, log_sum)
    silent = s == 0.0
    value, slope = (either(xp, silent, (0.0, 0.0), a) for a in (value, slope))
    return value, (2.0 * slope[0], 2.0 * slope[1])


def scaled(xp, a, by, temperature):
    """`by` times a / T, in two words."""
    if not (isinstance(by, float) and by == 1.0):
        a = words.multiply(xp, a, exact(xp, by * xp.ones_like(a[0])))
    t = temperature_array(xp, temperature, a[0])
    return a if t is None else words.divide(xp, a, (t, 0.0))
