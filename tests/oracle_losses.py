"""What the losses should have returned: continues oracle.py.

The target masses q of a row are as `Target` in the package defines them. A row that counts
needs a finite logit, or a softcap; one to ignore may hold anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import oracle
from oracle import EXACT, WIDE, Arithmetic, Array, Exact, Layout, Reference

DEEP = oracle.Exact(digits=400)  # a divergence may be of the order of p squared


class Losses(NamedTuple):
    loss: Reference
    grad: Reference


class Divergence(NamedTuple):
    value: Reference
    by_x: Reference
    by_y: Reference


class Masses(NamedTuple):
    q: Array
    s: Array  # the weight of the row, 0 where it does not count
    counted: Array
    count: Any  # what a mean divides by
    hard: bool  # all of q at one class


def masses_of(
    layout: Layout,
    target: Any,
    where: Any,
    a: Arithmetic,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    sample_weight: Any = None,
) -> Masses:
    target, zero = np.asarray(target), a.number(0.0)
    inside = layout.rows(True if where is None else where)
    w = a.number(np.ones(layout.n) if weight is None else np.asarray(weight))
    part = a.number(np.asarray(label_smoothing))
    choices = a.number(np.maximum(inside.sum(axis=-1, keepdims=True), 1))
    q = np.where(inside, part * w / choices, zero)
    counted = np.full((len(q), 1), True)
    if target.dtype.kind in "iu":
        y = target.reshape(-1, 1)
        if ignore_index is not None:
            counted = y != ignore_index
        q = q + np.where(np.arange(layout.n) == y, (1 - part) * w, zero)
        count = np.sum(w[y[counted].astype(int)])
    else:
        y = np.where(inside, layout.rows(target).astype(np.float64), 0)
        q = q + w * ((1 - part) * a.number(y))
        count = a.number(len(q))
    s = a.number(np.ones(len(q)) if sample_weight is None else np.ravel(sample_weight))
    s = np.where(counted, s[:, np.newaxis], zero)
    return Masses(s * q, s, counted, count, target.dtype.kind in "iu" and not label_smoothing)


class _Row:
    """What loss, gradient and Hessian of a row are made of; `steep` is 2 z s."""

    def __init__(
        self,
        x: Any,
        target: Any,
        axis: Any,
        z_loss: float,
        softcap: float | None,
        t: Any,
        where: Any,
        a: Arithmetic,
        **of: Any,
    ) -> None:
        x = np.asarray(x)
        self.layout = layout = Layout(x.shape, axis)
        self.masses = masses = masses_of(layout, target, where, a, **of)
        rows = np.where(masses.counted, layout.rows(x), np.zeros((), x.dtype))
        kept = oracle._kept(rows, where, layout)
        t = layout.temperature(t)
        self.arithmetic, self.z_loss, self.softcap = a, z_loss, softcap
        if softcap is not None:
            kept = np.broadcast_to(True if where is None else layout.rows(where), rows.shape)
            rows, self.slope = _capped(np.where(kept, rows, np.zeros((), x.dtype)), softcap, a)
            self.capped = rows
        self.z = z = oracle._normalizer(rows, kept, t, a)
        self.kept, self.t, self.zero = kept & masses.counted, a.number(t), a.number(0.0)
        self.key = np.where(kept, oracle._comparable(rows), -np.inf)
        self.pivot = oracle._pivot(self.key)
        self.p, self.rest, self.log = z.e / (1 + z.r), z.r / (1 + z.r), a.log1p(z.r)
        self.all = a.total(masses.q)
        self.others = a.total(np.where(self.pivot, self.zero, masses.q))
        self.steep = 2 * a.number(np.asarray(z_loss)) * masses.s
        self.log_sum = z.m + self.log
        self.log_sum_size = np.maximum(np.abs(self.log_sum), np.abs(z.m))
        # No logsumexp is better than to some roundings of m, nor is its square.
        self.log_sum_least = np.maximum(np.abs(self.log_sum), 2.0**-52 * self.log_sum_size)
        self.vanishing = oracle.vanishing(z.e, x)
        self.blur = a.number(1.0)  # what scales are multiplied by
        if softcap is not None:
            largest = np.max(np.where(self.kept, np.abs(rows), self.zero), axis=-1, keepdims=True)
            self.blur = _blur(x.dtype, largest / self.t, a)

    def gradient(self) -> tuple[Array, Array, Array]:
        """The gradient by the capped logits, the terms that it is judged by, and the factor of p.

        The terms are a p and q, at the pivot those of (Q - q) - Q (1 - p). They cancel unless q is
        all at one class: then the gradient is judged by itself.
        """
        q, p, slope = self.masses.q, self.p, self.steep * self.log_sum
        there = self.others - self.all * self.rest + slope * p
        rearranged = self.pivot & (q != self.zero)  # else p alone is the gradient, and may be tiny
        grad = np.where(rearranged, there, (self.all + slope) * p - q)
        lost = self.arithmetic.total(np.where(self.pivot, self.zero, self.vanishing))
        terms = np.where(rearranged, self.others + self.all * (self.rest + lost), self.all * p + q)
        if self.masses.hard and not self.z_loss:
            terms = np.maximum(np.abs(grad), np.where(rearranged, self.all * lost, self.zero))
        terms = terms + self.steep * self.log_sum_size * p
        factor = self.all + self.steep * self.log_sum_size
        return grad / self.t, self.blur * terms / self.t, factor / self.t

    def result(self, value: Array, size: Array, factor: Array, by: Any, a: Arithmetic) -> Reference:
        """Of the shape of x, times `by`; where p is nothing, so is the factor."""
        if self.softcap is not None:
            by = by * self.slope
        value, size, factor = (
            a.longdouble(np.where(self.kept, c, self.zero) * by) for c in (value, size, factor)
        )
        lost = np.where(value != 0, factor * a.longdouble(self.vanishing), 0)
        return Reference(self.layout.unrow(value), self.layout.unrow(np.maximum(size, lost)))


def _capped(x: Array, softcap: float, a: Arithmetic) -> tuple[Array, Array]:
    """c tanh(x / c), and its derivative."""
    x, c = a.number(x), a.number(np.asarray(softcap))
    u = np.minimum(np.maximum(x / c, Exact.VANISHES), -Exact.VANISHES)
    if a is WIDE:
        high, low = oracle._product(u, c)
        rest = np.where(np.abs(u) < 1e4, ((x - high) - low) / c, 0)  # what the quotient lacks
        tanh = np.tanh(u)
        with np.errstate(under="ignore", over="ignore"):
            return c * tanh, (1 - 2 * tanh * rest) / np.cosh(u) ** 2
    tanh, sech = (np.frompyfunc(f, 1, 1) for f in (a.mp.tanh, a.mp.sech))
    return c * tanh(u), sech(u) ** 2


def _blur(dtype: np.dtype[Any], y: Array, a: Arithmetic) -> Array:
    """How much larger errors may be beneath a softcap, where the largest logit over T is y.

    Capped logits are rounded to float64, by some 2^-53 y, which is a part of every probability. In
    float64 the slope of the cap counts too, with the products it is in.
    """
    return 2 * (1 + y) if dtype.itemsize == 8 else 1 + a.number(2.0**-28) * y


def cross_entropy(
    x: Any,
    target: Any,
    axis: Any = -1,
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
    temperature: Any = 1.0,
    where: Any = None,
    reduction: str = "none",
    arithmetic: Arithmetic = EXACT,
    **of: Any,
) -> Losses:
    """Loss and gradient, both judged against the sum of their terms' magnitudes."""
    a = arithmetic
    row = _Row(x, target, axis, z_loss, softcap, temperature, where, a, **of)
    q, zero = row.masses.q, row.zero
    some = q != zero
    away = a.total(q * np.where(some & row.z.kept, -row.z.d, zero))
    loss = row.all * row.log + away + row.steep / 2 * row.log_sum**2
    size = row.all * row.log + away + row.steep / 2 * row.log_sum_least * row.log_sum_size
    lost = np.any(some & ~row.z.kept, axis=-1, keepdims=True)
    loss, size = (np.where(lost, a.number(np.inf), c) for c in (loss, row.blur * size))
    by = a.number(1.0) if reduction != "mean" else 1 / row.masses.count
    if reduction == "none":
        losses = [row.layout.reduce(a.longdouble(c)) for c in (loss, size)]
    else:
        losses = [a.longdouble(a.total(c.T) * by).reshape(()) for c in (loss, size)]
    return Losses(Reference(*losses), row.result(*row.gradient(), by, a))


