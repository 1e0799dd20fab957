# mypy: allow-untyped-defs, allow-untyped-calls
"""The losses in torch operations: continues `formulas.py`, with the formulas of the reference.

With the target masses q (`target.Target`), their sum Q, and the normalizer (m, r) of a row:

    loss      Q log1p(r) + sum q (m - x) / T + z s (log sum)^2
    gradient  (a p - q) / T, with a = Q + 2 z s (log sum)
    Hessian   (a (diag(p) - p p^T) + 2 z s p p^T) / T^2

At the pivot Q p - q is (Q - q) - Q (1 - p), both summed from the other classes. A softcap c puts
y = c tanh(x / c) in the place of x, with y' = 1 - (y / c)^2 and y'' = -2 (y / c) y' / c.

A loss is one number a row, in the widest type, as exact as dtype, the type that it is rounded to.
The arguments come in one order everywhere: the operands; classes, probabilities, weight,
sample_weight, where, temperature; axis, smoothing, z_loss, softcap, dtype.
"""

from typing import Any, NamedTuple

import torch

from .formulas import log_sum, row_of
from .numbers import INF, NAN, difference, is_at, over, sum_of, widen, widest


class Masses(NamedTuple):
    """What the target wants of each row, with size 1 along the axis but for `spread`."""

    y: Any  # the class, or None
    at_y: Any  # how much of q falls on the class alone
    spread: Any  # and what all classes have, or None
    total: Any  # Q
    s: Any  # the weight of the row, 0 where it is ignored
    counted: Any


def masses_of(x, classes, probabilities, weight, sample_weight, where, axis, smoothing):
    along = [1] * x.ndim
    along[axis] = x.shape[axis]
    w = None if weight is None else weight.to(x.dtype).reshape(along)
    rows = torch.ones_like(x.select(axis, 0).unsqueeze(axis))
    s = rows if sample_weight is None else sample_weight.to(x.dtype).unsqueeze(axis)
    y: Any = None
    at_y: Any = None
    spread: Any = None
    if classes is None:
        counted = rows > 0.0
        spread = probabilities.to(x.dtype) * (1.0 - smoothing)
    else:
        y = classes.unsqueeze(axis)
        counted = y >= 0
        y = torch.where(counted, y, 0)
        at_y = (1.0 - smoothing) * (rows if w is None else w.expand(x.shape).gather(axis, y))
        s = torch.where(counted, s, 0.0)
        at_y = at_y * s
    if smoothing:
        every = x.shape[axis]
        choices = every if where is None else where.sum(axis, keepdim=True).clamp(min=1).to(x.dtype)
        even = smoothing / choices
        spread = even if spread is None else spread + even
    if spread is not None:
        spread = (spread if w is None else spread * w) * s
        spread = spread.expand(x.shape)
        spread = spread if where is None else torch.where(where, spread, 0.0)
    total = 0.0 if spread is None else sum_of(spread, axis)
    return Masses(y, at_y, spread, total if y is None else total + at_y, s, counted)


def capped(x, softcap):
    """y, and its first two derivatives by x; None for what is 1 and 0."""
    if softcap is None:
        return x, None, None
    t = torch.tanh(x / softcap)
    u = 2.0 * (x / softcap)
    slope = 4.0 * torch.sigmoid(u) * torch.sigmoid(-u)  # 1 - t^2, and where t rounds to 1 too
    return softcap * t, slope, -2.0 / softcap * t * slope


def _z(row, z_loss, s, temperature):
    """z s (log sum)^2, and 2 z s (log sum)."""
    sums = _unless_weightless(s, log_sum(row, temperature))
    return z_loss * s * sums * sums, 2.0 * z_loss * s * sums


def _unless_weightless(q, a):
    """a, but 0 in the place of an infinity that is to be multiplied with 0."""
    return torch.where((q == 0.0) & torch.isinf(a), 0.0, a)


def _weighed(q, d):
    """q (m - x) / T."""
    return q * -_unless_weightless(q, d)


