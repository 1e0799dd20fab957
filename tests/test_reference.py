"""What the plain formulas of the reference keep by themselves, over NumPy's float64.

The compiled core has these promises in `test_accuracy.py` and `test_bits.py`; here are the places
where the definition has to work for them: no wider type is there to help it.
"""

from __future__ import annotations

import mpmath
import numpy as np
import oracle
import oracle_losses
import pytest
from implementations import using
from measure import check, same_bits, smallest_normal
from oracle import Reference
from rows import FUNCTIONS, arguments, logits

from onesum._backends import reference
from onesum._backends.reference import words

# Behind its first term, which has two words, the series of the logarithm is s^2 / 3 <= 1/27 of it,
# and rounded some five times, by 2^-53 each. The logarithm as one word would have 2^-53.
LOGARITHM = 5 / 27 * 2.0**-53


@pytest.fixture
def api():
    with using("reference") as api:
        yield api


# --- the same bits ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("n", [1, 7, 65])
def test_rows_that_are_read_backwards(api, function, n):
    """NumPy's own exponential of a reversed array has other last bits, every twentieth time."""
    call = getattr(api, function)
    for seed in range(25):
        args = arguments(function, logits("uniform", 1, n, np.float64, seed), seed)
        row = [a[0] for a in args]
        backwards = [np.array(a[..., ::-1])[..., ::-1] if a.ndim else a for a in row]
        assert same_bits(call(*backwards), call(*row))
        column = [a[:, np.newaxis] if a.ndim else a[np.newaxis] for a in backwards]
        assert same_bits(np.reshape(call(*column, axis=0), np.shape(call(*row))), call(*row))
        if function == "log_softmax_vjp":
            diagonals = [
                api.log_softmax_jacobian(logp).diagonal() for logp in (row[0], backwards[0])
            ]
            assert same_bits(*diagonals)


# --- what underflows on the way --------------------------------------------------------------


def exactly(*values):
    value = np.array([np.longdouble(float(v)) for v in values])
    return Reference(value, np.abs(value))


E740 = mpmath.exp(-740)  # subnormal: 2^-1067.6
UNDERFLOWN = {
    "logsumexp_vjp": (([0, -740.0], 1e300), {}, (1e300, 1e300 * E740)),
    "logsumexp_vjp, 0": (([0, -1400.0], 1.5e308), {}, (1.5e308, 1.5e308 * mpmath.exp(-1400))),
    "logsumexp_jvp": (([0, -740.0], [0, 1e300]), {}, (1e300 * E740,)),
    "logsumexp_jvp, T": (
        ([0, -740 / 2**10], [0, 1e30]),
        {"temperature": 2.0**-10},
        (2**10 * 1e30 * E740,),
    ),
    "log_softmax_jvp": (([0, -740.0], [0, 1e300]), {}, (-1e300 * E740, 1e300)),
    "log_softmax_jvp, T": (
        ([0, -740.0], [0, 1e30]),
        {"temperature": 2.0**-50},
        (-1e30 * 2.0**50 * E740, 1e30 * 2.0**50),
    ),
    "log_softmax_vjp": (([0, -740.0], [1e300, 0]), {}, (1e300 * E740, -1e300 * E740)),
    "softmax_vjp, T": (
        ([1, 2.0**-1021], [0, 2.0**-10]),
        {"temperature": 2.0**-10},
        (-(2.0**-1021), 2.0**-1021),
    ),
    "softmax_vjp, large T": (
        ([1, 2.0**-1021], [0, 2.0**100]),
        {"temperature": 2.0**100},
        (-(2.0**-1021), 2.0**-1021),
    ),
    "entropy": (([0, -714.0],), {}, (715 * mpmath.exp(-714),)),
    "kl_divergence": (([0, -740.0], [0, -1e300]), {}, (1e300 * E740,)),
    "cross_entropy": (([0, -740.0], 0), {"sample_weight": 1e300}, (1e300 * E740,)),
    "cross_entropy_hvp": (
        ([0, -740.0], 0, [0, 1.0]),
        {"sample_weight": 1e300},
        (-1e300 * E740, 1e300 * E740),
    ),
    "cross_entropy_hvp, T": (
        ([0, -740.0 / 2**60], 0, [0, 1.0]),
        {"temperature": 2.0**-60},
        (-(2.0**120) * E740, 2.0**120 * E740),
    ),
}


@pytest.mark.parametrize(("args", "options", "wanted"), UNDERFLOWN.values(), ids=UNDERFLOWN)
def test_a_normal_result_of_a_p_that_is_not(api, request, args, options, wanted):
    """p is 0 or subnormal, and what it is multiplied with makes a number like any other of it."""
    function = request.node.callspec.id.partition(",")[0]
    args = [a if isinstance(a, int) else np.array(a) for a in args]
    got = np.atleast_1d(getattr(api, function)(*args, **options))
    check(got, exactly(*wanted), function)


