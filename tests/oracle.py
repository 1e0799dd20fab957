"""What every function should have returned, before it is rounded to its dtype.

Each reference takes NumPy arrays of any floating dtype (their values are taken exactly) and
answers with a `Reference`: the values, and beside each the magnitude in whose ulps its error is
counted. The formulas are written once and run in either of two arithmetics:

EXACT  mpmath numbers of 60 digits, for small arrays;
WIDE   np.longdouble, for rows of any length: `exp` there is glibc's `expl`, and what rounding took
       from its argument is put back as a factor. test_oracle.py holds it against EXACT.

Entries outside `where` and entries of -inf are left out; a row needs at least one finite entry.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import mpmath
import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

Array = np.ndarray[Any, Any]

if np.finfo(np.longdouble).nmant < 63:
    raise RuntimeError("the references need a np.longdouble of 64 bits or more")


class Reference(NamedTuple):
    """The values wanted and, for each, the magnitude its error is measured against."""

    value: Array
    scale: Array


class Exact:
    """Arrays of mpmath numbers."""

    VANISHES = (
        -1e6
    )  # e to this and less is 0 in any dtype, and mpmath has no exponent for much less

    def __init__(self, digits: int = 60) -> None:
        self.mp = mpmath.MPContext()
        self.mp.dps = digits
        self.number = np.frompyfunc(self._number, 1, 1)
        self.exp = np.frompyfunc(lambda x: self.mp.exp(max(x, self.VANISHES)), 1, 1)
        self.log1p = np.frompyfunc(self.mp.log1p, 1, 1)
        self.log = np.frompyfunc(self.mp.log, 1, 1)

    def _number(self, x: Any) -> Any:
        return x if isinstance(x, self.mp.mpf) else self.mp.mpf(float(x))

    def scaled_exp(self, x: Array, m: Array, t: Array) -> tuple[Array, Array]:
        """(x - m)/t and its exponential."""
        d = np.where(np.isinf(t), self.mp.zero, (self.number(x) - self.number(m)) / self.number(t))
        return d, self.exp(d)

    def total(self, terms: Array) -> Array:
        return np.sum(terms, axis=-1, keepdims=True, initial=self.mp.zero)

    def longdouble(self, x: Array) -> Array:
        return np.frompyfunc(self._longdouble, 1, 1)(x).astype(np.longdouble)

    def _longdouble(self, x: Any) -> np.longdouble:
        if not self.mp.isfinite(x):
            return np.longdouble(float(x))
        mantissa, exponent = self.mp.frexp(x)
        high = float(mantissa)
        return np.ldexp(np.longdouble(high) + np.longdouble(float(mantissa - high)), exponent)


class Wide:
    """Arrays of np.longdouble."""

    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    log1p = staticmethod(np.log1p)

    @staticmethod
    def number(x: Array) -> Array:
        return np.asarray(x, dtype=np.longdouble)

    def scaled_exp(self, x: Array, m: Array, t: Array) -> tuple[Array, Array]:
        """(x - m)/t and its exponential, times what rounding took from the quotient."""
        x, m, t = self.number(x), self.number(m), self.number(t)
        difference = x - m
        part = (
            difference - x
        )  # Knuth's two-sum: lost is exactly what difference leaves out of x - m
        lost = (x - (difference - part)) - (m + part)
        d = difference / t
        if np.all(t == 1):
            left = lost
        else:
            high, low = _product(d, np.where(np.isinf(t), 1, t))
            left = np.where(np.isinf(t), 0, (((difference - high) - low) + lost) / t)
        return d, np.exp(d) * (1 + left)

    @staticmethod
    def total(terms: Array) -> Array:
        """NumPy adds contiguous rows pairwise: log2(n) roundings of 2^-64, and some for blocks."""
        return np.sum(np.ascontiguousarray(terms), axis=-1, keepdims=True)

    @staticmethod
    def longdouble(x: Array) -> Array:
        return x


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b exactly, as a rounded product and its error (Dekker)."""

    def halves(x: Array) -> tuple[Array, Array]:
        spread = x * np.longdouble(2**32 + 1)
        high = spread - (spread - x)
        return high, x - high

    product = a * b
    (a1, a2), (b1, b2) = halves(a), halves(b)
    return product, ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2


