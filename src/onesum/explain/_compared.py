"""Exact, naive and onesum's results beside one another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from ._floating import Results, ulps
from ._notation import CROSS_ENTROPY, L, d, jacobian, p, x
from ._writing import Node

Array = Any


@dataclass(frozen=True)
class Line:
    """One number: exact, and twice as floating point has it, with the error in ulps.

    Where there is no exact value that is NaN, and so are the errors.
    """

    what: str
    name: Node
    place: tuple[int, ...]
    exact: Decimal
    naive: float
    ours: float
    naive_ulps: float
    ours_ulps: float


@dataclass(frozen=True)
class Values:
    """The exact results; None where they are not asked for, NaN where there are none."""

    p: list[Decimal]
    jacobian: list[list[Decimal]]
    gradient: list[Decimal] | None
    loss: Decimal | None
    target_gradient: list[Decimal] | None


ALL = 64  # classes up to which every entry of the Jacobian is looked at


def compared(exact: Values, naive: Results, ours: Results, shown: list[int]) -> list[Line]:
    """Every number of the results; of a large Jacobian those of the classes that are shown."""
    return list(_lines(exact, naive, ours, shown))


def _lines(exact: Values, naive: Results, ours: Results, shown: list[int]) -> Iterator[Line]:
    n = len(exact.p)
    some = range(n) if n <= ALL else shown
    for i in range(n):
        yield _line("p", p(i), (i,), exact.p[i], naive.p, ours.p)
    for i in some:
        for j in some:
            value = exact.jacobian[i][j]
            yield _line("J", jacobian(i, j), (i, j), value, naive.jacobian, ours.jacobian)
    if exact.gradient is not None:
        for i, value in enumerate(exact.gradient):
            yield _line("dL/dx", d(L, x(i)), (i,), value, naive.gradient, ours.gradient)
    if exact.loss is not None and exact.target_gradient is not None:
        yield _line("ℓ", CROSS_ENTROPY, (), exact.loss, naive.loss, ours.loss)
        for i, value in enumerate(exact.target_gradient):
            name = d(CROSS_ENTROPY, x(i))
            yield _line("dℓ/dx", name, (i,), value, naive.target_gradient, ours.target_gradient)


def _line(
    what: str, name: Node, place: tuple[int, ...], exact: Decimal, naive: Array, ours: Array
) -> Line:
    a, b = np.asarray(naive)[place], np.asarray(ours)[place]
    dtype = a.dtype
    errors = ulps(float(a), exact, dtype), ulps(float(b), exact, dtype)
    return Line(what, name, place, exact, a, b, *errors)


def worst(errors: Iterable[float]) -> float:
    """The largest; NaN above all."""
    found = list(errors)
    return math.nan if any(map(math.isnan, found)) else max(found, default=0.0)


def shown_lines(lines: list[Line], shown: list[int]) -> list[Line]:
    """Those of the classes that are shown; of the Jacobian the one that the naive formula has most
    wrong."""
    kept = []
    for what in dict.fromkeys(line.what for line in lines):
        own = [line for line in lines if line.what == what]
        if what == "J":
            kept.append(max(own, key=_wrongness))
        else:
            kept += [line for line in own if not line.place or line.place[0] in shown]
    return kept


def _wrongness(line: Line) -> float:
    return math.inf if math.isnan(line.naive_ulps) else line.naive_ulps
