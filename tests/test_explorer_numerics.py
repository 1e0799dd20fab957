"""The numbers of the explorer's page, in a browser, are the package's and the exact ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import oracle
import oracle_losses
import pytest
from budget import EXPLORER
from numpy.testing import assert_array_equal

import onesum
from onesum.explorer import path

TYPES = {"float16": np.float16, "float32": np.float32}


@pytest.fixture(scope="module")
def page(windows: Any) -> Any:
    return windows.open(path().as_uri())


def drawn() -> list[dict[str, Any]]:
    """Rows of every length, of small spread and large, with equal logits and next to certain."""
    rng = np.random.default_rng(14)
    rows = []
    for k in range(240):
        n = 2 + k % 7
        x = rng.normal(0, [0.1, 2, 30, 400][k % 4], n).clip(-1000, 1000)
        if k % 5 == 0:
            x = x.round()
        if k % 11 == 0:
            x[-1] = x[0]
        g, v = rng.normal(0, [1, 100][k % 2], (2, n)).clip(-1000, 1000)
        if k % 13 == 0:
            g = g[0] + 1e-9 * rng.normal(size=n)  # all but equal: p.g cancels
        t = [1.0, 0.01, 100.0, float(rng.uniform(0.05, 20))][k % 4 if k % 3 else 0]
        rows.append({"x": x.tolist(), "g": g.tolist(), "v": v.tolist(), "t": t, "y": k % n})
    return rows


ROWS = drawn()
NUMERICS = """rows => rows.map(({x, g, v, t, y}) => {
  const m = softmaxMath, p = m.softmax(x, t);
  return {softmax: p, log_softmax: m.logSoftmax(x, t), logsumexp: m.logsumexp(x, t),
    softmax_jacobian: m.jacobian(p, t), softmax_vjp: m.vjp(p, g, t), softmax_jvp: m.jvp(p, v, t),
    cross_entropy: m.crossEntropy(x, y, t), cross_entropy_grad: m.crossEntropyGradient(x, y, t)};
})"""


@pytest.fixture(scope="module")
def computed(page: Any) -> list[dict[str, Any]]:
    return page.evaluate(NUMERICS, ROWS)


Numbers = np.ndarray[Any, Any]


def of_row(row: dict[str, Any], p: Any) -> dict[str, tuple[Any, oracle.Reference]]:
    """Each function: the package's result, and the exact one. p is the page's own."""
    x, g, v = (np.array(row[name]) for name in "xgv")
    y, t = row["y"], {"temperature": row["t"]}
    loss, gradient = oracle_losses.cross_entropy(x, np.array(y), **t)
    ours = onesum.cross_entropy_value_and_grad(x, y, **t)
    matrix = oracle.softmax_jacobian(p, **t)
    return {
        "softmax": (onesum.softmax(x, **t), oracle.softmax(x, **t)),
        "log_softmax": (onesum.log_softmax(x, **t), oracle.log_softmax(x, **t)),
        "logsumexp": (onesum.logsumexp(x, **t), oracle.logsumexp(x, **t)),
        "softmax_jacobian": (onesum.softmax_jacobian(p, **t).to_dense(), matrix),
        "softmax_vjp": (onesum.softmax_vjp(p, g, **t), oracle.softmax_vjp(p, g, **t)),
        "softmax_jvp": (onesum.softmax_jvp(p, v, **t), oracle.softmax_jvp(p, v, **t)),
        "cross_entropy": (ours[0], loss),
        "cross_entropy_grad": (ours[1], gradient),
    }


def test_the_numerics_are_those_of_the_package_and_exact(computed):
    tiny = np.finfo(np.float64).tiny
    for row, got in zip(ROWS, computed, strict=True):
        for function, (ours, wanted) in of_row(row, np.array(got["softmax"])).items():
            allowed = EXPLORER * wanted.scale + tiny
            for name, other in (("package", ours), ("exact", wanted.value)):
                error = np.abs(np.array(got[function]) - other)
                assert np.all(error <= allowed), (function, name, row, got[function], other)


def test_where_the_plain_formulas_lose_everything(page):
    """The small component beside p = 1, the diagonal of J, the loss of the winner."""
    small, diagonal, loss = page.evaluate(
        "() => { const m = softmaxMath, p = m.softmax([40, 0]); return ["
        "m.vjp(p, [1, 0])[0], m.jacobian(p)[0][0], m.crossEntropy([40, 0], 0)]; }"
    )
    assert small == pytest.approx(math.exp(-40), rel=EXPLORER)
    assert diagonal == pytest.approx(math.exp(-40), rel=EXPLORER)
    assert loss == pytest.approx(math.exp(-40), rel=EXPLORER)


# --- float16 and float32 ---


def doubles() -> Numbers:
    """Of every size, halfway cases of float16 and their neighbours, and what overflows."""
    rng = np.random.default_rng(7)
    any_size = rng.choice([-1.0, 1.0], 2000) * 2.0 ** rng.uniform(-160, 130, 2000)
    halves = rng.integers(0, 0x7C00, 1000).astype(np.uint16).view(np.float16).astype(np.float64)
    above = np.nextafter(halves.astype(np.float16), np.float16(np.inf)).astype(np.float64)
    middle = (halves + np.where(np.isfinite(above), above, 65536.0)) / 2
    near = [np.nextafter(middle, s) for s in (-np.inf, np.inf)]
    special = [0.0, 65504.0, 65519.99, 65520.0, 2.0**-24, 2.0**-25, 3.4028235677973366e38, 5e-324]
    return np.concatenate([any_size, halves, middle, *near, special])


@pytest.mark.parametrize("name", TYPES)
def test_rounding_to_a_type_is_numpys(page, name):
    values = doubles()
    got = page.evaluate(f"values => values.map(floats.{name}.round)", values.tolist())
    with np.errstate(over="ignore"):
        assert_array_equal(np.array(got, np.float64), values.astype(TYPES[name]).astype(np.float64))


@pytest.mark.parametrize("name", TYPES)
def test_errors_in_ulps(page, name):
    exact = doubles()
    exact = exact[np.abs(exact) < 60000]
    got = exact * (1 + np.random.default_rng(3).uniform(-1, 1, exact.size) / 100)
    evaluated = page.evaluate(
        f"pairs => pairs.map(([got, exact]) => floats.{name}.ulps(got, exact))",
        np.stack([got, exact], axis=1).tolist(),
    )
    error = np.abs(got - exact)
    spacing = np.spacing(np.abs(exact).astype(TYPES[name])).astype(np.float64)
    wanted = np.where(exact == 0, 0, error / spacing)
    assert_array_equal(np.array(evaluated), wanted)
    special = page.evaluate(
        f"() => [[1, 0], [0, 0], [NaN, 0], [NaN, 1], [Infinity, 1]].map("
        f"([got, exact]) => String(floats.{name}.ulps(got, exact)))"
    )
    assert special == ["Infinity", "0", "NaN", "NaN", "Infinity"]


def in_steps(row: dict[str, Any], kind: type) -> dict[str, dict[str, Numbers]]:
    """Both ways in NumPy's own arithmetic of the type, number by number."""
    x, g, t = np.array(row["x"]).astype(kind), np.array(row["g"]).astype(kind), kind(row["t"])
    wide = lambda function, values: np.array(  # noqa: E731
        [kind(function(np.float64(value))) for value in values]
    )
    add = lambda terms: sum(terms, start=kind(0))  # noqa: E731
    e = wide(np.exp, x / t)
    p = e / add(e)
    naive = {"softmax": p, "logSoftmax": wide(np.log, p), "vjp": p * (g - add(p * g)) / t}
    pivot = int(np.argmax(x))
    d = (x - x[pivot]) / t
    e = wide(np.exp, d)
    r = add(np.delete(e, pivot))
    p = e / (kind(1) + r)
    w = g - g[pivot]
    log = kind(np.log1p(np.float64(r)))
    shifted = {"softmax": p, "logSoftmax": d - log, "vjp": p * (w - add(p * w)) / t}
    return {"naive": naive, "shifted": shifted}


