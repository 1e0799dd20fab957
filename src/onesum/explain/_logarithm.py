"""The second route: logarithmic differentiation in a base b, here 2.

After V. Rangarajan, "SimplePyML Softmax Layer", 2024, whose g_k is h_k here.
"""

from __future__ import annotations

from decimal import Decimal

from ._maths import Neg, Sum, Symbol
from ._notation import (
    CROSS_ENTROPY,
    LN_B,
    ONE,
    B,
    E,
    L,
    add,
    d,
    delta,
    exp,
    g,
    h,
    less,
    log_b,
    mul,
    over,
    p,
    x,
)
from ._steps import Derivation, Section

TITLE = "Logarithmic differentiation in base b"
BASE = Decimal(2)


def jacobian_steps(of: Derivation) -> Section:
    exact, ln_b = of.exact, BASE.ln()
    of.alone["b"] = BASE
    at = of.differing("i", "j")
    i, j = at.values()
    slope = d(log_b(p("j")), x("i"))
    slope_value = exact.log_jacobian(j, i) / ln_b
    of.step(
        ("The logarithm makes a difference of the quotient, in any base; here ", B, " = 2."),
        log_b(p("j")),
        less(over(x("j"), LN_B), log_b(E)),
        at={"j": j},
        value=exact.log_p[j] / ln_b,
        whole=of.vector(log_b(Symbol("p")), lambda c: exact.log_p[c] / ln_b),
    )
    of.step(
        ("Its derivative by ", x("i"), "; that of ", E, " is ", exp(x("i")), "."),
        slope,
        less(over(delta("i", "j"), LN_B), over(exp(x("i")), mul(E, LN_B))),
        over(less(delta("i", "j"), p("i")), LN_B),
        at=at,
        value=slope_value,
    )
    of.step(
        ("The chain rule: the slope of ", log_b(p("j")), " is ", over(ONE, mul(p("j"), LN_B)), "."),
        slope,
        mul(over(ONE, mul(p("j"), LN_B)), d(p("j"), x("i"))),
    )
    of.known[slope] = ("j", "i"), lambda b, a: exact.log_jacobian(b, a) / ln_b
    of.step(
        "Solved for what is wanted.",
        d(p("j"), x("i")),
        mul(slope, p("j"), LN_B),
        at=at,
        value=exact.jacobian(j, i),
    )
    of.step(
        (LN_B, " cancels."),
        d(p("j"), x("i")),
        mul(p("j"), less(delta("i", "j"), p("i"))),
        at=at,
        value=exact.jacobian(j, i),
        whole=of.matrix(Symbol("J"), exact.jacobian),
    )
    return of.section(TITLE)


def backward_steps(of: Derivation, gradient: list[Decimal]) -> Section:
    weighted = [a * b if b else b for a, b in zip(of.cotangent, of.exact.p, strict=True)]
    of.indexed["h"] = weighted.__getitem__
    at = of.same("i")
    of.step(
        ("The chain rule: every probability depends on ", x("i"), "."),
        d(L, x("i")),
        Sum("j", mul(g("j"), d(p("j"), x("i")))),
        Sum("j", mul(g("j"), p("j"), less(delta("i", "j"), p("i")))),
        at=at,
        value=gradient[of.one],
    )
    of.step(
        ("Let ", h("k"), " be the products."),
        h("k"),
        mul(g("k"), p("k")),
        at=of.same("k"),
        value=weighted[of.one],
        whole=of.vector(Symbol("h"), weighted.__getitem__),
    )
    of.step(
        "The matrix falls apart into one sum, the same for all classes.",
        d(L, x("i")),
        add(Neg(mul(p("i"), Sum("k", h("k")))), h("i")),
        at=at,
        value=gradient[of.one],
        whole=of.vector(d(L, Symbol("x")), gradient.__getitem__),
    )
    return of.section(f"{TITLE}: backward")


def cross_entropy_steps(of: Derivation, gradient: list[Decimal]) -> Section:
    of.alone["b"] = BASE
    at = {**of.same("i"), "t": of.the_target}
    loss = -of.exact.log_p[of.the_target]
    of.step(
        "The loss in base b.",
        CROSS_ENTROPY,
        Neg(mul(LN_B, log_b(p("t")))),
        at={"t": of.the_target},
        value=loss,
    )
    of.step(
        ("With the derivative of ", log_b(p("t")), ", ", LN_B, " cancels."),
        d(CROSS_ENTROPY, x("i")),
        Neg(mul(LN_B, over(less(delta("i", "t"), p("i")), LN_B))),
        less(p("i"), delta("i", "t")),
        at=at,
        value=gradient[of.one],
        whole=of.vector(d(CROSS_ENTROPY, Symbol("x")), gradient.__getitem__),
    )
    return of.section(f"{TITLE}: the cross entropy")
