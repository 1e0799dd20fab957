"""Dask: every function answers lazily, with NumPy's numbers, however the arrays are cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from budget import DASK_CHUNKS, DASK_PRODUCT
from implementations import arrays_of, on_numpy, using
from numpy.testing import assert_allclose
from rows import logits

import onesum

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
X, Y = (logits("spread 3", 4, 6, np.float64, seed) for seed in (0, 1))
INDEX = np.array([0, 3, 1, 2])
OPTIONS = {
    "where": np.arange(24).reshape(4, 6) % 5 > 0,
    "temperature": np.array([0.5, 1.0, 2.0, 4.0]),
}
WEIGHTS = {
    "weight": np.arange(6.0),
    "sample_weight": np.arange(4.0),
    "label_smoothing": 0.1,
    "z_loss": 0.1,
    "softcap": 3.0,
    "ignore_index": 1,
}

# What needs functions that Dask's array expressions lack: products of matrices.
NOT_OF_EXPRESSIONS = {"linear_cross_entropy_value_and_grad"}

Case = Callable[[Any, Any, Any, dict[str, Any], dict[str, Any]], Any]
CASES: dict[str, Case] = {
    "softmax": lambda x, y, i, o, w: onesum.softmax(x, **o),
    "softmax of integers": lambda x, y, i, o, w: onesum.softmax(i, dtype="float32"),
    "log_softmax": lambda x, y, i, o, w: onesum.log_softmax(x, axis=0),
    "logsumexp": lambda x, y, i, o, w: onesum.logsumexp(x, axis=None, keepdims=True),
    "logsumexp, b": lambda x, y, i, o, w: onesum.logsumexp(x, b=y, return_sign=True, **o),
    "softmax_vjp": lambda x, y, i, o, w: onesum.softmax_vjp(x * x, y, -1),
    "softmax_jvp": lambda x, y, i, o, w: onesum.softmax_jvp(x * x, y, temperature=2),
    "log_softmax_vjp": lambda x, y, i, o, w: onesum.log_softmax_vjp(x, y),
    "log_softmax_jvp": lambda x, y, i, o, w: onesum.log_softmax_jvp(x, y, 0),
    "logsumexp_vjp": lambda x, y, i, o, w: onesum.logsumexp_vjp(x, y[:, 0], **o),
    "logsumexp_jvp": lambda x, y, i, o, w: onesum.logsumexp_jvp(x, y, **o),
    "softmax_jacobian": lambda x, y, i, o, w: entries(onesum.softmax_jacobian(x * x), y),
    "log_softmax_jacobian": lambda x, y, i, o, w: entries(onesum.log_softmax_jacobian(x), y),
    "cross_entropy": lambda x, y, i, o, w: onesum.cross_entropy(x, i, reduction="none", **o),
    "cross_entropy_value_and_grad": lambda x, y, i, o, w: onesum.cross_entropy_value_and_grad(
        x, i, **o, **w
    ),
    "cross_entropy_hvp": lambda x, y, i, o, w: onesum.cross_entropy_hvp(x, i, y, **w),
    "selective_log_softmax": lambda x, y, i, o, w: onesum.selective_log_softmax(x, i, **o),
    "entropy": lambda x, y, i, o, w: onesum.entropy(x, **o),
    "kl_divergence_value_and_grad": lambda x, y, i, o, w: onesum.kl_divergence_value_and_grad(x, y),
    "linear_cross_entropy_value_and_grad": (
        lambda x, y, i, o, w: onesum.linear_cross_entropy_value_and_grad(
            x, y, i, y[:, 0], ignore_index=1
        )
    ),
    "Softmax": lambda x, y, i, o, w: passed(onesum.Softmax(), y, x),
    "CrossEntropyLoss": lambda x, y, i, o, w: passed(onesum.CrossEntropyLoss(), 2.0, x, i),
}


def entries(jacobian: Any, v: Any) -> tuple[Any, ...]:
    return jacobian @ v, jacobian.to_dense(), (jacobian / 3).diagonal(), jacobian[0].T.solve(v[0])


def passed(layer: Any, dy: Any, *args: Any) -> tuple[Any, Any]:
    return layer(*args), layer.backward(dy)


def cut(a: Any, whole: int | None = None) -> Any:
    """In two along every axis, but for those of this length."""
    if not np.ndim(a):
        return a
    return da.from_array(a, chunks=tuple(n if n == whole else -(-n // 2) for n in a.shape))


def refuse(graph: Any, keys: Any, **options: Any) -> None:
    raise AssertionError("something was computed")


def lazily(case: Case, cut: Callable[[Any], Any]) -> list[Any]:
    """The results of a call, of which nothing is computed when it is made."""
    with dask.config.set(scheduler=refuse):
        given = [{k: cut(a) for k, a in options.items()} for options in (OPTIONS, WEIGHTS)]
        lazy = arrays_of(case(cut(X), cut(Y), cut(INDEX), *given))
    assert all(isinstance(a, da.Array) and isinstance(a._meta, np.ndarray) for a in lazy)
    return lazy


def at_once(case: Case) -> list[Any]:
    with np.errstate(all="ignore"):
        return arrays_of(case(X, Y, INDEX, OPTIONS, WEIGHTS))


def computed(lazy: list[Any], wanted: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Beside what is wanted, with what each was said to be."""
    got = dask.compute(*lazy, scheduler="sync")
    for a, one, exact in zip(lazy, got, wanted, strict=True):
        assert a.shape == np.shape(one) == np.shape(exact)
        assert a.dtype == one.dtype == exact.dtype
        yield one, exact


