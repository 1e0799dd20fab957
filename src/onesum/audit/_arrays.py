"""Arrays of every shape and layout, and what else a function must leave alone."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from . import _exact
from ._audit import Audit
from ._compared import close
from ._subject import FORWARDS, NoAnswerError

Array = Any

CLOSE = 16.0  # ulps: no order of summing a few classes changes a result by more


def _logits(*shape: int, dtype: str = "float64", seed: int = 2) -> Array:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(dtype)


def operands(audit: Audit, x: Array, axis: int = -1) -> tuple[Array, ...]:
    """The arrays of a call whose logits are x: for a derivative, what is made of them, and g."""
    kind = audit.subject.kind
    if not kind.endswith("_vjp"):
        return (x,)
    first = _exact.forward(kind.removesuffix("_vjp"), x, axis)
    return _exact.rounded(first, x.dtype), _logits(*x.shape, dtype=x.dtype.name, seed=3)


def axes(audit: Audit) -> None:
    subject, loss = audit.subject, audit.subject.kind == "cross_entropy"
    if subject.way.by_row:
        audit.remark("axes", "arrays", "takes one row at a time: it was called once for each")
    elif not subject.has_axis and not loss:
        x = operands(audit, _logits(3, 4, 5))
        told = "takes no axis: it was called with rows, along the last one alone"
        if not close(audit.answer(*x, as_they_are=True), audit.answer(*x), 1e-3):
            told += "; it does not take three dimensions"
        audit.remark("axes", "axis", told)
    if loss:
        for axis in (0, 1) if subject.has_axis else ():
            audit.judge("axes", f"axis {axis} of (3, 4)", _logits(3, 4), axis=axis)
        return
    x = _logits(3, 4, 5)
    for axis in (0, 1, -1) if audit.subject.has_axis else (-1,):
        audit.judge("axes", f"axis {axis} of (3, 4, 5)", *operands(audit, x, axis), axis=axis)
    one = _logits(6)
    audit.judge("axes", "one row, (6,)", *operands(audit, one))


def layouts(audit: Audit) -> None:
    """Strides of every kind, where the library has them."""
    x = _logits(6, 8)
    plain = operands(audit, x[::2, ::2].copy())
    expected = audit.ask("layout", "contiguous", *plain)
    if expected is None or audit.subject.library == "jax":
        return
    kinds = {
        "Fortran order": [np.asfortranarray(a) for a in plain],
        "every second": [_embedded(a, 2) for a in plain],
        "transposed": [a.T.copy().T for a in plain],
    }
    if audit.subject.library == "numpy":
        kinds["negative strides"] = [a[::-1, ::-1].copy()[::-1, ::-1] for a in plain]
        kinds["read-only"] = [a.copy() for a in plain]
        for a in kinds["read-only"]:
            a.flags.writeable = False
        kinds["other byte order"] = [a.astype(a.dtype.newbyteorder()) for a in plain]
    for case, arrays in kinds.items():
        got = audit.ask("layout", case, *arrays)
        if got is None:
            continue
        if np.array_equal(got, expected, equal_nan=True):
            audit.note("layout", case, True)
        else:
            close = np.allclose(got, expected, rtol=CLOSE * np.finfo(np.float64).eps, atol=1e-15)
            audit.note(
                "layout", case, False, "other bits" if close else "another result",
                topic="bits" if close else "",
            )  # fmt: skip


def _embedded(a: Array, step: int) -> Array:
    wide = np.full((a.shape[0] * step, a.shape[1] * step), np.nan)
    wide[::step, ::step] = a
    return wide[::step, ::step]


def sizes(audit: Audit) -> None:
    """No rows, no classes, one class, and very many."""
    audit.judge("sizes", "one class", *operands(audit, _logits(3, 1)))
    if audit.subject.kind == "cross_entropy":
        return
    for shape in ((0, 4), (3, 0)):
        arrays = (np.zeros(shape),) * (2 if audit.subject.kind.endswith("_vjp") else 1)
        got = audit.ask("sizes", f"shape {shape}", *arrays, topic="empty")
        if got is not None:
            right = bool(np.all(np.isneginf(got)))
            told = "" if right else f"returned {got}, expected -inf"
            audit.note("sizes", f"shape {shape}", right, told, topic="empty")


def masks(audit: Audit) -> None:
    """Where the function takes `where`."""
    if "where" not in (audit.subject.options or ()) or audit.subject.kind not in (
        "softmax", "log_softmax", "logsumexp",
    ):  # fmt: skip
        return
    x = _logits(3, 5)
    where = np.random.default_rng(6).random((3, 5)) < 0.6
    where[:, 0] = True
    wanted = audit.exact(np.where(where, x, -np.inf))
    audit.judge("masks", "where", x, where=where, wanted=wanted, topic="masks")
    hidden = np.where(where, x, np.nan)
    audit.judge("masks", "NaN outside", hidden, where=where, wanted=wanted, topic="masks")


def batches(audit: Audit) -> None:
    """The bits of a row, whatever surrounds it, and of a call, whenever it is made."""
    x = _logits(65, 17, dtype="float32") if audit.subject.kind != "cross_entropy" else _logits(9, 5)
    arrays = operands(audit, x)
    together = audit.ask("batch", "many rows", *arrays)
    if together is None:
        return
    again = audit.ask("batch", "the same call", *arrays)
    if again is not None:
        same = np.array_equal(again, together, equal_nan=True)
        audit.note("batch", "the same call twice", same, "" if same else "another result")
    different = 0
    rows = range(0, len(x), 8)
    for i in rows:
        alone = audit.ask("batch", "one row", *(a[i : i + 1] for a in arrays))
        if alone is None:
            return
        different += not np.array_equal(alone[0], together[i], equal_nan=True)
    told = f"{different} of {len(rows)} rows have other bits alone" if different else ""
    audit.note("batch", "a row alone", not different, told, topic="bits")


def untouched(audit: Audit) -> None:
    """What it is given stays as it is: also where there is something to cut off, or to replace."""
    single, double = (_logits(3, 4, dtype=dtype) for dtype in ("float32", "float64"))
    wide = 1000 * double
    wide[0, :2] = np.nan, -np.inf
    written: dict[str, bool] = {}
    for x in (double, single, wide):
        arrays = operands(audit, x) if x is not wide or audit.subject.kind in FORWARDS else ()
        if not arrays:
            continue
        given = [a.copy() for a in arrays]
        with contextlib.suppress(NoAnswerError):
            audit.subject(*given)
        for name, a, b in zip("pg" if len(arrays) > 1 else "x", arrays, given, strict=True):
            written[name] = written.get(name, False) or not np.array_equal(a, b, equal_nan=True)
    which = " and ".join(name for name, changed in written.items() if changed)
    audit.note("input", "unchanged", not which, f"writes to {which}" if which else "")
    if which:
        audit.accuse("writes_input", f"after a call {which} holds other values")
