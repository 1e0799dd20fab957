"""The core on systems where `np.longdouble` is too short for oracle.py: Windows, macOS on arm64."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from budget import FLOAT32, FLOAT64

import onesum

BUDGETS = {"float32": FLOAT32, "float64": FLOAT64}
SHAPES = [(3, 10), (2, 1000), (1, 3)]


def exact(row: np.ndarray) -> tuple[list, mpmath.mpf]:
    """The probabilities of a row, and its logsumexp."""
    terms = [mpmath.exp(mpmath.mpf(float(x))) for x in row]
    total = mpmath.fsum(terms)
    return [term / total for term in terms], mpmath.log(total)


def off(got: np.ndarray, wanted: list) -> float:
    """The largest error, in ulps of each."""
    return max(
        float(abs(mpmath.mpf(float(y)) - e) / float(np.spacing(np.abs(got.dtype.type(e)))))
        for y, e in zip(got, wanted, strict=True)
    )


@pytest.mark.parametrize("dtype", BUDGETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values(numpy_api, dtype, shape):
    budget = BUDGETS[dtype]
    x = (np.random.default_rng(1).normal(size=shape) * 3).astype(dtype)
    p, logp, lse = numpy_api.softmax(x), numpy_api.log_softmax(x), numpy_api.logsumexp(x)
    with mpmath.workdps(40):
        for i in range(shape[0]):
            wanted, total = exact(x[i])
            assert off(p[i], wanted) <= budget["softmax"].result
            assert off(logp[i], [mpmath.log(q) for q in wanted]) <= budget["log_softmax"].result
            scale = max(abs(total), abs(float(x[i].max())))
            ulp = float(np.spacing(lse.dtype.type(scale)))
            assert abs(mpmath.mpf(float(lse[i])) - total) <= budget["logsumexp"].scale * ulp


def test_what_is_lost_elsewhere(numpy_api):
    """The small component of a gradient beside a probability of next to one."""
    p = numpy_api.softmax(np.array([40.0, 0.0]))
    g = numpy_api.softmax_vjp(p, np.array([1.0, 0.0]))
    assert g[0] == -g[1] == pytest.approx(float(mpmath.exp(-40)), rel=1e-15)
    loss, slope = numpy_api.cross_entropy_value_and_grad(np.array([[40.0, 0.0]]), [0])
    assert loss == pytest.approx(float(mpmath.exp(-40)), rel=1e-15)
    assert slope[0, 1] == -slope[0, 0] == pytest.approx(float(mpmath.exp(-40)), rel=1e-15)


def test_the_bits_of_a_row(numpy_api):
    """The same alone, beside others, in columns, and from several threads."""
    x = np.random.default_rng(2).normal(size=(300, 500)).astype(np.float32)
    before = onesum.get_num_threads()
    try:
        onesum.set_num_threads(3)
        p = numpy_api.softmax(x)
        columns = numpy_api.softmax(np.ascontiguousarray(x.T), axis=0)
        onesum.set_num_threads(1)
        assert p.tobytes() == numpy_api.softmax(x).tobytes() == columns.T.tobytes()
    finally:
        onesum.set_num_threads(before)
    assert p[7].tobytes() == numpy_api.softmax(x[7]).tobytes()
    assert p.tobytes() == numpy_api.softmax(x, out=x.copy()).tobytes()