EXACT = Exact()
WIDE = Wide()
Arithmetic = Exact | Wide


class Layout:
    """Turns arrays into rows of shape (k, n), classes last, and results back."""

    def __init__(self, shape: tuple[int, ...], axis: int | tuple[int, ...] | None) -> None:
        self.shape = shape
        everything = tuple(range(len(shape)))
        axes = everything if axis is None else normalize_axis_tuple(axis, len(shape))
        self.axes = tuple(sorted(axes))
        self.rest = tuple(i for i in everything if i not in self.axes)
        self.n = math.prod(shape[i] for i in self.axes)

    def rows(self, a: Any) -> Array:
        full = np.broadcast_to(np.asarray(a), self.shape)
        return full.transpose(self.rest + self.axes).reshape(-1, self.n)

    def unrow(self, rows: Array) -> Array:
        order = self.rest + self.axes
        return rows.reshape([self.shape[i] for i in order]).transpose(np.argsort(order))

    def reduce(self, column: Array) -> Array:
        return column.reshape([self.shape[i] for i in self.rest])

    def temperature(self, t: Any) -> Array:
        """One per row, as a column; t has the dimensions of x, or those of the rows, or none."""
        t = np.asarray(t, dtype=np.float64)
        if t.ndim < len(self.shape) or not self.axes:
            t = np.broadcast_to(t, [self.shape[i] for i in self.rest])
            t = np.expand_dims(t, self.axes)
        return self.rows(t)[:, :1]


class _Normalizer(NamedTuple):
    m: Array  # the row's maximum, over T
    d: Array  # (x - m)/T
    e: Array  # its exponential, 0 where the entry is left out
    r: Array  # the sum of e over all but the pivot
    kept: Array


def _normalizer(x: Array, kept: Array, t: Array, a: Arithmetic) -> _Normalizer:
    x = np.where(kept, _comparable(x), -np.inf)
    m = x.max(axis=-1, keepdims=True)
    if not np.all(np.isfinite(m.astype(np.float64))):
        raise ValueError("a row needs a finite entry, and none of +inf or NaN")
    pivot = _pivot(x)
    d, e = a.scaled_exp(np.where(kept, x, m), m, t)
    zero = a.number(0.0)
    e = np.where(kept, e, zero)
    return _Normalizer(a.number(m) / a.number(t), d, e, a.total(np.where(pivot, zero, e)), kept)


def _comparable(x: Array) -> Array:
    """Numbers of an arithmetic as they are; those of a floating dtype as float64, without loss."""
    return x if x.dtype in (object, np.longdouble) else x.astype(np.float64)


def _pivot(x: Array) -> Array:
    """True at the first maximum of each row."""
    return np.arange(x.shape[-1]) == x.argmax(axis=-1)[:, np.newaxis]


def _slack(dtype: np.dtype[Any], n: int) -> float:
    """How much of sum |term| counts in the scale of a sum S that may cancel, besides |S| itself.

    16- and 32-bit terms that are exact are summed in float64 lanes, whose own rounding is at most
    n 2^-53 sum |term|: that is one float32 ulp of n 2^-29 sum |term|. float64 has no wider lane, so
    its sums are judged against all of sum |term|.
    """
    return 1.0 if dtype.itemsize == 8 else n * 2.0**-29


def _kept(x: Array, where: Array | None, layout: Layout) -> Array:
    kept = ~np.isneginf(x.astype(np.float64))  # NaN stays in, and is refused later
    return kept if where is None else kept & layout.rows(where)


def _forward(
    x: Any, axis: Any, where: Any, temperature: Any, a: Arithmetic
) -> tuple[Layout, _Normalizer]:
    x = np.asarray(x)
    layout = Layout(x.shape, axis)
    rows = layout.rows(x)
    return layout, _normalizer(rows, _kept(rows, where, layout), layout.temperature(temperature), a)


def softmax(
    x: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    arithmetic: Arithmetic = EXACT,
) -> Reference:
    layout, z = _forward(x, axis, where, temperature, arithmetic)
    value = layout.unrow(arithmetic.longdouble(z.e / (1 + z.r)))
    return Reference(value, value)


