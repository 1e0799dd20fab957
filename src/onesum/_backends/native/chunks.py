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
