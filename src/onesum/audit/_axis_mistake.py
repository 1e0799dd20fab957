"""A sum along another axis than was asked for, known by what sums to one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from . import _exact
from ._audit import Audit
from ._compared import close

Array = Any

SQUARE = (4, 4)
ROUGH = 0.02  # sums of p in 16 bits; those along another axis are off by more


def wrong_axis(audit: Audit) -> None:
    """Of a function without an axis, rows; of one that takes one row, whether it meant several."""
    subject = audit.subject
    rng = np.random.default_rng(10)
    for shape in (SQUARE, (3, 4, 5)) if subject.has_axis else (SQUARE,):
        if len(shape) > 2 and subject.kind == "cross_entropy":
            continue
        x = rng.normal(0, 1, shape)
        for axis in range(len(shape)) if subject.has_axis else (len(shape) - 1,):
            got = audit.answer(x, axis=axis, as_they_are=subject.way.by_row)
            if got is None:
                continue
            # A function of lists sums rows too, where it is given them; it is not meant to be.
            lists = subject.way.by_row and subject.kind != "logsumexp"
            if not lists and (other := _summed(audit, x, got, axis)):
                asked = f"axis {axis} of {shape}" if subject.has_axis else "the last axis"
                audit.accuse("wrong_axis", f"sums over {other} where {asked} is asked for")
                return
            if shape == SQUARE and axis and any(close(got, a) for a in _spread(audit, x, axis)):
                told = "without keepdims a row's maximum or sum goes to a column"
                audit.accuse("wrong_axis", told)
                return


def _summed(audit: Audit, x: Array, got: Array, axis: int) -> str:
    """The axis over which it sums, if that is another."""
    for other in [*(a for a in range(x.ndim) if a != axis), None]:
        if audit.exact_kind == "logsumexp":
            wanted = _exact.rounded(audit.exact(x, axis=other))
            found = close(got, np.broadcast_to(wanted, got.shape) if other is None else wanted)
        else:
            with np.errstate(all="ignore"):
                p = got if audit.exact_kind == "softmax" else np.exp(got)
            elsewhere = _is_one(p.sum(axis=other)) and not _is_one(p.sum(axis=axis))
            found = elsewhere and bool(np.all(p >= 0))
        if found:
            return "all axes" if other is None else f"axis {other}"
    return ""


def _is_one(total: Array) -> bool:
    return bool(np.all(np.abs(total - 1) < ROUGH))


def _spread(audit: Audit, x: Array, axis: int) -> Iterator[Array]:
    """What comes out of a square where the maximum, the sum, or both are without keepdims."""
    if audit.exact_kind == "logsumexp":
        return
    logarithms = [x - np.log(np.exp(x).sum(axis=axis))]  # x - logsumexp(x)
    for kept, summed in ((True, False), (False, True), (False, False)):
        d = x - x.max(axis=axis, keepdims=kept)
        logarithms.append(d - np.log(np.exp(d).sum(axis=axis, keepdims=summed)))
    for logarithm in logarithms:
        yield np.exp(logarithm) if audit.exact_kind == "softmax" else logarithm
