"""What a function should have returned: in decimal numbers of 60 digits, whatever is installed.

The formulas are those of docs/derivation.md. A row may be given by its different values and how
often it has each, so that one of a million classes costs no more than there are values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any, NamedTuple

import numpy as np

from .._library import dtype_name

Array = Any

EXACT = Context(prec=60, Emin=MIN_EMIN, Emax=MAX_EMAX)
_ZERO, _ONE = Decimal(0), Decimal(1)
_SERIES = Decimal("1e-20")  # below this three terms of log(1 + r) have 60 digits
# The smallest normal number is 2 to the first, the digits after the point are the second.
_FORMATS = {"float16": (-14, 10), "bfloat16": (-126, 7), "float32": (-126, 23)}
_FLOAT64 = (-1022, 52)


class Exact(NamedTuple):
    """The values wanted and, beside each, the magnitude in whose ulps its error is counted."""

    value: Array
    scale: Array


def forward(
    kind: str, x: Array, axis: int | tuple[int, ...] | None = -1, counts: Array | None = None
) -> Exact:
    """softmax, log_softmax or logsumexp of finite logits, or of ones that are -inf. With counts
    each class of a row stands for so many equal ones.
    """
    rows, back = _rows(x, axis)
    pairs = [_FORWARD[kind](_Row(row, counts)) for row in rows]
    value, scale = (_array([pair[i] for pair in pairs]) for i in (0, 1))
    if kind == "logsumexp":
        each = (np.asarray(back(a[:, None])[..., 0], dtype=object) for a in (value, scale))
        return Exact(*each)
    return Exact(back(value), back(scale))


def backward(
    kind: str,
    first: Array,
    g: Array,
    axis: int | tuple[int, ...] | None = -1,
    counts: Array | None = None,
) -> Exact:
    """softmax_vjp of p and g, log_softmax_vjp of log p and g: what the most probable class gets is
    taken from the others, since its own p has lost the digits in which it differs from one.
    """
    rows, back = _rows(first, axis)
    cotangents, _ = _rows(g, axis)
    formula = _BACKWARD[kind]
    pairs = [formula(_Row(a, counts), b) for a, b in zip(rows, cotangents, strict=True)]
    value, scale = (_array([pair[i] for pair in pairs]) for i in (0, 1))
    return Exact(back(value), back(scale))


def of(kind: str, *arrays: Array, **options: Any) -> Exact:
    """Of one array as it is, or of one and a cotangent."""
    return (backward if len(arrays) > 1 else forward)(kind, *arrays, **options)


def by_terms(kind: str, wanted: Exact, arrays: tuple[Array, ...], axis: int) -> Exact:
    """The same, with the size of the terms of the usual formulas for the magnitude."""
    if kind == "softmax":
        return wanted
    if len(arrays) == 1:
        scale = np.maximum(abs(wanted.scale.astype(np.float64)), 1.0)
    else:
        first, g = (a.astype(np.float64) for a in arrays)
        size = abs(g)
        if kind == "softmax_vjp":
            scale = first * (size + (first * size).sum(axis=axis, keepdims=True))
        else:
            scale = size + np.exp(first) * size.sum(axis=axis, keepdims=True)
    magnitudes = [
        max(Decimal(s), abs(w)) for s, w in zip(scale.flat, wanted.scale.flat, strict=True)
    ]
    return Exact(np.ravel(wanted.value), _array(magnitudes))


def ulps(got: Array, wanted: Exact, dtype: Any, floor: bool = True) -> float:
    """The largest error, in ulps of this dtype: inf where what should be finite is not, or NaN.

    Without a floor the subnormal numbers have ulps too, of the size that normal ones would have.
    """
    least, digits = _FORMATS.get(dtype_name(dtype), _FLOAT64)
    worst = 0.0
    flat = np.asarray(got, dtype=np.float64).reshape(-1)
    values, scales = np.ravel(wanted.value), np.ravel(wanted.scale)
    for number, value, scale in zip(flat, values, scales, strict=True):
        if not np.isfinite(number):
            if not (value.is_infinite() and float(value) == number):
                return float("inf")
            continue
        error = abs(EXACT.subtract(Decimal(float(number)), value))
        if error:
            if value.is_infinite():
                return float("inf")
            exponent = max(_exponent(abs(scale)), least) if floor else _exponent(abs(scale))
            worst = max(worst, float(EXACT.divide(error, EXACT.power(2, exponent - digits))))
    return worst


def rounded(exact: Exact, dtype: Any = np.float64) -> Array:
    return exact.value.astype(np.float64).astype(dtype)


def _exponent(value: Decimal) -> int:
    """That of the power of two below."""
    if not value:
        return -(10**6)
    nearest = float(value)
    if np.isfinite(nearest) and abs(nearest) >= 2.0**-1000:
        return int(np.frexp(nearest)[1]) - 1
    return int(EXACT.divide(EXACT.ln(value), EXACT.ln(Decimal(2))).to_integral_value("ROUND_FLOOR"))


def _rows(
    x: Array, axis: int | tuple[int, ...] | None
) -> tuple[Iterator[list[Decimal]], Callable[[Array], Array]]:
    """Rows of exact numbers, and the way back from rows to the shape of x."""
    a = np.asarray(x)
    a = a if a.dtype.kind in "iub" else a.astype(np.float64)  # which holds all narrower ones
    axes = tuple(range(a.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    last = tuple(range(a.ndim - len(axes), a.ndim))
    moved = np.moveaxis(a, axes, last)
    classes = moved.shape[last[0] :]
    table = moved.reshape(-1, int(np.prod(classes)))

    def back(rows: Array) -> Array:
        shape = moved.shape[: last[0]]
        if rows.shape[1:] == (1,) and table.shape[1] != 1:  # one number a row
            return rows.reshape(*shape, 1)
        return np.moveaxis(rows.reshape(*shape, *classes), last, axes)

    return ([Decimal(v) for v in row.tolist()] for row in table), back


def _array(values: list[Any]) -> Array:
    return np.array(values, dtype=object)


class _Row:
    """Exact numbers, each with how often it is there, and the place of the first largest."""

    def __init__(self, values: list[Decimal], counts: Array | None) -> None:
        self.values = values
        self.counts = [1] * len(values) if counts is None else [int(c) for c in counts]
        self.m = max(values)
        self.pivot = values.index(self.m)

    def exp(self, shift: Decimal) -> list[Decimal]:
        return [
            _ZERO if v.is_infinite() else EXACT.exp(EXACT.subtract(v, shift)) for v in self.values
        ]

    def sum(self, terms: list[Decimal], others: bool = False) -> Decimal:
        """Of all classes, or of all but the pivot."""
        total = _ZERO
        for i, (term, count) in enumerate(zip(terms, self.counts, strict=True)):
            number = count - (others and i == self.pivot)
            total = EXACT.add(total, EXACT.multiply(term, number))
        return total


def _log1p(r: Decimal) -> Decimal:
    if r > _SERIES:
        return EXACT.ln(EXACT.add(_ONE, r))
    square = EXACT.multiply(r, r)
    cube = EXACT.multiply(square, r)
    less = EXACT.subtract(EXACT.divide(cube, Decimal(3)), EXACT.divide(square, Decimal(2)))
    return EXACT.add(r, less)


def _products(a: list[Decimal], b: list[Decimal]) -> list[Decimal]:
    return [EXACT.multiply(x, y) for x, y in zip(a, b, strict=True)]


def _softmax(row: _Row) -> Any:
    e = row.exp(row.m)
    total = EXACT.add(_ONE, row.sum(e, others=True))
    p = [EXACT.divide(v, total) for v in e]
    return p, p


def _log_softmax(row: _Row) -> Any:
    log = _log1p(row.sum(row.exp(row.m), others=True))
    value = [
        v if v.is_infinite() else EXACT.subtract(EXACT.subtract(v, row.m), log) for v in row.values
    ]
    return value, value


def _logsumexp(row: _Row) -> Any:
    value = EXACT.add(row.m, _log1p(row.sum(row.exp(row.m), others=True)))
    return value, max(abs(row.m), abs(value))


def _softmax_vjp(row: _Row, g: list[Decimal]) -> Any:
    p = row.values
    w = [EXACT.subtract(v, g[row.pivot]) for v in g]
    terms = _products(p, w)
    total, size = row.sum(terms), row.sum([abs(t) for t in terms])
    less = [EXACT.subtract(v, total) for v in w]
    return _products(p, less), _products(p, [EXACT.add(abs(v), size) for v in less])


def _log_softmax_vjp(row: _Row, g: list[Decimal]) -> Any:
    p = row.exp(_ZERO)
    magnitudes = [abs(v) for v in g]
    value, scale = [], []
    sums = {
        own: (
            row.sum(p, others=True) if own else _ONE,
            row.sum(g, others=own),
            row.sum(magnitudes, others=own),
        )
        for own in (False, True)
    }
    for i, (a, b) in enumerate(zip(p, g, strict=True)):
        kept, total, size = sums[i == row.pivot]
        value.append(EXACT.subtract(EXACT.multiply(b, kept), EXACT.multiply(a, total)))
        scale.append(EXACT.add(EXACT.multiply(abs(b), kept), EXACT.multiply(a, size)))
    return value, scale


_FORWARD = {"softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp}
_BACKWARD = {"softmax_vjp": _softmax_vjp, "log_softmax_vjp": _log_softmax_vjp}
