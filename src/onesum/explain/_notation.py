"""The symbols that the derivations have in common; classes are counted from 0."""

from __future__ import annotations

from decimal import Decimal

from ._maths import Add, Frac, Index, Indexed, Log, Mul, Neg, Number, Partial, Power, Symbol
from ._writing import Node

ONE, TWO = Number(Decimal(1)), Number(Decimal(2))
E, B, L, CROSS_ENTROPY = Symbol("E"), Symbol("b"), Symbol("L"), Symbol("ℓ")
LN_B = Log(B)


def _of(name: str, *indices: Index) -> Indexed:
    return Indexed(Symbol(name), indices)


def x(i: Index) -> Indexed:
    return _of("x", i)


def p(i: Index) -> Indexed:
    return _of("p", i)


def g(i: Index) -> Indexed:
    return _of("g", i)


def h(i: Index) -> Indexed:
    return _of("h", i)


def s(i: Index) -> Indexed:
    return _of("s", i)


def w(i: Index) -> Indexed:
    return _of("w", i)


def jacobian(i: Index, j: Index) -> Indexed:
    return _of("J", i, j)


def delta(i: Index, j: Index) -> Indexed:
    return _of("δ", i, j)


def exp(exponent: Node) -> Power:
    return Power(Symbol("e"), exponent)


def log_b(argument: Node) -> Log:
    return Log(argument, B)


def d(of: Node, by: Node) -> Partial:
    return Partial(of, by)


def add(*terms: Node) -> Add:
    return Add(terms)


def less(a: Node, b: Node) -> Add:
    return Add((a, Neg(b)))


def mul(*factors: Node) -> Mul:
    return Mul(factors)


def over(a: Node, b: Node) -> Frac:
    return Frac(a, b)
