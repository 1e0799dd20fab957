"""Pictures that a command draws into a file."""

from __future__ import annotations

import io
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import UserError

PICTURES = (".png", ".svg", ".pdf")


def picture_of(name: str) -> Path:
    """Where the figure goes, if it can be drawn there."""
    path = Path(name)
    if path.suffix.lower() not in PICTURES:
        wanted = ", ".join(PICTURES)
        raise UserError(f"--figure: expected a name that ends in {wanted}, got {name!r}")
    if not path.parent.is_dir():
        raise UserError(f"--figure: {path.parent}: no such directory")
    if find_spec("matplotlib") is None:
        raise UserError(
            "--figure: needs matplotlib, which is not installed: pip install matplotlib"
        )
    return path


def save(figure: Any, path: Path) -> None:
    """The whole picture or nothing under its name."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format=path.suffix[1:].lower(), dpi=150)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(drawn.getvalue())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
