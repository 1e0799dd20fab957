"""A report for a person to look at: in a terminal, in plain text, in a notebook."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from ._mistakes import MISTAKES
from ._report import Finding, Report

if TYPE_CHECKING:
    from rich.console import RenderableType

_SIGNS = {"ok": "ok", "remark": "remark", "fault": "FAULT"}
_COLOURS = {"ok": "green", "remark": "yellow", "fault": "red"}
Lines = list[tuple[str, ...]]


def headline(report: Report) -> str:
    faults, remarks = len(report.faults), len(report.remarks)
    verdict = "passes" if report.ok else "does not pass"
    numbers = {
        "check": len(report.findings),
        "mistake": len(report.mistakes),
        "fault": faults,
        "remark": remarks,
    }
    counts = [f"{n} {what}{'s' * (n != 1)}" for what, n in numbers.items() if n]
    asked = f"{report.kind}, profile {report.profile.name}, {report.library} arrays"
    return f"{report.name} ({asked}): {verdict}; {', '.join(counts)}"


def _lines(report: Report, passed: bool = True) -> Lines:
    """A line for each finding; those of a section that are all right are one."""
    lines: Lines = []
    sections = list(dict.fromkeys(f.section for f in report.findings))
    for section in sections:
        found = [f for f in report.findings if f.section == section]
        right = [f for f in found if f.verdict == "ok"]
        if right and passed:
            worst = max(right, key=lambda f: f.error if f.error is not None else -1.0)
            of = f" of {len(found)}" * (len(right) < len(found))
            case = worst.case if len(found) == 1 else f"{len(right)}{of} cases"
            lines.append((section, case, _error(worst), "ok"))
        for f in found:
            if f.verdict != "ok":
                lines.append((section, f.case, f.text or _error(f), _SIGNS[f.verdict]))
    return lines


def _error(f: Finding) -> str:
    if f.error is None:
        return ""
    digits = 2 if f.error < 100 else 3
    error = "not finite" if math.isinf(f.error) else f"{f.error:.{digits}g} ulp"
    return f"{error} ({f.allowed:g} allowed)"


def _mistakes(report: Report) -> list[tuple[str, str, str, str, str]]:
    found = []
    for e in report.evidence:
        told = MISTAKES[e.mistake].of(report.kind)
        found.append((e.mistake, e.shown, told.formula, told.what, told.mend))
    return found


def _speed(report: Report) -> Lines:
    lines: Lines = []
    for size, times in report.speed.items():
        own = times.get("")
        if own:
            others = (f"{name} {t:g} µs ({own / t:.2g} x)" for name, t in times.items() if name)
            lines.append((size, f"{own:g} µs", ", ".join(others)))
    return lines


def text(report: Report) -> str:
    """The mistakes and faults, and no more: what a failing test should tell."""
    parts = [headline(report)]
    for name, shown, formula, what, mend in _mistakes(report):
        parts += [f"{name}: {shown}", f"    formula: {formula}", f"    {what}", f"    mend: {mend}"]
    for section, case, told, sign in _lines(report, passed=False):
        parts.append(f"{sign}  {section}, {case}: {told}")
    return "\n".join(parts)


def rich(report: Report) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.markup import escape as plain
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(headline(report), style="bold green" if report.ok else "bold red")
    ]
    for name, shown, formula, what, mend in _mistakes(report):
        parts.append(Text(f"\n{name}", style="bold red"))
        grid = Table.grid(padding=(0, 2))
        for label, value in (("shown", shown), ("formula", formula), ("why", what), ("mend", mend)):
            grid.add_row(f"  {label}", plain(value))
        parts.append(grid)
    table = Table(box=SIMPLE_HEAD, title_justify="left")
    for head in ("section", "case", "found", ""):
        table.add_column(head, overflow="fold")
    signs = {_SIGNS[verdict]: colour for verdict, colour in _COLOURS.items()}
    for section, case, told, sign in _lines(report):
        table.add_row(section, plain(case), plain(told), Text(sign, style=signs[sign]))
    parts.append(table)
    if report.speed:
        times = Table(box=SIMPLE_HEAD)
        for head in ("size", "time", "others (times theirs)"):
            times.add_column(head, overflow="fold")
        for line in _speed(report):
            times.add_row(*line)
        parts.append(times)
    return Group(*parts)


def html(report: Report) -> str:
    """A fragment without a script, in the notebook's own colours."""
    colours = {"ok": "#1a7f37", "remark": "#9a6700", "FAULT": "#cf222e"}
    parts = [f"<p><strong>{escape(headline(report))}</strong></p>"]
    for name, shown, formula, what, mend in _mistakes(report):
        parts.append(
            f"<p><strong style='color:{colours['FAULT']}'>{name}</strong>: {escape(shown)}<br>"
            f"formula: <code>{escape(formula)}</code><br>{escape(what)}<br>"
            f"mend: <code>{escape(mend)}</code></p>"
        )
    rows = "".join(
        f"<tr style='text-align:left'>"
        f"<td>{escape(section)}</td><td>{escape(case)}</td><td>{escape(told)}</td>"
        f"<td style='color:{colours[sign]}'>{sign}</td></tr>"
        for section, case, told, sign in _lines(report)
    )
    heads = "".join(
        f"<th style='text-align:left'>{head}</th>" for head in ("section", "case", "found", "")
    )
    parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
    for size, own, others in _speed(report):
        told = f"{size}: {own}; others, and how many times theirs that is: {others}"
        parts.append(f"<p>{escape(told)}</p>")
    return "\n".join(parts)
