"""The regimes of a derivative: what p and g may be."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._library import dtype_name
from . import _exact
from ._arrays import operands
from ._audit import Audit
from ._profile import NARROW, SMALL
from ._types import halves

Array = Any

_INTEGERS = {
    "int64": [3, -2, 0, 1],
    "int32": [100, -100, 99, 0],
    "int8": [100, -100, 99, 0],
    "uint8": [0, 255, 1, 254],
    "bool": [1, 0, 0, 1],
}


def regimes(audit: Audit) -> None:
    for dtype in ("float32", "float64"):
        single = dtype == "float32"
        rng = np.random.default_rng(7)
        ordinary = operands(audit, rng.normal(0, 3, (5, 7)).astype(dtype))
        audit.judge("ordinary logits", dtype, *ordinary)
        half = 40.0 if single else 340.0
        spread = operands(audit, rng.uniform(-half, half, (5, 7)).astype(dtype))
        audit.judge("wide spread", dtype, *spread)
        first, g = ordinary
        audit.judge(
            "large offsets", f"{dtype}, g + 1000", first, g + g.dtype.type(1000), topic=SMALL
        )
        audit.judge("p near 1", dtype, *small_component(audit, 20.0 if single else 40.0, dtype),
                    topic=SMALL)  # fmt: skip


def integers(audit: Audit) -> None:
    """A cotangent of integers, which wrap around where they are subtracted as they are."""
    for dtype, row in _INTEGERS.items():
        g = np.array([row], dtype)
        first, _ = operands(audit, np.array([[0.5, -1.0, 2.0, 0.0]]))
        topic = "" if dtype in ("int64", "int32") else NARROW
        got = audit.ask("integers", f"g of {dtype}", first, g, topic=topic)
        if got is not None:
            audit.compare("integers", f"g of {dtype}", got, audit.exact(first, g), first.dtype,
                          topic=topic)  # fmt: skip


def half_types(audit: Audit) -> None:
    """Rounded once: each within half an ulp and a little."""
    for dtype in halves():
        x = np.random.default_rng(1).normal(0, 3, (5, 7)).astype(np.float32)
        first, g = (a.astype(dtype) for a in operands(audit, x))
        audit.judge("half types", dtype_name(dtype), first, g)


def small_component(audit: Audit, distance: float, dtype: str) -> tuple[Array, Array]:
    """One class has nearly all the probability, and g differs there."""
    kind = audit.subject.kind.removesuffix("_vjp")
    x = np.array([[distance, 0.0], [0.0, distance]], dtype)
    g = np.array([[1.0, 0.0], [0.0, 1.0]], dtype)
    return _exact.rounded(_exact.forward(kind, x), dtype), g


def limits(audit: Audit) -> None:
    """An impossible class gets exactly 0, whatever g holds there."""
    p = np.array([[0.25, 0.75, 0.0]])
    if audit.subject.kind == "log_softmax_vjp":
        p = np.array([[np.log(0.25), np.log(0.75), -np.inf]])
    for case, last in (("p = 0", 3.0), ("p = 0 and g NaN", np.nan)):
        got = audit.ask("inf and NaN", case, p, np.array([[1.0, -1.0, last]]), topic="limits")
        if got is None:
            continue
        right = bool(got[0, 2] == 0 and np.all(np.isfinite(got)))
        told = "" if right else f"returned {got[0]}, expected 0 at the last class"
        audit.note("inf and NaN", case, right, told, topic="limits")
    g = np.array([[1.0, -1.0, 2.0], [1.0, 2.0, 3.0]])
    row = np.array([0.5, 0.25, 0.25])
    q = np.array([[np.nan] * 3, row if audit.subject.kind == "softmax_vjp" else np.log(row)])
    got = audit.ask("inf and NaN", "NaN", q, g)
    if got is not None:
        right = bool(np.all(np.isnan(got[0])) and np.all(np.isfinite(got[1])))
        audit.note("inf and NaN", "NaN", right, "" if right else f"returned {got}")
