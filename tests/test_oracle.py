"""The references, held against the definitions: no shift, no pivot, 700 digits instead."""

import numpy as np
import oracle
import pytest
from budget import (
    DOUBLED_LONGDOUBLE,
    EXACT_RELATIVE,
    LOGARITHMS_OF_P,
    WIDE_FLOAT64_ULPS,
    budget,
)
from measure import FLOATS, check, excess, ulp
from oracle import EXACT, WIDE

DEEP = oracle.Exact(digits=700)  # enough for 1 - p at a gap of 700 with 300 digits to spare

LOGITS = {
    "normal": np.random.default_rng(1).normal(0, 3, (3, 7)),
    "uniform": np.random.default_rng(2).uniform(-80, 0, (3, 7)),
    "offset": 1e4 + np.random.default_rng(3).normal(0, 3, (3, 7)),
    "gap": np.array([[700.0, 0.0, -3.0], [-40.0, 0.0, 40.0], [0.1, 80.3, 80.3]]),
    "one": np.array([[5.0]]),
}
TEMPERATURES = [1.0, 0.7, 100.0]


def definition(x: np.ndarray, t: float) -> np.ndarray:
    """exp(x/T) over its sum, each row, in 700 digits."""
    e = DEEP.exp(DEEP.number(x) / DEEP.number(np.asarray(t)))
    return e / e.sum(axis=-1, keepdims=True)


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    """To as many of EXACT's digits as a np.longdouble can show."""
    np.testing.assert_allclose(got, DEEP.longdouble(wanted), rtol=DOUBLED_LONGDOUBLE, atol=0)


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("x", LOGITS.values(), ids=LOGITS)
def test_forward(x, t):
    p = definition(x, t)
    total = DEEP.exp(DEEP.number(x) / DEEP.number(np.asarray(t))).sum(axis=-1)
    close(oracle.softmax(x, temperature=t).value, p)
    close(oracle.log_softmax(x, temperature=t).value, DEEP.log(p))
    close(oracle.logsumexp(x, temperature=t).value, DEEP.log(total))


def test_exact_digits():
    """The numbers themselves, not only their leading 64 bits."""
    x = LOGITS["gap"]
    _, e = EXACT.scaled_exp(x, x.max(axis=-1, keepdims=True), np.ones((3, 1)))
    wanted = DEEP.exp(DEEP.number(x) - DEEP.number(x.max(axis=-1, keepdims=True)))
    assert all(abs(a / b - 1) < EXACT_RELATIVE for a, b in zip(e.flat, wanted.flat, strict=True))


@pytest.mark.parametrize("t", TEMPERATURES)
def test_derivatives(t):
    """The chain rule with every entry of the Jacobian, on a p that sums to one exactly."""
    p = np.array([[0.5, 0.25, 0.125, 0.125], [0.0, 0.75, 0.25, 0.0], [1.0, 0.0, 0.0, 0.0]])
    g = np.random.default_rng(4).normal(size=p.shape)
    x = np.log(np.float64([[1, 2, 4, 8], [3, 5, 1, 1], [1, 1, 1, 1]]))
    exact_p, exact_g = DEEP.number(p), DEEP.number(g)
    eye = np.eye(4, dtype=int)
    jacobian = exact_p[:, :, None] * (eye - exact_p[:, None, :]) / DEEP.number(np.asarray(t))
    close(oracle.softmax_vjp(p, g, temperature=t).value, (exact_g[:, :, None] * jacobian).sum(1))
    close(oracle.softmax_jvp(p, g, temperature=t).value, (jacobian * exact_g[:, None, :]).sum(2))
    close(oracle.softmax_jacobian(p, temperature=t).value, jacobian)

    p_of_x = definition(x, t)
    close(
        oracle.logsumexp_jvp(x, g, temperature=t).value,
        (p_of_x * exact_g).sum(1) / DEEP.number(np.asarray(t)),
    )
    close(
        oracle.logsumexp_vjp(x, g[:, 0], temperature=t).value,
        p_of_x * exact_g[:, :1] / DEEP.number(np.asarray(t)),
    )


def test_log_softmax_derivatives():
    """The same for log p, on rows of equal p: those sum to one but for the rounding of log p."""
    logp = np.log(np.full((2, 4), 0.25))
    g = np.random.default_rng(5).normal(size=logp.shape)
    p = DEEP.exp(DEEP.number(logp))
    jacobian = np.eye(4, dtype=int) - p[:, None, :]
    exact_g = DEEP.number(g)
    for got, wanted in [
        (oracle.log_softmax_vjp(logp, g), (exact_g[:, :, None] * jacobian).sum(1)),
        (oracle.log_softmax_jvp(logp, g), (jacobian * exact_g[:, None, :]).sum(2)),
        (oracle.log_softmax_jacobian(logp), jacobian),
    ]:
        # p sums to 1 within the rounding of log 0.25: so far the pivoted form and this may differ.
        difference = np.abs(got.value - DEEP.longdouble(wanted))
        assert np.all(difference <= got.scale * LOGARITHMS_OF_P)


def test_pivot_keeps_the_small_component():
    """x = [40, 0]: the derivative is p (1 - p), 4.2e-18."""
    p = oracle.softmax(np.array([40.0, 0.0])).value.astype(np.float64)
    got = oracle.softmax_vjp(p, np.array([1.0, 0.0])).value
    e = DEEP.mp.exp(-40)
    wanted = DEEP.longdouble(np.array([e, -e]) / (1 + e) ** 2)
    check(got.astype(np.float64), oracle.Reference(wanted, wanted), "jacobian")


