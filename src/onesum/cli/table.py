"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, as wide as the terminal allows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    table.show_header = any(heads)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def size_text(nbytes: int) -> str:
    """A number of bytes, as disks are sold."""
    size, unit = float(nbytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{nbytes} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