def cross_entropy_hvp(
    x: Any,
    target: Any,
    v: Any,
    axis: Any = -1,
    *,
    z_loss: float = 0.0,
    softcap: float | None = None,
    temperature: Any = 1.0,
    where: Any = None,
    reduction: str = "none",
    arithmetic: Arithmetic = EXACT,
    **of: Any,
) -> Reference:
    """p (a (w - S) + 2 z s (S + v_pivot)) / T^2; S is judged as in `oracle.log_softmax_jvp`.

    With a softcap, v is first multiplied by the slope of the cap, and so rounded: where w is a
    difference, its terms count.
    """
    a = arithmetic
    row = _Row(x, target, axis, z_loss, softcap, temperature, where, a, **of)
    v = given = row.layout.rows(v)
    if softcap is not None:
        v = np.where(row.kept, a.number(np.where(row.kept, v, 0)) * row.slope, row.zero)
    w, s, size = oracle._pivoted(row.key, row.p, row.z.kept, v, a)
    at_pivot = a.number(np.sum(np.where(row.pivot, v, 0), axis=-1, keepdims=True))
    apart = np.abs(w)
    if softcap is not None:
        apart = np.abs(v) + np.abs(at_pivot)
        size = a.total(row.p * apart)
    size = size + a.total(row.vanishing * np.abs(w))
    slope, slope_size = row.steep * row.log_sum, row.steep * row.log_sum_size
    value = (row.all + slope) * (w - s) + row.steep * (s + at_pivot)
    terms = (row.all + slope_size) * (apart + size) + row.steep * (size + np.abs(at_pivot))
    factor = terms + row.all + slope_size
    value, terms, factor = (c / row.t / row.t for c in (value, row.blur * terms, factor))
    value, terms = row.p * value, row.p * terms
    if softcap is not None:
        bend = a.number(np.where(row.kept, given, 0)) * (row.capped / a.number(softcap) ** 2) * -2
        parts = (c * d for c, d in zip(row.gradient(), (bend, *2 * [np.abs(bend)]), strict=True))
        value, terms, factor = (c + d for c, d in zip((value, terms, factor), parts, strict=True))
    by = a.number(1.0) if reduction != "mean" else 1 / row.masses.count
    return row.result(value, terms, factor, by, a)


