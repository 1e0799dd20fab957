"""`onesum.explorer` and `onesum explore`: the page as a file, and the state that is asked for."""

from __future__ import annotations

import html
import importlib.util
import re
import webbrowser
from html.parser import HTMLParser
from pathlib import Path

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import torch

from onesum.explorer import Explorer, explore, path

ROOT = Path(__file__).parent.parent
PAGE = path().read_text(encoding="utf-8")


def test_the_page_is_up_to_date():
    tool = ROOT / "tools" / "explorer_page.py"
    spec = importlib.util.spec_from_file_location("explorer_page", tool)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.assembled() == PAGE, "python tools/explorer_page.py writes it anew"
    sources = {file.stem for file in module.SOURCE.glob("*.js")}
    assert sources == set(module.SCRIPTS)


def test_the_page_is_small_and_needs_nothing_else():
    assert path().stat().st_size < 300_000
    assert "default-src 'none'" in PAGE
    links = re.findall(r'\b(?:src|href)="([^"]*)', PAGE)
    assert links
    assert all(link.startswith("data:") for link in links)
    # The names of SVG and MathML, which nobody fetches.
    assert set(re.findall(r"\w+://([\w.]+)", PAGE)) == {"www.w3.org"}


def test_no_text_is_read_as_html():
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", PAGE)


# --- explore ---


@pytest.mark.parametrize(
    ("x", "g", "fragment"),
    [
        (None, None, ""),
        ([1, 2, 3], None, "x=1,2,3"),
        ([1, 2, 3], [1, 0, 0], "x=1,2,3&g=1,0,0"),
        (None, [0, -0.5, 1e-7], "g=0,-0.5,1e-07"),
        ((-1.5, 1000), None, "x=-1.5,1000"),
        (np.array([0.1, 0.2], np.float32), None, "x=0.10000000149011612,0.20000000298023224"),
        (np.array([1, 255], np.uint8), None, "x=1,255"),
        (np.array([True, False]), None, "x=1,0"),
        (np.array([0.5, 2], np.float16), None, "x=0.5,2"),
        (np.array([0.5, 2], ml_dtypes.bfloat16), None, "x=0.5,2"),
        (torch.tensor([0.5, 2], requires_grad=True), None, "x=0.5,2"),
        (torch.tensor([0.5, 2], dtype=torch.bfloat16), [1, 0], "x=0.5,2&g=1,0"),
        (pd.Series([1, 2], index=["a", "b"]), None, "x=1,2"),
        (range(8), None, "x=0,1,2,3,4,5,6,7"),
    ],
)
def test_the_state(x, g, fragment):
    explorer = explore(x, g)
    assert explorer.fragment == fragment
    assert explorer.url == path().as_uri() + ("#" + fragment if fragment else "")
    assert repr(explorer) == f"Explorer({fragment!r})"


MISTAKES = {
    "one class": ([1], None, ValueError, "x: expected from 2 to 8 logits, got 1"),
    "nine": (range(9), None, ValueError, "x: expected from 2 to 8 logits, got 9"),
    "none": ([], None, ValueError, "x: expected from 2 to 8 logits, got 0"),
    "number": (1.0, None, ValueError, r"x: expected one row, of shape \(n,\), got shape \(\)"),
    "matrix": ([[1, 2]], None, ValueError, r"x: .* got shape \(1, 2\)"),
    "nan": ([1, np.nan], None, ValueError, "x: expected numbers from -1000 to 1000, got nan at 1"),
    "inf": ([-np.inf, 1], None, ValueError, "x: expected .*, got -inf at 0"),
    "large": ([1, 1001], None, ValueError, "x: expected .*, got 1001.0 at 1"),
    "text": (["1", "2"], None, TypeError, "x: expected real numbers, got dtype <U1"),
    "complex": ([1j, 2], None, TypeError, "x: expected real numbers, got dtype complex128"),
    "objects": ([None, 2], None, TypeError, "x: expected real numbers, got dtype object"),
    "ragged": ([[1, 2], [3]], None, ValueError, "x: expected .* evenly nested numbers, got "),
    "masked": (
        np.ma.array([1, 2, 3], mask=[0, 1, 0]),
        None,
        ValueError,
        "x: .* masked .* at position 1",
    ),
    "records": (np.zeros(2, "i4,i4"), None, TypeError, "x: expected real numbers, got dtype"),
    "g too short": ([1, 2], [1], ValueError, "g: expected 2 numbers, one for each logit, got 1"),
    "g alone": (None, [1, 2], ValueError, "g: expected 3 numbers, one for each logit, got 2"),
    "g nan": ([1, 2], [1, np.nan], ValueError, "g: expected numbers .*, got nan at 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_argument(mistake):
    x, g, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=f"^{message}"):
        explore(x, g)


class Frame(HTMLParser):
    """The attributes of the only tag."""

    def handle_starttag(self, tag, attributes):
        self.tag, self.attributes = tag, dict(attributes)


def test_a_notebook_shows_the_page_with_the_state():
    frame = Frame()
    frame.feed(explore([1, 2], [0, 1])._repr_html_())
    assert frame.tag == "iframe"
    assert frame.attributes["sandbox"] == "allow-scripts"
    assert frame.attributes["title"]
    wanted = PAGE.replace('data-state=""', 'data-state="x=1,2&amp;g=0,1"')
    assert frame.attributes["srcdoc"] == wanted


def test_a_state_cannot_leave_its_attribute():
    shown = html.unescape(Explorer('"><script>alert(1)</script>')._repr_html_())
    assert 'data-state="&quot;&gt;&lt;script&gt;alert(1)' in shown


# --- the command ---


@pytest.fixture
def opened(monkeypatch):
    urls: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: urls.append(url) or True)
    return urls


@pytest.mark.parametrize(
    ("argv", "fragment"),
    [
        ((), ""),
        ((1, 2, 3, "--grad", 1, 0, 0), "#x=1,2,3&g=1,0,0"),
        ((-1, 2.5, "--grad", -1, 0), "#x=-1,2.5&g=-1,0"),
        (("--grad", 1, -1, 0), "#g=1,-1,0"),
    ],
)
def test_the_command_opens_the_page(cli, opened, argv, fragment):
    url = path().as_uri() + fragment
    assert cli("explore", *argv) == (0, url + "\n", "")
    assert opened == [url]
    assert cli("explore", *argv, "--no-browser") == (0, url + "\n", "")
    assert opened == [url]


def test_where_the_page_is(cli, opened):
    assert cli("explore", "--print-path") == (0, f"{path()}\n", "")
    assert not opened


def test_no_browser(cli, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    wanted = "onesum: no browser was found: open the address above in one\n"
    assert cli("explore", 1, 2) == (1, f"{path().as_uri()}#x=1,2\n", wanted)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((1,), "X: expected from 2 to 8 logits, got 1"),
        ((1, "x"), 'Invalid value for X: unable to convert "x" into float.'),
        ((1, "nan"), "X: expected numbers from -1000 to 1000, got nan at 1"),
        ((1, 2, "--grad", 1), "--grad: expected 2 numbers, one for each logit, got 1"),
        ((1, 2, "--grad"), "--grad: expected 2 numbers, one for each logit, got 0"),
        ((1, 2, "--grad", 1, "inf"), "--grad: expected numbers from -1000 to 1000, got inf at 1"),
    ],
)
def test_a_mistake_is_told_in_a_line(cli, opened, argv, told):
    assert cli("explore", *argv) == (2, "", f"onesum: {told}\n")
    assert not opened
