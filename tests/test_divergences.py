"""The divergences of rows against exact arithmetic, and their limits."""

from __future__ import annotations

import itertools

import ml_dtypes
import mpmath
import numpy as np
import pytest
from budget import DIVERGENCE, DIVERGENCE_LEAST
from implementations import every

from onesum._functions.divergences import divergences

EXACT = mpmath.MPContext()
EXACT.dps = 400  # a divergence may be of the order of p squared
INF, NAN = np.inf, np.nan
LOG2 = float(np.log(2))


def exact(x, y):
    """KL(p || q), KL(q || p), Jensen-Shannon's as they are defined."""
    (p, log_p), (q, log_q) = _row(x), _row(y)
    log_m = [EXACT.log((a + b) / 2) for a, b in zip(p, q, strict=True)]

    def mean(weights, a, b):
        return EXACT.fsum(w * (c - d) for w, c, d in zip(weights, a, b, strict=True))

    js = (mean(p, log_p, log_m) + mean(q, log_q, log_m)) / 2
    return mean(p, log_p, log_q), mean(q, log_q, log_p), js


def _row(x):
    x = [EXACT.mpf(float(a)) for a in x]
    m = max(x)
    log = m + EXACT.log(EXACT.fsum(EXACT.exp(a - m) for a in x))
    log_p = [a - log for a in x]
    return [EXACT.exp(a) for a in log_p], log_p


def agree(x, y, wanted=None, note=""):
    """Rows within the budget of every implementation."""
    wanted = [exact(*rows) for rows in zip(x, y, strict=True)] if wanted is None else wanted
    for api in every():
        allowed = DIVERGENCE["reference" if api.name == "reference" else "native"]
        got = divergences(x, y)
        for row, want in enumerate(wanted):
            for name, value, w in zip(("kl", "reverse", "js"), got[:3], want, strict=True):
                assert value.dtype == np.float64
                error = float(abs(EXACT.mpf(float(value[row])) - w))
                # A number below the normal ones has as few digits as its terms.
                least = 64 * 5e-324
                if name == "js" and x.dtype == np.float32 and api.name != "reference":
                    least = DIVERGENCE_LEAST
                assert error <= max(allowed * float(w), least), (
                    f"{name} of {note}, {api.name}, row {row}: got {value[row]}, wanted {float(w)}"
                )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 3, 11, 70])
def test_rows_near_and_far(n, dtype):
    rng = np.random.default_rng([n, 1])
    for spread, apart in itertools.product((1, 10, 40), (1e-12, 1e-8, 1e-3, 0.3, 2, 30)):
        x = rng.normal(0, spread, (2, n)).astype(dtype)
        y = (x + rng.normal(0, apart, x.shape)).astype(dtype)
        agree(x, y, note=f"spread {spread}, {apart} apart")


def test_nothing_but_rounding_apart():
    """d of some 1e-8 about levels of 1e3: the last bits of float64 there are 1e-13."""
    rng = np.random.default_rng(2)
    x = 1e3 + rng.normal(0, 1, (3, 40))
    agree(x, x + rng.normal(0, 1e-8, x.shape))


@pytest.mark.parametrize("offset", [2.0**20, -(2.0**40)])
def test_offsets_do_not_matter(offset):
    rng = np.random.default_rng(3)
    x = np.round(rng.normal(0, 4, (3, 30)) * 64) / 64
    y = x + np.round(rng.normal(0, 1, x.shape) * 64) / 64
    agree(x, y + offset, [exact(*rows) for rows in zip(x, y, strict=True)])


@pytest.mark.parametrize("gap", [17.0, 40.0, 300.0, 600.0])
def test_one_hot_rows(gap):
    """All that is left is as small as p of the other classes."""
    x, y = np.zeros((3, 5)), np.zeros((3, 5))
    x[:, 2] = gap
    y[:, 2] = gap + np.array([1e-6, 1.0, -16.0])
    y[:, 4] -= 0.5
    agree(x, y)
    agree(np.array([[gap, 0.0]]), np.array([[0.0, gap]]))


