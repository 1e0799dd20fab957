"""Formulas as trees, which are written as LaTeX, as MathML or as a line of text.

A node says what a formula is, a `Writer` how that looks; parentheses follow from the tree. The
same trees are what numbers are put into (`_substitute.py`), and what the tests check by SymPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal

from ._writing import ATOM, POWER, PRODUCT, SUM, Node, Writer

Index = str | int
ONE, NEAR = Decimal(1), Decimal("1e-5")


@dataclass(frozen=True)
class Symbol(Node):
    name: str

    def write(self, w: Writer) -> str:
        return w.symbol(self.name)


@dataclass(frozen=True)
class Number(Node):
    """A number, shown in so many significant digits."""

    value: Decimal
    digits: int = 6

    @property
    def shown(self) -> Decimal:
        if not self.value.is_finite():
            return self.value
        return Context(prec=self.digits, Emax=10**18 - 1, Emin=1 - 10**18).plus(self.value)

    @property
    def is_rounded(self) -> bool:
        return self.value.is_finite() and self.value != self.shown

    def parts(self) -> tuple[str, int | None]:
        """Digits and the exponent of ten beside them, if there is to be one."""
        shown = self.shown
        if shown.is_nan():
            return "NaN", None
        if shown.is_infinite():
            return ("-∞" if shown.is_signed() else "∞"), None
        if not shown:
            return "0", None
        sign, digits, _ = shown.as_tuple()
        figures = "".join(map(str, digits)).rstrip("0")
        exponent = shown.adjusted()
        minus = "-" * sign
        if -5 < exponent < 7:
            text = f"{shown:f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text), None
        point = "." if figures[1:] else ""
        return f"{minus}{figures[0]}{point}{figures[1:]}", exponent

    def write(self, w: Writer) -> str:
        return w.number(*self.parts())

    def binding(self, w: Writer) -> int:
        if self.parts()[0].startswith("-"):
            return SUM
        if self.parts()[1] is None:
            return ATOM
        return POWER if w.flat else PRODUCT


def number(value: Decimal, digits: int = 6) -> Node:
    """A number; next to 1, as what it is less."""
    if value.is_finite():
        rest = Context(prec=100, Emin=1 - 10**18).subtract(ONE, value.copy_abs())
        if 0 < rest < NEAR:
            near = Add((Number(ONE), Neg(Number(rest, digits))))
            return Neg(near) if value.is_signed() else near
    return Number(value, digits)


@dataclass(frozen=True)
class Indexed(Node):
    base: Symbol
    indices: tuple[Index, ...]

    def write(self, w: Writer) -> str:
        return w.subscript(self.base.write(w), tuple(w.symbol(str(i)) for i in self.indices))


@dataclass(frozen=True)
class Neg(Node):
    term: Node

    def write(self, w: Writer) -> str:
        return w.minus(self.term.within(w, PRODUCT))

    def binding(self, w: Writer) -> int:
        return SUM


@dataclass(frozen=True)
class Add(Node):
    terms: tuple[Node, ...]

    def write(self, w: Writer) -> str:
        parts = []
        for place, term in enumerate(self.terms):
            sign, inner = ("-", term.term) if isinstance(term, Neg) else ("+", term)
            first = place == 0 and sign == "+"
            parts.append((sign, inner.write(w) if first else inner.within(w, PRODUCT)))
        return w.total(parts)

    def binding(self, w: Writer) -> int:
        return SUM


@dataclass(frozen=True)
class Mul(Node):
    factors: tuple[Node, ...]

    def write(self, w: Writer) -> str:
        written = [f.within(w, POWER if w.flat else PRODUCT) for f in self.factors]
        pairs = zip(self.factors, self.factors[1:], strict=False)
        dots = [_starts_with_a_digit(b) or isinstance(a, Number) for a, b in pairs]
        return w.product(written, dots)

    def binding(self, w: Writer) -> int:
        return PRODUCT


def _starts_with_a_digit(node: Node) -> bool:
    """Or looks as if: beside another factor it would be read as a part of that."""
    return isinstance(node, Number) or _has_numbers(node)


def _has_numbers(node: Node) -> bool:
    """Numbers that were put in, other than the 1 and the 2 of the formulas."""
    match node:
        case Number(value):
            return value not in (1, 2)
        case Power(base, exponent):
            return isinstance(base, Number) or (base == Symbol("e") and not _has_symbols(exponent))
        case Log(argument):
            return _has_numbers(argument) or isinstance(argument, Number)
        case Frac(a, b):
            return _has_numbers(a) or _has_numbers(b)
        case Add(parts) | Mul(parts):
            return any(map(_has_numbers, parts))
        case Neg(inner):
            return _has_numbers(inner)
    return False


def _has_symbols(node: Node) -> bool:
    match node:
        case Add(parts):
            return any(map(_has_symbols, parts))
        case Neg(inner):
            return _has_symbols(inner)
    return not isinstance(node, Number)


@dataclass(frozen=True)
class Frac(Node):
    above: Node
    below: Node

    def write(self, w: Writer) -> str:
        if w.flat:
            return w.fraction(self.above.within(w, PRODUCT), self.below.within(w, POWER))
        return w.fraction(self.above.write(w), self.below.write(w))

    def binding(self, w: Writer) -> int:
        return PRODUCT if w.flat else ATOM


@dataclass(frozen=True)
class Power(Node):
    base: Node
    exponent: Node

    def write(self, w: Writer) -> str:
        plain = isinstance(self.exponent, Number) and self.exponent.binding(w) == ATOM
        return w.power(self.base.within(w, ATOM), self.exponent.write(w), plain)

    def binding(self, w: Writer) -> int:
        return POWER


@dataclass(frozen=True)
class Log(Node):
    """The logarithm in a base, or the natural one."""

    argument: Node
    base: Node | None = None

    def write(self, w: Writer) -> str:
        name = "ln" if self.base is None else "log"
        base = None if self.base is None else self.base.write(w)
        return w.function(name, base, self.argument.within(w, ATOM))

    def binding(self, w: Writer) -> int:
        return POWER


@dataclass(frozen=True)
class Partial(Node):
    """The partial derivative."""

    of: Node
    by: Node

    def write(self, w: Writer) -> str:
        return w.partial(self.of.within(w, ATOM if w.flat else POWER), self.by.write(w))

    def binding(self, w: Writer) -> int:
        return POWER


@dataclass(frozen=True)
class Sum(Node):
    """Over all classes, or all but one."""

    index: str
    body: Node
    without: str | None = None

    def write(self, w: Writer) -> str:
        without = None if self.without is None else w.symbol(self.without)
        return w.sum(w.symbol(self.index), without, self.body.within(w, PRODUCT))

    def binding(self, w: Writer) -> int:
        return POWER  # it ends a product or a difference
