"""A cross entropy: what is asked of a loss and of nothing else.

What is asked of it as of the logarithm of softmax is where that is.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from . import _exact
from ._audit import Audit
from ._long import LONG, long_row
from ._profile import SMALL
from ._subject import NoAnswerError
from ._way import Way

Array = Any

TARGET = np.array([0, 2, 1, 3])


def of_a_mean(audit: Audit) -> None:
    """Of a function that returns one number for all rows: what the rows do to each other."""
    x = np.random.default_rng(14).normal(0, 2, (4, 4))
    alone, together = _alone(audit, x), _loss(audit, x)
    if alone is None or together is None:
        return
    for axis in (-1, 0, None):
        losses = -_exact.rounded(audit.exact(x, axis=axis))[np.arange(4), TARGET]
        if _agrees(together, losses.mean(), losses.sum()):
            if axis != -1:
                which = "all axes" if axis is None else f"axis {axis}"
                told = f"sums over {which} where the last axis is asked for"
                audit.accuse("wrong_axis", told)
            break
    if not _agrees(together, alone.mean(), alone.sum()):
        if not audit.evidence:
            told = f"the loss of 4 rows is {together:.4g}, the mean of theirs {alone.mean():.4g}"
            audit.accuse("depends_on_batch", told)
        return
    x[0] += 2000
    alone, together = _alone(audit, x), _loss(audit, x)
    if alone is None or together is None or not np.all(np.isfinite(alone)):
        return
    if not np.isfinite(together):
        told = f"the loss is {together} where one row of 4 is 2000 larger"
        audit.accuse("global_max", told)


def gradients(audit: Audit) -> None:
    """What torch or JAX derive for the losses, p - y: also of the likeliest class, where y is 1."""
    subject = audit.subject
    if subject.library not in ("torch", "jax") or subject.way != Way(subject.way.keyword):
        return
    ordinary = np.random.default_rng(8).normal(0, 3, (1, 6))
    for case, topic, x in (
        ("ordinary logits", "", ordinary),
        ("logits [40, 0], target 0", SMALL, np.array([[40.0, 0.0]])),
    ):
        try:
            got = subject.derivative(x, np.array([0]), g=np.ones(() if subject.mean else 1))
        except NoAnswerError as refused:
            audit.note("gradient", case, False, str(refused))
            continue
        p = _exact.forward("softmax", x).value
        value = p - np.array([Decimal(int(i == 0)) for i in range(p.size)])
        # Of the usual formula the terms are p and y, of whose size the difference may not be.
        terms = audit.profile.by_terms and topic not in audit.profile.remarks
        wanted = _exact.Exact(value, np.maximum(p, abs(value)) if terms else abs(value))
        audit.compare("gradient", case, got, wanted, x.dtype, topic=topic, more=1.0)


def long_rows(audit: Audit) -> None:
    """A million classes, and the losses of a few of them as the target."""
    for dtype in ("float32", "float64"):
        few, places, counts = long_row(dtype)
        case = f"{dtype}, {LONG:,} classes"
        x = np.ascontiguousarray(few[:, places])
        targets = np.array([int(few.argmax()), 0, 1])
        try:
            got = -np.array([np.ravel(audit.subject.losses(x, t[None]))[0] for t in targets])
        except NoAnswerError as refused:
            audit.note("long rows", case, False, str(refused))
            continue
        wanted = _exact.forward("log_softmax", few, counts=counts)
        some = _exact.Exact(wanted.value[0, targets], wanted.scale[0, targets])
        audit.compare("long rows", case, got, some, few.dtype)


def _loss(audit: Audit, x: Array) -> Any:
    try:
        return float(audit.subject.losses(x.copy(), TARGET))
    except NoAnswerError:
        return None


def _alone(audit: Audit, x: Array) -> Array | None:
    rows = audit.answer(x)
    return None if rows is None else -rows[np.arange(4), TARGET]


def _agrees(got: Any, *wanted: Any) -> bool:
    return any(bool(np.allclose(got, w, rtol=1e-4)) for w in wanted)
