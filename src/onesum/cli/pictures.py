"""Files that a command writes beside its output: whole, or not at all."""

from __future__ import annotations

import io
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")


def picture_path(name: str) -> Path:
    """Where --figure goes, if it can be drawn there."""
    path = Path(name)
    if path.suffix.lower() not in PICTURES:
        wanted = ", ".join(PICTURES)
        raise UserError(f"--figure: expected a name that ends in {wanted}, got {name!r}")
    file_path("--figure", name)
    if find_spec("matplotlib") is None:
        raise UserError(
            "--figure: needs matplotlib, which is not installed: pip install matplotlib"
        )
    return path


def file_path(option: str, name: str) -> Path:
    """Where a file goes, if there is a directory for it."""
    path = Path(name)
    if not path.parent.is_dir():
        raise UserError(f"{option}: {path.parent}: no such directory")
    if path.is_dir():
        raise UserError(f"{option}: {path}: is a directory")
    return path


def save_figure(figure: Figure, path: Path) -> None:
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    save(drawn.getvalue(), path)


def save(content: bytes, path: Path) -> None:
    """All of it or nothing under the name."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
