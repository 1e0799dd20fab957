"""The exact answers of the divergence of two rows of logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import oracle
import oracle_losses
from oracle import EXACT, WIDE

from . import limits
from .answers import Answers, Wanted
from .limits import LOW, NAN_ROW, NOTHING, ONE, PLAIN, Answer

Array = np.ndarray[Any, Any]
INF, NAN = np.inf, np.nan


def _divergence(of: Answers, gradient: bool) -> list[Wanted]:
    """The limits, of x and y by kind:

    NAN, MANY or LOW in either: NaN, and so are the gradients; but a row of nothing but -inf has
    gradient 0, as has every entry of -inf.
    x ONE: p is 1 at one class, so KL is -log q of it; -p w / T is 0.
    y ONE, or y of -inf: inf where another class, or this one, has p > 0; then the gradient by x has
    no limit, and that by y is q - p.
    """
    x, y, inside = of.array("x"), of.array("y"), of.inside
    x64, y64 = x.astype(np.float64), y.astype(np.float64)
    kind_x, kind_y = limits.kinds(x, inside), limits.kinds(y, inside)
    bad = (NAN_ROW, limits.MANY, LOW)
    nan = np.isin(kind_x, bad) | np.isin(kind_y, bad)
    nothing = kind_x == NOTHING
    low_x, low_y = (np.isneginf(a) & inside for a in (x64, y64))
    some = ~nan & ~nothing
    shape = x.shape
    p, q = np.zeros(shape, np.longdouble), np.zeros(shape, np.longdouble)
    for a, kind, into in ((x, kind_x, p), (y, kind_y, q)):
        into[...] = limits.softmax(a, inside, kind)
        which = some & (kind == PLAIN)
        if which.any():
            options = of.options(which) | {"arithmetic": WIDE}
            into[which] = oracle.softmax(a[which], **options).value
    # Rows of which the limit is plain arithmetic: a finite y for every class with p > 0.
    positive = np.where((kind_x == ONE)[:, None], p > 0, inside & ~low_x)
    lost = some[:, None] & positive & (low_y | ((kind_y == ONE)[:, None] & ~limits.tops(y, inside)))
    # Where p is 0 in the type computed in, log q may count or not.
    hidden = lost & (p < float(ml_dtypes.finfo(_computed(of)).smallest_normal))
    infinite = lost.any(axis=-1)
    of.kind = np.where(some & ~infinite, PLAIN, LOW)
    of.kind[some & (kind_x == ONE)] = ONE
    of.kind[some & ~infinite & (kind_y == ONE)] = ONE
    finite = of.kind == PLAIN

    value = np.where(nan, NAN, np.where(infinite, INF, 0)).astype(np.longdouble)
    alone = some & (kind_x == ONE) & ~infinite & (kind_y == PLAIN)
    if alone.any():
        options = of.options(alone) | {"arithmetic": EXACT}
        log_q = oracle.log_softmax(y[alone], **options).value
        value[alone] = -np.where(limits.tops(x, inside)[alone], log_q, 0).sum(axis=-1)
    size = np.abs(value)
    by_x = np.where((nan | infinite)[:, None] & inside & ~low_x, NAN, 0).astype(np.longdouble)
    by_x = np.where((kind_x == LOW)[:, None], 0, by_x)
    by_y = np.where(nan[:, None] & inside & ~low_y, NAN, np.where(low_y, 0, (q - p) / of.t))
    by_y = np.where((kind_y == LOW)[:, None] | nothing[:, None], 0, by_y)
    size_x, size_y = np.abs(by_x), np.where(np.isnan(by_y), 0, (p + q) / of.t)
    size_y = np.where(low_y | ~inside, 0, size_y)
    at_top = limits.tops(x, inside) & alone[:, None]
    # q - 1 there is the sum of the other q.
    rest = -np.where(at_top, 0, q).sum(axis=-1, keepdims=True) / of.t
    by_y, size_y = np.where(at_top, rest, by_y), np.where(at_top, np.abs(rest), size_y)
    if finite.any():
        arithmetic = oracle_losses.DEEP if of.arithmetic is EXACT or _small(of, finite) else WIDE
        options = of.options(finite) | {"arithmetic": arithmetic}
        reference = oracle_losses.kl_divergence(x[finite], y[finite], **options)
        value[finite], size[finite] = reference.value
        by_x[finite], size_x[finite] = reference.by_x
        by_y[finite], size_y[finite] = reference.by_y
    free = hidden.any(axis=-1) & some
    reduction = of.call.options.get("reduction", "mean")
    divisor = float(of.rows.counted) if reduction == "mean" else 1.0
    results = [of.loss("value", "kl_divergence", Answer(value, size, free), divisor)]
    if gradient:
        for name, v, s in (("by x", by_x, size_x), ("by y", by_y, size_y)):
            by = 1 / np.longdouble(divisor) if divisor else np.longdouble(NAN)
            wide = np.broadcast_to(free[:, None], shape)
            results.append(of.full(name, "kl_divergence_grad", Answer(v * by, s * by, wide)))
    return results


def _computed(of: Answers) -> np.dtype[Any]:
    return of.dtype if of.dtype.itemsize == 8 else np.dtype(np.float32)


def _small(of: Answers, rows: Array) -> bool:
    return bool(rows.sum() * of.rows.n <= 4000)


FUNCTIONS: dict[str, Callable[[Answers], list[Wanted]]] = {
    "kl_divergence": lambda of: _divergence(of, False),
    "kl_divergence_value_and_grad": lambda of: _divergence(of, True),
}
