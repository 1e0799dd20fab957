"""`where`, its twin the mask of numpy.ma, and entries of probability 0."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from implementations import dtypes
from measure import check, same_bits
from rows import MASKABLE
from table import COTANGENT, INF, NAN, NUMBERS, backwards, read_only

MASK = np.random.default_rng(5).random((4, 5, 6)) < 0.7
WHERES = {
    "full": MASK,
    "list": MASK.tolist(),
    "Fortran order": np.asfortranarray(MASK),
    "backwards": backwards(MASK),
    "read-only": read_only(MASK),
    "classes only": MASK[0, 0],
    "rows only": MASK[0, :, :1],
    "batch only": MASK[:, :1, :1],
    "True": True,
    "False": np.False_,
}


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), None])
@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES)
def test_forms_of_where(api, where, axis):
    full = np.broadcast_to(np.asarray(where), NUMBERS.shape).copy()
    hidden = np.where(full, NUMBERS, NAN)
    for function in MASKABLE:
        second = {
            "logsumexp_vjp": [np.asarray(api.logsumexp(NUMBERS, axis=axis))],
            "logsumexp_jvp": [np.where(full, COTANGENT, NAN)],
        }.get(function, [])
        call = getattr(api, function)
        got = call(hidden, *second, axis=axis, where=where)
        assert same_bits(got, call(NUMBERS, *second, axis=axis, where=full))
        assert np.all(np.isfinite(got) | np.isneginf(got))


# numpy.ma


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_masked_arrays(api, dtype):
    """The mask is a `where`, and a masked array comes back."""
    mask = ~MASK
    mask[0, 0] = True
    values = np.rint(NUMBERS).astype(dtype)
    x = np.ma.array(values, mask=mask)
    second = {
        "logsumexp_vjp": np.ones((4, 5)),
        "logsumexp_jvp": COTANGENT,
    }
    for function in MASKABLE:
        args = [second[function]] if function in second else []
        call = getattr(api, function)
        got, wanted = call(x, *args), np.asarray(call(values, *args, where=~mask))
        assert isinstance(got, np.ma.MaskedArray), function
        assert same_bits(got.data, wanted)
        expected_mask = mask if wanted.shape == mask.shape else mask.all(axis=-1)
        assert np.array_equal(np.ma.getmaskarray(got), expected_mask)
        both = call(x, *args, where=MASK[:, ::-1])
        assert same_bits(both.data, np.asarray(call(values, *args, where=~mask & MASK[:, ::-1])))


def test_masked_array_without_a_mask(api):
    got = api.softmax(np.ma.array(NUMBERS))
    assert isinstance(got, np.ma.MaskedArray)
    assert same_bits(got.data, api.softmax(NUMBERS))
    assert not np.ma.getmaskarray(got).any()


@pytest.mark.parametrize(
    "function", ["softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp"]
)
def test_masked_derivatives(api, function):
    """Entries masked in p or in g behave as p = 0."""
    forward = getattr(api, function[:-4])(NUMBERS)
    gone = 0.0 if function.startswith("softmax") else -INF
    p_mask, g_mask = ~MASK, ~MASK[:, ::-1]
    call = getattr(api, function)
    for first, second, mask in [
        (np.ma.array(forward, mask=p_mask), COTANGENT, p_mask),
        (forward, np.ma.array(COTANGENT, mask=g_mask), g_mask),
        (np.ma.array(forward, mask=p_mask), np.ma.array(COTANGENT, mask=g_mask), p_mask | g_mask),
    ]:
        got = call(first, second)
        assert isinstance(got, np.ma.MaskedArray)
        assert same_bits(got.data, call(np.where(mask, gone, forward), COTANGENT))
        assert np.array_equal(np.ma.getmaskarray(got), mask)


# The derivatives read neither g where p is 0, nor p = 0 rows


@pytest.mark.parametrize(
    "function", ["softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp"]
)
def test_entries_of_probability_zero(any_api, function):
    for dtype in dtypes(any_api.name):
        p = np.array([[0.5, 0, 0.5], [0, 0, 0], [NAN, 0, 1], [0, 1, 0]], dtype=dtype)
        if function.startswith("log"):
            with np.errstate(divide="ignore"):
                p = np.log(p)
        g = np.array([[1, NAN, 3], [NAN, INF, 2], [1, 2, 3], [-INF, 4, NAN]], dtype=dtype)
        got = getattr(any_api, function)(p, g)
        reference = getattr(oracle, function)(p[:1], g[:1])
        check(got[:1], reference, function)
        assert got[0, 1] == 0
        assert np.array_equal(got[[1, 3]], np.zeros((2, 3)))
        assert np.all(np.isnan(got[2]))


def test_an_infinite_cotangent_of_a_class_of_probability_zero(any_api):
    for dtype in dtypes(any_api.name):
        x = np.array([[-INF, 0, 0], [0, -INF, 1]], dtype)
        for g in [INF, -INF, NAN]:
            got = any_api.logsumexp_vjp(x, np.array([g, 1], dtype))
            assert np.array_equal(got[0], np.array([0, g, g], dtype), equal_nan=True)
            assert got[1, 1] == 0


def test_a_direction_beside_an_infinite_logit(kernel_api):
    """Where p is all at one class, for its logit is +inf, the core reads no other class."""
    for dtype in dtypes(kernel_api.name):
        x = np.array([[1, INF, 2], [INF, -INF, 0]], dtype)
        v = np.array([[NAN, 3, INF], [4, NAN, -INF]], dtype)
        assert np.array_equal(kernel_api.logsumexp_jvp(x, v), np.array([3, 4], dtype))


def test_quotients_beyond_the_numbers(any_api):
    """g / T may be infinite where the sum of g is not."""
    g = np.array([[0, 1e300, -1e300]])
    logp = np.log(np.array([[0.5, 0.25, 0.25]]))
    got = any_api.log_softmax_vjp(logp, g, temperature=1e-10)
    assert np.array_equal(got, [[0, INF, -INF]])
