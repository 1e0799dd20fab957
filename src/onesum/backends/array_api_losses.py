# mypy: allow-untyped-defs, allow-untyped-calls
"""The definition of the losses, in plain array formulas: continues `array_api.py`.

With the target masses q (`_target.py`), their sum Q, and the normalizer (m, r) of a row:

    loss      Q log1p(r) + sum q (m - x) / T + z s (log sum)^2: no term is negative
    gradient  (a p - q) / T, with a = Q + 2 z s (log sum)
    Hessian   (a (diag(p) - p p^T) + 2 z s p p^T) / T^2

At the pivot, where p may be 1 to the last bit, Q p - q is (Q - q) - Q (1 - p), with Q - q and 1 - p
as sums over the other classes. Where x is -inf, or masked, the gradient is 0.
"""

from . import _words as words
from ._library import device, finish, quiet, widen
from ._normalizer import (
    at_pivot,
    exact,
    exponents,
    fill,
    normalizer_of,
    over,
    scaled_difference,
    sum_of_others,
    temperature_array,
)


@quiet
def cross_entropy(x, target, axis, z_loss, where, temperature, by, gradient, dtype, out):
    """The losses of the rows, in the widest type, and `by` times the gradient of their sum."""
    xp, x = widen(x)
    d, e, pivot, log, m = _row(xp, x, axis, where, temperature)
    q, counted, s = _masses(xp, x, target, axis, where)
    q_others = sum_of_others(xp, q, pivot, axis)
    q_there = at_pivot(xp, pivot, q[0], axis), at_pivot(xp, pivot, q[1], axis)
    q_all = words.add(q_others, q_there)
    z, z_slope = _z_loss(xp, log, m, z_loss, s, temperature)

    away = xp.where(q[0] == 0.0, 0.0, -d[0]), xp.where(q[0] == 0.0, 0.0, -d[1])
    losses = words.dot(xp, q, away, axis)
    losses = words.add(losses, words.multiply(xp, q_all, log))
    losses = words.rounded(xp, words.add(losses, z))
    losses = xp.squeeze(xp.where(counted, losses, 0.0), axis=axis)
    if not gradient:
        return losses, None

    r = sum_of_others(xp, e, pivot, axis)
    normalizer = words.add(r, (1.0, 0.0))
    # What rounding takes from a tiny p would underflow: all is 2^32 times as large.
    p = words.divide(xp, (e[0] * 2.0**32, e[1] * 2.0**32), normalizer)
    # Beside a logit of +inf the factor of z_loss is infinite, and p is 0: their limit is 0.
    shift = words.multiply(xp, words.add(q_all, z_slope), p)
    shift = xp.where(p[0] == 0.0, 0.0, shift[0]), xp.where(p[0] == 0.0, 0.0, shift[1])
    result = words.add(shift, (-q[0] * 2.0**32, -q[1] * 2.0**32))
    complement = words.divide(xp, (r[0] * 2.0**32, r[1] * 2.0**32), normalizer)
    there = (q_others[0] * 2.0**32, q_others[1] * 2.0**32)
    there = words.add(there, words.negative(words.multiply(xp, q_all, complement)))
    there = words.add(there, words.multiply(xp, z_slope, p))
    result = xp.where(pivot, there[0], result[0]), xp.where(pivot, there[1], result[1])
    result = words.rounded(xp, _scaled(xp, result, by, temperature)) * 2.0**-32
    dead = ~counted | (fill(xp, where, x, -xp.inf) == -xp.inf)
    return losses, finish(xp, xp.where(dead, 0.0, result), dtype, out)