@pytest.mark.parametrize("name", TYPES)
def test_formulas_in_a_type_are_those_of_numpy(page, name):
    rows = [row for row in ROWS if max(map(abs, row["x"])) < 300 and 0.05 < row["t"] < 20]
    got = page.evaluate(
        "([rows, name]) => rows.map(({x, g, t}) => {"
        "  const {naive, shifted} = floats.compare(x, g, t, floats[name]);"
        "  return {naive, shifted}; })",
        [rows, name],
    )
    overflows = 0
    for row, both in zip(rows, got, strict=True):
        with np.errstate(all="ignore"):
            wanted = in_steps(row, TYPES[name])
        for way, functions in both.items():
            for function, values in functions.items():
                assert_array_equal(np.array(values, np.float64), wanted[way][function])
        overflows += np.isnan(both["naive"]["softmax"]).any()
        assert np.isfinite(both["shifted"]["softmax"]).all()
    assert overflows


def test_the_reference_is_that_of_what_the_type_holds(page):
    """0.1 in float16 is 0.0999755859375."""
    exact = page.evaluate("() => floats.compare([0.1, 0], [1, 0], 1, floats.float16).exact.softmax")
    wanted = oracle.softmax(np.array([np.float16(0.1), 0.0], np.float64)).value
    assert_array_equal(np.abs(np.array(exact) - wanted) <= EXPLORER, True)
