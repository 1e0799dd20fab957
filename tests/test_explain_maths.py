"""Every formula of `onesum.explain` by SymPy, and every number of it by mpmath.

The formulas are read off the trees that are written for the reader: each member of each equation
is differentiated and compared, for all indices, with two and with three classes. Then the numbers
that were put in are computed with once more.
"""

from __future__ import annotations

import itertools
from decimal import Decimal

import mpmath
import pytest
import sympy as sp
from budget import EXPLAINED, EXPLAINED_STEPS

from onesum.explain import explain
from onesum.explain._layout import Case, Cases, Dots, Equation
from onesum.explain._maths import (
    Add,
    Frac,
    Indexed,
    Log,
    Mul,
    Neg,
    Number,
    Partial,
    Power,
    Sum,
    Symbol,
)

ROUTES = ("quotient", "logarithm", "kronecker")
B = sp.Symbol("b", positive=True)


class Meaning:
    """What the symbols of the formulas stand for: n logits, their exponentials, a linear loss."""

    def __init__(self, n):
        self.n = n
        self.x = sp.symbols(f"x0:{n}", real=True)
        self.g = sp.symbols(f"g0:{n}", real=True)
        self.E = sum(map(sp.exp, self.x))
        self.p = [sp.exp(a) / self.E for a in self.x]
        self.L = sum(a * b for a, b in zip(self.g, self.p, strict=True))

    def __call__(self, node, at):
        """The node as SymPy has it, for certain values of the indices."""
        match node:
            case Number(value):
                return sp.Rational(str(value))
            case Symbol(name):
                pivot, t = at.get("j*"), at.get("t")
                return {
                    "E": lambda: self.E,
                    "b": lambda: B,
                    "e": lambda: sp.E,
                    "L": lambda: self.L,
                    "ℓ": lambda: -sp.log(self.p[t]),
                    "m": lambda: self.x[pivot],
                    "r": lambda: self.E / sp.exp(self.x[pivot]) - 1,
                    "S": lambda: self.L - self.g[pivot],
                }[name]()
            case Indexed(Symbol(name), indices):
                i, *more = (at[index] for index in indices)
                return {
                    "x": lambda: self.x[i],
                    "g": lambda: self.g[i],
                    "p": lambda: self.p[i],
                    "s": lambda: sp.log(self.p[i]),
                    "h": lambda: self.g[i] * self.p[i],
                    "w": lambda: self.g[i] - self.g[at["j*"]],
                    "J": lambda: self.p[i].diff(self.x[more[0]]),
                    "δ": lambda: sp.Integer(i == more[0]),
                }[name]()
            case Neg(term):
                return -self(term, at)
            case Add(terms):
                return sum(self(term, at) for term in terms)
            case Mul(factors):
                return sp.Mul(*(self(factor, at) for factor in factors))
            case Frac(above, below):
                return self(above, at) / self(below, at)
            case Power(base, exponent):
                return self(base, at) ** self(exponent, at)
            case Log(argument, base):
                natural = sp.log(self(argument, at))
                return natural if base is None else natural / sp.log(self(base, at))
            case Sum(index, body, without):
                left_out = None if without is None else at[without]
                places = (k for k in range(self.n) if k != left_out)
                return sum(self(body, {**at, index: k}) for k in places)
            case Cases(cases):
                return next(
                    self(c.value, at) for c in cases if (at[c.left] == at[c.right]) == c.same
                )
            case Partial(Symbol("ℓ"), Indexed(Symbol("p"), (t,))):
                return -1 / self.p[at[t]]
            case Partial(of, by):
                return self(of, at).diff(self(by, at))
        raise AssertionError(node)


