"""logsumexp's b: x and b broadcast together and promote together, as SciPy has it."""

import numpy as np
import pytest
from scipy.special import logsumexp

import onesum

SHAPES = [((4, 1, 2, 1), (3, 1, 5)), ((3,), (2, 3)), ((), (4,)), ((2, 3), ()), ((2, 1), (1, 4))]
DTYPES = ["float32", "float64", "int32", "uint8", "bool"]


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_they_broadcast_together(api, shapes, keepdims):
    rng = np.random.default_rng(3)
    x, b = (rng.normal(size=shape) for shape in shapes)
    ndim = len(np.broadcast_shapes(*shapes))
    for axis in [None, *range(-ndim, ndim), tuple(range(ndim))]:
        got = api.logsumexp(x, axis, b=b, keepdims=keepdims, return_sign=True)
        wanted = logsumexp(x, axis, b=b, keepdims=keepdims, return_sign=True)
        for g, w in zip(got, wanted, strict=True):
            assert np.shape(g) == np.shape(w)
            np.testing.assert_allclose(g, w, rtol=1e-13)


@pytest.mark.parametrize("x_type", DTYPES)
@pytest.mark.parametrize("b_type", DTYPES)
def test_they_promote_together(api, x_type, b_type):
    """Integers and bools count as float64 in both, whatever their size."""
    x, b = np.array([2, 1]).astype(x_type), np.array([1, 1]).astype(b_type)
    single = x_type == b_type == "float32"
    got = api.logsumexp(x, b=b)
    assert got.dtype == ("float32" if single else "float64")
    wanted = logsumexp(x.astype(float), b=b.astype(float))
    np.testing.assert_allclose(got, wanted, rtol=1e-6 if single else 1e-14)


def test_a_number_has_no_type(api):
    x = np.float32([2, 1])
    assert api.logsumexp(x, b=2).dtype == np.float32
    assert api.logsumexp(x, b=2.0).dtype == np.float32
    assert api.logsumexp(x, b=np.float64(2)).dtype == np.float64
    assert api.logsumexp(x, b=np.float64(2), dtype=np.float32).dtype == np.float32


def test_a_masked_row_for_several_factors():
    x = np.ma.MaskedArray([1.0, 2.0, 3.0], [False, True, False])
    b = np.array([[1.0, 5.0, 1.0], [2.0, 5.0, 0.0]])
    got = onesum.logsumexp(x, b=b)
    np.testing.assert_allclose(got, [np.log(np.e + np.e**3), np.log(2 * np.e)], rtol=1e-14)


def test_what_does_not_broadcast(api):
    message = r"^b: expected a shape that broadcasts with that of x, \(2, 3\), got \(4, 2\)$"
    with pytest.raises(ValueError, match=message):
        api.logsumexp(np.zeros((2, 3)), b=np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"^out: expected shape \(4, 2\), got \(2,\)$"):
        api.logsumexp(np.zeros((2, 3)), b=np.zeros((4, 2, 3)), out=np.zeros(2))
