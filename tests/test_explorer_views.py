"""What the explorer's page shows, in a browser: the numbers of the package, where they belong."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from browser import address, drawn
from budget import EXPLORER_DIRECTION, EXPLORER_PIXEL

import onesum
from onesum.explorer import path

MINUS = "\N{MINUS SIGN}"
URL = path().as_uri()
CASES = {
    "three": ([1, 2, 3], [1, 0, 0], [0, 1, 0], 1, 2),
    "sharp": ([40, 0], [1, 0], [0, 1], 1, 0),
    "cold": ([0.5, -1, 0.25, 2], [1, -2, 0, 3], [-1, 0.5, 0, 0], 0.25, 1),
    "eight": ([-2, -1, 0, 1, 2, 1, 0, -1], [1, -1] * 4, [0, 1] * 4, 3, 7),
}


def shown(value: float) -> str:
    """Four digits, as the page writes them."""
    if 1e-3 <= abs(value) < 1e5 or value == 0:
        text = np.format_float_positional(float(f"{value:.4g}"), trim="-")
    else:
        text = re.sub(r"e([+-])0*", lambda m: f"e{m[1].replace('+', '')}", f"{value:.2e}")
    return text.replace("-", MINUS)


def opened(watched: Any, x: Any, g: Any, v: Any, t: Any, y: Any) -> Any:
    lists = (",".join(map(str, values)) for values in (x, g, v))
    return watched.open("{}#x={}&g={}&v={}&t={}&y={}".format(URL, *lists, t, y))


def texts(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_text_contents()


@pytest.mark.parametrize("case", CASES)
def test_the_numbers(watched, case):
    x, g, v, t, y = CASES[case]
    page = opened(watched, *CASES[case])
    p = onesum.softmax(x, temperature=t)
    loss, gradient = onesum.cross_entropy_value_and_grad(x, y, temperature=t)
    jacobian = onesum.softmax_jacobian(p, temperature=t).to_dense()
    wanted = {
        "#logits .value": p,
        "#back .value": onesum.softmax_vjp(p, g, temperature=t),
        "#forward .value": onesum.softmax_jvp(p, v, temperature=t),
        "#losses .value": gradient,
        "#loss": [loss],
        "#jacobian tbody td": jacobian.ravel(),
    }
    for selector, values in wanted.items():
        assert texts(page, selector) == [shown(float(value)) for value in values], selector


def test_the_python_code_gives_these_numbers(watched):
    x, g, v, t, y = CASES["cold"]
    names: dict[str, Any] = {}
    exec(opened(watched, x, g, v, t, y).locator("#python").text_content(), names)
    p = onesum.softmax(x, temperature=t)
    wanted = onesum.cross_entropy_value_and_grad(x, y, temperature=t)
    assert names["p"].tolist() == p.tolist()
    assert names["back"].tolist() == onesum.softmax_vjp(p, g, temperature=t).tolist()
    assert names["forward"].tolist() == onesum.softmax_jvp(p, v, temperature=t).tolist()
    assert names["gradient"].tolist() == wanted[1].tolist()


def test_bars_and_arrows(watched):
    """Bars as long as p; arrows to the side of their sign, in proportion, none where it is 0."""
    page = opened(watched, [1, 2, 3], [0, 0, 0], [0, 1, 0], 1, 2)
    page.emulate_media(reduced_motion="reduce")
    width = "marks => marks.map(m => m.getBoundingClientRect().width / m.parentNode.clientWidth)"
    bars = page.locator("#logits .bar").evaluate_all(width)
    assert bars == pytest.approx(onesum.softmax([1, 2, 3]).tolist(), abs=EXPLORER_PIXEL)
    change = onesum.softmax_jvp(onesum.softmax([1, 2, 3]), [0, 1, 0])
    arrows = page.locator("#forward .arrow").evaluate_all(width)
    wanted = np.abs(change) / np.abs(change).max() / 2
    assert arrows[1:] == pytest.approx(wanted[1:].tolist(), abs=EXPLORER_PIXEL)
    left = page.locator("#forward .arrow").evaluate_all(
        "marks => marks.map(m => m.classList.contains('left'))"
    )
    assert left == (change < 0).tolist()
    assert page.locator("#back .arrow").evaluate_all("marks => marks.every(m => m.hidden)")


# --- the simplex ---

DIRECTIONS = """groups => groups.map(group => {
  const line = group.querySelector('line'), tip = group.querySelector('polygon');
  if (!line) return null;
  const at = name => line[name].baseVal.value, to = tip.points[0];
  return [at('x1'), at('y1'), to.x, to.y];
})"""
CORNERS = np.array([[20, 304], [380, 304], [200, 304 - 180 * 3**0.5]])


def directions(page: Any, selector: str) -> list[Any]:
    return page.locator(selector).evaluate_all(DIRECTIONS)


def test_the_vectors_of_the_simplex(watched):
    """At p and at every point of the field the direction of J g; p lies where it belongs."""
    x, g, v = [0.3, -1, 0.5], [1, -2, 0.5], [0, 1, -1]
    page = opened(watched, x, g, v, 2, 0)
    p = onesum.softmax(x, temperature=2)
    for selector, direction in (("vjp", g), ("jvp", v)):
        (got,) = directions(page, f"#simplex .vector.{selector}")
        there = onesum.softmax_vjp(p, direction) @ CORNERS
        assert got[:2] == pytest.approx((p @ CORNERS).tolist())
        assert np.subtract(got[2:], got[:2]) == pytest.approx(60 * there / np.hypot(*there))
    fields = {
        "gradient": lambda at: onesum.softmax_vjp(at, g),
        "tangent": lambda at: onesum.softmax_jvp(at, v),
        "descent": lambda at: np.array([1, 0, 0]) - at,
    }
    for name, of in fields.items():
        page.select_option("#field", name)
        drawn(page)
        field = directions(page, "#simplex .vector.field")
        assert len(field) == 36
        for x1, y1, x2, y2 in filter(None, field):
            weights = np.linalg.solve(np.vstack([CORNERS.T, np.ones(3)]), [x1, y1, 1])
            there = of(weights) @ CORNERS
            along = np.array([x2 - x1, y2 - y1])
            assert along / np.hypot(*along) == pytest.approx(
                there / np.hypot(*there), abs=EXPLORER_DIRECTION
            )


def test_p_is_dragged_in_the_simplex(watched):
    page = watched.open(URL)
    page.locator("#simplex").scroll_into_view_if_needed()
    box = page.locator("#simplex .triangle").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] * 2 / 3
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(*middle, steps=3)
    page.mouse.up()
    drawn(page)
    p = [float(text) for text in texts(page, "#logits .value")]
    assert p == pytest.approx([1 / 3] * 3, abs=EXPLORER_PIXEL)
    x = page.locator("#logits [role=slider]").evaluate_all("all => all.map(s => +s.ariaValueNow)")
    assert sum(x) == pytest.approx(6, abs=EXPLORER_PIXEL)


def test_the_simplex_is_for_three_classes(watched):
    page = opened(watched, *CASES["eight"])
    assert page.locator("#simplex").is_hidden()
    assert page.locator("#simplex-not-shown").is_visible()


# --- formulas, types ---


def test_the_formulas_follow_the_chosen_cell(watched):
    page = opened(watched, *CASES["cold"])
    page.locator("#jacobian tbody tr").nth(2).locator("td").nth(3).click()
    drawn(page)
    assert page.locator("#of-i").input_value() == "2"
    assert page.locator("#of-j").input_value() == "3"
    x, g, v, t, y = CASES["cold"]
    p = onesum.softmax(x, temperature=t)
    results = [
        max(x),
        p[2],
        onesum.log_softmax(x, temperature=t)[2],
        onesum.softmax_jacobian(p, temperature=t).to_dense()[2, 3],
        p @ (np.array(g) - g[3]),
        onesum.softmax_vjp(p, g, temperature=t)[2],
        p @ (np.array(v) - v[3]),
        onesum.softmax_jvp(p, v, temperature=t)[2],
        onesum.cross_entropy(x, y, temperature=t),
        onesum.cross_entropy_value_and_grad(x, y, temperature=t)[1][2],
    ]
    lines = texts(page, "#formulas dd")
    assert [line.rsplit("=", 1)[1].strip() for line in lines] == [shown(float(r)) for r in results]
    page.select_option("#of-i", "0")
    drawn(page)
    assert "The probability of A" in texts(page, "#formulas dt")


def test_no_digit_is_lost_in_the_formulas(watched):
    """Of the largest class, next to 1: what is written gives the result that is written."""
    page = watched.open(f"{URL}#x=40,0&g=1,0&v=0,1&y=0")
    page.select_option("#of-j", "0")
    drawn(page)
    small = f"4.25e{MINUS}18"
    lines = dict(zip(texts(page, "#formulas dt"), texts(page, "#formulas dd"), strict=True))
    assert lines["The Jacobian at A, A"].endswith(f"1({small}) ={small} ")
    assert lines["The cross entropy of label A"].endswith(
        f"log(1+{small})-0 ={small} ".replace("-", MINUS)
    )
    assert lines["Its gradient"].endswith(f"={MINUS}({small}) ={MINUS}{small} ")
    assert lines["The gradient (VJP)"].endswith(f"1(0{MINUS}({MINUS}{small})) ={small} ")


def test_what_the_types_make_of_it(watched):
    """float16 overflows without the shift; float32 does not."""
    page = watched.open(f"{URL}#x=0,6,12&g=1,0,0")
    heads = [f"{kind}, {way}" for kind in ("float16", "float32") for way in ("naive", "shifted")]
    assert texts(page, "#precision th[scope=col]")[2:] == heads
    exact = onesum.softmax([0, 6, 12])
    e = np.exp(np.array([0, 6, 12], np.float64)).astype(np.float32)
    p = e / np.add.accumulate(e)[-1]
    ulps = np.abs(p - exact) / np.spacing(exact.astype(np.float32)).astype(np.float64)
    for i in range(3):
        cells = texts(page, f"#precision tbody tr:nth-child({i + 1}) td")
        assert cells[0] == shown(float(exact[i]))
        assert cells[3] == f"{shown(float(p[i]))}{shown(float(f'{ulps[i]:.2g}'))} ulp"
    assert cells[1] == "NaNNaN"


def test_what_is_lost_of_a_gradient(watched):
    page = watched.open(f"{URL}#x=40,0&g=1,0")
    page.select_option("#precision-of", "vjp")
    drawn(page)
    cells = texts(page, "#precision tbody tr:first-child td")
    exact = f"4.25e{MINUS}18"
    assert cells[0] == exact
    assert cells[3] == "0all digits lost"
    assert cells[4].startswith(exact)
    assert cells[4].endswith(" ulp")


# --- rounds ---


def test_rounds(watched):
    """All of them, answered right and wrong in turn."""
    page = watched.open(URL)
    number = page.evaluate("rounds.kinds")
    for k in range(number):
        group = page.get_by_role("group", name="Your prediction").get_by_role("button")
        labels = group.all_text_contents()
        assert len(set(labels)) == len(labels) == 3
        group.nth(0).click()
        said = page.locator("#quiz .said").text_content()
        right = labels.index(page.locator("#quiz .right").text_content())
        assert said.startswith(
            "Right. " if right == 0 else f"Not so: \u201c{labels[right]}\u201d. "
        )
        assert said.endswith(f"of {k + 1} right.")
        group.nth(1).evaluate("button => button.click()")  # too late
        assert page.locator("#quiz .said").text_content() == said
        page.get_by_role("button", name="Next").click()
    page.get_by_role("group", name="Your prediction").get_by_role("button").first.click()
    given = page.locator("#quiz .given").text_content().removeprefix("x = ")
    page.get_by_role("button", name="Show it above").click()
    assert address(page).startswith(f"x={given.replace(' ', '')}&")


DRAW = """seed => { const draw = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  return Array.from({length: rounds.kinds}, (_, k) => rounds.round(k, draw)); }"""


def test_the_answers_of_the_rounds_are_true(watched):
    page = watched.open(URL)
    for seed in range(1, 40):
        by_kind = page.evaluate(DRAW, seed)
        answers = [one["choices"][one["right"]] for one in by_kind]
        for one in by_kind:
            assert len(set(one["choices"])) == 3
            assert all(len(str(x)) <= 4 for x in one["state"]["x"]), "as a person writes it"
        shift, ratio, heat, sign, constant, label, overflow, small = by_kind
        assert answers[0] == "Nothing"
        x = np.array(shift["state"]["x"])
        assert onesum.softmax(x + 5) == pytest.approx(onesum.softmax(x))
        assert answers[1] == "It stays"
        x = np.array(ratio["state"]["x"])
        pair = onesum.softmax([x, x + np.array([0, 2, 0])])
        assert pair[0, 0] / pair[0, 2] == pytest.approx(pair[1, 0] / pair[1, 2])
        state = heat["state"]
        assert answers[2] == shown(onesum.softmax(state["x"], temperature=state["t"])[2])
        assert shown(onesum.softmax(state["x"])[2]) in heat["question"]
        assert answers[3] == "It falls"
        p = onesum.softmax(sign["state"]["x"])
        raised = "ABC".index(sign["question"].split("logit of ")[1][0])
        assert onesum.softmax_vjp(p, sign["state"]["g"])[raised] < 0
        assert answers[4] == "0 for every class"
        p = onesum.softmax(constant["state"]["x"])
        assert not onesum.softmax_vjp(p, constant["state"]["g"]).any()
        state = label["state"]
        gradient = onesum.cross_entropy_value_and_grad(state["x"], state["y"])[1]
        assert answers[5] == "ABC"[np.argmax(np.abs(gradient))]
        assert answers[6] == "NaN"
        with np.errstate(all="ignore"):
            e = np.exp(np.array(overflow["state"]["x"], np.float16))
            assert np.isnan(e[2] / e.sum())
        assert answers[7] == "0"
        p = onesum.softmax(np.array(small["state"]["x"], np.float32))
        assert p[0] * (1 - p[0]) == 0
        assert shown(float(onesum.softmax_vjp(p, np.float32([1, 0]))[0])) in small["why"]
