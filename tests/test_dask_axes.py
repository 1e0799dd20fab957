"""Several class axes of Dask arrays, and the states of rows, in chunks that stay as they are."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import ml_dtypes
import numpy as np
import pytest
from budget import DASK_CHUNKS
from implementations import arrays_of
from numpy.testing import assert_allclose

import onesum

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
RNG = np.random.default_rng(0)
X = RNG.integers(-3, 3, size=(4, 4, 6)).astype(float)  # with maxima that are many
Y = RNG.normal(size=X.shape)
CHUNKS = ((2, 2), (1, 3), (3, 3))
AXES = [None, (0, 1), (0, 2), (1, 2), ()]


def cut(a: Any, chunks: Any = CHUNKS) -> Any:
    return da.from_array(a, chunks=chunks)


def same(lazy: Any, wanted: Any) -> None:
    lazy, wanted = arrays_of(lazy), arrays_of(wanted)
    for got, exact in zip(dask.compute(*lazy, scheduler="sync"), wanted, strict=True):
        assert_allclose(got, exact, rtol=DASK_CHUNKS, atol=DASK_CHUNKS)
    for a in lazy:
        assert a.shape != X.shape or a.chunks == cut(X).chunks


def labels(axis: Any) -> tuple[Any, Any]:
    """Class indices in C order, and weights of the classes."""
    batch = np.sum(X, axis=axis).shape
    n = X.size // max(int(np.prod(batch)), 1)
    return RNG.integers(0, n, size=batch), RNG.random(n)


@pytest.mark.parametrize("axis", AXES)
def test_several_class_axes(axis):
    """Whatever counts classes does so in C order; nothing is cut."""
    other = cut(Y, (4, 2, 2))
    t = np.linspace(0.5, 2.0, np.sum(X, axis=axis).size).reshape(
        np.sum(X, axis, keepdims=True).shape
    )
    options = {"temperature": t, "where": Y > -1}
    for f in (onesum.softmax, onesum.log_softmax, onesum.logsumexp):
        same(f(cut(X), axis=axis, **options), f(X, axis=axis, **options))
    p = onesum.softmax(X, axis=axis)
    same(onesum.softmax_vjp(cut(p), other, axis), onesum.softmax_vjp(p, Y, axis))
    same(onesum.logsumexp(cut(X), axis=axis, b=other), onesum.logsumexp(X, axis=axis, b=Y))
    y, w = labels(axis)
    options = {"axis": axis, "weight": w, "label_smoothing": 0.1}
    wanted = onesum.cross_entropy_value_and_grad(X, y, **options)
    for lazy in (y, da.asarray(y)):
        same(onesum.cross_entropy_value_and_grad(cut(X), lazy, **options), wanted)
    chosen = onesum.selective_log_softmax(X, y, axis=axis)
    same(onesum.selective_log_softmax(cut(X), y, axis=axis), chosen)
    wanted = onesum.kl_divergence_value_and_grad(X, Y, axis=axis)
    same(onesum.kl_divergence_value_and_grad(cut(X), other, axis=axis), wanted)


@pytest.mark.parametrize(
    ("axis", "smoothing"),
    [(None, 0.1), ((0, 2), 0.0), ((), 0.1), (-1, 0.1)],
)
def test_states(axis, smoothing):
    """Of one chunk, and of two that are merged, of which one is Dask's in other chunks."""
    of = onesum.Normalizer.of
    exact, lazy = of(X, axis), of(cut(X), axis)
    updated = of(cut(X), axis)
    updated.update(cut(Y, (4, 2, 2)), where=Y > 0)
    exact_updated = of(X, axis)
    exact_updated.update(Y, where=Y > 0)
    for a, b in (
        (lazy, exact),
        (lazy | of(cut(Y), axis), exact | of(Y, axis)),
        (updated, exact_updated),
    ):
        got, wanted = (
            (state.logsumexp, state.r, state.pivot, state.count, state.softmax(x))
            for state, x in ((a, cut(X)), (b, X))
        )
        same(got, wanted)
    y, w = labels(axis)
    options = {"weight": w, "label_smoothing": smoothing, "z_loss": 0.1}

    def state(x: Any, start: int = 0) -> Any:
        return onesum.CrossEntropyState.of(x, y, axis, start=start, **options)

    first, after = {"weight": w}, w.size
    both = state(cut(X)) | state(cut(Y), after), state(X) | state(Y, after)
    for a, b in ((state(cut(X)), state(X)), both):
        got = a.loss(), a.gradient(cut(X), y, **first)
        same(got, (b.loss(), b.gradient(X, y, **first)))


