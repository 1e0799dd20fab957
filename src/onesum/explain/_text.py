"""An explanation as text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from ._compared import ALL, shown_lines
from ._layout import Dots, Equation, List, Matrix, Vector
from ._maths import Number, Symbol
from ._notation import L, d
from ._plain import PLAIN
from ._steps import Step, Words, with_gaps
from ._writing import Node

if TYPE_CHECKING:
    from ._explanation import Explanation

HEADS = ("", "exact", "naive", "ulps", "onesum", "ulps")
INDENT = " " * 5
# Those that tell two neighbours of the type apart.
DIGITS = {"float16": 6, "float32": 10, "float64": 17}


def text(result: Explanation) -> str:
    return "\n".join(_lines(result))


def title(result: Explanation) -> str:
    n = len(result.x)
    return f"Softmax of {n} class{'es' * (n != 1)} in {result.x.dtype.name}, counted from 0"


def _lines(result: Explanation) -> Iterator[str]:
    yield title(result)
    yield introduction(result)
    for equation in given(result):
        yield equation.write(PLAIN)
    for note in result.notes:
        yield f"Note: {note}"
    for section in result.sections:
        yield from ("", section.title, "-" * len(section.title))
        for number, step in enumerate(section.steps, 1):
            yield f"{number:2}. {words(step.reason)}"
            yield from (INDENT + line for line in formulas(step))
    yield from ("", table_title(result), "-" * len(table_title(result)))
    yield from aligned([HEADS, *cells(comparison(result))])


def introduction(result: Explanation) -> str:
    """How the numbers are to be read."""
    line = "Numbers are shown in a few digits, and computed with in a hundred."
    if len(result.shown) == len(result.x):
        return line
    return (
        f"{line} Of {len(result.x)} classes these are shown: {', '.join(map(str, result.shown))}."
    )


def given(result: Explanation) -> Iterator[Equation]:
    """What was asked, in numbers."""
    yield _row(result, Symbol("x"), result.x)
    if result.g is not None:
        yield _row(result, d(L, Symbol("p")), result.g, Symbol("g"))
    if result.target is not None:
        yield Equation((Symbol("t"), Number(Decimal(result.target))))


def _row(result: Explanation, name: Node, values: Any, *names: Node) -> Equation:
    items: list[Node] = [Number(Decimal(float(values[i])), 10) for i in result.shown]
    return Equation((*names, name, Vector(tuple(with_gaps(result.shown, items, Dots())))))


def words(reason: Words) -> str:
    return "".join(part if isinstance(part, str) else part.write(PLAIN) for part in reason)


def formulas(step: Step) -> Iterator[str]:
    """The formula, the same with numbers, and the value of all classes."""
    yield step.formula.write(PLAIN)
    if step.numbers is not None:
        where = f"{place_of(step).write(PLAIN)}: " if step.at else ""
        yield where + step.numbers.write(PLAIN)
    if step.whole is not None:
        name, value = step.whole.members
        if isinstance(value, Matrix):
            first, *rest = value.write(PLAIN).splitlines()
            head = f"{name.write(PLAIN)} = "
            yield f"{head}{first}"
            yield from (" " * len(head) + line for line in rest)
        else:
            yield step.whole.write(PLAIN)


def place_of(step: Step) -> Node:
    """The classes that a step is shown for."""
    return List(
        tuple(Equation((Symbol(i), Number(Decimal(c)))) for i, c in step.at.items()),
    )


def table_title(result: Explanation) -> str:
    return f"Exact, and in {result.x.dtype.name}: the formulas as printed (naive), and onesum"


class Row(NamedTuple):
    """A line of the comparison: exact, naive and its error, onesum and its error."""

    name: Words
    numbers: tuple[Number | None, ...]


def comparison(result: Explanation, digits: int = 0) -> list[Row]:
    """The results of the classes that are shown, and the largest errors of all."""
    digits = digits or DIGITS[result.x.dtype.name]
    rows = []
    for line in shown_lines(result.lines, result.shown):
        ours, naive = Decimal(float(line.ours)), Decimal(float(line.naive))
        numbers = Number(line.exact, digits), Number(naive, digits), in_ulps(line.naive_ulps)
        worst_of = "worst of J" if len(result.x) <= ALL else "worst of these in J"
        name = (line.name, f" ({worst_of})") if line.what == "J" else (line.name,)
        rows.append(Row(name, (*numbers, Number(ours, digits), in_ulps(line.ours_ulps))))
    worst = in_ulps(result.naive_ulps), in_ulps(result.ours_ulps)
    return [*rows, Row(("largest error",), (None, None, worst[0], None, worst[1]))]


def in_ulps(error: float) -> Number:
    return Number(Decimal(error if math.isnan(error) else round(error, 2)), 3)


def cells(rows: list[Row]) -> list[tuple[str, ...]]:
    """As text."""
    return [
        (
            words(row.name),
            *("" if number is None else number.write(PLAIN) for number in row.numbers),
        )
        for row in rows
    ]


def aligned(lines: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns: the first of words, all others of numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = [c.rjust(w) for c, w in zip(line, widths, strict=True)]
        yield "  ".join([line[0].ljust(widths[0]), *padded[1:]]).rstrip()
