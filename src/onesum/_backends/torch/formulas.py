# mypy: allow-untyped-defs, allow-untyped-calls
"""Softmax and its derivatives in torch operations, for the devices that the core does not serve.

They are the formulas of the reference backend, in one word of float32, or of float64 where the
arrays have that. They are differentiable too, and derivatives that have no rule of their own come
from here: a row's pivot is taken out of it by a gather, and the pivot's 1 in the normalizer is a
constant, so that what torch derives from them is pivoted as well. Nothing infinite is divided or
multiplied on the way to a finite result, for its derivative would be NaN.
"""

from typing import Any, NamedTuple

import torch

from .numbers import INF, NAN, difference, others, over, pivot_of, sum_of, widen


class Row(NamedTuple):
    """What the functions of rows of logits start from; sums keep the axis with size 1."""

    d: Any  # (x - m) / T in two words: 0 at the pivot
    e: Any  # exp(d)
    r: Any  # the sum of e over all but the pivot
    m: Any
    index: Any  # of the pivot
    pivot: Any  # its mask
    empty: Any  # rows of nothing but -inf: they have m = -inf, and e = 0

    @property
    def p(self):
        return self.e / (1.0 + self.r)


def row_of(x, where, temperature, axis):
    if where is not None:
        x = torch.where(where, x, -INF)
    index, pivot = pivot_of(x, axis)
    m = x.gather(axis, index)
    empty = m == -INF
    hi, lo = difference(x, torch.where(empty, 0.0, m))
    # A pivot of +inf has won; of several, the others are NaN.
    d = over((torch.where(pivot & ~empty, 0.0, hi), lo), temperature)
    e = torch.exp(d[0]) * (1.0 + d[1])
    return Row(d, e, sum_of(others(pivot, e), axis), m, index, pivot, empty)


def _of_row(row, where, result, nothing):
    """A result for each class: none of a row of nothing but -inf, nothing outside `where`."""
    result = torch.where(row.empty, NAN, result)
    return result if where is None else torch.where(where, result, nothing)


def softmax(x, where, temperature, axis, dtype):
    """p_i = e_i / (1 + r)."""
    if x.shape[axis] == 0:
        return x.to(dtype)
    (x,) = widen(dtype, x)
    row = row_of(x, where, temperature, axis)
    return _of_row(row, where, row.p, 0.0).to(dtype)


def log_softmax(x, where, temperature, axis, dtype):
    """log p_i = (x_i - m) / T - log1p(r)."""
    if x.shape[axis] == 0:
        return x.to(dtype)
    (x,) = widen(dtype, x)
    row = row_of(x, where, temperature, axis)
    logp = row.d[0] + (row.d[1] - torch.log1p(row.r))
    return _of_row(row, where, logp, -INF).to(dtype)


def logsumexp(x, where, temperature, axis, dtype):
    """m / T + log1p(r). Drops the axis."""
    if x.shape[axis] == 0:
        return x.sum(axis).to(dtype) - INF
    (x,) = widen(dtype, x)
    row = row_of(x, where, temperature, axis)
    return log_sum(row, temperature).squeeze(axis).to(dtype)


def log_sum(row, temperature):
    infinite = torch.isinf(row.m)
    m = torch.where(infinite, 0.0, row.m)
    hi, lo = over((m, torch.zeros_like(m)), temperature)
    return torch.where(infinite, row.m.detach(), hi + (lo + torch.log1p(row.r)))


def signed_logsumexp(x, b, where, temperature, axis, dtype):
    """log(abs(s)) and the sign of s = sum b exp(x / T). Drops the axis.

    The pivot is the term of largest absolute value.
    """
    x, b = widen(dtype, x, b)
    live = b != 0.0 if where is None else where & (b != 0.0)
    x, b = torch.where(live, x, -INF), torch.where(live, b, 1.0)
    if x.shape[axis] == 0:
        return x.sum(axis).to(dtype) - INF, x.sum(axis).to(dtype)
    scaled = over((x, torch.zeros_like(x)), temperature)[0]
    index, pivot = pivot_of(scaled + torch.log(torch.abs(b)), axis)
    top, weight = x.gather(axis, index), b.gather(axis, index)
    empty = top == -INF
    hi, lo = difference(x, torch.where(empty, 0.0, top))
    d = over((torch.where((x == top) & ~empty, 0.0, hi), lo), temperature)
    half = torch.exp(d[0] / 2.0)  # in two factors, for b may be huge where exp underflows
    r = sum_of(others(pivot, (half * b / weight) * half * (1.0 + d[1])), axis)
    log = torch.log1p(torch.where(r > -0.5, r, 0.0))
    log = torch.where(r > -0.5, log, torch.log(torch.abs(1.0 + torch.where(r > -0.5, 0.0, r))))
    value = over((torch.where(empty, 0.0, top), torch.zeros_like(top)), temperature)[0]
    value = value + (torch.log(torch.abs(weight)) + log)
    sign = torch.sign(weight) * torch.sign(1.0 + r)
    infinite = (x == INF) & (torch.sign(b) != torch.sign(weight))
    undecided = torch.isnan(value) | infinite.any(axis, keepdim=True)
    value = torch.where(empty, -INF, torch.where(undecided, NAN, value))
    sign = torch.where(empty, 0.0, torch.where(undecided, NAN, sign))
    return value.squeeze(axis).to(dtype), sign.squeeze(axis).to(dtype)