@quiet
def cross_entropy_hvp(x, target, v, axis, z_loss, where, temperature, by, dtype, out):
    """p (a (w - S) + 2 z s (p.v)) / T^2, with w = v - v_pivot, S = sum p w, p.v = S + v_pivot."""
    xp, x, v = widen(x, v)
    _, e, pivot, log, m = _row(xp, x, axis, where, temperature)
    q, counted, s = _masses(xp, x, target, axis, where)
    _, z_slope = _z_loss(xp, log, m, z_loss, s, temperature)
    a = words.add(words.total(xp, q, axis), z_slope)

    normalizer = normalizer_of(xp, e, pivot, axis)
    p = words.divide(xp, (e[0] * 2.0**32, e[1] * 2.0**32), normalizer)
    dead = ~counted | (fill(xp, where, x, -xp.inf) == -xp.inf)
    v = xp.where(dead | (p[0] == 0.0), 0.0, v)
    v_pivot = at_pivot(xp, pivot, v, axis)
    w = words.two_sum(v, -v_pivot)
    mean = words.dot(xp, p, w, axis)
    mean = mean[0] * 2.0**-32, mean[1] * 2.0**-32
    centred = words.add(w, words.negative(mean))
    result = words.multiply(xp, a, centred)  # 0, though a is infinite beside a logit of +inf
    result = xp.where(centred[0] == 0.0, 0.0, result[0]), result[1]
    if z_loss:
        mean = words.add(mean, (v_pivot, 0.0))
        result = words.add(result, words.multiply(xp, exact(xp, 2.0 * z_loss * s), mean))
    result = _scaled(xp, words.multiply(xp, p, result), by, temperature)
    result = words.rounded(xp, _scaled(xp, result, 1.0, temperature)) * 2.0**-32
    return finish(xp, xp.where(dead | (p[0] == 0.0), 0.0, result), dtype, out)


@quiet
def entropy(x, axis, where, temperature, dtype):
    """log1p(r) + sum e (m - x) / T / (1 + r): no term is negative. Drops the axis."""
    xp, x = widen(x)
    d, e, pivot, log = _row(xp, x, axis, where, temperature)[:4]
    away = xp.where(e[0] == 0.0, 0.0, -d[0]), xp.where(e[0] == 0.0, 0.0, -d[1])
    mean = words.divide(xp, words.dot(xp, e, away, axis), normalizer_of(xp, e, pivot, axis))
    value = words.rounded(xp, words.add(log, mean))
    return finish(xp, xp.squeeze(value, axis=axis), dtype, None)


@quiet
def kl_divergence(x, y, axis, where, temperature, by, gradient, dtype):
    """sum p log(p / q) of p = softmax(x / T) and q = softmax(y / T), and the gradients by x and y.

    With u = (y - x) / T and w = u - sum p u, the ratio q / p is exp(w - KL), and exp(KL) is 1 plus
    the sum of p (exp(w) - 1 - w): no term is negative, however near p and q are. A class of w
    above 4, where p may be 0, has q exp(KL) for p exp(w); the exp(KL) of these are brought to the
    other side. Where KL is not small, log p - log q is averaged. The gradients are -p w / T, and
    (q - p) / T = p (exp(w - KL) - 1) / T.
    The values are of the widest type, without the axis; the gradients are multiplied by `by`.
    """
    xp, x, y = widen(x, y)
    d, e, pivot, log = _row(xp, x, axis, where, temperature)[:4]
    d_y, e_y, pivot_y, log_y = _row(xp, y, axis, where, temperature)[:4]
    p = words.divide(xp, e, normalizer_of(xp, e, pivot, axis))
    q = words.divide(xp, e_y, normalizer_of(xp, e_y, pivot_y, axis))
    live = p[0] != 0.0  # NaN is

    log_p = words.rounded(xp, words.add(d, words.negative(log)))
    log_q = words.rounded(xp, words.add(d_y, words.negative(log_y)))
    ratio = xp.where(live, log_p - log_q, 0.0)
    far = words.rounded(xp, words.dot(xp, p, exact(xp, ratio), axis))

    u = scaled_difference(xp, y, x, ~live, temperature)
    u = words.add(u, (-at_pivot(xp, pivot, u[0], axis), -at_pivot(xp, pivot, u[1], axis)))
    usable = live & xp.isfinite(u[0])
    u = xp.where(usable, u[0], 0.0), xp.where(usable, u[1], 0.0)
    w = words.rounded(xp, words.add(u, words.negative(words.dot(xp, p, u, axis))))
    apart = ~usable | (w > 4.0)
    line = xp.where(apart, -1.0 - w, _exp_less_line(xp, xp.where(apart, 0.0, w)))
    q_apart = xp.where(apart, q[0], 0.0), xp.where(apart, q[1], 0.0)
    near = words.total(xp, words.add(q_apart, words.multiply(xp, p, exact(xp, line))), axis)
    rest = words.add((1.0, 0.0), words.negative(words.total(xp, q_apart, axis)))
    near = words.log1p(xp, words.divide(xp, near, rest))
    small = (far < 0.5) & xp.all(usable | ~live, axis=axis, keepdims=True)
    value = xp.where(small, words.rounded(xp, near), far)
    values = xp.squeeze(value, axis=axis)
    if not gradient:
        return values, None

    dx = words.negative(words.multiply(xp, p, exact(xp, w)))
    dx = words.rounded(xp, _scaled(xp, dx, by, temperature))
    dx = xp.where(xp.isfinite(far), xp.where(live, dx, 0.0), xp.nan)
    by_ratio = words.multiply(xp, p, exact(xp, xp.expm1(w - value)))
    dy = words.add(q, words.negative(p))
    small = usable & (xp.abs(w) + value < 1.0)
    dy = xp.where(small, by_ratio[0], dy[0]), xp.where(small, by_ratio[1], dy[1])
    dy = words.rounded(xp, _scaled(xp, dy, by, temperature))
    dx = xp.where(fill(xp, where, x, -xp.inf) == -xp.inf, 0.0, dx)
    dy = xp.where(fill(xp, where, y, -xp.inf) == -xp.inf, 0.0, dy)
    return values, (finish(xp, dx, dtype, None), finish(xp, dy, dtype, None))


