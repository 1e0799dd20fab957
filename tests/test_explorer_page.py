"""The explorer's page in a browser: what a person does, and what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import address, drawn
from playwright.sync_api import expect

import onesum
from onesum.explorer import explore, path

URL = path().as_uri()
VIEWS = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
    "narrow": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
}
EIGHT = "#x=-2,-1,0,1,2,1,0,-1&g=1,-1,1,-1,1,-1,1,-1&t=0.5"
FIRST = "x=1,2,3&t=1&g=1,0,0&v=0,1,0&y=2"


def slider(page: Any, name: str) -> Any:
    return page.get_by_role("slider", name=name, exact=True)


def value(page: Any, name: str) -> float:
    return float(slider(page, name).get_attribute("aria-valuenow"))


# --- for everyone ---


@pytest.mark.parametrize("view", VIEWS)
def test_accessible(watched, view):
    """axe finds nothing, whatever is shown; nothing sticks out of the window."""
    page = watched.open(URL + (EIGHT if view in ("phone", "narrow") else ""), **VIEWS[view])
    buttons = page.locator("#quiz button")
    buttons.first.click()
    page.select_option("#precision-of", "vjp")
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()
    width = VIEWS[view]["viewport"]["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("view", ["phone", "narrow"])
def test_targets_are_large_enough_to_touch(watched, view):
    page = watched.open(URL, **VIEWS[view])
    for target in page.locator("button, select, input, [role=slider]").all():
        box = target.bounding_box()
        assert min(box["width"], box["height"]) >= 24


def test_themes(watched):
    page = watched.open(URL)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(ground)
    assert light != dark
    page.get_by_label("Theme").select_option("light")
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="light")
    page.get_by_label("Theme").select_option("dark")
    assert page.evaluate(ground) == dark


def test_motion_is_left_out_where_it_is_not_wanted(watched):
    page = watched.open(URL)
    motion = "getComputedStyle(document.querySelector('.bar')).transitionDuration"
    assert page.evaluate(motion) == "0.09s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(motion) == "0s"


def test_focus_is_seen_and_goes_through_everything(watched):
    page = watched.open(URL)
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "() => { const now = document.activeElement; return ["
            "now.getAttribute('aria-label') || now.id || now.textContent,"
            "getComputedStyle(now).outlineWidth]; }"
        )
        if page.evaluate("document.activeElement === document.body"):
            break
        assert outline == "3px", name
        seen.add(name)
    sliders = {f"{what} of {name}" for what in ("logit", "cotangent", "tangent") for name in "ABC"}
    assert sliders | {"temperature", "theme", "examples", "add", "field", "y"} <= seen


# --- sliders ---


def test_keys(watched):
    page = watched.open(URL)
    logit = slider(page, "logit of A")
    assert [logit.get_attribute(f"aria-value{end}") for end in ("min", "max")] == ["-10", "10"]
    assert logit.get_attribute("aria-valuetext") == "1; probability 0.09003"
    keys = ["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown", "PageUp", "PageDown"]
    keys += ["End", "ArrowRight", "Home"]
    values = [1.1, 1.2, 1.1, 1.0, 2.0, 1.0, 10.0, 10.0, -10.0]
    for key, wanted in zip(keys, values, strict=True):
        logit.press(key)
        drawn(page)
        assert value(page, "logit of A") == wanted, key
    assert address(page) == FIRST.replace("x=1,", "x=-10,")


@pytest.mark.parametrize(
    ("name", "key", "state"),
    [
        ("cotangent of B", "End", FIRST.replace("g=1,0,0", "g=1,3,0")),
        ("tangent of C", "Home", FIRST.replace("v=0,1,0", "v=0,1,-3")),
        ("temperature", "Home", FIRST.replace("t=1", "t=0.01")),
        ("temperature", "PageUp", FIRST.replace("t=1", "t=1.78")),
    ],
)
def test_every_slider_is_in_the_address(watched, name, key, state):
    page = watched.open(URL)
    slider(page, name).press(key)
    assert address(page) == state


def test_drag_by_mouse(watched):
    page = watched.open(URL)
    box = slider(page, "logit of B").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    drawn(page)
    assert value(page, "logit of B") == 0.0
    page.mouse.move(box["x"] + box["width"] + 300, box["y"] + 200, steps=5)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])
    assert address(page) == FIRST.replace("x=1,2,3", "x=1,10,3")
    assert slider(page, "logit of B").evaluate("it => it === document.activeElement")


def test_drag_by_touch(watched):
    page = watched.open(URL, **VIEWS["phone"])
    box = slider(page, "logit of A").bounding_box()
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, x in (
        ("touchStart", middle),
        ("touchMove", middle + 20),
        ("touchMove", box["x"] + box["width"] - 2),
        ("touchEnd", None),
    ):
        points = [] if x is None else [{"x": x, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert address(page) == FIRST.replace("x=1,2,3", "x=10,2,3")


def test_numbers_are_typed(watched):
    page = watched.open(URL)
    field = page.get_by_label("logit of C, as a number")
    field.fill("88.5")
    assert address(page) == FIRST.replace("x=1,2,3", "x=1,2,88.5")
    assert slider(page, "logit of A").get_attribute("aria-valuemax") == "100"
    for wrong in ("1e4", ""):
        field.fill(wrong)
        assert field.get_attribute("aria-invalid") == "true"
    field.blur()
    assert field.input_value() == "88.5"
    assert field.get_attribute("aria-invalid") is None
    field.fill("3")
    page.locator("#logits").get_by_label("Slider range").select_option("±10")
    drawn(page)
    assert slider(page, "logit of A").get_attribute("aria-valuemax") == "10"


def test_classes_are_added_and_removed(watched):
    page = watched.open(URL)
    add, remove = (page.get_by_role("button", name=name) for name in ("Add a class", "Remove the"))
    for _ in range(5):
        add.click()
    assert address(page) == "x=1,2,3,0,0,0,0,0&t=1&g=1,0,0,0,0,0,0,0&v=0,1,0,0,0,0,0,0&y=2"
    assert add.is_disabled()
    for _ in range(6):
        remove.click()
    assert address(page) == "x=1,2&t=1&g=1,0&v=0,1&y=1"
    assert remove.is_disabled()


# --- the address ---


def test_the_link_is_copied(watched):
    page = watched.open(URL)
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
    slider(page, "logit of A").press("Home")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("window.copied") == f"{URL}#{FIRST.replace('x=1,', 'x=-10,')}"


def test_examples(watched):
    page = watched.open(URL)
    page.get_by_label("Example").select_option("float32 overflows")
    assert address(page) == "x=0,50,100&t=1&g=1,0,0&v=0,1,0&y=2"
    assert slider(page, "logit of A").get_attribute("aria-valuemax") == "100"
    page.get_by_label("Example").select_option("three classes")
    assert address(page) == FIRST
    assert slider(page, "logit of A").get_attribute("aria-valuemax") == "10"


def test_the_state_comes_from_the_address_and_changes_with_it(watched):
    state = "x=0.5,-1e-7,3,999&t=2.5&g=1,2,3,-4&v=0,0,0,1&y=3"
    page = watched.open(f"{URL}#{state}")
    assert address(page) == state
    assert value(page, "logit of D") == 999
    page.evaluate("location.hash = '#x=4,5'")
    expect(page.locator("#logits .row")).to_have_count(2)
    assert address(page) == "x=4,5&t=1&g=1,0&v=0,1&y=1"


@pytest.mark.parametrize(
    ("x", "g"), [([1, 2], None), ([0.1, -3, 1e-9], [1e-7, 5, 1]), (None, None)]
)
def test_what_explore_writes_is_what_the_page_reads(watched, x, g):
    page = watched.open(explore(x, g).url)
    read = page.evaluate("() => pageState.parse(location.hash).state")
    assert read["x"] == (x or [1, 2, 3])
    assert read["g"] == (g or [1, 0, 0][: len(read["x"])])


MALFORMED = {
    "x=1": "x",
    "x=1,2,3,4,5,6,7,8,9": "x",
    "x=": "x",
    "x=1,,2": "x",
    "x=1,NaN,2": "x",
    "x=1,Infinity": "x",
    "x=1,2,1e999": "x",
    "x=0x10,2,3": "x",
    "x=1001,0,0": "x",
    "t=0": "t",
    "t=-1": "t",
    "t=1e3": "t",
    "g=1,2": "g",
    "v=a,b,c": "v",
    "y=3": "y",
    "y=-1": "y",
    "y=__proto__": "y",
    "x=%E0%A4%A": "x",
    "x=<img src=x onerror=alert(1)>": "x",
    "x=%3Cscript%3Ealert(1)%3C/script%3E&g=javascript:alert(1)": "xg",
    "x=" + "1," * 10**5: "x",
}


def test_what_is_malformed_is_named_and_the_default_taken(watched):
    page = watched.open(URL)
    parsed = page.evaluate("texts => texts.map(pageState.parse)", [*MALFORMED])
    default = page.evaluate("() => pageState.initial()")
    for names, answer in zip(MALFORMED.values(), parsed, strict=True):
        assert [text.partition(":")[0] for text in answer["problems"]] == [*names]
        assert answer["state"] == default


@pytest.mark.parametrize("fragment", [*MALFORMED][-3:])
def test_a_malformed_address_does_no_harm(watched, fragment):
    """Nothing of it becomes an element, and it is told in words."""
    page = watched.open(f"{URL}#{fragment}")
    said = page.locator("#problems").text_content()
    assert said.startswith("Not understood in the address: x: expected 2 to 8 numbers from -1000")
    assert page.locator("img, main script, #problems *").count() == 0
    assert address(page) == FIRST


def test_what_is_not_known_is_left_alone(watched):
    page = watched.open(f"{URL}#constructor=1&__proto__=2&&=&x=3,4")
    assert page.locator("#problems").text_content() == ""
    assert address(page) == "x=3,4&t=1&g=1,0&v=0,1&y=1"


def test_in_a_notebook(watched):
    """In a frame of its own, with the state that was asked for, which no address holds."""
    page = watched.open("about:blank")
    page.set_content(explore([3, 1], [0, 1])._repr_html_())
    frame = page.frames[1]
    box = frame.get_by_role("slider", name="logit of A")
    assert box.get_attribute("aria-valuenow") == "3"
    box.press("End")
    expect(box).to_have_attribute("aria-valuenow", "10")
    code = frame.locator("#python").text_content()
    assert "[10, 1], [0, 1], [0, 1], 1" in code
    assert frame.get_by_role("button", name="Copy link").is_hidden()
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["p"].tolist() == onesum.softmax([10.0, 1.0]).tolist()
