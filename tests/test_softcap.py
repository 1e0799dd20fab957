"""The softcap of the losses: c tanh(x / c), from next to nothing to where nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle_losses
import pytest
from budget import SOFTCAP_SLOPE_ULPS
from implementations import every
from measure import check, judge, same_bits
from oracle import EXACT, WIDE, Reference
from oracle_losses import TARGETS, targets
from rows import logits

FLOATS = ["float16", "bfloat16", "float32", "float64"]
# How far x / c goes: where tanh is x itself, where it bends, and where it is 1 to the last bit.
REACHES = [1e-8, 1e-3, 1.0, 8.0, 50.0]


def capped_rows(reach: float, c: float, shape: tuple[int, int], dtype: str) -> np.ndarray:
    rng = np.random.default_rng([int(c), *shape])
    with np.errstate(all="ignore"):
        return (c * reach * rng.uniform(-1, 1, shape)).astype(dtype)


def judges(x, y, v, options: dict[str, Any]) -> list[Callable[[Any, str], None]]:
    """What to hold the loss, the gradient and the Hessian's product against."""
    wanted = oracle_losses.cross_entropy(x, y, **options, arithmetic=WIDE)
    bent = oracle_losses.cross_entropy_hvp(x, y, v, **options, arithmetic=WIDE)
    names = ("cross_entropy", "cross_entropy_grad", "cross_entropy_hvp")
    return [judge(*each) for each in zip((wanted.loss, wanted.grad, bent), names, strict=True)]


def judged(api, right, arrays, options: dict[str, Any], note: str, axis: int = -1) -> Any:
    """The gradient and the product, judged as the loss is; the classes lie along the axis."""
    x, y, v = arrays
    loss, grad = api.cross_entropy_value_and_grad(x, y, axis, **options)
    hv = api.cross_entropy_hvp(x, y, v, axis, **options)
    for good, got in zip(right, (loss, grad, hv), strict=True):
        good(np.moveaxis(got, axis, -1) if np.ndim(got) == 2 else got, note)
    return grad, hv


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("dtype", FLOATS)
def test_from_nothing_to_saturation(dtype, reach):
    """Value, gradient and Hessian; of types that hold such logits. Each target has every cap."""
    for i, kind in enumerate(("a class", "smoothed", "z_loss", "probabilities")):
        c = (1.0, 30.0, 1000.0)[(i + REACHES.index(reach)) % 3]
        x = capped_rows(reach, c, (6, 9), dtype)
        v = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
        y, options = targets(kind, x)
        options |= {"softcap": c, "reduction": "sum"}
        right = judges(x, y, v, options)
        for api in every(dtype, libraries=True):
            judged(api, right, (x, y, v), options, f"{kind}, c={c}, {api.name}")


def test_the_slope_alone(kernel_api):
    """Of two equal logits p is 1/2: the gradient is half the slope, sech^2, in all its digits."""
    mp, c = EXACT.mp, 7.0
    for u in np.random.default_rng(4).uniform(0, 60, 100):
        x = np.full((1, 2), u * c)
        _, grad = kernel_api.cross_entropy_value_and_grad(x, np.zeros(1, int), softcap=c)
        wanted = mp.sech(mp.mpf(float(x[0, 0])) / mp.mpf(c)) ** 2 / 2
        assert grad[0, 0] == -grad[0, 1]
        assert abs(mp.mpf(float(grad[0, 1])) - wanted) <= SOFTCAP_SLOPE_ULPS * np.spacing(
            float(wanted)
        ), u