def test_the_gradient_of_a_heavy_row(api):
    _, grad = api.cross_entropy_value_and_grad([0, -740.0], 0, sample_weight=1e300)
    check(grad, exactly(-1e300 * E740, 1e300 * E740), "cross_entropy_grad")
    _, (dx, _) = api.kl_divergence_value_and_grad([0, -740.0], [0, -1e300])
    check(dx, exactly(-1e300 * E740, 1e300 * E740), "kl_divergence_grad")


def test_any_gap(api):
    """From the largest class down to where even the largest g makes nothing of p."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        x = np.array([0.0, *rng.uniform(-1420, 0, 3)])
        g = float(np.exp(min(rng.uniform(-10, 709.7), -700 - x.min() + 20)))
        wanted = oracle.logsumexp_vjp(x, np.float64(g)).value
        normal = np.abs(wanted) >= smallest_normal(np.float64)
        got = api.logsumexp_vjp(x, np.float64(g))
        check(got[normal], Reference(wanted[normal], np.abs(wanted[normal])), "logsumexp_vjp")


@pytest.mark.parametrize("temperature", [7e-5, 3e-300, 1.0])
def test_subnormal_logits(api, temperature):
    """Over a small T they are numbers like any other."""
    rng = np.random.default_rng(1)
    for x in rng.uniform(0, 2.0**-1022, (20, 3)):
        x[1:] -= 800 * temperature
        for function in ("logsumexp", "softmax", "log_softmax"):
            for row in (x[:1], x):
                wanted = getattr(oracle, function)(row, temperature=temperature)
                check(getattr(api, function)(row, temperature=temperature), wanted, function)


# --- logarithms ------------------------------------------------------------------------------


def test_log1p_in_two_words():
    rng = np.random.default_rng(2)
    r = np.concatenate(
        [rng.uniform(-0.5, 3, 200), 10 ** rng.uniform(-300, 9, 200), [0.0, 1.0, 1 / 3, 2.0**33]]
    )
    hi, lo = words.log1p(np, (r, r * 2.0**-55))
    with mpmath.workdps(60):
        for a, b, c in zip(r.tolist(), hi.tolist(), lo.tolist(), strict=True):
            wanted = mpmath.log1p(mpmath.mpf(a) + mpmath.mpf(a) * mpmath.mpf(2) ** -55)
            assert abs(mpmath.mpf(b) + mpmath.mpf(c) - wanted) <= LOGARITHM * abs(wanted)
    assert np.isnan(words.log1p(np, (np.array([np.nan]), np.zeros(1)))[0])


def test_z_loss_where_the_sum_is_near_one(api):
    """There m and the logarithm cancel, and the square has twice the error of what they leave.

    Where that is less than a rounding of m, all that can be said of the square is its sign.
    """
    rng = np.random.default_rng(3)
    options = {"z_loss": 0.7, "weight": np.zeros(2), "reduction": "none"}
    for _ in range(300):
        size = rng.uniform(-18, 0)
        x = np.log(rng.dirichlet([1, 1])) + rng.choice([-1, 1]) * 10**size
        loss, grad = api.cross_entropy_value_and_grad(x, 0, **options)
        assert loss >= 0
        if size > -14:
            wanted, slope = oracle_losses.cross_entropy(x, 0, **options)
            check(loss, wanted, "cross_entropy")
            check(grad, slope, "cross_entropy_grad")


INF = np.inf
UNDECIDED = [
    ([INF, INF], [1, -1], np.nan, np.nan),
    ([INF, INF], [1, -2], np.nan, np.nan),
    ([INF, INF, 0], [-3, -2, 1], INF, -1),
    ([INF, 0], [-1, 5], INF, -1),
    ([INF, INF], [1, 0], INF, 1),
    ([np.nan, 0], [1, 1], np.nan, np.nan),
    ([-INF, -INF], [1, -1], -INF, 0),
    ([0, 0], [1, -1], -INF, 0),
]


@pytest.mark.parametrize(("x", "b", "value", "sign"), UNDECIDED)
def test_signs_of_infinite_sums(api, x, b, value, sign):
    """Infinities of both signs have no sum: neither value nor sign, as SciPy has it."""
    got = api.logsumexp(np.array(x), b=np.array(b), return_sign=True)
    np.testing.assert_array_equal(got, (value, sign))


# --- sums ------------------------------------------------------------------------------------


def test_total():
    """As in twice the digits, in any layout, and of any shape."""
    rng = np.random.default_rng(4)
    a = rng.normal(size=(33, 65)) * 10 ** rng.uniform(-8, 8, (33, 65))
    with mpmath.workdps(60):
        wanted = float(mpmath.fsum(a.ravel().tolist()))
    for same in (a, np.asfortranarray(a), np.array(a[::-1])[::-1], np.repeat(a, 2, 1)[:, ::2]):
        got = reference.total(same)
        assert np.ndim(got) == 0
        assert got == wanted
    for few, wanted in ((np.zeros(0), 0.0), (np.array(3.0), 3.0), (np.array([1e16, 1, -1e16]), 1)):
        assert reference.total(few) == wanted
    assert reference.total(np.array([1.0, INF])) == INF
    assert np.isnan(reference.total(np.array([INF, -INF])))