def test_many_classes():
    """A row repeated within itself has the same divergence, as the classes' p are parts of it."""
    rng = np.random.default_rng(4)
    for apart in (1e-8, 0.5):
        x = rng.normal(0, 5, (1, 50))
        y = x + rng.normal(0, apart, x.shape)
        agree(np.tile(x, 2000), np.tile(y, 2000), [exact(x[0], y[0])])


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "float32", "float64"])
def test_identical_rows_have_none(dtype):
    rng = np.random.default_rng(5)
    x = rng.normal(0, 9, (40, 33)).astype(dtype)
    x[0, 3], x[1, 5] = -INF, INF
    for _ in every():
        for value in divergences(x, x.copy())[:3]:
            assert value.dtype == np.float64
            assert np.all(value == 0)


def test_none_is_negative_nor_too_large():
    """Of p and q below the normal numbers, which round to neighbours; and of nothing in common."""
    rng = np.random.default_rng(6)
    x = rng.normal(0, 1, (300, 4)) - rng.uniform(0, 760, (300, 4))
    y = x + rng.normal(0, 1, x.shape) * 10.0 ** rng.uniform(-17, 2, (300, 1))
    tiny = np.linspace([0, -745.1], [0, -744.9], 500)
    apart = rng.normal(0, 2, (2, 500, 4)) + 300 * np.array([[[1, 1, 0, 0]], [[0, 0, 1, 1]]])
    for a, b in ((x, y), (tiny, tiny + np.array([0, 1.0316])), apart):
        for _ in every():
            kl, reverse, js, *_ = divergences(a, b)
            assert kl.min() >= 0
            assert reverse.min() >= 0
            assert js.min() >= 0
            assert js.max() <= LOG2


# Jensen-Shannon's of a certain class and of two alike: m is 3/4 and 1/4.
HALF = np.log(4 / 3) / 2 + np.log(2 / 3) / 4 + np.log(2) / 4
LIMITS = {
    "both have no logit": ([0, 0, -INF], [0, 0, -INF], (0, 0, 0)),
    "base has none": ([0, -INF], [0, 0], (LOG2, INF, HALF)),
    "other has none": ([0, 0], [0, -INF], (INF, LOG2, HALF)),
    "base has p that is 0 in float64": ([0, -1e6], [0, -INF], (INF, 0, 0)),
    "far apart": ([0, -1e6], [-1e6, 0], (1e6, 1e6, LOG2)),
    "+inf in base": ([INF, 0], [0, 0], (LOG2, INF, HALF)),
    "+inf in other": ([0, 0], [INF, 0], (INF, LOG2, HALF)),
    "+inf at one class": ([INF, 0], [INF, 3], (0, 0, 0)),
    "+inf at two classes": ([INF, 0], [0, INF], (INF, INF, LOG2)),
    "several +inf": ([INF, INF], [0, 0], (NAN, NAN, NAN)),
    "nothing but -inf": ([-INF, -INF], [0, 0], (NAN, NAN, NAN)),
    "NaN": ([NAN, 0], [0, 0], (NAN, NAN, NAN)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", LIMITS)
def test_limits(case, dtype):
    x, y, wanted = LIMITS[case]
    # Rows around it are what they were.
    x, y = (np.array([[1] * len(a), a, [2] * len(a)], dtype) for a in (x, y))
    for api in every():
        for got, w in zip(divergences(x, y)[:3], wanted, strict=True):
            assert got[0] == got[2] == 0
            np.testing.assert_allclose(got[1], w, rtol=1e-14, err_msg=api.name)


def test_two_types():
    """What has a wider type beside it is taken as if it were of that."""
    rng = np.random.default_rng(7)
    x = rng.normal(0, 2, (5, 9)).astype(np.float16)
    y = rng.normal(0, 2, (5, 9))
    agree(x, y)
    agree(x, y.astype(ml_dtypes.bfloat16))