# --- the parts that they share ---------------------------------------------------------------


def _row(xp, x, axis, where, temperature):
    """(x - m) / T, its exponential, the pivot, log1p(r) and m: all but the pivot in two words."""
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    if where is not None:  # of a row with nothing left, every log p is -inf
        left = xp.any(where, axis=axis, keepdims=True)
        d = xp.where(left, d[0], -xp.inf), xp.where(left, d[1], 0.0)
    e = words.exp(xp, d)
    return d, e, pivot, words.log1p(xp, sum_of_others(xp, e, pivot, axis)), m


def _masses(xp, x, target, axis, where):
    """The target masses q in two words, which rows count, and the weights s of the rows."""
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
        choices = xp.broadcast_to(one, x.shape)
        choices = xp.sum(fill(xp, where, choices, 0.0), axis=axis, keepdims=True)
        spread = words.divide(xp, exact(xp, target.smoothing * one), exact(xp, choices))
        q = words.multiply(xp, q, words.two_sum(one, -target.smoothing * one))
        q = words.add(q, (fill(xp, where, spread[0], 0.0), fill(xp, where, spread[1], 0.0)))
    if target.weight is not None:
        q = words.multiply(xp, q, exact(xp, xp.reshape(target.weight, along)))
    if target.sample_weight is not None:
        s = xp.expand_dims(xp.astype(target.sample_weight, x.dtype, copy=False), axis=axis)
        q = words.multiply(xp, q, exact(xp, s))
    q = xp.where(counted, q[0], 0.0), xp.where(counted, q[1], 0.0)
    return q, counted, xp.where(counted, s, 0.0)


def _z_loss(xp, log, m, z_loss, s, temperature):
    """z s (log sum)^2 and, of its derivative, what multiplies p: 2 z s (log sum)."""
    if not z_loss:
        return exact(xp, 0.0 * s), exact(xp, 0.0 * s)
    log_sum = words.add(over(xp, m, temperature), log)
    log_sum = xp.where(xp.isinf(m), m, log_sum[0]), xp.where(xp.isinf(m), 0.0, log_sum[1])
    zs = exact(xp, z_loss * s)
    slope = words.multiply(xp, zs, log_sum)
    value = words.multiply(xp, slope, log_sum)
    silent = s == 0.0
    value = xp.where(silent, 0.0, value[0]), xp.where(silent, 0.0, value[1])
    return value, (xp.where(silent, 0.0, 2.0 * slope[0]), xp.where(silent, 0.0, 2.0 * slope[1]))


def _scaled(xp, a, by, temperature):
    """`by` times a / T, in two words."""
    if by != 1.0:
        a = words.multiply(xp, a, exact(xp, xp.full_like(a[0], by)))
    t = temperature_array(xp, temperature, a[0])
    return a if t is None else words.divide(xp, a, (t, 0.0))


def _exp_less_line(xp, w):
    """exp(w) - 1 - w."""
    series = xp.zeros_like(w)
    for k in range(20, 1, -1):
        series = (series * w + 1.0) / k  # to 1 / 2! + w / 3! + ...
    h, error = words.two_sum(xp.expm1(w), -w)
    return xp.where(xp.abs(w) < 1.0, series * w * w, h + error)