def indices_of(node):
    """The names of its free indices."""
    match node:
        case Symbol("ℓ"):
            return {"t"}
        case Symbol("m" | "r" | "S"):
            return {"j*"}
        case Indexed(Symbol(name), indices):
            return set(indices) | ({"j*"} if name == "w" else set())
        case Sum(index, body, without):
            return (indices_of(body) - {index}) | ({without} if without else set())
        case Case(value, left, _, right):
            return indices_of(value) | {left, right}
        case Neg(part):
            return indices_of(part)
        case Add(parts) | Mul(parts) | Cases(parts) | Equation(parts):
            return set().union(*map(indices_of, parts))
        case Frac(a, b) | Power(a, b) | Partial(a, b):
            return indices_of(a) | indices_of(b)
        case Log(argument, _):
            return indices_of(argument)
    return set()


def is_zero(expr):
    """Exactly: with x = log u it is rational in u and in the logarithms that are left."""
    logits = [a for a in sp.sympify(expr).free_symbols if a.name.startswith("x")]
    expr = sp.sympify(expr).subs({a: sp.log(sp.Dummy(positive=True)) for a in logits})
    expr = sp.expand_log(expr, force=True)
    expr = expr.subs({a: sp.Dummy(positive=True) for a in expr.atoms(sp.log)})
    return sp.cancel(sp.together(expr)) == 0


def steps_of(n, route):
    x, g = [float(i) for i in range(n)], [1.0 + i * i for i in range(n)]
    for section in explain(x, g, n - 1, route).sections:
        for number, step in enumerate(section.steps, 1):
            yield f"{section.title} {number}", step


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("n", [2, 3])
def test_every_formula_is_an_identity(n, route):
    meaning = Meaning(n)
    checked = 0
    for name, step in steps_of(n, route):
        names = sorted(indices_of(step.formula))
        for values in itertools.product(range(n), repeat=len(names)):
            at = dict(zip(names, values, strict=True))
            if name.startswith("Quotient") and set(step.at) == {"i", "j"} and at["i"] == at["j"]:
                continue  # the case of two indices that differ
            first, *others = (meaning(member, at) for member in step.formula.members)
            for other in others:
                assert is_zero(first - other), f"{name} at {at}"
                checked += 1
    assert checked > 30


def test_a_wrong_formula_is_seen():
    meaning = Meaning(2)
    p, x = Indexed(Symbol("p"), ("i",)), Indexed(Symbol("x"), ("i",))
    slope = meaning(Partial(p, x), {"i": 0})
    assert is_zero(slope - meaning(Mul((p, Add((Number(Decimal(1)), Neg(p))))), {"i": 0}))
    assert not is_zero(slope - meaning(p, {"i": 0}))


# -- the numbers -----------------------------------------------------------------------------------

ROWS = {
    "small": ([1.0, 2.0, 3.0], [1.0, 0.0, 0.0], 0),
    "negative": ([-1.0, 2.0, -3.5], [1.0, 0.5, -2.0], 1),
    "two": ([40.0, 0.0], [1.0, 0.0], 1),
    "large": ([1000.0, -3.0, 2.5, 12.0], [1.0, 0.0, -1e-5, 1e10], 2),
    "eight": ([0.1 * i * i - i for i in range(8)], [(-1.0) ** i * i for i in range(8)], 7),
    "many": ([(i * 7 % 12) / 3 for i in range(12)], [float(i) for i in range(12)], 4),
    "minus inf": ([0.5, -float("inf"), 1.5], [1.0, 2.0, 4.0], 0),
    "one": ([3.0], [2.0], 0),
}
mp = mpmath.MPContext()
mp.dps = 1100  # of 1 - p where p is 1 but for 10^-430, hundreds are left


def exactly(value):
    if isinstance(value, Decimal):
        return mp.mpf(str(value) if value.is_finite() else float(value))
    return mp.mpf(value)


