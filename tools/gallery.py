"""Draw the pictures of docs/gallery.md: by its own lines, each by the block beneath it.

`python tools/gallery.py`, or with a folder for them other than docs/images/gallery.
"""

import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "gallery.md"
FOLDER = ROOT / "docs" / "images" / "gallery"
WIDTH = 900  # pixels at most, and 110 to an inch
# A block of Python, and the picture of this folder that stands before it.
BLOCK = re.compile(
    r"(?:^!\[[^\]]*\]\(images/gallery/([\w-]+\.png)\)\n\n)?^```python\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def draw(folder: Path) -> None:
    """Run the page's blocks in their order, and save what each calls `figure`."""
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, Any] = {}
    for name, source in BLOCK.findall(PAGE.read_text()):
        exec(compile(source, f"{PAGE.name}: {name}", "exec"), names)
        if name:
            figure: Figure = names["figure"]
            figure.savefig(folder / name, dpi=min(110, WIDTH / figure.get_figwidth()))
            print(f"{name}: {(folder / name).stat().st_size} bytes")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
