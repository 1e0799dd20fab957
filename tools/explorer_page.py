"""Write src/onesum/explorer/explorer.html: the sources beside it put into one page.

`python tools/explorer_page.py`; tests/test_explorer.py finds a page that is out of date.
"""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "src" / "onesum" / "explorer"
SOURCE = FOLDER / "source"
PAGE = FOLDER / "explorer.html"
# A script comes after those whose names it uses.
SCRIPTS = [
    *("softmax", "floats", "state", "dom", "slider"),
    *("panels", "jacobian", "simplex", "formulas", "precision", "python", "rounds", "quiz", "app"),
]


def assembled() -> str:
    """The page. Scripts are written into it, for a module is not loaded from `file://`."""
    page = (SOURCE / "page.html").read_text(encoding="utf-8")
    style = (SOURCE / "style.css").read_text(encoding="utf-8")
    scripts = [(SOURCE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    # One mode for all: the directive is the first line of the whole.
    joined = "\n".join(script.replace('"use strict";\n\n', "", 1) for script in scripts)
    page = page.replace("/* style.css */\n", style)
    return page.replace("/* scripts */\n", f'"use strict";\n\n{joined}')


if __name__ == "__main__":
    PAGE.write_text(assembled(), encoding="utf-8")
    print(f"{PAGE.name}: {PAGE.stat().st_size} bytes")
