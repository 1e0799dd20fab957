"""Chunks of the class axis, compiled: their normalizer, and what all make of a chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from .functions import as_core, computed_in, from_core, rounded, row_temperature

if TYPE_CHECKING:
    from .functions import Array, Temperature

Words = tuple[Any, Any]


def normalizer(
    x: Array, axis: int, where: Array | None, temperature: Temperature
) -> tuple[Array, Array, Array]:
    """As of the reference: m is NaN for a NaN, r for several +inf; of nothing but -inf r is 0."""
    t, bits = row_temperature(temperature, axis), as_core(x, x.dtype)
    if where is None:
        m, r, r_lo = _core.normalizer(bits, t, axes=[axis, (), (), (), ()])
    else:
        m, r, r_lo = _core.normalizer_where(bits, where, t, axes=[axis, axis, (), (), (), ()])
    m = from_core(m, x.dtype, None).astype(np.float64)
    if np.all(np.isfinite(m) & np.isfinite(r)):
        return m, r, r_lo
    m = np.where(np.isnan(r) & (m != np.inf), np.nan, m)
    if np.any(np.isnan(r) & (m == np.inf)):  # for several +inf, or for NaN beside one
        unknown = np.isnan(x) if where is None else np.isnan(x) & where
        m = np.where(np.any(unknown, axis=axis), np.nan, m)
    return m, r, np.where(np.isfinite(r), r_lo, 0.0)


# Elements that are compared at one time, and no fewer classes than these.
_AT_A_TIME, _CLASSES = 1 << 18, 64


def pivot_index(x: Array, axis: int, where: Array | None, m: Array) -> Array:
    """m is exactly a logit, so that nothing of the size of x is needed to find it."""
    nothing, n = np.full(m.shape, -1), x.shape[axis]
    if n == 0:
        return nothing
    if where is None and x.dtype in (np.float32, np.float64):  # whose argmax reads memory as it is
        return np.where(m == -np.inf, nothing, np.argmax(x, axis=axis))
    wide = np.dtype(np.float64 if x.dtype.itemsize == 8 else np.float32)
    index, top = nothing, np.expand_dims(m, axis).astype(wide)
    any_nan, step = bool(np.any(np.isnan(m))), max(_CLASSES, _AT_A_TIME // max(m.size, 1))
    for start in range(0, n, step):
        some = (slice(None),) * axis + (slice(start, start + step),)
        part = x[some].astype(wide, copy=False)
        at = part == top
        if any_nan:
            at |= np.isnan(part) & np.isnan(top)
        if where is not None:
            at &= where[some]
        first, found = np.argmax(at, axis=axis), np.any(at, axis=axis)
        index = np.where((index < 0) & found, start + first, index)
    return np.where(m == -np.inf, nothing, index)


def shifted_exp(
    x: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    m: Array,
    scale: Words,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    kernel = _core.shifted_exp if where is None else _core.shifted_exp_where
    return _shifted(kernel, x, axis, where, temperature, m, scale, dtype, out)


def shifted_logits(
    x: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    m: Array,
    log_rest: Words,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    kernel = _core.shifted_logits if where is None else _core.shifted_logits_where
    return _shifted(kernel, x, axis, where, temperature, m, log_rest, dtype, out)


def _shifted(
    kernel: np.ufunc,
    x: Array,
    axis: int,
    where: Array | None,
    temperature: Temperature,
    m: Array,
    words: Words,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    wide = computed_in(x, dtype)
    if wide != dtype:
        result = _shifted(kernel, x, axis, where, temperature, m, words, wide, None)
        return rounded(result, dtype, out)
    if out is None and axis != x.ndim - 1:
        out = np.empty_like(x, dtype=wide, subok=False)  # in the layout of x
    with np.errstate(all="ignore"):  # another chunk's maximum may be outside a narrower type
        tops = as_core(np.squeeze(m, axis).astype(wide), wide)
    arrays = (as_core(x.astype(wide, copy=False), wide), *(() if where is None else (where,)))
    rows = (tops, *(np.squeeze(word, axis) for word in words), row_temperature(temperature, axis))
    room = None if out is None else as_core(out, wide)
    return from_core(kernel(*arrays, *rows, room, axis=axis), wide, out)
