"""The first route: the quotient rule, case by case.

After the notes "Softmax" on a batch of k rows, equations (1) to (6).
"""

from __future__ import annotations

from decimal import Decimal

from ._layout import Case, Cases
from ._maths import Neg, Power, Sum, Symbol
from ._notation import (
    CROSS_ENTROPY,
    ONE,
    TWO,
    E,
    L,
    add,
    d,
    delta,
    exp,
    g,
    jacobian,
    less,
    mul,
    over,
    p,
    x,
)
from ._steps import Derivation, Section

TITLE = "Quotient rule, case by case"


def jacobian_steps(of: Derivation) -> Section:
    exact = of.exact
    i, j = of.differing("i", "j").values()
    same, differing = {"i": of.one}, {"i": i, "j": j}
    diagonal = exact.jacobian(of.one, of.one)
    e_i, e_j = exp(x("i")), exp(x("j"))
    of.step(
        ("The same index: the product rule on ", mul(e_i, over(ONE, E)), "."),
        d(p("i"), x("i")),
        add(Neg(over(mul(e_i, e_i), Power(E, TWO))), over(e_i, E)),
        at=same,
        value=diagonal,
    )
    of.step(
        ("With ", p("i"), " written for the quotient."),
        d(p("i"), x("i")),
        add(Neg(Power(p("i"), TWO)), p("i")),
        mul(p("i"), less(ONE, p("i"))),
        at=same,
        value=diagonal,
    )
    other = exact.jacobian(i, j) if of.pair else None
    of.step(
        ("Another index: the numerator ", e_i, " does not depend on ", x("j"), "."),
        d(p("i"), x("j")),
        Neg(over(mul(e_i, e_j), Power(E, TWO))),
        at=differing if of.pair else None,
        value=other,
    )
    of.step(
        "With the probabilities written for the quotients.",
        d(p("i"), x("j")),
        Neg(mul(p("i"), p("j"))),
        at=differing if of.pair else None,
        value=other,
    )
    of.step(
        "Both cases together are the Jacobian.",
        jacobian("i", "j"),
        Cases(
            (
                Case(mul(p("i"), less(ONE, p("i"))), "i", True, "j"),
                Case(Neg(mul(p("i"), p("j"))), "i", False, "j"),
            )
        ),
        whole=of.matrix(Symbol("J"), exact.jacobian),
    )
    return of.section(TITLE)


def backward_steps(of: Derivation, gradient: list[Decimal]) -> Section:
    of.step(
        ("The chain rule: every probability depends on ", x("i"), "."),
        d(L, x("i")),
        Sum("j", mul(g("j"), d(p("j"), x("i")))),
        Sum("j", mul(g("j"), jacobian("j", "i"))),
        at=of.same("i"),
        value=gradient[of.one],
        whole=of.vector(d(L, Symbol("x")), gradient.__getitem__),
    )
    return of.section(f"{TITLE}: backward")


def cross_entropy_steps(of: Derivation, gradient: list[Decimal]) -> Section:
    at = {**of.same("i"), "t": of.the_target}
    of.step(
        ("The loss reads one probability, ", p("t"), ", and so the chain rule has one term."),
        d(CROSS_ENTROPY, x("i")),
        mul(d(CROSS_ENTROPY, p("t")), d(p("t"), x("i"))),
        Neg(mul(over(ONE, p("t")), jacobian("t", "i"))),
        at=at,
        value=gradient[of.one],
    )
    of.step(
        ("With both cases of ", jacobian("t", "i"), " put in, ", p("t"), " cancels."),
        d(CROSS_ENTROPY, x("i")),
        Cases(
            (
                Case(less(p("i"), ONE), "i", True, "t"),
                Case(p("i"), "i", False, "t"),
            )
        ),
        less(p("i"), delta("i", "t")),
        at=at,
        value=gradient[of.one],
        whole=of.vector(d(CROSS_ENTROPY, Symbol("x")), gradient.__getitem__),
    )
    return of.section(f"{TITLE}: the cross entropy")
