"""Formulas as LaTeX, with amsmath."""

from __future__ import annotations

import re

_SYMBOLS = {
    "δ": r"\delta",
    "ℓ": r"\ell",
    "dots": r"\dots",
    "Lambda": r"\Lambda",
    "j*": r"j^*",
}
_SIGNS = {"≈": r"\approx", "≠": r"\ne"}
_ESCAPED = {c: f"\\{c}" for c in "&%$#_{}"} | {"−": "$-$", "∞": r"$\infty$", "…": r"\dots{}"}
_ESCAPED |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


class Latex:
    """A `Writer` of LaTeX for maths mode."""

    flat = False

    def symbol(self, name: str) -> str:
        return _SYMBOLS.get(name, name)

    def number(self, digits: str, exponent: int | None) -> str:
        text = digits.replace("∞", r"\infty").replace("NaN", r"\mathrm{NaN}")
        return text if exponent is None else rf"{text} \times 10^{{{exponent}}}"

    def subscript(self, base: str, indices: tuple[str, ...]) -> str:
        separator = "" if all(len(i) == 1 for i in indices) else ","
        return f"{base}_{{{separator.join(indices)}}}"

    def power(self, base: str, exponent: str, plain: bool) -> str:
        return f"{{{base}}}^{{{exponent}}}" if len(base) > 1 else f"{base}^{{{exponent}}}"

    def fraction(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def minus(self, term: str) -> str:
        return f"-{term}"

    def total(self, terms: list[tuple[str, str]]) -> str:
        (sign, first), *rest = terms
        start = f"-{first}" if sign == "-" else first
        return start + "".join(f" {s} {term}" for s, term in rest)

    def product(self, factors: list[str], dots: list[bool]) -> str:
        signs = [r"\cdot" if dot else r"\," for dot in dots]
        pairs = zip(signs, factors[1:], strict=True)
        return factors[0] + "".join(f" {sign} {factor}" for sign, factor in pairs)

    def parentheses(self, inner: str) -> str:
        return rf"\left( {inner} \right)"

    def function(self, name: str, base: str | None, argument: str) -> str:
        subscript = "" if base is None else f"_{{{base}}}"
        return rf"\{name}{subscript} {argument}"

    def partial(self, of: str, by: str) -> str:
        return rf"\frac{{\partial {of}}}{{\partial {by}}}"

    def sum(self, index: str, without: str | None, body: str) -> str:
        limits = index if without is None else rf"{index} \ne {without}"
        return rf"\sum_{{{limits}}} {body}"

    def listed(self, items: list[str]) -> str:
        return r",\; ".join(items)

    def vector(self, items: list[str]) -> str:
        return self.parentheses(self.listed(items))

    def matrix(self, rows: list[list[str]]) -> str:
        lines = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{pmatrix}} {lines} \end{{pmatrix}}"

    def cases(self, cases: list[tuple[str, str]]) -> str:
        lines = r" \\ ".join(rf"{value} & {condition}" for value, condition in cases)
        return rf"\begin{{cases}} {lines} \end{{cases}}"

    def relation(self, sides: list[str], signs: list[str]) -> str:
        pairs = zip(signs, sides[1:], strict=True)
        return sides[0] + "".join(f" {_SIGNS.get(sign, sign)} {side}" for sign, side in pairs)


def escaped(text: str) -> str:
    """Words outside of maths mode."""
    return re.sub(".", lambda found: _ESCAPED.get(found[0], found[0]), text)


LATEX = Latex()
