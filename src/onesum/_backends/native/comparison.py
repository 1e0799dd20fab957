# mypy: allow-untyped-calls
"""Two rows of logits compared, compiled: the core adds up over the classes, in float64.

The core's p and q are exp(x - m - log1p(r)), with the r of its float32 exponentials where logits
are stored in 32 or 16 bits. So their sums over the classes, P and Q, are 1 but for some 1e-8, and
what the divergences of p / P and q / Q are follows from these: with u = Q / P - 1, KL is the sum of
F(p, q) over P less u - log1p(u). Of Jensen-Shannon's that is so to the second order in log P and
log Q, by its derivatives: the sum of p log(p / m) / 2, m = (p + q) / 2, and of q log(q / m) / 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from ..compared import Compared
from .chunks import normalizer
from .functions import as_core

if TYPE_CHECKING:
    from .functions import Array


def divergences(x: Array, y: Array, axis: int, dtype: np.dtype[Any]) -> Compared:
    shape = tuple(n for i, n in enumerate(x.shape) if i != axis)
    x, y = _rows(x, axis, dtype), _rows(y, axis, dtype)
    (top_x, r_x, _), (top_y, r_y, _) = normalizer(x, 1, None, 1.0), normalizer(y, 1, None, 1.0)
    known = np.stack([top_x, top_y, np.log1p(r_x), np.log1p(r_y)], axis=1)
    sums = np.empty((len(x), 6))
    _core._compare(as_core(x, dtype), as_core(y, dtype), known, sums)
    with np.errstate(all="ignore"):
        result = _of_sums(known, *sums.T)
    unusual = np.flatnonzero(~np.isfinite(known).all(axis=1))
    if unusual.size:
        from .. import reference

        others = reference.divergences(x[unusual], y[unusual], 1, dtype)
        for values, exact in zip(result, others, strict=True):
            values[unusual] = exact
    return Compared(*(np.reshape(values, shape) for values in result))


def _rows(a: Array, axis: int, dtype: np.dtype[Any]) -> Array:
    """A matrix with the classes last, in this type."""
    a = np.moveaxis(a, axis, -1)
    return np.ascontiguousarray(a.reshape(-1, a.shape[-1]), dtype=dtype)


def _of_sums(
    known: Array, kl: Array, reverse: Array, js: Array, p: Array, change: Array, skew: Array
) -> tuple[Array, ...]:
    """From the sums of F(p, q), F(q, p), what Jensen-Shannon's has, p, q - p, and the difference
    of those derivatives, doubled.
    """
    q, log_p, apart = p + change, np.log(p), np.log1p(change / p)
    log_q = log_p + apart
    js = js * (1.0 - (log_p + log_q) / 2.0) + apart * skew / 4.0 + np.square(apart) / 8.0
    return (
        np.maximum(kl / p - _less_log1p(change / p), 0.0),
        np.maximum(reverse / q - _less_log1p(-change / q), 0.0),
        np.clip(js, 0.0, np.log(2.0)),
        known[:, 0].copy(),
        known[:, 1].copy(),
        known[:, 2] + log_p,
        known[:, 3] + log_q,
    )


def _less_log1p(u: Array) -> Array:
    """u - log1p(u)."""
    series = u * u * (0.5 - u * (1.0 / 3.0 - u / 4.0))
    return np.where(np.abs(u) < 1e-4, series, u - np.log1p(u))
