"""The exact answers of softmax, log_softmax, logsumexp and their derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
from oracle import EXACT, Reference

from . import limits
from .answers import Answers, Wanted
from .limits import MANY, NAN_ROW, NOTHING, ONE, PLAIN, Answer

Array = np.ndarray[Any, Any]
INF, NAN = np.inf, np.nan


def _softmax(of: Answers) -> list[Wanted]:
    x = of.x
    special = limits.softmax(x, of.inside, of.kind)
    answer = of.join(special, lambda some: oracle.softmax(x[some], **of.options(some)))
    return [of.full("p", "softmax", answer)]


def log_softmax_answer(of: Answers) -> Answer:
    x = of.x
    special = limits.log_softmax(x, of.inside, of.kind)
    return of.join(special, lambda some: oracle.log_softmax(x[some], **of.options(some)))


def _log_softmax(of: Answers) -> list[Wanted]:
    return [of.full("logp", "log_softmax", log_softmax_answer(of))]


def _logsumexp(of: Answers) -> list[Wanted]:
    if "b" in of.rows.values:
        return _signed(of)
    x = of.x
    special = limits.logsumexp(of.kind)
    answer = of.join(special, lambda some: oracle.logsumexp(x[some], **of.options(some)))
    results = [of.reduced("value", "logsumexp", answer)]
    if of.call.options.get("return_sign"):
        sign = np.where(np.isnan(special), NAN, np.where(np.isneginf(special), 0, 1))
        sign = np.where(of.plain, 1, sign).astype(np.longdouble)
        results.append(of.reduced("sign", "logsumexp", Answer(sign, 0 * sign, of.plain & False)))
    return results


def _signed(of: Answers) -> list[Wanted]:
    """Several +inf have the sign of their factors if that is one, and no limit if these cancel."""
    x, b = of.array("x"), of.array("b").astype(np.float64)
    inside = of.inside & (b != 0)
    of.kind = limits.kinds(np.where(np.isnan(b) & of.inside, NAN, x), inside)
    at_top = np.where(limits.tops(x, inside), b, 0)
    total = at_top.sum(axis=-1)
    top = np.where(total == 0, NAN, np.sign(total))
    sign = limits.of_rows(of.kind, {NAN_ROW: NAN, ONE: top, MANY: top}, total.shape)
    special = limits.logsumexp(of.kind)
    special = np.where((of.kind == MANY) & np.isnan(top), NAN, special)
    mixed = (at_top < 0).any(axis=-1) & (at_top > 0).any(axis=-1) & (total != 0)
    free = (of.kind == MANY) & mixed  # it depends on how they grow
    signs = sign.copy()

    def plain(some: Array) -> Reference:
        value, scale = np.zeros((2, some.sum()), np.longdouble)
        for i, row in enumerate(np.flatnonzero(some)):
            options = of.options([row]) | {"arithmetic": EXACT}
            try:
                reference, (signs[row],) = oracle.signed_logsumexp(x[[row]], b[[row]], **options)
            except ZeroDivisionError:  # a sum that is 0 to the last digit
                free[row] = True
                continue
            (value[i],), (scale[i],) = reference
            free[row] = scale[i] > max(1, abs(value[i])) * 2.0**20  # nearly all digits cancel
        return Reference(value, scale)

    answer = of.join(special, plain)
    if not of.call.options.get("return_sign"):
        negative = signs < 0
        value = np.where(negative, NAN, answer.value)
        return [of.reduced("value", "signed_logsumexp", Answer(value, answer.scale, free))]
    signs = Answer(signs, np.zeros_like(signs), free)
    return [
        of.reduced("value", "signed_logsumexp", answer._replace(free=free)),
        of.reduced("sign", "signed_logsumexp", signs),
    ]


def _logsumexp_vjp(of: Answers) -> list[Wanted]:
    x, g = of.x, of.array("g")
    special = limits.logsumexp_vjp(x, of.inside, of.kind, g.astype(np.longdouble) / of.t[:, 0])
    answer = of.join(
        special,
        lambda some: oracle.logsumexp_vjp(x[some], g[some], **of.options(some)),
        ~np.isfinite(g.astype(np.float64))[:, np.newaxis],
    )
    return [of.full("dx", "logsumexp_vjp", answer)]


def _logsumexp_jvp(of: Answers) -> list[Wanted]:
    x, v = of.x, of.array("v")
    special = limits.logsumexp_jvp(x, of.inside, of.kind, v, of.t)
    answer = of.join(
        special,
        lambda some: oracle.logsumexp_jvp(x[some], v[some], **of.options(some)),
        unsaid(v, of.inside & ~np.isneginf(x.astype(np.float64))),
    )
    return [of.reduced("value", "logsumexp_jvp", answer)]


def _product_answer(of: Answers, first: str, second: Array, name: str) -> Answer:
    """A Jacobian times a vector: NaN for a row with a NaN, 0 for one of no probability."""
    p = of.array(first)
    nothing = 0 if first == "p" else -INF
    of.kind = np.where((p == nothing).all(axis=-1), NOTHING, PLAIN)
    of.kind[np.isnan(p).any(axis=-1)] = NAN_ROW
    special = limits.of_rows(of.kind, {NAN_ROW: NAN}, p.shape)
    reference = getattr(oracle, name)

    def plain(some: Array) -> Reference:
        t = of.t[some]
        return reference(p[some], second[some], temperature=t, arithmetic=of.arithmetic)

    live = p != nothing
    return of.join(special, plain, unsaid(second, live)[:, np.newaxis])


def unsaid(v: Array, live: Array) -> Array:
    """Rows in which what a derivative multiplies is not finite where it counts."""
    return (~np.isfinite(v.astype(np.float64)) & live).any(axis=-1)


def product(first: str, name: str) -> Callable[[Answers], list[Wanted]]:
    def answers(of: Answers) -> list[Wanted]:
        second = "g" if "g" in of.rows.values else "v"
        answer = _product_answer(of, first, of.array(second), name)
        return [of.full("result", name, answer)]

    return answers


FUNCTIONS: dict[str, Callable[[Answers], list[Wanted]]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
    "softmax_vjp": product("p", "softmax_vjp"),
    "softmax_jvp": product("p", "softmax_jvp"),
    "log_softmax_vjp": product("logp", "log_softmax_vjp"),
    "log_softmax_jvp": product("logp", "log_softmax_jvp"),
    "logsumexp_vjp": _logsumexp_vjp,
    "logsumexp_jvp": _logsumexp_jvp,
}