# --- derivatives -----------------------------------------------------------------------------


def beside(p, g, nothing, axis):
    """The pivot of p, its mask, and g where p is not nothing; what is nothing has no part in it.

    A row with a NaN has one in the place of every g.
    """
    if p.shape[axis] == 0:
        index = torch.zeros(p.shape, dtype=torch.int64, device=p.device)
        return index, p == p, p == p, g
    index, pivot = pivot_of(p, axis)
    lost = torch.isnan(p.gather(axis, index))
    live = (p != nothing) | lost
    return index, pivot, live, torch.where(lost, NAN, torch.where(live, g, 0.0))


def divided(a, temperature):
    if isinstance(temperature, torch.Tensor):
        temperature = temperature.to(a.dtype)
    return a if isinstance(temperature, float) and temperature == 1.0 else a / temperature


def less_pivot(g, index, axis):
    return g if g.shape[axis] == 0 else g - g.gather(axis, index)


def softmax_vjp(p, g, temperature, axis, dtype):
    """p_i (w_i - S) / T, with w_i = g_i - g_pivot and S = sum p w."""
    p, g = widen(dtype, p, g)
    index, _, live, g = beside(p, g, 0.0, axis)
    w = less_pivot(g, index, axis)
    result = p * divided(w - sum_of(p * w, axis), temperature)
    return torch.where(live, result, 0.0).to(dtype)


def log_softmax_vjp(logp, g, temperature, axis, dtype):
    """(g_i - p_i sum(g)) / T; at the pivot (sum over the others of p g_pivot - p_pivot g) / T."""
    logp, g = widen(dtype, logp, g)
    _, pivot, live, g = beside(logp, g, -INF, axis)
    p = torch.exp(logp)
    g_pivot = sum_of(torch.where(pivot, g, 0.0), axis)
    g_others = sum_of(others(pivot, g), axis)
    there = sum_of(others(pivot, p), axis) * g_pivot - p * g_others
    result = torch.where(pivot, there, g - p * (g_others + g_pivot))
    return torch.where(live, divided(result, temperature), 0.0).to(dtype)


def log_softmax_jvp(logp, v, temperature, axis, dtype):
    """(w_i - S) / T, with w_i = v_i - v_pivot and S = sum p w."""
    logp, v = widen(dtype, logp, v)
    index, _, live, v = beside(logp, v, -INF, axis)
    w = less_pivot(v, index, axis)
    result = divided(w - sum_of(torch.exp(logp) * w, axis), temperature)
    return torch.where(live, result, 0.0).to(dtype)


def _finite_p(x, where, temperature, axis):
    """p, which is 0 in a row of nothing but -inf."""
    return x if x.shape[axis] == 0 else row_of(x, where, temperature, axis).p


def logsumexp_vjp(x, g, where, temperature, axis, dtype):
    """g p / T, where g has size 1 along the axis."""
    x, g = widen(dtype, x, g)
    p = _finite_p(x, where, temperature, axis)
    out = p == 0.0 if where is None else (p == 0.0) | ~where
    return torch.where(out, 0.0, p * divided(g, temperature)).to(dtype)


def logsumexp_jvp(x, v, where, temperature, axis, dtype):
    """sum(p v) / T. Drops the axis."""
    x, v = widen(dtype, x, v)
    p = _finite_p(x, where, temperature, axis)
    out = x == -INF if where is None else (x == -INF) | ~where
    mean = sum_of(p * torch.where(out, 0.0, v), axis)
    return divided(mean, temperature).squeeze(axis).to(dtype)


def softmax_diagonal(p, temperature, axis, dtype):
    """p_i (1 - p_i) / T."""
    (p,) = widen(dtype, p)
    if p.shape[axis] == 0:
        return p.to(dtype)
    index, pivot = pivot_of(p, axis)
    rest = torch.where(pivot, sum_of(others(pivot, p), axis), 1.0 - p)
    result = p * divided(rest, temperature)
    return torch.where(torch.isnan(p.gather(axis, index)), NAN, result).to(dtype)


def log_softmax_diagonal(logp, temperature, axis, dtype):
    """(1 - p_i) / T; 0 where p = 0."""
    (logp,) = widen(dtype, logp)
    if logp.shape[axis] == 0:
        return logp.to(dtype)
    index, pivot = pivot_of(logp, axis)
    rest = torch.where(pivot, sum_of(others(pivot, torch.exp(logp)), axis), -torch.expm1(logp))
    result = torch.where(logp == -INF, 0.0, divided(rest, temperature))
    return torch.where(torch.isnan(logp.gather(axis, index)), NAN, result).to(dtype)
