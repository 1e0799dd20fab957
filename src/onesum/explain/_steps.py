"""A derivation: titled sections of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from ._exact import ExactRow
from ._layout import Dots, Equation, Matrix, Vector
from ._maths import number
from ._substitute import Numbers
from ._writing import Node

FULL = 8  # classes that are shown one and all
Words = tuple[str | Node, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """One step: why, the formula, the same with the numbers of certain classes, and all classes.

    Attributes
    ----------
    reason : tuple of str and Node
        A line of words, in which there may be formulas.
    formula : Equation
    at : dict of str to int
        The classes that the indices stand for in `numbers`; empty if the formula has none.
    numbers : Equation or None
        The last member of the formula with numbers put in, and its value.
    value : decimal.Decimal or None
        That value.
    whole : Equation or None
        The result for all classes, a vector or a matrix.
    """

    reason: Words
    formula: Equation
    at: Mapping[str, int] = field(default_factory=dict)
    numbers: Equation | None = None
    value: Decimal | None = None
    whole: Equation | None = None


@dataclass(frozen=True)
class Section:
    title: str
    steps: tuple[Step, ...]


class Derivation:
    """The steps of one section, as they are written down, and what is known in them as numbers.

    `g` is the cotangent, or None; `target` a class, or None.
    """

    def __init__(
        self, exact: ExactRow, g: Sequence[Decimal] | None = None, target: int | None = None
    ) -> None:
        self.exact, self.g, self.target = exact, g, target
        self.classes = len(exact.x)
        self.steps: list[Step] = []
        self.alone = {"E": exact.total}
        self.indexed: dict[str, Callable[..., Decimal]] = {
            "x": exact.x.__getitem__,
            "p": exact.p.__getitem__,
            "s": exact.log_p.__getitem__,
            "J": exact.jacobian,
        }
        if g is not None:
            self.indexed["g"] = g.__getitem__
        self.known: dict[Node, tuple[tuple[str, ...], Callable[..., Decimal]]] = {}
        # Two classes serve as examples; they have a probability, of which there is a logarithm.
        probable = [c for c, p in enumerate(exact.p) if p]
        self.one = probable[0]
        self.pair = (probable[0], probable[1]) if len(probable) > 1 else None

    @property
    def cotangent(self) -> Sequence[Decimal]:
        assert self.g is not None
        return self.g

    @property
    def the_target(self) -> int:
        assert self.target is not None
        return self.target

    def same(self, *names: str) -> dict[str, int]:
        """The example of a formula with these indices, all one class."""
        return dict.fromkeys(names, self.one)

    def differing(self, i: str, j: str) -> dict[str, int]:
        """The example of a formula with two indices: two classes, if there are two."""
        first, second = self.pair or (self.one, self.one)
        return {i: first, j: second}

    def step(
        self,
        reason: str | Words,
        *members: Node,
        at: Mapping[str, int] | None = None,
        value: Decimal | None = None,
        whole: Equation | None = None,
    ) -> None:
        """Write a step down; with a value, its last member with numbers put in."""
        words = (reason,) if isinstance(reason, str) else reason
        at = at or {}
        numbers = None
        if value is not None:
            put = Numbers(self.classes, self.alone, self.indexed, self.known)(members[-1], at)
            given = number(value)
            numbers = Equation((put,) if put == given else (put, given))
        self.steps.append(Step(words, Equation(members), at, numbers, value, whole))

    def section(self, title: str) -> Section:
        return Section(title, tuple(self.steps))

    def vector(self, name: Node, of: Callable[[int], Decimal]) -> Equation:
        shown = self.shown()
        items: list[Node] = [number(of(i)) for i in shown]
        return Equation((name, Vector(tuple(with_gaps(shown, items, Dots())))))

    def matrix(self, name: Node, of: Callable[[int, int], Decimal]) -> Equation:
        shown = self.shown()
        digits = 6 if self.classes <= 4 else 4
        rows = []
        for i in shown:
            items: list[Node] = [number(of(i, j), digits) for j in shown]
            rows.append(tuple(with_gaps(shown, items, Dots())))
        gap: tuple[Node, ...] = tuple(Dots() for _ in rows[0])
        return Equation((name, Matrix(tuple(with_gaps(shown, rows, gap)))))

    def shown(self) -> list[int]:
        return shown_of(self.classes, self.exact.pivot, self.target)


def shown_of(classes: int, *own: int | None) -> list[int]:
    """All classes; or of many the first ones, the last ones, and those asked for."""
    if classes <= FULL:
        return list(range(classes))
    return sorted({0, 1, 2, classes - 2, classes - 1, *(c for c in own if c is not None)})


def with_gaps(shown: Sequence[int], items: Sequence[T], dots: T) -> list[T]:
    """The items of these classes, with dots where classes are left out."""
    filled = list(items[:1])
    for before, after, item in zip(shown, shown[1:], items[1:], strict=False):
        filled += [item] if after == before + 1 else [dots, item]
    return filled