@pytest.mark.parametrize("kind", TARGETS)
def test_beside_every_option(kind):
    """Temperatures of rows, a mask, the classes along any axis."""
    rng = np.random.default_rng(2)
    for dtype in FLOATS:
        x = logits("spread 20", 30, 21, dtype)
        v = rng.normal(size=x.shape).astype(dtype)
        y, options = targets(kind, x)
        where = rng.random(x.shape) < 0.7
        where[np.arange(30), rng.integers(0, 21, 30)] = True
        options |= {"softcap": 7.0, "where": where, "temperature": rng.uniform(0.3, 3, 30)}
        right = judges(x, y, v, options)
        options["reduction"] = "none"
        for axis in (-1, 0):
            first = [np.ascontiguousarray(np.moveaxis(a, -1, axis)) for a in (x, v, where)]
            target = y if y.ndim == 1 else np.moveaxis(y, -1, axis)
            options["where"] = first[2]
            for api in every():
                arrays = first[0], target, first[1]
                judged(api, right, arrays, options, f"{kind}, axis {axis}, {api.name}", axis)


@pytest.mark.parametrize(("k", "n"), [(2, 70_000), (1, 200_001), (40_000, 3)])
def test_what_threads_share(k, n):
    x = logits("spread 20", k, n, "float32")
    v = np.random.default_rng(3).normal(size=x.shape).astype("float32")
    y, options = targets("smoothed", x)
    options |= {"softcap": 5.0, "reduction": "sum"}
    right = judges(x, y, v, options)
    for api in every():
        grad, hv = judged(api, right, (x, y, v), options, api.name)
        out = v.copy()
        assert same_bits(api.cross_entropy_hvp(x, y, out, **options, out=out), hv)
        out = x.copy()
        assert same_bits(api.cross_entropy_value_and_grad(out, y, **options, out=out)[1], grad)


def test_a_cap_far_away_is_none(any_api):
    x, y = logits("spread 3", 5, 7, "float64"), np.arange(5)
    got = any_api.cross_entropy_value_and_grad(x, y, softcap=1e30)
    assert all(map(same_bits, got, any_api.cross_entropy_value_and_grad(x, y)))


@pytest.mark.parametrize("softcap", [30, np.float32(30), np.int8(30), np.array(30.0)])
def test_numbers_of_every_kind(any_api, softcap):
    x, y = logits("spread 20", 5, 7, "float64"), np.arange(5)
    wanted = any_api.cross_entropy_value_and_grad(x, y, softcap=30.0)
    assert all(map(same_bits, any_api.cross_entropy_value_and_grad(x, y, softcap=softcap), wanted))


@pytest.mark.parametrize("dtype", ["int8", "uint64", "bool"])
def test_integer_logits(any_api, dtype):
    x, y = (np.arange(35).reshape(5, 7) % 3).astype(dtype), np.arange(5)
    got = any_api.cross_entropy_value_and_grad(x, y, softcap=2.0)
    wanted = any_api.cross_entropy_value_and_grad(x.astype(np.float64), y, softcap=2.0)
    assert all(map(same_bits, got, wanted))


# The Hessian, where something is infinite or not a number


def test_a_direction_is_not_read_where_nothing_moves(any_api):
    x = np.array([[np.inf, 0.0, -np.inf, 1.0]])
    v = np.array([[np.nan, 1.0, np.inf, 2.0]])
    got = any_api.cross_entropy_hvp(x, np.array([1]), v, softcap=3.0)
    v = np.where(np.isfinite(v), v, 0.0)
    wanted = any_api.cross_entropy_hvp(x, np.array([1]), v, softcap=3.0)
    assert same_bits(got, wanted)
    assert np.all(got[0, [0, 2]] == 0)
    wanted = oracle_losses.cross_entropy_hvp(x, [1], v, softcap=3.0)
    check(got, wanted, "cross_entropy_hvp")


def test_a_masked_direction_is_not_read(any_api):
    x = np.array([[0.0, np.nan, 1.0, 2.0]])
    options: dict[str, Any] = {"where": ~np.isnan(x), "softcap": 3.0}
    v = np.array([[1.0, np.nan, 3.0, 4.0]])
    got = any_api.cross_entropy_hvp(x, np.array([0]), v, **options)
    wanted = any_api.cross_entropy_hvp(x[:, [0, 2, 3]], np.array([0]), v[:, [0, 2, 3]], softcap=3.0)
    check(got[:, [0, 2, 3]], Reference(wanted, np.abs(wanted)), "cross_entropy_hvp")
    assert got[0, 1] == 0


