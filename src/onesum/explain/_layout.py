"""What formulas are put together to: vectors, matrices, cases, equations."""

from __future__ import annotations

from dataclasses import dataclass

from ._maths import Add, Neg, Number
from ._writing import SUM, Node, Writer


@dataclass(frozen=True)
class Dots(Node):
    """What is left out."""

    def write(self, w: Writer) -> str:
        return w.symbol("dots")


@dataclass(frozen=True)
class List(Node):
    items: tuple[Node, ...]

    def write(self, w: Writer) -> str:
        return w.listed([item.write(w) for item in self.items])


@dataclass(frozen=True)
class Vector(Node):
    items: tuple[Node, ...]

    def write(self, w: Writer) -> str:
        return w.vector([item.write(w) for item in self.items])


@dataclass(frozen=True)
class Matrix(Node):
    rows: tuple[tuple[Node, ...], ...]

    def write(self, w: Writer) -> str:
        return w.matrix([[item.write(w) for item in row] for row in self.rows])


@dataclass(frozen=True)
class Case(Node):
    """What holds where two indices are the same, or where they are not."""

    value: Node
    left: str
    same: bool
    right: str

    def condition(self, w: Writer) -> str:
        sides = [w.symbol(self.left), w.symbol(self.right)]
        return w.relation(sides, ["=" if self.same else "≠"])


@dataclass(frozen=True)
class Cases(Node):
    cases: tuple[Case, ...]

    def write(self, w: Writer) -> str:
        return w.cases([(case.value.write(w), case.condition(w)) for case in self.cases])


@dataclass(frozen=True)
class Equation(Node):
    """Members that are equal; where the last is a rounded number, nearly so."""

    members: tuple[Node, ...]

    def write(self, w: Writer) -> str:
        signs = ["≈" if _is_rounded(member) else "=" for member in self.members[1:]]
        return w.relation([member.write(w) for member in self.members], signs)

    def binding(self, w: Writer) -> int:
        return SUM


def _is_rounded(node: Node) -> bool:
    match node:
        case Number():
            return node.is_rounded
        case Add(parts):  # 1 less a small number
            return any(map(_is_rounded, parts))
        case Neg(inner):
            return _is_rounded(inner)
        case Vector(items):
            return any(map(_is_rounded, items))
        case Matrix(rows):
            return any(_is_rounded(item) for row in rows for item in row)
    return False
