"""Integers, bools, half types, and the type of the result."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from .._library import dtype_name
from . import _exact
from ._audit import Audit
from ._profile import NARROW

Array = Any

_INTEGERS = {
    "int64": [[3, -2, 0, 1], [100, 0, -100, 99]],
    "int32": [[3, -2, 0, 1], [100, 0, -100, 99]],
    "int16": [[3, -2, 0, 1], [20000, -20000, 19999, 0]],
    "int8": [[3, -2, 0, 1], [100, -100, 99, 0]],
    "uint8": [[3, 0, 2, 1], [255, 0, 254, 1]],
    "bool": [[1, 0, 0, 1], [0, 0, 0, 0]],
}
LONG = 70_000
"""Classes: their number of equal ones is above the largest number of float16, 65 504."""


def integers(audit: Audit) -> None:
    for dtype, rows in _INTEGERS.items():
        x = np.array(rows, dtype)
        topic = "" if dtype in ("int64", "int32") else NARROW
        wanted = audit.exact(x)
        got = audit.ask("integers", dtype, x, topic=topic)
        if got is None:
            continue
        error = _exact.ulps(got, wanted, got.dtype)
        if np.isfinite(error) and got.dtype.kind == "f":
            allowed = audit.profile.allowed("ordinary logits", got.dtype)
            audit.note(
                "integers", dtype, error <= allowed, topic=topic, error=error, allowed=allowed
            )
        else:
            what = f"{np.array2string(np.asarray(got[-1], np.float64), precision=3)} for {rows[-1]}"
            audit.note("integers", dtype, False, f"returned {what}", topic=topic)


def half_types(audit: Audit) -> None:
    """Rounded once: each within half an ulp and a little."""
    for dtype in halves():
        name = dtype_name(dtype)
        x = np.random.default_rng(1).normal(0, 3, (5, 7)).astype(dtype)
        audit.judge("half types", name, x)
        if audit.subject.kind == "cross_entropy":
            continue
        x = np.zeros((1, LONG), dtype)
        got = audit.ask("half types", f"{name}, {LONG} zeros", x, topic=NARROW)
        if got is None:
            continue
        value = {"softmax": 1 / LONG, "log_softmax": -np.log(LONG), "logsumexp": np.log(LONG)}
        wanted = np.float64(value[audit.exact_kind]).astype(dtype)
        first = np.float64(got.reshape(-1)[0])
        spacing = abs(np.float64(np.nextafter(wanted, dtype.type(0))) - np.float64(wanted))
        off = abs(first - np.float64(wanted))
        right = bool(off == 0 or off <= spacing * (audit.profile.half_ulps - 0.5))
        told = "" if right else f"returned {first:.4g}, expected {np.float64(wanted):.4g}"
        audit.note("half types", f"{name}, {LONG} zeros", right, told, topic=NARROW)


def result_type(audit: Audit) -> None:
    """That of floating logits; float64 of integers."""
    rows = [[1, 0, 2, 0], [0, 1, 1, 0]]
    types = [np.dtype(t) for t in ("float32", "float64", "int64")] + halves()
    for dtype in types:
        got = audit.answer(np.array(rows, dtype))
        if got is None:
            continue  # told where values of this type are looked at
        given = audit.subject.dtype
        wanted = "float64" if dtype.kind in "iub" else dtype_name(dtype)
        told = "" if given == wanted else f"returned {given}, expected {wanted}"
        topic = "result type"
        audit.note(topic, f"of {dtype_name(dtype)}", given == wanted, told, topic=topic)


def halves() -> list[Any]:
    found = [np.dtype(np.float16)]
    if find_spec("ml_dtypes"):
        import ml_dtypes

        found.append(np.dtype(ml_dtypes.bfloat16))
    return found