# The linear layer


@pytest.mark.parametrize("chunk", [None, (4, 11), (4, 3), (1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_linear_layer_near_saturation(numpy_api, dtype, chunk):
    """Logits of 40 times the cap, of which a slope from 1 - tanh^2 would be 0 in float32."""
    rng = np.random.default_rng(5)
    h, w = (rng.normal(0, 3, s).astype(dtype) for s in ((8, 5), (11, 5)))
    y, c = rng.integers(0, 11, 8), 1.0
    got = numpy_api.linear_cross_entropy_value_and_grad(h, w, y, softcap=c, chunk=chunk)
    x = h.astype(np.float64) @ w.astype(np.float64).T
    assert np.abs(x).max() > 40
    wanted, g = numpy_api.cross_entropy_value_and_grad(x, y, softcap=c)
    # What the rounding of a logit changes: p by 2 A of it, the slope by 2 A / c.
    size = np.abs(h).astype(np.float64) @ np.abs(w).astype(np.float64).T
    terms = np.abs(g) * (1 + 4 * size)
    check(got[0], Reference(wanted, 1 + 2 * size.max()), "linear_cross_entropy")
    check(got[1][0], Reference(g @ w, terms @ np.abs(w)), "linear_cross_entropy")
    check(got[1][1], Reference(g.T @ h, terms.T @ np.abs(h)), "linear_cross_entropy")


# The reference


def test_the_derivatives_are_those_of_the_value():
    """Differences of the loss, as it is defined, in 60 digits: the steps are of 1e-15."""
    mp = EXACT.mp
    rng = np.random.default_rng(6)
    x, v, c, t, z = rng.normal(0, 3, (1, 4)), rng.normal(size=(1, 4)), 2.5, 0.7, 0.3
    y = rng.dirichlet(np.ones(4), 1)
    options = {"z_loss": z, "softcap": c, "temperature": t}

    def loss(at: list[Any]) -> Any:
        capped = [mp.mpf(c) * mp.tanh(a / mp.mpf(c)) / mp.mpf(t) for a in at]
        log_sum = mp.log(sum(map(mp.exp, capped)))
        bare = sum(mp.mpf(float(q)) * (log_sum - a) for q, a in zip(y[0], capped, strict=True))
        return bare + mp.mpf(z) * log_sum**2

    h, zero = mp.mpf(10) ** -15, [mp.mpf(float(a)) for a in x[0]]
    unit = [[h if i == j else mp.zero for j in range(4)] for i in range(4)]
    along = [h * mp.mpf(float(b)) for b in v[0]]

    def moved(*steps: Any) -> list[Any]:
        return [sum(parts, mp.zero) for parts in zip(zero, *steps, strict=True)]

    def back(step: list[Any]) -> list[Any]:
        return [-a for a in step]

    grad = [(loss(moved(u)) - loss(moved(back(u)))) / (2 * h) for u in unit]
    hv = [
        (
            loss(moved(u, along))
            - loss(moved(u, back(along)))
            - loss(moved(back(u), along))
            + loss(moved(back(u), back(along)))
        )
        / (4 * h * h)
        for u in unit
    ]
    wanted = oracle_losses.cross_entropy(x, y, **options)
    bent = oracle_losses.cross_entropy_hvp(x, y, v, **options)
    for got, exact in [
        (wanted.loss.value, [loss(zero)]),
        (wanted.grad.value[0], grad),
        (bent.value[0], hv),
    ]:
        np.testing.assert_allclose(got.astype(float), [float(a) for a in exact], rtol=1e-14)