def entropy(
    x: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    arithmetic: Arithmetic = EXACT,
) -> Reference:
    """log1p(r) + sum p (m - x) / T: no term is negative."""
    a = arithmetic
    layout, z = oracle._forward(x, axis, where, temperature, a)
    away = np.where(z.kept, -z.d, a.number(0.0))
    value = layout.reduce(a.longdouble(a.log1p(z.r) + a.total(z.e * away) / (1 + z.r)))
    return Reference(value, value)


def kl_divergence(
    x: Any,
    y: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    reduction: str = "none",
    arithmetic: Arithmetic = DEEP,
) -> Divergence:
    """sum p (log p - log q) and its gradients; the y of a finite x is finite.

    Below 1/2 the value is judged by itself; above, by the entropies whose difference it is. The
    gradient by x is -p w / T, with w as in `oracle.log_softmax_jvp`; that by y is q - p where p and
    q are apart, and where they are near it is judged by their logarithms' difference.
    """
    a = arithmetic
    layout, z = oracle._forward(x, axis, where, temperature, a)
    _, z_y = oracle._forward(y, axis, where, temperature, a)
    expm1 = np.expm1 if a is WIDE else np.frompyfunc(a.mp.expm1, 1, 1)
    zero, t = a.number(0.0), a.number(layout.temperature(temperature))
    p, q = z.e / (1 + z.r), z_y.e / (1 + z_y.r)
    log_p, log_q = (np.where(z.kept, c.d - a.log1p(c.r), zero) for c in (z, z_y))
    value = a.total(p * (log_p - log_q))
    size = np.where(value < 0.5, value, a.total(p * (np.abs(log_p) + np.abs(log_q))))

    rows = layout.rows(np.asarray(x))
    key = np.where(z.kept, rows.astype(np.float64), -np.inf)
    pivot = oracle._pivot(key)
    u = zero
    for sign, level in ((1, layout.rows(y)), (-1, rows)):  # each less what it is at the pivot
        level = a.number(np.where(z.kept, level, 0))
        u = u + sign * (level - a.total(np.where(pivot, level, zero)))
    u = np.where(z.kept, u / t, zero)
    terms = np.where(z.kept, p * u, zero)
    w, lost = u - a.total(terms), oracle.vanishing(z.e, x)
    spread = a.total(np.abs(terms) + lost * np.abs(u))
    by_x, by_x_size = -p * w, (p + lost) * np.abs(w) + p * spread
    ratio = log_q - log_p
    by_y = np.where(z.kept & (np.abs(ratio) < 1), p * expm1(ratio), q - p)
    near = z.kept & (np.abs(w) + value < 1)
    by_y_size = np.where(near, np.minimum(p * (np.abs(w) + spread + value), p + q), p + q)
    by_y_size = by_y_size + lost + oracle.vanishing(z_y.e, x)
    if np.asarray(x).dtype.itemsize == 8:  # there is no wider type for q - p of such
        by_y_size = np.maximum(by_y_size, a.number(2.0**-1022))

    if reduction == "none":
        values = [layout.reduce(a.longdouble(c)) for c in (value, size)]
        by = a.number(1.0)
    else:
        by = 1 / a.number(len(rows)) if reduction == "mean" else a.number(1.0)
        values = [a.longdouble(a.total(c.T) * by).reshape(()) for c in (value, size)]

    def shaped(value: Array, size: Array) -> Reference:
        value, size = a.longdouble(value / t * by), a.longdouble(size / t * by)
        return Reference(layout.unrow(value), layout.unrow(size))

    return Divergence(Reference(*values), shaped(by_x, by_x_size), shaped(by_y, by_y_size))


