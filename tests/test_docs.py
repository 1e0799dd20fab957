"""The documentation is true: its examples run, its links lead somewhere.

That the reference has every public name, and what docstrings have to say, is in test_docs_site.py.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from test_imports import MODULES

import onesum
from onesum import cli
from onesum._backends import registry
from onesum.cli import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = sorted(set(onesum.__all__) - {"__version__"})
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(
    r"^```(?:python\n(.*?)|console\n(\$ onesum .*?))^```", re.MULTILINE | re.DOTALL
)


def run(name: str, source: str, names: dict) -> None:
    """One example, as a doctest if it has prompts, otherwise as a program."""
    if ">>>" not in source:
        exec(compile(source, name, "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(source, names, name, name, 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    assert not report, "".join(report)


def run_commands(name: str, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Commands after `$ `, each with what it says, on stderr before stdout."""
    for example in re.split(r"^\$ ", source, flags=re.MULTILINE)[1:]:
        line, _, wanted = example.partition("\n")
        cli.main(shlex.split(line)[1:])
        said = capsys.readouterr()
        got = said.err + said.out
        if not doctest.OutputChecker().check_output(wanted, got, OPTIONS):
            pytest.fail(f"{name}: $ {line}\n{got}")


def test_all_is_what_there_is():
    public = {
        name
        for name in dir(onesum)
        if not name.startswith("_") and not inspect.ismodule(getattr(onesum, name))
    }
    assert sorted(public) == PUBLIC


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module):
    imported = importlib.import_module(f"onesum.{module}".rstrip("."))
    failures, _ = doctest.testmod(imported, optionflags=OPTIONS)
    assert not failures


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_examples(page, tmp_path, monkeypatch, capsys):
    """The Python blocks of a page and the commands, in turn as a reader would run them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    names: dict = {}
    for i, (source, commands) in enumerate(EXAMPLE.findall(page.read_text())):
        if source:
            run(f"{page.name} example {i + 1}", source, names)
        else:
            run_commands(f"{page.name} example {i + 1}", commands, capsys)


def test_every_command_is_on_its_page():
    """Each has a section, and its options are in what that shows of `--help`."""
    page = (ROOT / "docs" / "cli.md").read_text()
    sections = re.findall(r"^## onesum ([\w-]+)", page, re.MULTILINE)
    commands = {name for name in app.app if not name.startswith("-")}
    assert commands <= set(sections)
    assert {"softmax", "loss", "info"} <= set(re.findall(r"^\$ onesum (\w+) --help", page, re.M))


def test_the_readme_shows_the_two_commands_and_an_example():
    text = (ROOT / "README.md").read_text()
    assert text.index("make demo") < text.index("```python")
    assert "make test" in text
    assert BLOCK.findall(text)


def anchors(page: Path) -> set[str]:
    """Of its headings, as they are made of them on the web."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    """Pages, pictures, and the headings of pages."""
    for page in PAGES:
        for target in re.findall(r"""(?:\]\(|src(?:set)?=")([^)\s"]+)""", page.read_text()):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), f"{page.name} links to {target}"
            if anchor:
                assert anchor in anchors(there), f"{page.name} links to {target}"


def test_show_config(capsys):
    """It names the backend that serves NumPy arrays here."""
    answer = onesum.show_config()
    told = f"{capsys.readouterr().out} {answer}"
    backend = registry.name_of(registry.numpy_backend)
    assert backend in told
    assert onesum.__version__ in told
    assert np.__version__ in told
