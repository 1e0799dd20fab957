"""The site of the documentation: its reference has every public name, and Sphinx can build it."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest
from numpydoc.validate import validate
from test_imports import MODULES

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = DOCS / "reference"
LISTED = re.compile(r"^\.\. currentmodule:: (\S+)$|^   (\w+)$|^\.\. py:data:: (\w+)$", re.M)


def listed() -> dict[str, list[str]]:
    """The names that the pages of the reference list, by module."""
    names: dict[str, list[str]] = {}
    for page in sorted(REFERENCE.glob("*.md")):
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


def test_reference():
    assert listed() == public()
