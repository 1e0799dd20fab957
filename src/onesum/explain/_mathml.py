"""Formulas as MathML, which browsers set without a library."""

from __future__ import annotations

from html import escape

_SYMBOLS = {"dots": "…", "Lambda": "Λ"}


def _element(name: str, *parts: str, **attributes: str) -> str:
    written = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{written}>{''.join(parts)}</{name}>"


def _operator(sign: str, **attributes: str) -> str:
    return _element("mo", escape(sign), **attributes)


def _row(*parts: str) -> str:
    return _element("mrow", *parts)


_COMMA = _operator(",", separator="true", lspace="0", rspace="0.4em")


class MathML:
    """A `Writer` of presentation MathML, within `<math>`."""

    flat = False

    def symbol(self, name: str) -> str:
        if name == "j*":
            return _element("msup", _element("mi", "j"), _operator("*"))
        if name == "dots":
            return _operator(_SYMBOLS[name])
        return _element("mn" if name.isdigit() else "mi", escape(_SYMBOLS.get(name, name)))

    def number(self, digits: str, exponent: int | None) -> str:
        negative = digits.startswith("-")
        text = digits.lstrip("-")
        number = _element("mi" if text in ("∞", "NaN") else "mn", text)
        if exponent is not None:
            ten = _element("msup", _element("mn", "10"), self.number(str(exponent), None))
            number = _row(number, _operator("×"), ten)
        return _row(_operator("−", form="prefix"), number) if negative else number

    def subscript(self, base: str, indices: tuple[str, ...]) -> str:
        comma = _COMMA if any("msup" in i for i in indices) else ""
        return _element("msub", base, _row(comma.join(indices)))

    def power(self, base: str, exponent: str, plain: bool) -> str:
        return _element("msup", base, exponent)

    def fraction(self, above: str, below: str) -> str:
        return _element("mfrac", _row(above), _row(below))

    def minus(self, term: str) -> str:
        return _row(_operator("−", form="prefix"), term)

    def total(self, terms: list[tuple[str, str]]) -> str:
        (sign, first), *rest = terms
        parts = [self.minus(first) if sign == "-" else first]
        for s, term in rest:
            parts += [_operator("−" if s == "-" else "+", form="infix"), term]
        return _row(*parts)

    def product(self, factors: list[str], dots: list[bool]) -> str:
        parts = [factors[0]]
        for dot, factor in zip(dots, factors[1:], strict=True):
            parts += [_operator("·") if dot else _element("mspace", width="0.17em"), factor]
        return _row(*parts)

    def parentheses(self, inner: str) -> str:
        return _row(_operator("("), inner, _operator(")"))

    def function(self, name: str, base: str | None, argument: str) -> str:
        written = _element("mi", name)
        if base is not None:
            written = _element("msub", written, base)
        return _row(written, _element("mspace", width="0.17em"), argument)

    def partial(self, of: str, by: str) -> str:
        d = _element("mi", "∂")
        return _element("mfrac", _row(d, of), _row(d, by))

    def sum(self, index: str, without: str | None, body: str) -> str:
        limits = index if without is None else _row(index, _operator("≠"), without)
        return _row(_element("munder", _operator("∑", largeop="true"), limits), body)

    def listed(self, items: list[str]) -> str:
        return _row(_COMMA.join(items))

    def vector(self, items: list[str]) -> str:
        return self.parentheses(self.listed(items))

    def matrix(self, rows: list[list[str]]) -> str:
        return self.parentheses(_table(rows))

    def cases(self, cases: list[tuple[str, str]]) -> str:
        rows = [[value, condition] for value, condition in cases]
        return _row(_operator("{", form="prefix", stretchy="true"), _table(rows))

    def relation(self, sides: list[str], signs: list[str]) -> str:
        parts = [sides[0]]
        for sign, side in zip(signs, sides[1:], strict=True):
            parts += [_operator(sign), side]
        return _row(*parts)


def _table(rows: list[list[str]]) -> str:
    lines = (_element("mtr", *(_element("mtd", cell) for cell in row)) for row in rows)
    return _element("mtable", *lines)


MATHML = MathML()
