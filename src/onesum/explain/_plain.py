"""Formulas as a line of text."""

from __future__ import annotations

_SYMBOLS = {"dots": "…", "Lambda": "Λ"}


class Plain:
    """A `Writer` of Unicode text: p_i = e^(x_i)/E."""

    flat = True

    def symbol(self, name: str) -> str:
        return _SYMBOLS.get(name, name)

    def number(self, digits: str, exponent: int | None) -> str:
        return digits.replace("-", "−") + ("" if exponent is None else f"e{exponent:+d}")

    def subscript(self, base: str, indices: tuple[str, ...]) -> str:
        separator = "" if all(len(i) == 1 for i in indices) else ","
        return f"{base}_{separator.join(indices)}"

    def power(self, base: str, exponent: str, plain: bool) -> str:
        return f"{base}^{exponent}" if plain else f"{base}^({exponent})"

    def fraction(self, above: str, below: str) -> str:
        return f"{above}/{below}"

    def minus(self, term: str) -> str:
        return f"−{term}"

    def total(self, terms: list[tuple[str, str]]) -> str:
        (sign, first), *rest = terms
        start = f"−{first}" if sign == "-" else first
        return start + "".join(f" {'−' if s == '-' else '+'} {term}" for s, term in rest)

    def product(self, factors: list[str], dots: list[bool]) -> str:
        pairs = zip(dots, factors[1:], strict=True)
        return factors[0] + "".join(f"{' · ' if dot else ' '}{f}" for dot, f in pairs)

    def parentheses(self, inner: str) -> str:
        return f"({inner})"

    def function(self, name: str, base: str | None, argument: str) -> str:
        subscript = "" if base is None else f"_{base}"
        return f"{name}{subscript}{'' if argument.startswith('(') else ' '}{argument}"

    def partial(self, of: str, by: str) -> str:
        return f"∂{of}/∂{by}"

    def sum(self, index: str, without: str | None, body: str) -> str:
        limits = index if without is None else f"({index}≠{without})"
        return f"Σ_{limits} {body}"

    def listed(self, items: list[str]) -> str:
        return ", ".join(items)

    def vector(self, items: list[str]) -> str:
        return self.parentheses(self.listed(items))

    def matrix(self, rows: list[list[str]]) -> str:
        """The one thing of several lines; its columns stand below one another."""
        if not rows:
            return "()"
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            f"[{'  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))}]"
            for row in rows
        )

    def cases(self, cases: list[tuple[str, str]]) -> str:
        return f"{{{'; '.join(f'{value} if {condition}' for value, condition in cases)}}}"

    def relation(self, sides: list[str], signs: list[str]) -> str:
        pairs = zip(signs, sides[1:], strict=True)
        return sides[0] + "".join(f" {sign} {side}" for sign, side in pairs)


PLAIN = Plain()
