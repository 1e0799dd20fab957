"""The triangle under the pointer: p goes where it is dragged, and a finger can scroll past it."""

from __future__ import annotations

from typing import Any

import pytest
from browser import address, drawn

from onesum.explorer import path

URL = path().as_uri()
CENTRE = """selector => { const box = document.querySelector(selector).getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2]; }"""


def triangle(page: Any) -> dict[str, float]:
    page.locator("#simplex").scroll_into_view_if_needed()
    return page.locator("#simplex .triangle").bounding_box()


@pytest.mark.parametrize("temperature", ["0.01", "1", "100"])
def test_p_is_where_it_was_dragged(watched, temperature):
    page = watched.open(f"{URL}#x=1,2,3&t={temperature}")
    box = triangle(page)
    for part, height in ((0.45, 0.7), (0.5, 0.45), (0.2, 0.9)):
        at = [box["x"] + part * box["width"], box["y"] + height * box["height"]]
        page.mouse.move(*at)
        page.mouse.down()
        page.mouse.up()
        drawn(page)
        assert page.evaluate(CENTRE, "#simplex .dot") == pytest.approx(at, abs=1.5)


@pytest.mark.parametrize(("part", "moved"), [(0.03, False), (0.5, True)])
def test_a_finger_moves_p_and_scrolls_beside_the_triangle(watched, part, moved):
    page = watched.open(URL, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    box = triangle(page)
    before, top = address(page), page.evaluate("scrollY")
    x, y = box["x"] + part * box["width"], box["y"] + box["height"] * 0.6
    touch = page.context.new_cdp_session(page)
    for kind, by in (("touchStart", 0), ("touchMove", 40), ("touchMove", 80), ("touchEnd", None)):
        points = [] if by is None else [{"x": x, "y": y - by}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert (address(page) != before) is moved
    assert (page.evaluate("scrollY") == top) is moved


def test_what_was_not_understood_is_shown(watched):
    page = watched.open(f"{URL}#x=1,2&t=1e3&g=1,{'<b>' * 30}")
    said = page.locator("#problems").text_content()
    assert "t: expected a number from 0.01 to 100, got “1e3”;" in said
    assert f"g: expected 2 numbers from -1000 to 1000, got “{('1,' + '<b>' * 30)[:40]}…”" in said
