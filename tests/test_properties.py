"""What holds for every input: hypothesis looks for one where it does not."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import oracle
from budget import budget
from hypothesis import assume, given
from hypothesis.extra import numpy as hnp
from measure import BFLOAT16, check, same_bits, smallest_normal, ulp
from rows import DERIVATIVES, MASKABLE, OPERATIONS
from table import backwards, inside, same, unaligned, upside_down

DTYPES = st.sampled_from(
    [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
)
WIDE_DTYPES = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])
SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=6)
STORED = st.sampled_from([same, np.asfortranarray, inside, backwards, upside_down, unaligned])
# Small integers and halves often tie; wide numbers underflow; -inf is a class ruled out.
LOGIT = st.one_of(
    st.integers(-6, 6).map(lambda i: i / 2),
    st.floats(-60, 60, width=32),
    st.floats(-800, 800, width=32),
    st.just(-np.inf),
)
NUMBER = st.one_of(st.integers(-4, 4).map(float), st.floats(-10, 10, width=16))
TEMPERATURE = st.one_of(st.just(1.0), st.sampled_from([0.5, 0.7, 3.0]), st.floats(0.1, 100))


@st.composite
def axes(draw, ndim: int):
    """Every way of naming axes."""
    number = st.integers(-ndim, ndim - 1)
    several = st.lists(number, max_size=ndim, unique_by=lambda i: i % ndim).map(tuple)
    return draw(st.one_of(number, several, st.none()))


@st.composite
def batches(draw, dtypes=DTYPES, masked: bool = False):
    """Logits, a second array, an axis and a mask, such that every row keeps a finite entry."""
    dtype, shape = draw(dtypes), draw(SHAPES)
    axis = draw(axes(len(shape)))
    x = draw(hnp.arrays(np.float64, shape, elements=LOGIT)).astype(dtype)
    g = draw(hnp.arrays(np.float64, shape, elements=NUMBER)).astype(dtype)
    where = draw(hnp.arrays(bool, shape)) if masked else None
    layout = oracle.Layout(shape, axis)
    kept = np.isfinite(layout.rows(x).astype(np.float64))
    if masked:
        kept = kept & layout.rows(where)
    assume(kept.any(axis=-1).all())
    return x, g, axis, where


def first_of(function: str, x, axis):
    """x, p or log p, as the function takes it."""
    if function.startswith("logsumexp") or function not in DERIVATIVES:
        return x
    return getattr(oracle, function[:-4])(x, axis).value.astype(x.dtype)


def arguments(function: str, x, g, axis):
    if function not in DERIVATIVES:
        return (x,)
    if function == "logsumexp_vjp":
        first = tuple(
            0 if i in oracle.Layout(x.shape, axis).axes else slice(None) for i in range(x.ndim)
        )
        return x, g[first]
    return first_of(function, x, axis), g


def allowed(function: str, value, dtype):
    """The budget around a value that is not a sum."""
    result, scale = budget(function, np.dtype(dtype).name)
    return (result + scale) * ulp(np.where(np.isfinite(value), value, 0), dtype)


@given(batches(), STORED, TEMPERATURE, st.sampled_from(OPERATIONS))
def test_exact(numpy_api, batch, stored, temperature, function):
    """Any shape, axis, strides, dtype, temperature and function, against the exact result."""
    x, g, axis, _ = batch
    args = arguments(function, x, g, axis)
    wanted = getattr(oracle, function)(*args, axis=axis, temperature=temperature)
    sent = [stored(a) if a.ndim else a for a in args]
    got = getattr(numpy_api, function)(*sent, axis=axis, temperature=temperature)
    check(got, wanted, function)


@given(batches(masked=True), st.sampled_from(MASKABLE))
def test_exact_where(numpy_api, batch, function):
    """The same with a mask, and NaN behind it."""
    x, g, axis, where = batch
    args = arguments(function, x, g, axis)
    wanted = getattr(oracle, function)(*args, axis=axis, where=where)
    hidden = np.where(where, x, np.array(np.nan, x.dtype))
    check(getattr(numpy_api, function)(hidden, *args[1:], axis=axis, where=where), wanted, function)


@given(batches())
def test_sums_to_one(api, batch):
    """So far as each p is rounded."""
    x, _, axis, _ = batch
    p = api.softmax(x, axis=axis)
    rows = oracle.Layout(x.shape, axis).rows(p).astype(np.longdouble)
    assert np.all(np.abs(rows.sum(-1) - 1) <= allowed("softmax", rows, x.dtype).sum(-1))
    assert np.all((rows >= 0) & (rows <= 1))


@given(batches(), st.integers(-64, 64))
def test_shift(api, batch, shift):
    """A constant added to a row without rounding changes p by no more than two roundings."""
    x, _, axis, _ = batch
    x = np.rint(np.clip(x.astype(np.float64), -64, 64)).astype(x.dtype)
    moved = (x.astype(np.float64) + shift).astype(x.dtype)
    assert np.array_equal(moved.astype(np.float64) - shift, x.astype(np.float64))
    for function in ["softmax", "log_softmax"]:
        a = getattr(api, function)(x, axis=axis).astype(np.longdouble)
        b = getattr(api, function)(moved, axis=axis).astype(np.longdouble)
        assert np.all(np.abs(a - b) <= 2 * allowed(function, a, x.dtype))


@given(batches(), st.randoms(use_true_random=False))
def test_permutation(api, batch, random):
    """Permuted classes get permuted results; only the order of a sum may show."""
    x, _, _, _ = batch
    order = list(range(x.shape[-1]))
    random.shuffle(order)
    assume(np.isfinite(x.astype(np.float64)).any(axis=-1).all())
    for function in ["softmax", "log_softmax"]:
        a = getattr(api, function)(x)[..., order].astype(np.longdouble)
        b = getattr(api, function)(x[..., order]).astype(np.longdouble)
        same_infinity = np.isneginf(a) & np.isneginf(b)
        with np.errstate(invalid="ignore"):
            close = np.abs(a - b) <= 2 * allowed(function, a, x.dtype)
        assert np.all(close | same_infinity)


@given(batches(dtypes=WIDE_DTYPES))
def test_exp_of_log(api, batch):
    """p = exp(log p), each within its budget."""
    x, _, axis, _ = batch
    p = api.softmax(x, axis=axis).astype(np.longdouble)
    logp = api.log_softmax(x, axis=axis).astype(np.longdouble)
    relative = allowed("log_softmax", logp, x.dtype)
    again = np.exp(logp)
    assert np.all(np.abs(p - again) <= allowed("softmax", p, x.dtype) + again * np.expm1(relative))


@given(batches(dtypes=WIDE_DTYPES))
def test_logsumexp_and_log_softmax(api, batch):
    """log p = x - logsumexp, each within its budget."""
    x, _, axis, _ = batch
    logp = api.log_softmax(x, axis=axis).astype(np.longdouble)
    lse = api.logsumexp(x, axis=axis, keepdims=True).astype(np.longdouble)
    scale = oracle.logsumexp(x, axis, keepdims=True).scale
    difference = np.where(np.isneginf(x), -np.inf, x.astype(np.longdouble) - lse)
    room = allowed("log_softmax", logp, x.dtype) + allowed("logsumexp", scale, x.dtype)
    with np.errstate(invalid="ignore"):
        close = np.abs(logp - difference) <= room
    assert np.all(close | np.isneginf(difference) & np.isneginf(logp))


@given(batches(), st.sampled_from(DERIVATIVES), st.integers(-3, 3))
def test_linear(api, batch, function, power):
    """Twice the cotangent is twice the gradient, to the bit, where nothing under- or overflows."""
    x, g, axis, _ = batch
    first, second = arguments(function, x, g, axis)
    factor = np.array(2.0**power, x.dtype)
    # Hypothesis draws numbers that are rounded when they are multiplied, too.
    second = np.where(np.abs(second) < 2.0**-8, 0, second).astype(x.dtype)
    once = np.asarray(getattr(api, function)(first, second, axis=axis))
    scaled = np.asarray(getattr(api, function)(first, second * factor, axis=axis))
    # So far from underflow that all words of it are, too, of which float64 has a second.
    least = np.ldexp(smallest_normal(x.dtype), 64 if x.dtype.itemsize == 8 else 8)
    normal = np.abs(once.astype(np.longdouble)) > least
    assert same_bits(scaled[normal], (once * factor)[normal])


@given(batches(), NUMBER)
def test_constant_directions(api, batch, c):
    """Softmax does not feel a constant: its derivatives along one are 0, not small."""
    x, g, axis, _ = batch
    constant = np.full_like(g, c)
    p, logp = first_of("softmax_vjp", x, axis), first_of("log_softmax_vjp", x, axis)
    assert not np.any(api.softmax_vjp(p, constant, axis=axis))
    assert not np.any(api.softmax_jvp(p, constant, axis=axis))
    assert not np.any(api.log_softmax_jvp(logp, constant, axis=axis))


@given(batches(masked=True), st.sampled_from(["softmax", "log_softmax", "logsumexp"]))
def test_where_is_removal(api, batch, function):
    """A masked row answers as the row without its masked entries, and 0 or -inf elsewhere."""
    x, _, _, where = batch
    x, where = x.ravel(), where.ravel()
    got = np.atleast_1d(getattr(api, function)(x, where=where))
    alone = np.atleast_1d(getattr(api, function)(x[where]))
    if function != "logsumexp":
        assert np.all(got[~where] == (0 if function == "softmax" else -np.inf))
        got = got[where]
    a, b = got.astype(np.longdouble), alone.astype(np.longdouble)
    scale = oracle.logsumexp(x[where]).scale if function == "logsumexp" else a
    with np.errstate(invalid="ignore"):
        close = np.abs(a - b) <= 2 * allowed(function, scale, x.dtype)
    assert np.all(close | (a == b))


@given(batches(), st.sampled_from(["softmax", "log_softmax"]))
def test_axes_are_flattened(api, batch, function):
    """Several class axes are one axis, bit by bit."""
    x, _, axis, _ = batch
    layout = oracle.Layout(x.shape, axis)
    flat = getattr(api, function)(np.ascontiguousarray(layout.rows(x)))
    assert same_bits(getattr(api, function)(x, axis=axis), layout.unrow(flat))


@given(batches(dtypes=WIDE_DTYPES), hnp.arrays(np.float64, 6, elements=NUMBER))
def test_adjoint(api, batch, v):
    """<g, J v> = <J^T g, v> for log_softmax, whose J is not symmetric, within their budgets."""
    x, g, _, _ = batch
    x, g = x.reshape(-1, x.shape[-1])[0], g.reshape(-1, g.shape[-1])[0]
    assume(np.isfinite(x).any())
    v = v[: x.size].astype(x.dtype)
    logp = first_of("log_softmax_vjp", x, -1)
    there, back = oracle.log_softmax_jvp(logp, v), oracle.log_softmax_vjp(logp, g)
    left = api.log_softmax_jvp(logp, v).astype(np.longdouble) @ g.astype(np.longdouble)
    right = api.log_softmax_vjp(logp, g).astype(np.longdouble) @ v.astype(np.longdouble)
    room = np.abs(g) @ allowed("log_softmax_jvp", there.scale, x.dtype)
    room += np.abs(v) @ allowed("log_softmax_vjp", back.scale, x.dtype)
    # The exact derivatives at a rounded log p differ by what its exponentials miss of 1.
    exact = np.abs(there.value @ g.astype(np.longdouble) - back.value @ v.astype(np.longdouble))
    assert np.abs(left - right) <= room + exact
