"""Every function within its budget of exact arithmetic, on every kind of row."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import oracle
import pytest
from implementations import dtypes, every
from measure import check, judge, same_bits
from oracle import WIDE, Reference
from rows import KINDS, OPERATIONS, arguments, classes_first, classes_last, logits

FLOATS = ["float16", "bfloat16", "float32", "float64"]
IN_STRICT = ["float32", "float64"]
SIZES = [*range(1, 36), 47, 48, 49, 63, 64, 65, 100, 127, 128, 129, 255, 1000, 1025]
BATCH = 19  # more rows than a vector has lanes, and not a multiple of them


def reference(function, args, **options) -> Reference:
    return getattr(oracle, function)(*args, **options, arithmetic=WIDE)


def every_layout(api, function, args, judge, note):
    judge(getattr(api, function)(*args), note)
    got = getattr(api, function)(*classes_first(function, args), axis=0)
    judge(classes_last(function, got), f"{note}, classes first")


@pytest.fixture
def floats(any_api):
    """Keeps the dtypes a library has: the parameter grid below is one for all."""
    return dtypes(any_api.name)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_kind_of_row(function, dtype):
    for kind in KINDS:
        for k, n in [(64, 2), (64, 10), (7, 300)]:
            args = arguments(function, logits(kind, k, n, dtype))
            right = judge(reference(function, args), function)
            for api in every(dtype, libraries=True):
                every_layout(api, function, args, right, f"{kind} {k}x{n}, {api.name}")


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_every_length(function, dtype):
    """Rows of 1 to 35 and some more: every tail of every vector."""
    for n in SIZES:
        args = arguments(function, logits("spread 3", BATCH if n < 100 else 3, n, dtype))
        right = judge(reference(function, args), function)
        for api in every():
            every_layout(api, function, args, right, f"n={n}, {api.name}")


@pytest.mark.parametrize("function", OPERATIONS)
def test_axis_in_the_middle(numpy_api, function):
    for dtype in FLOATS:
        for shape in [(3, 5, 9), (2, 70, 33), (4, 17, 1)]:
            x = np.random.default_rng(3).normal(0, 20, shape).astype(dtype)
            args = arguments(function, np.ascontiguousarray(np.moveaxis(x, 1, -1)))
            wanted = reference(function, args)
            moved = [
                a if a.ndim == 2 else np.ascontiguousarray(np.moveaxis(a, -1, 1)) for a in args
            ]
            got = getattr(numpy_api, function)(*moved, axis=1)
            got = got if got.ndim == 2 else np.moveaxis(got, 1, -1)
            check(got, wanted, function, str(shape))


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_temperature(function, dtype):
    """Each with rows of each kind and length, though not with each pair of the two."""
    for i, (temperature, n) in enumerate(product([0.1, 0.7, 3.0, 100.0], [2, 7, 40])):
        kind = ["spread 20", "offset"][i % 2]
        args = arguments(function, logits(kind, 16, n, dtype))
        right = judge(reference(function, args, temperature=temperature), function)
        for api in every(dtype, libraries=True):
            got = getattr(api, function)(*args, temperature=temperature)
            right(got, f"{kind} n={n} T={temperature}, {api.name}")


@pytest.mark.parametrize("function", OPERATIONS)
def test_temperature_per_row(any_api, floats, function):
    for dtype in floats:
        for n in [2, 10, 67]:
            x = logits("spread 20", 24, n, dtype)
            args = arguments(function, x)
            t = np.exp(np.random.default_rng(n).uniform(math.log(0.1), math.log(100), 24))
            wanted = reference(function, args, temperature=t)
            check(getattr(any_api, function)(*args, temperature=t), wanted, function, f"n={n}")
            got = getattr(any_api, function)(*args, temperature=t[:, np.newaxis])
            check(got, wanted, function, f"n={n}, keepdims form")
            first = classes_first(function, args)
            got = getattr(any_api, function)(*first, axis=0, temperature=t)
            check(classes_last(function, got), wanted, function, f"n={n}, classes first")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_shares_of_equal_logits(numpy_api, dtype, temperature):
    """All of one class, 1/n each of n equal ones, and all of one that is far ahead: exactly."""
    x = np.random.default_rng(5).normal(0, 30, (1000, 1)).astype(dtype)
    for n in [1, 2, 4, 8, 64, 256]:
        p = numpy_api.softmax(np.repeat(x, n, axis=1), temperature=temperature)
        assert np.all(p == np.array(1 / n, dtype)), f"{n} classes"
    for n in [2, 3, 40]:
        rest = np.full((1000, n - 1), -np.inf, dtype) if dtype == "float16" else x - 250
        rest = np.broadcast_to(rest, (1000, n - 1)).astype(dtype)
        p = numpy_api.softmax(np.concatenate([x, rest], axis=1), temperature=temperature)
        assert np.all(p[:, 0] == 1), f"{n} classes"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [2, 3, 40])
def test_subnormal_results(numpy_api, n, dtype):
    """Gradual underflow is kept: the last results before 0 are right too."""
    lowest = {"float16": 17, "bfloat16": 93, "float32": 104, "float64": 745}[dtype]
    x = np.linspace(-lowest, -lowest * 0.8, 400 * (n - 1)).reshape(400, n - 1)
    x = np.concatenate([x, np.zeros((400, 1))], axis=1).astype(dtype)
    check(numpy_api.softmax(x), oracle.softmax(x, arithmetic=WIDE), "softmax", f"n={n}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_where(any_api, floats, dtype):
    """Masked sums are as exact as whole ones."""
    if dtype not in floats:
        return
    rng = np.random.default_rng(11)
    for n in [2, 9, 65]:
        x = logits("uniform", 30, n, dtype)
        where = rng.random((30, n)) < 0.6
        where[np.arange(30), rng.integers(0, n, 30)] = True
        hidden = np.where(where, x, np.asarray(np.nan, dtype=x.dtype))
        for function in ["softmax", "log_softmax", "logsumexp", "logsumexp_vjp", "logsumexp_jvp"]:
            args = arguments(function, x)
            wanted = reference(function, args, where=where)
            got = getattr(any_api, function)(hidden, *args[1:], where=where)
            check(got, wanted, function, f"n={n}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_weighted_logsumexp(any_api, dtype, temperature):
    rng = np.random.default_rng(12)
    x = logits("spread 3", 40, 11, dtype)
    b = rng.normal(size=x.shape).astype(dtype)
    b[rng.random(x.shape) < 0.2] = 0
    wanted, sign = oracle.signed_logsumexp(x, b, temperature=temperature)
    got, got_sign = any_api.logsumexp(x, b=b, temperature=temperature, return_sign=True)
    check(got, wanted, "signed_logsumexp")
    assert np.array_equal(got_sign, sign)
    assert got_sign.dtype == got.dtype
    positive = np.abs(b)
    wanted, _ = oracle.signed_logsumexp(x, positive, temperature=temperature)
    check(any_api.logsumexp(x, b=positive, temperature=temperature), wanted, "signed_logsumexp")


# What users compose: x to p to gradient. p is the package's own, and the derivative is taken at
# that p.


@pytest.mark.parametrize("x", [[40.0, 0.0], [0.0, 40.0], [-40.0, 0.0, 40.0], [80.0, 0.0, 0.0]])
def test_saturated_rows_keep_their_gradient(any_api, floats, x):
    for dtype in floats:
        row = np.array(x, dtype=dtype)
        p = any_api.softmax(row)
        for g in np.eye(len(x), dtype=dtype):
            for function in ["softmax_vjp", "softmax_jvp"]:
                check(
                    getattr(any_api, function)(p, g), reference(function, (p, g)), function, dtype
                )
        logp = any_api.log_softmax(row)
        for g in np.eye(len(x), dtype=dtype):
            for function in ["log_softmax_vjp", "log_softmax_jvp"]:
                got = getattr(any_api, function)(logp, g)
                check(got, reference(function, (logp, g)), function, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_at_a_gap_of_40(any_api, dtype):
    """x = [40, 0], g = [1, 0]: the gradient is +-4.2e-18, not 0."""
    x, g = np.array([40, 0], dtype=dtype), np.array([1, 0], dtype=dtype)
    got = any_api.softmax_vjp(any_api.softmax(x), g)
    assert got[0] == -got[1]
    exact = oracle.softmax(x.astype(np.float64)).value.prod()
    check(got, Reference(np.array([exact, -exact]), np.array([exact, exact])), "softmax_vjp")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 1000, -3])
def test_a_small_component_beside_any_cotangent(numpy_api, dtype, offset):
    """S of 1e-30 is not lost beside the pivot's g, of whatever size, and all of it is kept."""
    p = np.array([[1, small, small / 8, 0] for small in [2.0**-20, 1e-10, 1e-17, 1e-30]], dtype)
    g = np.array([offset, offset + 1, offset - 2, np.nan], dtype)
    check(
        numpy_api.softmax_vjp(p, np.broadcast_to(g, p.shape)),
        reference("softmax_vjp", (p, np.broadcast_to(np.nan_to_num(g), p.shape))),
        "softmax_vjp",
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cotangents_whose_difference_is_no_number(kernel_api, dtype):
    """g of either sign at the end of the range: the result is in it. (The reference has inf.)"""
    most = float(np.finfo(dtype).max) * 0.9
    p = np.array([[0.5, 0.5], [0.25, 0.75], [0.75, 0.25]], dtype)
    for pair in [(most, -most), (-most, most), (most, most), (most, 0), (0, -most)]:
        g = np.broadcast_to(np.array(pair, dtype), p.shape)
        for t in [1.0, 2.0]:
            got = kernel_api.softmax_vjp(p, g, temperature=t)
            check(got, reference("softmax_vjp", (p, g), temperature=t), "softmax_vjp", f"{pair}")


@pytest.mark.parametrize("dtype", FLOATS)
def test_sums_that_cancel(numpy_api, dtype):
    """w and S are exact where the terms cancel, far below the dtype's own rounding of the terms."""
    step = 2.0**-6
    p = np.array([0.5, 0.25, 0.25], dtype=dtype)
    g = np.array([0, 1, -1 - step], dtype=dtype)
    check(numpy_api.softmax_vjp(p, g), reference("softmax_vjp", (p, g)), "softmax_vjp")
    logp = np.array([0.0, -3.0, -3.0], dtype=dtype)
    check(
        numpy_api.log_softmax_vjp(logp, g),
        reference("log_softmax_vjp", (logp, g)),
        "log_softmax_vjp",
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [5, 100])
@pytest.mark.parametrize("axis", [-1, 0])
def test_cotangents_of_any_size(numpy_api, dtype, n, axis):
    """Down to those whose sum is next to nothing, or nothing, in whatever company."""
    random = np.random.default_rng(n)
    least = float(np.finfo(dtype).tiny)
    sizes = [1, least * 2.0**30, 1e-12, least**0.75, 0, least**0.4, 1e12]
    logp = np.asarray(numpy_api.log_softmax(3 * random.normal(size=(len(sizes), n)).astype(dtype)))
    g = (np.array(sizes)[:, None] * random.normal(size=logp.shape)).astype(dtype)
    g[2] -= g[2, ::-1]  # the sum is 0
    got = (
        numpy_api.log_softmax_vjp(logp, g) if axis else numpy_api.log_softmax_vjp(logp.T, g.T, 0).T
    )
    check(got, reference("log_softmax_vjp", (logp, g)), "log_softmax_vjp")
    for i in range(len(sizes)):
        assert same_bits(numpy_api.log_softmax_vjp(logp[i], g[i]), got[i]), f"{sizes[i]}"


# Long rows


@pytest.mark.parametrize("function", OPERATIONS)
def test_300_000_classes(function):
    """Of a type of which a sum has seven digits."""
    args = arguments(function, logits("spread 3", 1, 300_000, "float32"))
    right = judge(reference(function, args), function)
    for api in every():
        right(getattr(api, function)(*args), api.name)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_long_strided_rows(function, dtype):
    """2^15 classes along axis 0: a sum down columns is as good as one along rows."""
    args = arguments(function, logits("spread 3", 3, 1 << 15, dtype))
    right = judge(reference(function, args), function)
    for api in every():
        got = getattr(api, function)(*classes_first(function, args), axis=0)
        right(classes_last(function, got), api.name)


def test_float16_of_70_000_zeros(any_api, floats):
    """1/70 000 and its logarithm are float16 numbers, though 70 000 is not."""
    if "float16" not in floats:
        return
    x = np.zeros(70_000, dtype=np.float16)
    p, log_n = np.full(70_000, 1 / np.longdouble(70_000)), np.log(np.longdouble(70_000))
    check(any_api.softmax(x), Reference(p, p), "softmax")
    check(
        any_api.log_softmax(x),
        Reference(np.full(70_000, -log_n), np.full(70_000, log_n)),
        "log_softmax",
    )
    check(any_api.logsumexp(x), Reference(np.asarray(log_n), np.asarray(log_n)), "logsumexp")


@pytest.mark.slow
def test_equal_logits_beyond_float32_integers(numpy_api):
    """Sums in float32 stop growing at 2^24 terms of a lane; here every result is that of 1/n."""
    # The reference backend keeps a dozen float64 arrays of the size of x.
    for n in [100_000_000] if numpy_api.name == "reference" else [100_000_000, 270_000_000]:
        x = np.full(n, 3.25, dtype=np.float32)
        log_n = np.log(np.longdouble(n))
        lse = np.asarray(3.25 + log_n)
        check(numpy_api.logsumexp(x), Reference(lse, lse), "logsumexp")
        wanted = {"softmax": np.array([1 / np.longdouble(n)]), "log_softmax": np.array([-log_n])}
        for function, value in wanted.items():
            got = getattr(numpy_api, function)(x)
            assert got.min() == got.max()
            check(got[:1], Reference(value, np.abs(value)), function)
            del got