@pytest.mark.parametrize("name", CASES)
def test_classes_in_chunks(name):
    """Every axis is cut: the last digits may differ, of the terms of a result."""
    wanted = at_once(CASES[name])
    for got, exact in computed(lazily(CASES[name], cut), wanted):
        scale = np.abs(exact[np.isfinite(exact)]).max(initial=0.0)
        assert_allclose(got, exact, rtol=0, atol=DASK_PRODUCT * scale)


FIRST_AXIS = {"log_softmax", "log_softmax_jvp"}  # that of the classes
# The sums over rows are of another order, and products are those of BLAS.
OTHER_ORDER = {"linear_cross_entropy_value_and_grad", "logsumexp", "softmax of integers"}


@pytest.mark.parametrize("name", sorted(CASES.keys() - OTHER_ORDER))
def test_bits_of_rows(name):
    """Where all classes are in one chunk, each chunk is a call: the same bits, by any backend."""
    case = CASES[name]
    for backend in on_numpy():
        with using(backend):
            whole = 4 if name in FIRST_AXIS else 6
            for got, exact in computed(lazily(case, partial(cut, whole=whole)), at_once(case)):
                assert np.array_equal(got, exact, equal_nan=True)


def test_rows_to_ignore_may_hold_anything():
    """Which rows these are is not known when the products are cut, and yet they take no part."""
    x = np.where(INDEX[:, np.newaxis] == 1, np.nan, X)
    answer = onesum.linear_cross_entropy_value_and_grad(cut(x), cut(Y), cut(INDEX), ignore_index=1)
    _, dh, dw = dask.compute(*arrays_of(answer), scheduler="sync")
    assert np.all(np.isfinite(dw))
    assert not np.any(dh[INDEX == 1])


def test_chunks_stay():
    """Those of the first array, whatever the others have."""
    x = da.from_array(X, chunks=((1, 3), (1, 2, 3)))
    where, weights = (cut(OPTIONS[k]) for k in ("where", "temperature"))
    p = onesum.softmax(x, where=where, temperature=weights)
    assert p.chunks == x.chunks
    assert onesum.softmax_vjp(p, cut(Y)).chunks == x.chunks
    assert onesum.logsumexp(x, where=where).chunks == x.chunks[:1]
    assert np.array_equal(p.compute(scheduler="sync") == 0, ~OPTIONS["where"])


def test_rows_of_unknown_number():
    x = cut(X)
    some = x[x[:, 0] > np.sort(X[:, 0])[1]]
    wanted = X[X[:, 0] > np.sort(X[:, 0])[1]]
    for function in (onesum.softmax, onesum.log_softmax, onesum.logsumexp, onesum.entropy):
        got = function(some).compute(scheduler="sync")
        assert_allclose(got, function(wanted), rtol=DASK_CHUNKS)
    with pytest.raises(ValueError, match=r"^temperature: expected no array beside x, whose shape"):
        onesum.softmax(some, temperature=cut(OPTIONS["temperature"]))
    with pytest.raises(ValueError, match=r"^g: expected no array beside p, whose shape"):
        onesum.softmax_vjp(some, some)
    with pytest.raises(
        ValueError, match=r"^x: expected chunks of known sizes along the class axis"
    ):
        onesum.softmax(some, axis=0)


def test_out_is_refused():
    with pytest.raises(ValueError, match=r"^out: expected an array of the library of x"):
        onesum.softmax(cut(X), out=np.empty_like(X))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"^g: expected the shape of p"):
        onesum.softmax_vjp(cut(X), cut(Y[:, :3]))
    with pytest.raises(TypeError, match=r"^g: expected an array of dask.array"):
        onesum.softmax_vjp(cut(X), Y)
    with pytest.raises(ValueError, match=r"^target: expected class indices of shape"):
        onesum.cross_entropy(cut(X), cut(np.zeros(3, int)))