def selective_log_softmax(x: Any, index: Any, **options: Any) -> Reference:
    """log p of one class per row, or of several: classes along the last axis."""
    logp = oracle.log_softmax(x, **options)
    index = np.asarray(index).astype(int)
    if index.ndim == np.ndim(x):
        return Reference(*(np.take_along_axis(c, index, -1) for c in logp))
    return Reference(*(np.take_along_axis(c, index[..., np.newaxis], -1)[..., 0] for c in logp))


# Targets to test with, for rows of logits x of shape (k, n): a target and its options.


def _classes(rng: np.random.Generator, x: Array) -> Array:
    return rng.integers(0, x.shape[1], len(x))


def _probabilities(rng: np.random.Generator, x: Array) -> Array:
    """Of every size, and some 0; in the dtype of x they do not sum to one."""
    y = rng.random(x.shape) ** 4 * (rng.random(x.shape) < 0.7)
    return (y / (y.sum(axis=-1, keepdims=True) + 1e-3)).astype(x.dtype)


def _all_options(rng: np.random.Generator, x: Array) -> dict[str, Any]:
    return {
        "weight": rng.random(x.shape[1]) * (rng.random(x.shape[1]) < 0.8),
        "label_smoothing": 0.3,
        "sample_weight": rng.random(len(x)),
        "softcap": 30.0,
    }


TARGETS: dict[str, Callable[[np.random.Generator, Array], tuple[Array, dict[str, Any]]]] = {
    "a class": lambda rng, x: (_classes(rng, x), {}),
    "the likeliest class": lambda rng, x: (x.astype(np.float64).argmax(axis=-1), {}),
    "weighted": lambda rng, x: (_classes(rng, x), {"weight": rng.random(x.shape[1])}),
    "smoothed": lambda rng, x: (_classes(rng, x), {"label_smoothing": 0.1}),
    "probabilities": lambda rng, x: (_probabilities(rng, x), {}),
    "z_loss": lambda rng, x: (_classes(rng, x), {"z_loss": 0.3}),
    "softcap": lambda rng, x: (_classes(rng, x), {"softcap": 5.0}),
    "a class, all options": lambda rng, x: (_classes(rng, x), _all_options(rng, x)),
    "probabilities, all options": lambda rng, x: (_probabilities(rng, x), _all_options(rng, x)),
}
HARD = ("a class", "the likeliest class", "weighted")


def targets(kind: str, x: Array, seed: int = 0) -> tuple[Array, dict[str, Any]]:
    return TARGETS[kind](np.random.default_rng([seed, *x.shape]), x)