def cross_entropy(x, classes, probabilities, weight, sample_weight, where, temperature, axis,
                  smoothing, z_loss, softcap, dtype):  # fmt: skip
    """The losses of the rows."""
    wide = widest(x)
    (x,) = widen(dtype, x)
    x = capped(x, softcap)[0]
    row = row_of(x, where, temperature, axis)
    q = masses_of(x, classes, probabilities, weight, sample_weight, where, axis, smoothing)
    log = torch.log1p(row.r)
    d = row.d[0] + row.d[1]
    loss = q.total * log
    if q.y is not None:
        loss = loss + _weighed(q.at_y, d.gather(axis, q.y))
    if q.spread is not None:
        loss = loss + sum_of(_weighed(q.spread, d), axis)
    if z_loss:
        loss = loss + _z(row, z_loss, q.s, temperature)[0]
    if where is None:
        loss = torch.where(row.empty, NAN, loss)
    else:
        loss = torch.where(row.empty & where.any(axis, keepdim=True), NAN, loss)
    return torch.where(q.counted, loss, 0.0).squeeze(axis).to(wide)


def cross_entropy_gradient(x, by, classes, probabilities, weight, sample_weight, where, temperature,
                           axis, smoothing, z_loss, softcap, dtype):  # fmt: skip
    """The gradients of the rows' losses, each times its `by`, which has the shape of the losses."""
    (x,) = widen(dtype, x)
    y, slope, _ = capped(x, softcap)
    row = row_of(y, where, temperature, axis)
    q = masses_of(y, classes, probabilities, weight, sample_weight, where, axis, smoothing)
    result = _gradient(row, q, z_loss, temperature, axis)
    result = result if slope is None else result * slope
    result = _multiplied(result, by, temperature, axis)
    return _live(result, q, x, where).to(dtype)


def _times(a, w):
    """a w, which is 0 where w is."""
    return torch.where((w == 0.0) & torch.isinf(a), 0.0, a * w)


def _gradient(row, q, z_loss, temperature, axis):
    """a p - q."""
    p_all = row.p * q.total
    p_others = torch.where(row.pivot, 0.0, p_all)
    result = torch.where(row.pivot, -sum_of(p_others, axis), p_others)
    if q.y is not None:
        there = is_at(q.y, row.p, axis)  # at a pivot that is there, Q - q_y is what is spread alone
        others = torch.where(there, -q.at_y, 0.0)
        result = result + torch.where(row.pivot, torch.where(there, 0.0, q.at_y), others)
    if q.spread is not None:
        rest = torch.where(row.pivot, 0.0, q.spread)
        result = result + torch.where(row.pivot, sum_of(rest, axis), -q.spread)
    if z_loss:
        result = result + torch.where(
            row.p == 0.0, 0.0, row.p * _z(row, z_loss, q.s, temperature)[1]
        )
    return result


def _multiplied(result, by, temperature, axis):
    """`by` times a result, over T."""
    result = result * by.to(result.dtype).unsqueeze(axis)
    if isinstance(temperature, torch.Tensor):
        temperature = temperature.to(result.dtype)
    return result / temperature


def _live(result, q, x, where):
    """The result, 0 in rows to be ignored and where there is nothing to be had."""
    dead = ~q.counted | (x == -INF)
    dead = dead if where is None else dead | ~where
    return torch.where(dead, 0.0, result)


def cross_entropy_hvp(x, v, by, classes, probabilities, weight, sample_weight, where, temperature,
                      axis, smoothing, z_loss, softcap, dtype):  # fmt: skip
    """`by` times p (a (w - S) + b (p.v)) / T^2, with w = v - v_pivot, S = sum p w and b = 2 z s."""
    x, v = widen(dtype, x, v)
    y, slope, bend = capped(x, softcap)
    row = row_of(y, where, temperature, axis)
    q = masses_of(y, classes, probabilities, weight, sample_weight, where, axis, smoothing)
    p = row.p
    v = torch.where(p == 0.0, 0.0, v)
    u = v if slope is None else v * slope
    u_pivot = u.gather(axis, row.index)
    w = torch.where(p == 0.0, 0.0, u - u_pivot)
    mean = sum_of(p * w, axis)
    result = p * q.total * (w - mean)
    if z_loss:
        # Beside a logit of +inf the slope is infinite, and only what is 0 is multiplied with it.
        slope_w = _times(_z(row, z_loss, q.s, temperature)[1], w)
        result = result + p * (slope_w - sum_of(p * slope_w, axis))
        result = result + p * (2.0 * z_loss * q.s) * (mean + u_pivot)
    result = _multiplied(result, torch.ones_like(by), temperature, axis)
    if slope is not None:
        result = result * slope + _gradient(row, q, z_loss, temperature, axis) * bend * v
    return _live(_multiplied(result, by, temperature, axis), q, x, where).to(dtype)