def computed(node):
    """A formula of numbers, by mpmath; None where something was left out."""
    match node:
        case Number(value):
            return exactly(value)
        case Symbol("e"):
            return mp.e
        case Dots():
            return None
        case Neg(part):
            parts, combine = [part], lambda a: -a
        case Add(parts):
            combine = lambda *a: mp.fsum(a)  # noqa: E731
        case Mul(parts):
            combine = lambda *a: mp.fprod(a)  # noqa: E731
        case Frac(a, b):
            parts, combine = [a, b], lambda a, b: a / b
        case Power(Symbol("e"), exponent):
            parts, combine = [exponent], mp.exp
        case Power(a, b):
            parts, combine = [a, b], lambda a, b: a**b
        case Log(argument, None):
            parts, combine = [argument], mp.log
        case Log(argument, base):
            parts, combine = [argument, base], lambda a, b: mp.log(a) / mp.log(b)
        case _:
            raise AssertionError(f"{node} has no number")
    values = list(map(computed, parts))
    return None if None in values else combine(*values)


def close(got, wanted, relative):
    got, wanted = exactly(got), exactly(wanted)
    if not got:
        return abs(wanted) < EXPLAINED
    return got == wanted or abs(got - wanted) <= relative * abs(wanted)


@pytest.mark.parametrize("row", ROWS)
def test_the_numbers_that_are_put_in_give_the_value(row):
    checked = left_out = 0
    for section in explain(*ROWS[row]).sections:
        for step in section.steps:
            if step.numbers is None:
                continue
            wanted = computed(step.numbers.members[0])
            left_out += wanted is None
            if wanted is not None:
                assert close(step.value, wanted, EXPLAINED_STEPS), (section.title, step)
                checked += 1
    assert checked >= 15
    assert (left_out > 0) == (len(ROWS[row][0]) > 4)


@pytest.mark.parametrize("row", ROWS)
def test_the_results_are_exact(row):
    """Against sums over all pairs, by mpmath: p_i sum_j p_j (g_i - g_j)."""
    x, g, t = ROWS[row]
    e = [mp.exp(mp.mpf(a)) for a in x]
    p = [a / mp.fsum(e) for a in e]
    n = len(x)
    exact = explain(x, g, t).exact
    gradient = [p[i] * mp.fsum(p[j] * (mp.mpf(g[i]) - g[j]) for j in range(n)) for i in range(n)]
    rest = [mp.fsum(p[j] for j in range(n) if j != i) for i in range(n)]
    for i in range(n):
        assert close(exact.p[i], p[i], EXPLAINED)
        assert close(exact.gradient[i], gradient[i], EXPLAINED)
        assert close(exact.target_gradient[i], -rest[i] if i == t else p[i], EXPLAINED)
        for j in range(n):
            wanted = p[i] * rest[i] if i == j else -p[i] * p[j]
            assert close(exact.jacobian[i][j], wanted, EXPLAINED)
    assert close(exact.loss, mp.log(1 + rest[t] / p[t]), EXPLAINED)


def numbers(items):
    return [computed(item) for item in items if not isinstance(item, Dots)]


@pytest.mark.parametrize("row", ROWS)
def test_every_route_ends_in_the_same_results(row):
    x, g, t = ROWS[row]
    exact = explain(x, g, t).exact
    shown = explain(x, g, t).shown
    for route in ROUTES:
        ends = {}
        for section in explain(x, g, t, route).sections:
            for step in section.steps:
                if step.whole is not None:
                    name, value = step.whole.members
                    ends[name] = value
        matrix = ends[Symbol("J")]
        wholes = [ends[Partial(Symbol(name), Symbol("x"))] for name in ("L", "ℓ")]
        rows = [row for row in matrix.rows if not isinstance(row[0], Dots)]
        for i, own in zip(shown, rows, strict=True):
            for j, number in zip(shown, numbers(own), strict=True):
                assert close(number, exact.jacobian[i][j], EXPLAINED_STEPS)
        for value, wanted in zip(wholes, (exact.gradient, exact.target_gradient), strict=True):
            for i, number in zip(shown, numbers(value.items), strict=True):
                assert close(number, wanted[i], EXPLAINED_STEPS)
