"""Mistakes of a derivative, known by what they return.

Each is a formula; a function that agrees with it where the right one is far off has made it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..bench.peers import as_numpy
from ._arrays import operands
from ._audit import Audit
from ._backward import small_component
from ._profile import SMALL
from ._subject import ShapeError

Array = Any
_Formula = Callable[[Array, Array], Array]


def _total(a: Array) -> Array:
    return a.sum(axis=-1, keepdims=True)


_SOFTMAX: list[tuple[str, _Formula, str]] = [
    ("wrong_sign", lambda p, g: p * (_total(p * g) - g), "-p (g - sum p g)"),
    ("wrong_sign", lambda p, g: p * (g + _total(p * g)), "p (g + sum p g)"),
    ("p_minus_g", lambda p, g: p - g, "p - g"),
    ("p_minus_g", lambda p, g: g - p, "g - p"),
    ("p_minus_g", lambda p, g: (p - g) / len(p), "(p - g) / rows"),
    ("elementwise", lambda p, g: g * p * (1 - p), "g p (1 - p)"),
    ("diagonal_only", lambda p, g: p * (1 - p), "p (1 - p), without g"),
    ("diagonal_only", lambda p, g: g * p * (1 - p), "diag(J) g = g p (1 - p)"),
    ("missing_sum", lambda p, g: g * p, "g p"),
    ("missing_sum", lambda p, g: p * (g - g.sum(axis=-1, keepdims=True)), "p (g - sum g)"),
    ("sum_over_batch", lambda p, g: p * (g - (p * g).sum()), "p (g - sum of p g over all)"),
    ("sum_over_batch", lambda p, g: p * (g - (p * g).sum(0)), "p (g - sum of p g over the rows)"),
    ("sum_over_batch", lambda p, g: p * (g - (p * g).sum() / len(p)), "p (g - mean over the rows)"),
    ("sum_over_batch", lambda p, g: _each(p, g).sum(0) + 0 * p, "summed over the rows"),
    ("sum_over_batch", lambda p, g: _each(p, g).mean(0) + 0 * p, "averaged over the rows"),
]
_LOG_SOFTMAX: list[tuple[str, _Formula, str]] = [
    ("wrong_sign", lambda p, g: p * _total(g) - g, "p sum g - g"),
    ("wrong_sign", lambda p, g: g + p * _total(g), "g + p sum g"),
    ("p_minus_g", lambda p, g: p - g, "p - g"),
    ("p_minus_g", lambda p, g: (p - g) / len(p), "(p - g) / rows"),
    ("elementwise", lambda p, g: g * (1 - p), "g (1 - p)"),
    ("diagonal_only", lambda p, g: 1 - p + 0 * g, "1 - p, without g"),
    ("diagonal_only", lambda p, g: g * (1 - p), "diag(J) g = g (1 - p)"),
    ("missing_sum", lambda p, g: g, "g"),
    ("missing_sum", lambda p, g: g - p, "g - p"),
    ("sum_over_batch", lambda p, g: g - p * g.sum(), "g - p (sum of g over all)"),
    ("sum_over_batch", lambda p, g: g - p * g.sum(0), "g - p (sum of g over the rows)"),
    ("sum_over_batch", lambda p, g: g - p * g.sum() / len(p), "g - p (mean over the rows)"),
]


def _each(p: Array, g: Array) -> Array:
    return p * (g - _total(p * g))


def recognise(audit: Audit) -> None:
    logarithmic = audit.subject.kind == "log_softmax_vjp"
    x = np.random.default_rng(20).normal(0, 2, (4, 5))
    first, g = operands(audit, x)
    p = np.exp(first) if logarithmic else first
    got = audit.answer(first, g)
    if got is None:
        _one_for_all(audit, p, g)
        _without_keepdims(audit)
        return
    right = audit.exact(first, g).value.astype(np.float64)
    size = np.max(np.abs(right))
    if np.max(np.abs(got - right)) < 1e-4 * size:
        if audit.subject.way.by_row:
            _without_keepdims(audit)
        _unshifted(audit)
        _wrong_axis(audit)
        return
    for name, formula, shown in _LOG_SOFTMAX if logarithmic else _SOFTMAX:
        if np.allclose(got, formula(p, g), rtol=1e-4, atol=1e-5 * size):
            audit.accuse(name, f"returns {shown}")
    if not audit.evidence:
        _by_rows(audit)


def _one_for_all(audit: Audit, p: Array, g: Array) -> None:
    """One result for all rows."""
    if not isinstance(audit.refused, ShapeError):
        return
    got = np.asarray(as_numpy(audit.subject.returned), np.float64).squeeze()
    logarithmic = audit.subject.kind == "log_softmax_vjp"
    each = g - p * _total(g) if logarithmic else _each(p, g)
    for reduced, told in ((each.sum(0), "summed"), (each.mean(0), "averaged")):
        if got.shape == reduced.shape and np.allclose(got, reduced, rtol=1e-4):
            audit.accuse("sum_over_batch", f"returns one row, {told} over the rows")
            return


def _unshifted(audit: Audit) -> None:
    """The class with nearly all of p gets 0, or noise of the size of g's last place."""
    for dtype, distance in (("float32", 20.0), ("float64", 40.0)):
        first, g = small_component(audit, distance, dtype)
        got = audit.answer(first, g)
        if got is None:
            continue
        wanted = float(audit.exact(first, g).value[0, 0])
        at = float(got[0, 0])
        noise = 4 * float(np.finfo(dtype).eps)
        if abs(at - wanted) > 0.5 * abs(wanted) and abs(at) <= noise:
            told = f"{at:.2g} where {wanted:.2g} is right, in {dtype} where p is near 1"
            audit.accuse("unshifted", told, topic=SMALL)
            return


def _wrong_axis(audit: Audit) -> None:
    """Right along the last axis, and along another one too where the first is asked for."""
    if not audit.subject.has_axis:
        return
    x = np.random.default_rng(21).normal(0, 2, (4, 5))
    first, g = operands(audit, x, 0)
    got = audit.answer(first, g, axis=0)
    last = audit.answer(first, g, axis=-1)
    if got is not None and last is not None and np.array_equal(got, last):
        audit.accuse("wrong_axis", "sums over axis 1 where axis 0 is asked for")


def _without_keepdims(audit: Audit) -> None:
    """What a square shows, and no other shape: the sum of a row goes to a column."""
    x = np.random.default_rng(23).normal(0, 2, (4, 4))
    first, g = operands(audit, x)
    got = audit.answer(first, g, as_they_are=True)
    mistaken = first * (g - (first * g).sum(-1))
    if audit.subject.kind == "log_softmax_vjp":
        mistaken = g - np.exp(first) * g.sum(-1)
    if got is not None and np.allclose(got, mistaken, rtol=1e-4):
        audit.accuse("wrong_axis", "the sum lacks keepdims: that of a row goes to a column")


def _by_rows(audit: Audit) -> None:
    """Right for one row, and another result beside others."""
    first, g = operands(audit, np.random.default_rng(22).normal(0, 2, (4, 5)))
    together, alone = audit.answer(first, g), audit.answer(first[:1], g[:1])
    if together is None or alone is None:
        return
    right = audit.exact(first[:1], g[:1]).value.astype(np.float64)
    if np.allclose(alone, right, rtol=1e-4) and not np.allclose(together[:1], right, rtol=1e-4):
        audit.accuse("sum_over_batch", "right for a row alone, another result beside others")
