"""An explanation as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ._latex import LATEX, escaped
from ._steps import Step, Words
from ._text import comparison, given, introduction, place_of, table_title, title
from ._writing import Node

if TYPE_CHECKING:
    from ._explanation import Explanation

PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage[a4paper,margin=20mm]{geometry}
\usepackage{amsmath}
\usepackage{booktabs}
\usepackage{graphicx}
\allowdisplaybreaks
\begin{document}
"""
# A formula or a table wider than the line is made as wide as that.
FIT = r"""\providecommand{\onesumfit}[1]{\sbox0{$\displaystyle #1$}%
  \ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi}"""


def latex(result: Explanation, document: bool) -> str:
    body = "\n".join(_lines(result)) + "\n"
    return f"{PREAMBLE}{body}\\end{{document}}\n" if document else body


def _lines(result: Explanation) -> Iterator[str]:
    yield FIT
    yield rf"\section*{{{escaped(title(result))}}}"
    yield escaped(introduction(result))
    for equation in given(result):
        yield rf"\[ \onesumfit{{{equation.write(LATEX)}}} \]"
    for note in result.notes:
        yield rf"\paragraph{{Note.}} {escaped(note)}"
    for section in result.sections:
        yield rf"\subsection*{{{escaped(section.title)}}}"
        yield r"\begin{enumerate}"
        for step in section.steps:
            yield rf"\item {words(step.reason)}"
            yield from _formulas(step)
        yield r"\end{enumerate}"
    yield rf"\subsection*{{{escaped(table_title(result))}}}"
    yield from _table(result)


def words(reason: Words) -> str:
    return "".join(
        escaped(part) if isinstance(part, str) else f"${part.write(LATEX)}$" for part in reason
    )


def _formulas(step: Step) -> Iterator[str]:
    parts: list[Node] = [step.formula]
    if step.numbers is not None:
        parts.append(step.numbers)
    if step.whole is not None:
        parts.append(step.whole)
    lines = [part.write(LATEX) for part in parts]
    if step.numbers is not None and step.at:
        lines[1] = rf"{place_of(step).write(LATEX)}\colon\quad {lines[1]}"
    yield r"\begin{gather*}"
    yield " \\\\\n".join(rf"\onesumfit{{{line}}}" for line in lines)
    yield r"\end{gather*}"


def _table(result: Explanation) -> Iterator[str]:
    yield r"\begin{center}\small"
    yield r"\onesumfit{\begin{tabular}{lrrrrr}"
    yield r"\toprule"
    yield r" & exact & naive & ulps & onesum & ulps \\"
    yield r"\midrule"
    for row in comparison(result):
        numbers = (f"${n.write(LATEX)}$" if n is not None else "" for n in row.numbers)
        yield rf"{words(row.name)} & {' & '.join(numbers)} \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"
    yield r"\end{center}"