def log_softmax(
    x: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    arithmetic: Arithmetic = EXACT,
) -> Reference:
    a = arithmetic
    layout, z = _forward(x, axis, where, temperature, a)
    value = layout.unrow(np.where(z.kept, a.longdouble(z.d - a.log1p(z.r)), -np.inf))
    return Reference(value, np.abs(value))


def logsumexp(
    x: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    keepdims: bool = False,
    arithmetic: Arithmetic = EXACT,
) -> Reference:
    a = arithmetic
    layout, z = _forward(x, axis, where, temperature, a)
    result = a.longdouble(z.m + a.log1p(z.r))
    scale = np.maximum(np.abs(result), np.abs(a.longdouble(z.m)))
    return _reduced(layout, keepdims, result, scale)


def signed_logsumexp(
    x: Any,
    b: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    arithmetic: Arithmetic = EXACT,
) -> tuple[Reference, Array]:
    """log abs(sum b exp(x/T)) and the sign of the sum, for sums other than 0.

    A relative error of the total, which is one of sum |b e| / |total| per rounding, is an
    absolute one of its log.
    """
    a = arithmetic
    x = np.asarray(x)
    layout = Layout(x.shape, axis)
    rows, weights = layout.rows(x), layout.rows(b).astype(np.float64)
    kept = _kept(rows, where, layout) & (weights != 0)
    z = _normalizer(rows, kept, layout.temperature(temperature), a)
    terms = np.where(kept, a.number(weights), a.number(0.0)) * z.e
    total = a.total(terms)
    size, sign = a.longdouble(np.abs(total)), np.sign(a.longdouble(total))
    result = a.longdouble(z.m + a.log(np.abs(total)))
    worst = a.longdouble(a.total(np.abs(terms))) / size
    scale = np.maximum(np.maximum(np.abs(result), np.abs(a.longdouble(z.m))), worst)
    return _reduced(layout, False, result, scale), layout.reduce(sign)


def _reduced(layout: Layout, keepdims: bool, value: Array, scale: Array) -> Reference:
    value, scale = layout.reduce(value), layout.reduce(scale)
    if keepdims:
        value, scale = (np.expand_dims(c, layout.axes) for c in (value, scale))
    return Reference(value, scale)


def softmax_vjp(
    p: Any, g: Any, axis: Any = -1, *, temperature: Any = 1.0, arithmetic: Arithmetic = EXACT
) -> Reference:
    """p_i (w_i - S)/T with w = g - g_pivot, S = sum of p w: on the p given, whatever it sums to.

    Judged by p_i (|w_i - S| + sum of |p w|)/T, which is what the roundings of the given p may have
    changed already: the value is p_i sum_j p_j (g_i - g_j), and for p that sum to one
    sum_j p_j |g_i - g_j| is at least |w_i - S| and no more than this.
    """
    a = arithmetic
    p, g = np.asarray(p), np.asarray(g)
    layout = Layout(p.shape, axis)
    rows, t = layout.rows(p), a.number(layout.temperature(temperature))
    probability = a.number(rows)
    w, s, size = _pivoted(rows, probability, rows != 0, layout.rows(g), a)
    if p.dtype.itemsize == 8:  # there is no wider type for products below the normal numbers
        size = np.maximum(size, a.number(layout.n * 2.0**-1022))
    value = probability * (w - s) / t
    scale = np.abs(probability) * (np.abs(w - s) + size) / t
    return Reference(layout.unrow(a.longdouble(value)), layout.unrow(a.longdouble(scale)))


softmax_jvp = softmax_vjp  # the matrix is symmetric


def _pivoted(
    key: Array, p: Array, kept: Array, g: Array, a: Arithmetic
) -> tuple[Array, Array, Array]:
    """w = g - g_pivot, S = sum of p w, and the sum of |p w|, by which S is judged.

    The pivot is where the key has its maximum.
    """
    pivot = _pivot(key)
    at_pivot = np.sum(np.where(pivot, g, 0), axis=-1, keepdims=True).astype(g.dtype)
    g = np.where(kept, g, at_pivot)
    w = a.number(g) - a.number(at_pivot)
    terms = np.where(kept, p, a.number(0.0)) * w
    return w, a.total(terms), a.total(np.abs(terms))


