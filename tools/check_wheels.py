"""What a wheel may weigh and hold: `python tools/check_wheels.py dist/*.whl`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

LIMIT = 2_000_000  # bytes (docs/decisions/0018-install-anywhere.md)


def complaints(wheel: Path) -> Iterator[str]:
    """What is wrong with a wheel."""
    size = wheel.stat().st_size
    if size >= LIMIT:
        yield f"{size / 1e6:.2f} MB, expected less than {LIMIT / 1e6:.2f}"
    names = ZipFile(wheel).namelist()
    for name in names:
        top = name.partition("/")[0]
        if top != "onesum" and not top.endswith(".dist-info"):
            yield f"has {name}, which is not of the package"
        if name.endswith((".pyc", ".pyi.in")) or "/source/" in name:
            yield f"has {name}, which nobody needs"
    for needed in ("onesum/__init__.py", "onesum/py.typed", "onesum/explorer/explorer.html"):
        if needed not in names:
            yield f"lacks {needed}"
    cores = [name for name in names if name.startswith("onesum/_core.") and "pyi" not in name]
    if len(cores) != (not wheel.name.endswith("-none-any.whl")):
        yield f"has {len(cores)} compiled cores, {cores}"


def main(paths: list[str]) -> int:
    if not paths:
        print("usage: check_wheels.py WHEEL...")
        return 2
    bad = 0
    for path in map(Path, paths):
        found = list(complaints(path))
        bad += bool(found)
        print(f"{path.name}: {'; '.join(found) or f'{path.stat().st_size / 1e6:.2f} MB'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
