"""What all routes begin with, and the forms of their results that floating point should have."""

from __future__ import annotations

from decimal import Decimal

from ._exact import ZERO
from ._layout import Case, Cases, Equation
from ._maths import Log, Neg, Number, Sum, Symbol
from ._notation import CROSS_ENTROPY, ONE, E, L, add, d, exp, g, less, mul, over, p, w, x
from ._steps import Derivation, Section

PIVOT = "j*"
M, R, S = Symbol("m"), Symbol("r"), Symbol("S")


def definition_steps(of: Derivation) -> Section:
    exact = of.exact
    of.step(
        "The sum of the exponentials.",
        E,
        Sum("k", exp(x("k"))),
        value=exact.total,
    )
    of.step(
        "Softmax: each exponential's part of the sum.",
        p("i"),
        over(exp(x("i")), E),
        at=of.same("i"),
        value=exact.p[of.one],
        whole=of.vector(Symbol("p"), exact.p.__getitem__),
    )
    if of.target is not None:
        of.step(
            ("The cross entropy of the target, ", Symbol("t"), f" = {of.target}."),
            CROSS_ENTROPY,
            Neg(Log(p("t"))),
            at={"t": of.target},
            value=-exact.log_p[of.target],
        )
    return of.section("Definition")


def shifted_steps(
    of: Derivation, gradient: list[Decimal] | None, target_gradient: list[Decimal] | None
) -> Section:
    """Nothing overflows, and nothing is subtracted from a number near 1."""
    exact, pivot = of.exact, of.exact.pivot
    of.alone |= {"m": exact.m, "r": exact.r}
    at = {"j*": pivot}
    largest = Equation((M, Number(exact.m)))
    shifted = exp(less(x("k"), M))
    of.step(
        (f"What all weigh beside the pivot, class {pivot}, with the largest logit ", largest, "."),
        R,
        Sum("k", shifted, PIVOT),
        at=at,
        value=exact.r,
    )
    of.step(
        ("The same quotients, both sides times ", exp(Neg(M)), ": no exponential is above 1."),
        p("i"),
        over(exp(less(x("i"), M)), add(ONE, R)),
        at=of.same("i"),
        value=exact.p[of.one],
        whole=of.vector(Symbol("p"), exact.p.__getitem__),
    )
    if gradient is not None:
        _pivoted(of, gradient)
    if target_gradient is not None and of.target is not None:
        of.step(
            ("Of the cross entropy, ", less(ONE, p("t")), " as the sum of the others."),
            d(CROSS_ENTROPY, x("i")),
            Cases(
                (
                    Case(Neg(Sum("k", p("k"), "t")), "i", True, "t"),
                    Case(p("i"), "i", False, "t"),
                )
            ),
            at={"i": of.target, "t": of.target},
            value=target_gradient[of.target],
            whole=of.vector(d(CROSS_ENTROPY, Symbol("x")), target_gradient.__getitem__),
        )
    return of.section("In floating point")


def _pivoted(of: Derivation, gradient: list[Decimal]) -> None:
    exact, pivot = of.exact, of.exact.pivot
    away = [
        a - of.cotangent[pivot] if b else ZERO for a, b in zip(of.cotangent, exact.p, strict=True)
    ]
    total = sum((a * b for a, b in zip(away, exact.p, strict=True)), ZERO)
    of.indexed["w"] = away.__getitem__
    at = {PIVOT: pivot}
    of.step(
        ("A common shift of ", Symbol("g"), " does nothing: it is measured from the pivot's."),
        w("i"),
        less(g("i"), g(PIVOT)),
        at={**of.same("i"), **at},
        value=away[of.one],
        whole=of.vector(Symbol("w"), away.__getitem__),
    )
    of.step(
        "Only the small probabilities enter the sum.",
        S,
        Sum("k", mul(p("k"), w("k")), PIVOT),
        at=at,
        value=total,
    )
    of.alone["S"] = total
    of.step(
        "The gradient: no digits are lost where the pivot has nearly all the probability.",
        d(L, x("i")),
        Cases(
            (
                Case(mul(p("i"), less(w("i"), S)), "i", False, PIVOT),
                Case(Neg(mul(p("i"), S)), "i", True, PIVOT),
            )
        ),
        at={"i": pivot, **at},
        value=gradient[pivot],
        whole=of.vector(d(L, Symbol("x")), gradient.__getitem__),
    )
