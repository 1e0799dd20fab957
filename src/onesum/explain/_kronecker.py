"""The third route: the natural logarithm, with Kronecker's delta.

After J. Purcell, "Derivative of the Softmax Function", 2021, equations (1) to (5).
"""

from __future__ import annotations

from decimal import Decimal

from ._maths import Log, Neg, Sum, Symbol
from ._notation import CROSS_ENTROPY, ONE, E, L, d, delta, exp, g, less, mul, over, p, s, x
from ._steps import Derivation, Section

TITLE = "Natural logarithm and Kronecker delta"


def jacobian_steps(of: Derivation) -> Section:
    exact = of.exact
    at = of.differing("i", "j")
    i, j = at.values()
    slope = d(s("i"), x("j"))
    of.step(
        ("The natural logarithm of ", p("i"), " is a difference."),
        s("i"),
        Log(p("i")),
        less(x("i"), Log(E)),
        at={"i": i},
        value=exact.log_p[i],
        whole=of.vector(Symbol("s"), exact.log_p.__getitem__),
    )
    of.step(
        (
            delta("i", "j"),
            " is 1 if the indices are the same, else 0; the chain rule on ",
            Log(E),
            ".",
        ),
        slope,
        less(delta("i", "j"), d(Log(E), x("j"))),
        less(delta("i", "j"), mul(over(ONE, E), d(E, x("j")))),
    )
    of.step(
        ("Of the sum one term depends on ", x("j"), "."),
        d(E, x("j")),
        exp(x("j")),
        at={"j": j},
        value=exact.exp(j),
    )
    of.step(
        "Put in: the Jacobian of log softmax.",
        slope,
        less(delta("i", "j"), over(exp(x("j")), E)),
        less(delta("i", "j"), p("j")),
        at=at,
        value=exact.log_jacobian(i, j),
        whole=of.matrix(Symbol("Lambda"), exact.log_jacobian),
    )
    of.step(
        "The logarithmic derivative is that of the function over the function.",
        slope,
        mul(over(ONE, p("i")), d(p("i"), x("j"))),
    )
    of.known[slope] = ("i", "j"), exact.log_jacobian
    of.step(
        "Solved for what is wanted.",
        d(p("i"), x("j")),
        mul(p("i"), slope),
        at=at,
        value=exact.jacobian(i, j),
    )
    of.step(
        "Put together.",
        d(p("i"), x("j")),
        mul(p("i"), less(delta("i", "j"), p("j"))),
        at=at,
        value=exact.jacobian(i, j),
        whole=of.matrix(Symbol("J"), exact.jacobian),
    )
    return of.section(TITLE)


def backward_steps(of: Derivation, gradient: list[Decimal]) -> Section:
    at = of.same("j")
    of.step(
        ("The chain rule: every probability depends on ", x("j"), "."),
        d(L, x("j")),
        Sum("i", mul(g("i"), d(p("i"), x("j")))),
        Sum("i", mul(g("i"), p("i"), less(delta("i", "j"), p("j")))),
        at=at,
        value=gradient[of.one],
    )
    of.step(
        ("The delta leaves one term of its sum, and ", p("j"), " stands before the rest."),
        d(L, x("j")),
        mul(p("j"), less(g("j"), Sum("i", mul(g("i"), p("i"))))),
        at=at,
        value=gradient[of.one],
        whole=of.vector(d(L, Symbol("x")), gradient.__getitem__),
    )
    return of.section(f"{TITLE}: backward")


def cross_entropy_steps(of: Derivation, gradient: list[Decimal]) -> Section:
    target = of.the_target
    of.step(
        ("The loss is a logarithm already: minus ", s("t"), "."),
        CROSS_ENTROPY,
        Neg(s("t")),
        less(Log(E), x("t")),
        at={"t": target},
        value=-of.exact.log_p[target],
    )
    of.step(
        ("So its derivative is minus that of ", s("t"), "."),
        d(CROSS_ENTROPY, x("j")),
        Neg(less(delta("t", "j"), p("j"))),
        less(p("j"), delta("t", "j")),
        at={**of.same("j"), "t": target},
        value=gradient[of.one],
        whole=of.vector(d(CROSS_ENTROPY, Symbol("x")), gradient.__getitem__),
    )
    return of.section(f"{TITLE}: the cross entropy")
