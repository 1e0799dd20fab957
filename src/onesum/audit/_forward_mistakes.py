"""Mistakes of a softmax, its logarithm or its sum, known by what they return.

Every one has logits made for it, on which the mistaken formula gives something that rounding
cannot: a function is accused only if it gives that too. Those of the sum and of the difference are
in _sum_mistakes.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _exact
from ._audit import Audit
from ._compared import close, right, shown
from ._sum_mistakes import epsilon_added, half_precision_sum, integer_overflow

Array = Any

FLOOR_AT = (-650.0, -690.0)  # of which p is below 1e-280: a bound above that makes both equal


def recognise(audit: Audit) -> None:
    """In the order of certainty: the later ones are looked for where the earlier do not explain."""
    _wrong_axis(audit)
    _shifts(audit)
    _log_of_softmax(audit)
    _floor(audit)
    _upper_bound(audit)
    epsilon_added(audit)
    half_precision_sum(audit)
    if not _accused(audit, "no_max_shift"):  # exp overflows sooner where integers become halves
        integer_overflow(audit)
    _batch(audit)
    _not_normalized(audit)


def _of_kind(kind: str, p: Array) -> Array:
    with np.errstate(divide="ignore"):
        return p if kind == "softmax" else np.log(p)


def _accused(audit: Audit, *names: str) -> bool:
    return any(e.mistake in names for e in audit.evidence)


def _wrong_axis(audit: Audit) -> None:
    kind = audit.exact_kind
    if audit.subject.kind == "cross_entropy":
        return
    rng = np.random.default_rng(10)
    for shape in ((4, 4), (3, 4, 5)):
        x = rng.normal(0, 1, shape)
        for axis in range(len(shape)) if audit.subject.has_axis else (len(shape) - 1,):
            got = audit.answer(x, axis=axis)
            if got is None:
                continue
            others: list[Any] = [a for a in range(len(shape)) if a != axis]
            for other in [*others, None]:
                wanted = _exact.rounded(audit.exact(x, axis=other))
                if kind == "logsumexp" and other is None:
                    wanted = np.broadcast_to(wanted, got.shape)
                if close(got, wanted):
                    which = "all axes" if other is None else f"axis {other}"
                    asked = f"axis {axis} of {shape}" if audit.subject.has_axis else "the last axis"
                    audit.accuse("wrong_axis", f"sums over {which} where {asked} is asked for")
                    return
            if kind != "logsumexp" and len(set(shape)) == 1:
                e = np.exp(x - x.max(axis=axis, keepdims=True))
                mistaken = _of_kind(kind, e / e.sum(axis=axis))
                if axis and close(got, mistaken):
                    audit.accuse(
                        "wrong_axis", "the sum lacks keepdims: p[i, j] is over the sum of j"
                    )
                    return


def _shifts(audit: Audit) -> None:
    """Rows that only a shift by their own maximum brings to a result."""
    alone = np.array([[1000.0, 999.0, 998.0]])
    mean = np.array([[3000.0, 0.0, 0.0]])  # whose mean is no maximum
    lower = -alone
    small = np.array([[1.0, 0.0, -1.0]])
    if not right(audit, small, audit.answer(small)):
        return
    for x in (alone, mean, lower):
        got = audit.answer(x)
        # The largest one: of others the logarithm of softmax is -inf where the shift is right.
        if got is not None and not np.isfinite(got.reshape(-1)[0]):
            audit.accuse("no_max_shift", f"returns {shown(got)} for {shown(x)}")
            return
        # NaN made 0, or a bound that keeps exp finite, is told apart by the sum of p.
        if got is not None and audit.exact_kind == "softmax" and not np.any(got):
            audit.accuse("no_max_shift", f"returns {shown(got)} for {shown(x)}")
            return
    both = np.array([[2000.0, 1999.0, 1998.0], [1.0, 0.0, -1.0]])
    got = audit.answer(both)
    if got is not None and right(audit, both[:1], got[:1]) and not np.all(np.isfinite(got[1])):
        audit.accuse(
            "global_max", f"returns {shown(got[1:])} for a row beside one that is 2000 larger"
        )
    elif got is not None and audit.exact_kind == "softmax" and not np.any(got[1]):
        audit.accuse("global_max", "a row beside one that is 2000 larger gets 0 everywhere")


def _log_of_softmax(audit: Audit) -> None:
    if audit.exact_kind != "log_softmax":
        return
    x = np.array([[0.0, -800.0]])
    got = audit.answer(x)
    if got is not None and got[0, 0] == 0 and np.isneginf(got[0, 1]):
        loss = audit.subject.kind == "cross_entropy"
        audit.accuse(
            "log_of_softmax", f"{'inf' if loss else '-inf'} where {800 * (loss * 2 - 1)} is right"
        )


def _floor(audit: Audit) -> None:
    """A smallest p: a bound, or something added."""
    kind = audit.exact_kind
    if kind == "logsumexp":
        return
    at = (*FLOOR_AT, -5000.0) if kind == "log_softmax" else FLOOR_AT
    least = [audit.answer(np.array([[0.0, d]])) for d in at]
    if any(a is None for a in least):
        return
    low, lower = (a[0, 1] for a in least[-2:] if a is not None)
    if not (np.isfinite(low) and np.isfinite(lower)) or abs(low - lower) > 1e-6 * abs(low):
        return
    floor = low if kind == "log_softmax" else np.log(low) if low > 0 else -np.inf
    if not -640.0 < floor < -1.0:
        return
    there, beside = (
        audit.answer(np.array([[0.0, floor]])),
        audit.answer(np.array([[0.0, -690, -1]])),
    )
    if there is None or beside is None:
        return
    logs = beside[0] if kind == "log_softmax" else np.log(beside[0])
    if abs(logs[2] - logs[0] + 1.0) > 1e-3:
        return  # what is above the floor is wrong too: it is something else
    # Where p is the floor, a bound gives the floor and a sum twice as much.
    log = there[0, 1] if kind == "log_softmax" else np.log(there[0, 1])
    told = f"p is never below {np.exp(floor):.3g}"
    if abs(log - floor - np.log(2)) < 0.2:
        audit.accuse("epsilon_added", f"{told}, and twice that where that is right")
    elif abs(log - floor) < 0.2:
        audit.accuse("clipped", f"{told}, whatever the logits")
    else:
        return
    if kind == "log_softmax":
        audit.accuse("log_of_softmax", f"{told}: its logarithm was taken")


def _upper_bound(audit: Audit) -> None:
    """Logits that are too large for a bound become equal; so does what the sum is made of."""
    x = np.array([[1000.0, 980.0]])
    small = np.array([[0.5, 0.0]])
    got = audit.answer(x)
    if got is None or right(audit, x, got) or not right(audit, small, audit.answer(small)):
        return
    kind = audit.exact_kind
    if kind == "logsumexp":
        other = audit.answer(x + 1000)
        bounded = other is not None and np.isfinite(got[0]) and got[0] == other[0]
        if bounded and got[0] < 990:
            audit.accuse("clipped", f"{got[0]:.4g} for logits of 1000 and of 2000")
    elif close(got, _of_kind(kind, np.array([[0.5, 0.5]]))):
        audit.accuse("clipped", "1000 and 980 are given the same p")


def _batch(audit: Audit) -> None:
    """A row beside others: what differs by more than any order of summing can."""
    if _accused(audit, "global_max", "wrong_axis"):
        return
    rng = np.random.default_rng(12)
    x = rng.normal(0, 2, (8, 5))
    x[4:] *= 20
    together = audit.answer(x)
    if together is None:
        return
    for i in (0, 3, 7):
        alone = audit.answer(x[i : i + 1])
        if alone is not None and not close(alone[0], together[i], 1e-9):
            audit.accuse(
                "depends_on_batch", f"row {i} of 8 is {shown(together[i])}, alone {shown(alone)}"
            )
            return


def _not_normalized(audit: Audit) -> None:
    explained = (
        "wrong_axis", "global_max", "depends_on_batch", "clipped", "half_precision_sum",
        "epsilon_added",
    )  # fmt: skip
    if audit.exact_kind == "logsumexp" or _accused(audit, *explained):
        return
    x = np.random.default_rng(13).normal(0, 1, (8, 5))
    got = audit.answer(x)
    if got is None or not np.all(np.isfinite(got)):
        return
    p = got if audit.exact_kind == "softmax" else np.exp(got)
    total = p.sum(axis=-1)
    if np.all(p >= 0) and np.any(np.abs(total - 1) > 1e-3):
        audit.accuse("not_normalized", f"the p of a row sum to {total[0]:.4g}")
