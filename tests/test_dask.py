"""Dask: every function answers lazily, with NumPy's numbers, however the arrays are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from budget import DASK_PRODUCT
from implementations import arrays_of, using
from numpy.testing import assert_allclose
from rows import logits

import onesum

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


def cut(a: Any) -> Any:
    """In two along every axis."""
    return da.from_array(a, chunks=tuple(-(-n // 2) for n in a.shape)) if np.ndim(a) else a


def refuse(graph: Any, keys: Any, **options: Any) -> None:
    raise AssertionError("something was computed")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # where Dask computes
def test_lazily(name):
    case = CASES[name]
    with using("reference"), np.errstate(all="ignore"):
        wanted = arrays_of(case(X, Y, INDEX, OPTIONS, WEIGHTS))
    with dask.config.set(scheduler=refuse):
        given = [{k: cut(a) for k, a in options.items()} for options in (OPTIONS, WEIGHTS)]
        lazy = arrays_of(case(cut(X), cut(Y), cut(INDEX), *given))
    assert [(a.shape, a.dtype) for a in lazy] == [(np.shape(a), a.dtype) for a in wanted]
    assert all(isinstance(a, da.Array) for a in lazy)
    for got, exact in zip(dask.compute(*lazy, scheduler="sync"), wanted, strict=True):
        if "linear" in name:
            assert_allclose(got, exact, rtol=0, atol=DASK_PRODUCT * np.abs(exact).max())
        else:
            assert np.array_equal(got, exact, equal_nan=True)


def test_rows_to_ignore_may_hold_anything():
    """Which rows these are is not known when the products are cut, and yet they take no part."""
    x = np.where(INDEX[:, np.newaxis] == 1, np.nan, X)
    answer = onesum.linear_cross_entropy_value_and_grad(cut(x), cut(Y), cut(INDEX), ignore_index=1)
    _, dh, dw = dask.compute(*arrays_of(answer), scheduler="sync")
    assert np.all(np.isfinite(dw))
    assert not np.any(dh[INDEX == 1])
