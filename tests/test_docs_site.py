"""The site of the documentation: its reference has every public name, and Sphinx builds it."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sphinxcontrib.katex
from budget import budget
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate
from test_examples import size_of
from test_imports import MODULES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LISTED = re.compile(r"^\.\. currentmodule:: (\S+)$|^   (\w+)$|^\.\. py:data:: (\w+)$", re.M)
# numpydoc's names for: no docstring, no summary; parameters missing, unknown, without a word; no
# Returns, or without a word; no example.
WANTED = {"GL08", "SS01", "PR01", "PR02", "PR07", "RT01", "RT03", "EX01"}
OF_A_MEMBER = {"GL08", "SS01", "PR02"}


def listed() -> dict[str, list[str]]:
    """The names that the pages of the reference list, by module."""
    names: dict[str, list[str]] = {}
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = ""
        for current, *name in LISTED.findall(page.read_text()):
            module = current or module
            names.setdefault(module, []).extend(filter(None, name))
    return {module: sorted(of) for module, of in names.items()}


def public() -> dict[str, list[str]]:
    """What modules say is public. The commands say nothing, nor do layers, which onesum has."""
    names = {}
    for module in MODULES:
        if "." in module or module.startswith("_"):
            continue
        imported = importlib.import_module(f"onesum.{module}".rstrip("."))
        if hasattr(imported, "__all__"):
            names[imported.__name__] = sorted(set(imported.__all__) - {"__version__"})
    return names


NAMES = [f"{module}.{name}" for module, names in public().items() for name in names]


def object_of(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_the_reference_has_every_public_name_and_no_other():
    assert listed() == public()


def errors(name: str, wanted: set[str]) -> list[str]:
    return [f"{name}: {told}" for code, told in validate(name)["errors"] if code in wanted]


def of_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("onesum")


def attributes(of: type) -> set[str]:
    """Those that the docstring of a class describes."""
    found = get_doc_object(of, "class", config={"show_class_members": False})["Attributes"]
    return {name.strip() for entry in found for name in entry.name.split(",")}


@pytest.mark.parametrize("name", [name for name in NAMES if callable(object_of(name))])
def test_docstring(name):
    """The sections that numpydoc wants; what a result is made of may be told as its attributes."""
    of, wanted = object_of(name), WANTED
    found = []
    if inspect.isclass(of):
        told = attributes(of)
        if set(inspect.signature(of).parameters) <= told:
            wanted = WANTED - {"PR01"}
        for member in set().union(*(vars(a) for a in of.__mro__ if of_ours(a))):
            value = inspect.getattr_static(of, member)
            inner = getattr(value, "fget", None) or getattr(value, "func", None) or value
            if not member.startswith("_") and inspect.isroutine(inner) and member not in told:
                found += errors(f"{name}.{member}", OF_A_MEMBER)
    assert not found + errors(name, wanted)


def test_names_differ_by_more_than_case():
    """Each has a file, and where these are told apart by case alone, conf.py has another name."""
    files = runpy.run_path(str(DOCS / "conf.py"))["autosummary_filename_map"]
    pages = [files.get(name, name).casefold() for name in NAMES]
    assert len(set(pages)) == len(pages)
    assert set(files) <= set(NAMES)


@pytest.mark.slow
def test_sphinx_builds_the_site(tmp_path):
    """Without a warning, from a copy, for the pages of names are written among the sources.

    One test, since a build takes long and workers share nothing; `make check` has it, as
    `make docs`.
    """
    ours = shutil.ignore_patterns("generated", "__pycache__")
    docs = shutil.copytree(DOCS, tmp_path / "docs", ignore=ours)
    for page in ROOT.glob("*.md"):
        shutil.copy(page, tmp_path)
    program = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    run = subprocess.run([*program, docs, tmp_path / "html"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    for check in (names_have_entries, no_network_is_needed, formulas_are_written):
        check(tmp_path / "html")


def names_have_entries(site: Path) -> None:
    """Every public name; and no private module, backend or alias of a type."""
    index = (site / "genindex.html").read_text()
    assert not [name for name in NAMES if f"#{name}" not in index]
    assert "onesum._" not in index
    assert not [p.name for p in site.rglob("*.html") if re.search(r"onesum\.(_|cli|bench)", p.name)]


def no_network_is_needed(site: Path) -> None:
    """What a page loads is here, also the fonts of its formulas."""
    loads = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']([^"'#?]+)""")
    for page in site.rglob("*.html"):
        if "_static" not in page.parts:
            wanted = set(loads.findall(page.read_text()))
            assert not [name for name in wanted if not (page.parent / name).exists()], page.name
    style = site / "_static" / "katex" / "katex.min.css"
    fonts = re.findall(r"url\((fonts/[^)]*\.woff2)\)", style.read_text())
    assert len(fonts) == 20
    assert all((style.parent / font).exists() for font in fonts)


def formulas_are_written(site: Path) -> None:
    page = (site / "derivation.html").read_text()
    assert page.count('class="katex"') > 100
    assert "katex-error" not in page


def test_katex_is_that_of_the_style_sheet():
    style = (DOCS / "_static" / "katex" / "katex.min.css").read_text()
    assert f'content:"{sphinxcontrib.katex.katex_version}"' in style


def test_the_bounds_on_the_page_are_those_of_the_tests():
    """And what tools/bounds.py found is within them."""
    tool = runpy.run_path(str(ROOT / "tools" / "bounds.py"))
    rows = tool["BLOCK"].search((DOCS / "numerics.md").read_text())[0].splitlines()[2:]
    for line, row in zip([*tool["TABLE"], None], rows, strict=True):
        _, label, *cells, _, _ = (cell.strip() for cell in row.split("|"))
        numbers = [float(cell) for cell in cells if cell]
        functions, dtypes = ("softmax",), ("float16",)
        if line:
            assert label == line.label
            functions, dtypes = line.functions, ("float32", "float64")
        promised = [max(sum(budget(f, dtype)) for f in functions) for dtype in dtypes]
        assert numbers[::2] == promised
        assert all(found <= most for found, most in zip(numbers[1::2], promised, strict=True))


# -- the gallery -----------------------------------------------------------------------------------

PICTURES = DOCS / "images" / "gallery"


def test_the_gallery_draws_its_pictures(tmp_path):
    """Each is of the size of the one that is shown, and there is no other."""
    program = [sys.executable, ROOT / "tools" / "gallery.py", tmp_path]
    subprocess.run(program, check=True, capture_output=True)
    drawn, shown = (sorted(p.name for p in of.iterdir()) for of in (tmp_path, PICTURES))
    assert drawn == shown
    for name in drawn:
        assert size_of(tmp_path / name) == size_of(PICTURES / name), name
        assert (PICTURES / name).stat().st_size < 60_000


def test_every_picture_of_the_gallery_is_drawn_by_its_lines():
    page = (DOCS / "gallery.md").read_text()
    own = re.findall(r"\]\(images/gallery/([\w-]+\.png)\)\n\n```python\n", page)
    assert sorted(own) == sorted(p.name for p in PICTURES.iterdir())
