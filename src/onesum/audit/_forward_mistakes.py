"""Mistakes of a softmax, its logarithm or its sum, known by what they return.

Every one has logits made for it, on which the mistaken formula gives something that rounding
cannot: a function is accused only if it gives that too. Those of the sum and of the difference are
in _sum_mistakes.py, that of the axis in _axis_mistake.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._audit import Audit
from ._axis_mistake import wrong_axis
from ._compared import close, right, shown
from ._losses import of_a_mean
from ._sum_mistakes import epsilon_added, half_precision_sum, integer_overflow

Array = Any

# Where p is below 1e-280: a bound above that makes both equal. There are logarithms far below.
FLOOR_AT = {"softmax": (-650.0, -690.0), "log_softmax": (-5000.0, -6000.0)}
SPREAD = 700.0  # beyond that the least p of a row may be 0
LOWEST = {"softmax": -640.0, "log_softmax": -746.0}  # the logarithms of 1e-278, and of 0 in float64


def recognise(audit: Audit) -> None:
    """In the order of certainty: the later ones are looked for where the earlier do not explain."""
    wrong_axis(audit)
    if audit.subject.mean:
        of_a_mean(audit)
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


def _shifts(audit: Audit) -> None:
    """Rows that only a shift by their own maximum brings to a result."""
    small = np.array([[1.0, 0.0, -1.0]])
    if not right(audit, small, audit.answer(small)):
        return
    for row in (
        [1000.0, 999.0, 998.0],
        [0.0, 3000.0, 0.0],  # the mean is no maximum, nor is the first
        [-1000.0, -999.0, -998.0],
        [5e4, 0.0, 0.0],  # too much for the exponential of a long double
    ):
        x = np.array([row])
        got = audit.answer(x)
        told = audit.arithmetic_error()
        if np.ptp(x) > SPREAD and audit.exact_kind == "log_softmax":
            # That may be the logarithm of a p of 0, and so may be the NaN of 0 * -inf.
            told = ""
            if audit.subject.way.one_hot:
                continue
        # The largest one: of others the logarithm of softmax is -inf where the shift is right.
        if got is not None and not np.isfinite(got.reshape(-1)[x.argmax() % got.size]):
            told = f"returns {shown(got)}"
        # NaN made 0, or a bound that keeps exp finite, is told apart by the sum of p.
        if got is not None and audit.exact_kind == "softmax" and not np.any(got):
            told = f"returns {shown(got)}"
        if told:
            audit.accuse("no_max_shift", f"{told} for {shown(x)}")
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
    loss = audit.subject.kind == "cross_entropy"
    ordinary = x / 800
    if not right(audit, ordinary, audit.answer(ordinary)):
        return
    got = audit.answer(x)
    told = audit.arithmetic_error()
    hidden = audit.subject.way.one_hot  # by the NaN of 0 * -inf, for the other class
    if got is not None and np.isneginf(got[0, 1]) and (got[0, 0] == 0 or hidden):
        told = "inf" if loss else "-inf"
    if told:
        audit.accuse("log_of_softmax", f"{told} where {800 * (loss * 2 - 1)} is right")


def _floor(audit: Audit) -> None:
    """A smallest p: a bound, or something added."""
    kind = audit.exact_kind
    if kind == "logsumexp":
        return
    least = [audit.answer(np.array([[0.0, d]])) for d in FLOOR_AT[kind]]
    if any(a is None for a in least):
        return
    low, lower = (a[0, 1] for a in least if a is not None)
    if not (np.isfinite(low) and np.isfinite(lower)) or abs(low - lower) > 1e-6 * abs(low):
        return
    floor = low if kind == "log_softmax" else np.log(low) if low > 0 else -np.inf
    if not LOWEST[kind] < floor < -1.0:
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
    together, again = audit.answer(x), audit.answer(x)
    if together is None or not close(again, together, 1e-9):  # what differs anyway
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
    if got is None or not np.all(np.isfinite(got)) or right(audit, x, -got):
        return
    p = got if audit.exact_kind == "softmax" else np.exp(got)
    total = p.sum(axis=-1)
    if np.all(p >= 0) and np.any(np.abs(total - 1) > 1e-3):
        worst = total[np.argmax(np.abs(total - 1))]
        audit.accuse("not_normalized", f"the p of a row sum to {worst:.4g}")