def entropy(x, where, temperature, axis, dtype):
    """log1p(r) + sum p (m - x) / T. Drops the axis."""
    (x,) = widen(dtype, x)
    row = row_of(x, where, temperature, axis)
    value = torch.log1p(row.r) + sum_of(_weighed(row.p, row.d[0] + row.d[1]), axis)
    lost = row.empty if where is None else row.empty & where.any(axis, keepdim=True)
    return torch.where(lost, NAN, value).squeeze(axis).to(dtype)


class _Pair(NamedTuple):
    p: Any
    q: Any
    w: Any  # log(p / q) is KL - w where it is finite
    usable: Any
    value: Any  # KL
    live: Any


def _pair_of(x, y, where, temperature, axis):
    """KL in two ways: where it is small, as log(1 + sum p (exp(w) - 1 - w)), of positive terms."""
    row, other = (row_of(a, where, temperature, axis) for a in (x, y))
    p, q = row.p, other.p
    live = p != 0.0
    log_p, log_q = (a.d[0] + a.d[1] - torch.log1p(a.r) for a in (row, other))
    ratio = torch.where(live, log_p, 0.0) - torch.where(live, log_q, 0.0)
    far = sum_of(p * ratio, axis)
    apart = torch.where(live, y, 0.0), torch.where(live, x, 0.0)
    (y_hi, y_lo), (x_hi, x_lo) = (difference(a, a.gather(axis, row.index)) for a in apart)
    u = over((y_hi - x_hi, y_lo - x_lo), temperature)
    u = u[0] + u[1]
    usable = live & torch.isfinite(u)
    u = torch.where(usable, u, 0.0)
    w = u - sum_of(p * u, axis)
    away = ~usable | (w > 4.0)
    line = torch.where(away, -1.0 - w, _exp_less_line(torch.where(away, 0.0, w)))
    q_away = torch.where(away, q, 0.0)
    near = sum_of(q_away + p * line, axis) / (1.0 - sum_of(q_away, axis))
    small = (far < 0.5) & (usable | ~live).all(axis, keepdim=True)
    value = torch.where(small, torch.log1p(torch.where(small, near, 0.0)), far)
    lost = row.empty | other.empty
    lost = lost if where is None else lost & where.any(axis, keepdim=True)
    return _Pair(p, q, w, usable, torch.where(lost, NAN, value), live)


def kl_divergence(x, y, where, temperature, axis, dtype):
    """sum p log(p / q) of p = softmax(x / T) and q = softmax(y / T)."""
    wide = widest(x)
    x, y = widen(dtype, x, y)
    return _pair_of(x, y, where, temperature, axis).value.squeeze(axis).to(wide)


def kl_divergence_gradient(x, y, by, where, temperature, axis, dtype):
    """The gradients of the rows' divergences by x and by y, each times its `by`."""
    x, y = widen(dtype, x, y)
    pair = _pair_of(x, y, where, temperature, axis)
    dx = torch.where(pair.live, -pair.p * pair.w, 0.0)
    dx = torch.where(torch.isfinite(pair.value), dx, NAN)
    exponent = pair.w - torch.where(torch.isfinite(pair.value), pair.value, 0.0)
    near = pair.usable & (torch.abs(pair.w) + pair.value < 1.0)
    ratio = torch.expm1(torch.where(near, exponent, 0.0))
    dy = torch.where(near, pair.p * ratio, pair.q - pair.p)
    dy = torch.where(torch.isnan(pair.value), NAN, dy)
    dx, dy = (_multiplied(a, by, temperature, axis) for a in (dx, dy))
    dead = [a == -INF if where is None else (a == -INF) | ~where for a in (x, y)]
    return tuple(torch.where(o, 0.0, a).to(dtype) for o, a in zip(dead, (dx, dy), strict=True))


def _exp_less_line(w):
    """exp(w) - 1 - w."""
    near = torch.abs(w) < 1.0
    inner = torch.where(near, w, 0.0)
    series = torch.zeros_like(w)
    for k in range(20 if w.dtype == torch.float64 else 12, 1, -1):
        series = (series * inner + 1.0) / k  # to 1 / 2! + w / 3! + ...
    return torch.where(near, series * inner * inner, torch.expm1(w) - w)


def total(losses):
    """The sum of all losses."""
    return losses.sum()