def test_signed_logsumexp():
    x, b = np.array([1.0, 3.0, np.nan, 2.0]), np.array([2.0, -0.5, 0.0, 1.0])
    got, sign = oracle.signed_logsumexp(x, b)
    total = 2 * DEEP.mp.exp(1) - DEEP.mp.exp(3) / 2 + DEEP.mp.exp(2)
    close(got.value, DEEP.log(np.array(abs(total))))
    assert sign == np.sign(float(total))


def test_left_out():
    """-inf and entries outside `where` are as if they were not there."""
    x = np.array([1.0, -np.inf, 2.0, np.nan])
    where = np.array([True, True, True, False])
    short = np.array([1.0, 2.0])
    assert np.array_equal(oracle.softmax(x, where=where).value[[0, 2]], oracle.softmax(short).value)
    assert np.array_equal(oracle.softmax(x, where=where).value[[1, 3]], [0, 0])
    assert np.array_equal(oracle.log_softmax(x, where=where).value[[1, 3]], [-np.inf, -np.inf])
    assert oracle.logsumexp(x, where=where).value == oracle.logsumexp(short).value
    with pytest.raises(ValueError, match="finite"):
        oracle.softmax(np.array([1.0, np.nan]))


def test_layout():
    """Axes and temperatures per row are those of the plain loop."""
    x = np.random.default_rng(6).normal(size=(2, 3, 4))
    t = np.array([0.5, 1.0, 2.0])
    got = oracle.softmax(x, axis=(0, 2), temperature=t).value
    for i in range(3):
        alone = oracle.softmax(x[:, i].ravel(), temperature=t[i]).value
        assert np.array_equal(got[:, i].ravel(), alone)
    assert oracle.logsumexp(x, axis=1, keepdims=True).value.shape == (2, 1, 4)


FORWARD = ["softmax", "log_softmax", "logsumexp"]
DERIVATIVES = [
    "softmax_vjp",
    "log_softmax_vjp",
    "log_softmax_jvp",
    "logsumexp_vjp",
    "logsumexp_jvp",
]


@pytest.mark.parametrize("t", TEMPERATURES)
@pytest.mark.parametrize("kind", LOGITS)
@pytest.mark.parametrize("function", FORWARD + DERIVATIVES)
def test_wide_is_exact_enough(function, kind, t):
    x = LOGITS[kind]
    second = np.random.default_rng(7).normal(size=x.shape)
    if function == "logsumexp_vjp":
        second = second[:, 0]
    if "softmax_" in function:
        x = getattr(oracle, function[:-4])(x).value.astype(np.float64)
    arguments = (x,) if function in FORWARD else (x, second)
    exact = getattr(oracle, function)(*arguments, temperature=t, arithmetic=EXACT)
    wide = getattr(oracle, function)(*arguments, temperature=t, arithmetic=WIDE)
    for a, b in zip(wide, exact, strict=True):
        assert np.all(np.abs(a - b) <= WIDE_FLOAT64_ULPS * ulp(exact.scale, np.float64))


@pytest.mark.parametrize("distinct", [1, 1000])
def test_wide_sums_long_rows(distinct):
    """A million terms, against the exact sum of the few distinct ones times their counts."""
    rng = np.random.default_rng(8)
    x = rng.choice(rng.normal(0, 20, distinct), 1_000_000)
    got = oracle.logsumexp(x, arithmetic=WIDE).value
    kinds, counts = np.unique(x, return_counts=True)
    total = (DEEP.exp(DEEP.number(kinds)) * counts).sum()
    wanted = DEEP.longdouble(DEEP.log(np.array(total)))
    assert abs(got - wanted) <= WIDE_FLOAT64_ULPS * ulp(wanted, np.float64)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_ulp(dtype):
    """The step from a number to the next, found by adding one to its bits."""
    word = {2: np.uint16, 4: np.uint32, 8: np.uint64}[dtype.itemsize]
    for low in np.array([0, 1e-320, 1e-40, 6e-8, 6e-5, 0.75, 1, 1.5, 100]).astype(dtype):
        high = (np.array(low).view(word) + word(1)).view(dtype)
        assert ulp(low, dtype) == high.astype(np.longdouble) - low.astype(np.longdouble)
    below_one = np.longdouble(1) - ulp(1, dtype) / 8  # rounds to 1, and is measured there
    assert ulp(below_one, dtype) == ulp(1, dtype) == 2 * ulp(0.75, dtype)


def test_excess():
    """The measure itself: an error of exactly the budget is 1, nothing allowed is infinite."""
    one = np.longdouble(1)
    wanted = oracle.Reference(np.array([one]), np.array([one]))
    step, allowed = ulp(1, np.float32), budget("softmax", "float32").result
    off = np.array([one + 3 * step]).astype(np.float32)
    assert excess(off, wanted, "softmax") == 3 / allowed
    zero = oracle.Reference(np.array([0 * one]), np.array([0 * one]))
    assert excess(np.array([0.0]), zero, "softmax") == 0
    assert excess(np.array([5e-324]), zero, "softmax") == np.inf
    assert excess(np.array([np.nan]), wanted, "softmax") == np.inf
    minus = oracle.Reference(np.array([-np.inf * one]), np.array([np.inf * one]))
    assert excess(np.array([-np.inf]), minus, "log_softmax") == 0
    assert excess(np.array([-1.0]), minus, "log_softmax") == np.inf
    with pytest.raises(AssertionError, match="1 of 1 are over"):
        check(off, wanted, "softmax")
