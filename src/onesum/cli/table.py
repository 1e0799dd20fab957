"""Tables in the terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, as wide as the terminal allows."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(emoji=False)
    plain = console.options.ascii_only  # as the lines of the table are then
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    table.show_header = any(heads)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell.replace("±", "+-") if plain else cell) for cell in row))
    console.print(table)


@contextmanager
def whatever_the_encoding() -> Iterator[None]:
    """What stdout cannot write, as the name of a file, it writes escaped."""
    out = sys.stdout
    if not isinstance(out, io.TextIOWrapper):
        yield
        return
    errors = out.errors
    out.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        out.reconfigure(errors=errors)


def size_text(nbytes: int) -> str:
    """A number of bytes, as disks are sold."""
    size, unit = float(nbytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{nbytes} bytes" if unit == "bytes" else f"{size:.3g} {unit}"