def test_nothing_warns():
    """Of infinities, and of what a narrow type cannot hold."""
    x = np.array([[np.inf, 1.0], [-np.inf, -np.inf], [np.nan, 0.0], [6e4, 0.0]])
    a, b = da.from_array(x, chunks=(2, 1)), da.from_array(x[::-1].copy(), chunks=(2, 1))
    of = onesum.Normalizer.of
    wanted = of(x) | of(x[::-1])
    both = of(a) | of(b)
    for lazy, exact in ((both.logsumexp, wanted.logsumexp), (both.softmax(a), wanted.softmax(x))):
        assert_allclose(lazy.compute(scheduler="sync"), exact, rtol=DASK_CHUNKS)
    half = a.astype(np.float16)
    for reduction in ("none", "sum"):
        loss = onesum.cross_entropy(
            half, np.array([1, 0, 0, 1]), temperature=0.5, reduction=reduction
        )
        loss.compute(scheduler="sync")
    lse = onesum.logsumexp(half, temperature=0.5).compute(scheduler="sync")
    assert np.isposinf(lse[[0, 3]]).all()


def test_pivots_of_empty_chunks():
    empty = ((2, 2), (1, 3), (3, 0, 3))
    same(
        onesum.Normalizer.of(cut(X, empty), axis=(1, 2)).pivot,
        onesum.Normalizer.of(X, axis=(1, 2)).pivot,
    )


def test_jacobians_count_in_c_order():
    p = onesum.softmax(X, axis=(0, 2))
    exact, lazy = (onesum.softmax_jacobian(a, axis=(0, 2)) for a in (p, cut(p)))
    same(lazy.to_dense(), exact.to_dense())
    same(lazy @ cut(Y), exact @ Y)


# --- rows and classes of unknown number ----------------------------------------------------------


def test_rows_of_unknown_number():
    x = cut(X[0], CHUNKS[1:])
    some = x[x[:, 0] > -9]
    for call in (
        lambda x: onesum.softmax(x, temperature=np.array(2.0)),
        lambda x: onesum.logsumexp(x, keepdims=True),
        lambda x: onesum.Normalizer.of(x).logsumexp,
        lambda x: onesum.Normalizer.of(x).softmax(x),
        lambda x: onesum.Normalizer.of(x).count,
    ):
        got = dask.compute(call(some), scheduler="sync")[0]
        assert_allclose(got, call(X[0]), rtol=DASK_CHUNKS)
    unknown = some.T
    for match, call in {
        "^where: expected no array beside x": lambda: onesum.softmax(some, where=True),
        "^temperature: expected no array": lambda: onesum.softmax(some, temperature=da.ones(())),
        "^x: expected chunks of known": lambda: onesum.logsumexp(some, axis=None),
        "^x: expected a known number of classes": lambda: onesum.Normalizer.of(unknown),
    }.items():
        with pytest.raises(ValueError, match=match):
            call()


# --- types, layouts and sizes --------------------------------------------------------------------

ARRAYS = {
    "bfloat16": X[0].astype(ml_dtypes.bfloat16),
    "uint8": np.arange(24, dtype=np.uint8).reshape(4, 6),
    "bool": X[0] > 0,
    "big-endian": X[0].astype(">f4"),
    "no rows": X[0][:0],
    "no classes": X[0][:, :0],
    "a number": np.array(3.0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    x = ARRAYS[name]
    whole = tuple((n,) for n in x.shape)
    halves = tuple((n // 2, 0, n - n // 2) for n in x.shape)
    for f in (onesum.softmax, onesum.log_softmax, onesum.logsumexp):
        wanted = f(x)
        for chunks in (whole, halves):
            lazy = f(da.from_array(x, chunks=chunks))
            got = lazy.compute(scheduler="sync")
            assert lazy.dtype == got.dtype == wanted.dtype
            assert got.shape == lazy.shape == np.shape(wanted)
            tolerance = {"bfloat16": 2.0**-7, "big-endian": 2.0**-22}.get(name, DASK_CHUNKS)
            got, exact = (np.asarray(a, dtype=float) for a in (got, wanted))
            assert_allclose(got, exact, rtol=tolerance)