def log_softmax_vjp(
    logp: Any, g: Any, axis: Any = -1, *, temperature: Any = 1.0, arithmetic: Arithmetic = EXACT
) -> Reference:
    """(g_i - p_i sum g)/T; at the pivot (g rest - p G)/T, with the sums of the others' p and g."""
    a = arithmetic
    logp, g = np.asarray(logp), np.asarray(g)
    layout = Layout(logp.shape, axis)
    rows, t = layout.rows(logp), a.number(layout.temperature(temperature))
    kept, p = _kept_exp(rows, a)
    zero = a.number(0.0)
    cotangent = np.where(kept, a.number(np.where(kept, layout.rows(g), 0)), zero)
    pivot = _pivot(rows)
    rest = a.total(np.where(pivot, zero, p))

    def judged(terms: Array) -> tuple[Array, Array]:
        s, absolute = a.total(terms), a.total(np.abs(terms))
        return s, np.maximum(np.abs(s), absolute * _slack(logp.dtype, layout.n))

    s, size = judged(cotangent)
    others, others_size = judged(np.where(pivot, zero, cotangent))
    value = np.where(pivot, cotangent * rest - p * others, cotangent - p * s) / t
    lost = vanishing(p, logp)
    rest = rest + a.total(np.where(pivot, zero, lost))
    scale = (
        np.where(
            pivot,
            np.abs(cotangent) * rest + p * others_size,
            np.abs(cotangent) + p * size + lost * np.abs(s),
        )
        / t
    )
    if logp.dtype.itemsize == 8:  # as in softmax_vjp
        scale = np.maximum(scale, a.number(layout.n * 2.0**-1022))
    return Reference(layout.unrow(a.longdouble(value)), layout.unrow(a.longdouble(scale)))


def log_softmax_jvp(
    logp: Any, v: Any, axis: Any = -1, *, temperature: Any = 1.0, arithmetic: Arithmetic = EXACT
) -> Reference:
    """(w_i - S)/T with w = v - v_pivot, S = sum of p w.

    p = exp(log p) is itself rounded, so S is judged against sum |p w|.
    """
    a = arithmetic
    logp, v = np.asarray(logp), np.asarray(v)
    layout = Layout(logp.shape, axis)
    rows, t = layout.rows(logp), a.number(layout.temperature(temperature))
    kept, p = _kept_exp(rows, a)
    w, s, size = _pivoted(rows, p, kept, layout.rows(v), a)
    zero = a.number(0.0)
    size = size + a.total(vanishing(p, logp) * np.abs(w))
    value = np.where(kept, w - s, zero) / t
    scale = np.where(kept, np.abs(w) + size, zero) / t
    return Reference(layout.unrow(a.longdouble(value)), layout.unrow(a.longdouble(scale)))


def _kept_exp(logp: Array, a: Arithmetic) -> tuple[Array, Array]:
    kept = ~np.isneginf(logp.astype(np.float64))
    return kept, np.where(kept, a.exp(a.number(np.where(kept, logp, 0))), a.number(0.0))


def logsumexp_vjp(
    x: Any,
    g: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    keepdims: bool = False,
    arithmetic: Arithmetic = EXACT,
) -> Reference:
    """g softmax(x/T)/T; where p is nothing, g is nothing too."""
    a = arithmetic
    layout, z = _forward(x, axis, where, temperature, a)
    column = a.number(np.asarray(g).reshape(-1, 1))
    t = a.number(layout.temperature(temperature))
    value = a.longdouble(column * z.e / (1 + z.r) / t)
    lost = a.longdouble(vanishing(z.e, x) * np.abs(column) / t)
    return Reference(layout.unrow(value), layout.unrow(np.maximum(np.abs(value), lost)))


def logsumexp_jvp(
    x: Any,
    v: Any,
    axis: Any = -1,
    *,
    where: Any = None,
    temperature: Any = 1.0,
    keepdims: bool = False,
    arithmetic: Arithmetic = EXACT,
) -> Reference:
    """sum of p v, over T; judged against the sum of |p v|."""
    a = arithmetic
    layout, z = _forward(x, axis, where, temperature, a)
    t = a.number(layout.temperature(temperature))
    v = np.where(z.kept, a.number(np.where(z.kept, layout.rows(v), 0)), a.number(0.0))
    terms = v * z.e / (1 + z.r) / t
    value, scale = a.longdouble(a.total(terms)), a.longdouble(a.total(np.abs(terms)))
    lost = a.longdouble(a.total(vanishing(z.e, x) * np.abs(v)) / t)
    return _reduced(layout, keepdims, value, np.maximum(scale, lost))


