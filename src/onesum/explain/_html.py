"""An explanation as HTML, which needs nothing from elsewhere: formulas are MathML."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from ._mathml import MATHML
from ._steps import Section, Step, Words
from ._text import HEADS, comparison, given, introduction, place_of, table_title, title
from ._writing import Node

if TYPE_CHECKING:
    from ._explanation import Explanation

# Colours come from the page around, so that light and dark are both right.
STYLE = """
.onesum-explain { line-height: 1.5; max-width: 62rem; }
.onesum-explain math { font-size: 1.1em; }
.onesum-explain math[display=block] { margin: .35em 0 .35em 1.5em; width: max-content; }
.onesum-explain .wide { overflow-x: auto; }
.onesum-explain ol { padding-left: 1.8em; }
.onesum-explain summary { cursor: pointer; font-weight: 600; margin: .6em 0; }
.onesum-explain .note { border-left: .25em solid #d97706; padding-left: .75em; }
.onesum-explain table.onesum-compared { border-collapse: collapse; margin: .5em 0; }
.onesum-explain table.onesum-compared :is(th, td) {
  border-bottom: 1px solid #8888; padding: .15em .7em; text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; background: none; }
.onesum-explain table.onesum-compared th:first-child { text-align: left; }
.onesum-explain .off { color: #dc2626; font-weight: 600; }
"""
OFF = 100  # ulps from which an error is marked


def html(result: Explanation) -> str:
    return f"<style>{STYLE}</style>\n" + "\n".join(_lines(result))


def page(result: Explanation) -> str:
    """A document of its own, in the colours that the reader's browser has."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title(result))}</title>
<style>body {{ font-family: system-ui, sans-serif; margin: 1.5rem; }}</style>
</head>
<body>
{html(result)}
</body>
</html>
"""


def _lines(result: Explanation) -> Iterator[str]:
    yield f'<div class="onesum-explain"><h3>{escape(title(result))}</h3>'
    yield f"<p>{escape(introduction(result))}</p>"
    for equation in given(result):
        yield _display(equation)
    for note in result.notes:
        yield f'<p class="note">{escape(note)}</p>'
    for section in result.sections:
        yield _section(section)
    yield f"<h4>{escape(table_title(result))}</h4>"
    yield from _table(result)
    yield "</div>"


def _section(section: Section) -> str:
    steps = "\n".join(f"<li>{words(s.reason)}{_formulas(s)}</li>" for s in section.steps)
    summary = f"<summary>{escape(section.title)}</summary>"
    return f"<details open>{summary}\n<ol>{steps}</ol></details>"


def words(reason: Words) -> str:
    return "".join(escape(part) if isinstance(part, str) else _inline(part) for part in reason)


def _inline(node: Node) -> str:
    return f"<math>{node.write(MATHML)}</math>"


def _display(*nodes: Node) -> str:
    """Formulas in a line, with a colon between them."""
    inner = '<mo separator="true">:</mo><mspace width="0.6em"/>'.join(
        node.write(MATHML) for node in nodes
    )
    return f'<div class="wide"><math display="block">{inner}</math></div>'


def _formulas(step: Step) -> str:
    lines = [_display(step.formula)]
    if step.numbers is not None:
        lines.append(_display(*([place_of(step)] if step.at else []), step.numbers))
    if step.whole is not None:
        lines.append(_display(step.whole))
    return "".join(lines)


def _table(result: Explanation) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in HEADS)
    yield '<div class="wide"><table class="onesum-compared">'
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    for row in comparison(result):
        cells = []
        for place, number in enumerate(row.numbers):
            error = HEADS[place + 1] == "ulps"
            off = number is not None and error and not float(number.value) < OFF
            text = "" if number is None else _inline(number)
            cells.append(f"<td{' class=off' if off else ''}>{text}</td>")
        yield f'<tr><th scope="row">{words(row.name)}</th>{"".join(cells)}</tr>'
    yield "</tbody></table></div>"
