"""A comparison as tables: their cells, and plain text made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ._distribution import PERCENTILES

if TYPE_CHECKING:
    from ._comparison import Comparison


class Table(NamedTuple):
    """Cells as text; the first column is of words, all others are of numbers."""

    headings: tuple[str, ...]
    lines: Sequence[tuple[str, ...]]


def distributions(comparison: Comparison) -> Table:
    """The numbers of the rows, a column each."""
    columns = {
        "KL": comparison.kl,
        "reverse KL": comparison.reverse_kl,
        "Jensen-Shannon": comparison.js,
    }
    if comparison.delta_p is not None:
        columns["change of p"] = comparison.delta_p
    lines = [
        ("mean", *(_number(d.mean) for d in columns.values())),
        ("± stderr", *(_number(d.stderr, 2) for d in columns.values())),
        ("rms", *(_number(d.rms) for d in columns.values())),
        ("maximum", *(_number(d.max) for d in columns.values())),
        *(
            (_percent(q), *(_number(d.percentile(q)) for d in columns.values()))
            for q in PERCENTILES
        ),
        ("minimum", *(_number(d.min) for d in columns.values())),
    ]
    if any(d.infinite for d in columns.values()):
        lines.append(("rows with inf", *(f"{d.infinite:,}" for d in columns.values())))
    return Table(("", *columns), lines)


def summary(comparison: Comparison) -> Table:
    """What all rows together have, with standard errors."""
    c = comparison
    lines = [("same top class", f"{c.same_top:.4%}", f"± {c.same_top_stderr:.2%}")]
    for name, value, error in (
        ("perplexity, base", c.perplexity_base, c.perplexity_base_stderr),
        ("perplexity, other", c.perplexity_other, c.perplexity_other_stderr),
        ("ratio, other / base", c.perplexity_ratio, c.perplexity_ratio_stderr),
        ("log of that ratio", c.log_ratio, c.log_ratio_stderr),
    ):
        if value is not None and error is not None:
            lines.append((name, f"{value:.6g}", f"± {error:.2g}"))
    if c.correlation is not None:
        lines.append(("correlation of log p", f"{c.correlation:.6f}", ""))
    for name, mass in (("base", c.mass_error_base), ("other", c.mass_error_other)):
        if mass is not None:
            spread = f"{mass.min:+.2g} to {mass.max:+.2g}"
            lines.append((f"stored mass - 1, {name}", f"{mass.mean:+.2g}", spread))
    return Table(("", "", ""), lines)


def text(comparison: Comparison) -> str:
    title = f"{comparison.rows:,} rows; KL is KL(base || other), in nats"
    parts = [_lines(distributions(comparison)), _lines(summary(comparison))]
    return "\n\n".join([title, *parts])


def _lines(table: Table) -> str:
    lines = [table.headings, *table.lines] if any(table.headings) else table.lines
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.headings))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def _percent(q: float) -> str:
    return "median" if q == 50 else f"{q:g} %"