def vanishing(e: Array, x: Any) -> Array:
    """Of exponentials that may count as nothing, because no number holds them, a multiple.

    A scale that has it in it leaves room for what they contribute. docs/numerics.md has the limits.
    """
    limit, digits = (-760, 54) if np.asarray(x).dtype.itemsize == 8 else (-125, 25)
    least = EXACT.mp.exp(limit) if e.dtype == object else np.exp(np.longdouble(limit))
    return np.where(e < least, e * 2**digits, e * 0)


def softmax_jacobian(p: Any, *, temperature: float = 1.0) -> Reference:
    """(diag(p) - p p^T)/T of a batch (..., n), with 1 - p of the pivot summed from the others."""
    p = np.asarray(p)
    rows = EXACT.number(p.reshape(-1, p.shape[-1]))
    value = (
        _diagonal(rows * _complement(p)) - rows[:, :, None] * rows[:, None, :] * _off(p)
    ) / temperature
    return _matrices(value, p)


def log_softmax_jacobian(logp: Any, *, temperature: float = 1.0) -> Reference:
    """(delta_ij - p_j)/T of a batch (..., n), with 1 - p of the pivot summed from the others.

    A class with p = 0 takes no part: its row and its column are 0.
    """
    logp = np.asarray(logp)
    kept, p = _kept_exp(logp.reshape(-1, logp.shape[-1]), EXACT)
    rows = p[:, None, :] * kept[:, :, None]
    value = (_diagonal(_complement(p) * kept) - rows * _off(logp)) / temperature
    return _matrices(value, logp)


def _complement(p: Array) -> Array:
    """1 - p, at the pivot the sum of the others."""
    p = p.reshape(-1, p.shape[-1])
    exact = p if p.dtype == object else EXACT.number(p)
    pivot = _pivot(p.astype(np.float64))
    rest = EXACT.total(np.where(pivot, EXACT.number(0.0), exact))
    return np.where(pivot, rest, 1 - exact)


def _diagonal(d: Array) -> Array:
    return d[:, :, None] * np.eye(d.shape[-1], dtype=int)


def _off(p: Array) -> Array:
    return 1 - np.eye(p.shape[-1], dtype=int)


def _matrices(value: Array, like: Array) -> Reference:
    value = EXACT.longdouble(value).reshape(*like.shape, like.shape[-1])
    return Reference(value, np.abs(value))


def softmax_solve(p: Any, b: Any, *, temperature: float = 1.0) -> Reference:
    """The least-squares solution of J v = b of least norm: b centred, over p, centred, times T."""
    p = np.asarray(p)
    kept = p != 0
    b = np.where(kept, EXACT.number(b), EXACT.number(0.0))
    value, size = _centred(b, np.abs(b), kept)
    divisor = EXACT.number(np.where(kept, p, 1))
    value, size = _centred(value / divisor, size / divisor, kept)
    return _times(value, size, temperature)


def log_softmax_solve(logp: Any, b: Any, *, temperature: float = 1.0) -> Reference:
    """The same for log_softmax: b less its part along p, centred, times T."""
    kept, p = _kept_exp(np.asarray(logp), EXACT)
    b = np.where(kept, EXACT.number(b), EXACT.number(0.0))
    squares = EXACT.total(p * p)
    value = b - p * EXACT.total(p * b) / squares
    size = np.abs(b) + p * EXACT.total(p * np.abs(b)) / squares
    return _times(*_centred(value, size, kept), temperature)


def _centred(value: Array, size: Array, kept: Array) -> tuple[Array, Array]:
    """A value less its mean over the entries kept, and the sum of the magnitudes."""
    count = kept.sum(axis=-1, keepdims=True)
    zero = EXACT.number(0.0)
    centred = np.where(kept, value - EXACT.total(value) / count, zero)
    return centred, np.where(kept, size + EXACT.total(size) / count, zero)


def _times(value: Array, size: Array, temperature: float) -> Reference:
    return Reference(EXACT.longdouble(value * temperature), EXACT.longdouble(size * temperature))
