"""`out`: filled, returned, of any strides, and possibly one of the arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from measure import same_bits
from rows import FUNCTIONS
from table import NUMBERS, Presented, backwards, inside, swapped, unaligned

LAYOUTS = [np.array, np.asfortranarray, backwards, inside, unaligned]


def layouts(dtype: Any) -> list[Any]:
    """Ways to lay out an array; of IEEE's types in the other byte order too."""
    return [*LAYOUTS, swapped] if np.dtype(dtype).kind == "f" else LAYOUTS


def native(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, a.dtype.newbyteorder("=") if a.dtype.kind == "f" else None)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None, ()])
def test_out(api, function, axis):
    """out is filled, returned, and may have any strides."""
    row = Presented("", axis=axis)
    for dtype in row.dtypes:
        args = row.arguments(function, dtype)
        call = getattr(api, function)
        wanted = np.asarray(call(*args, axis=axis))
        for make in layouts(dtype) if wanted.ndim else [np.array]:
            out = make(np.full_like(wanted, 7))
            assert call(*args, axis=axis, out=out) is out
            assert same_bits(native(out), wanted)


@pytest.mark.parametrize(
    "function", [f for f in FUNCTIONS if f not in ("logsumexp", "logsumexp_jvp")]
)
@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None])
def test_out_may_be_an_argument(api, function, axis):
    """In place: over x, p or g."""
    row = Presented("", axis=axis)
    for dtype in row.dtypes:
        args = row.arguments(function, dtype)
        call = getattr(api, function)
        wanted = call(*args, axis=axis)
        for i, argument in enumerate(args):
            if argument.shape != wanted.shape:
                continue
            for make in layouts(dtype):
                fresh = [make(a) if a.ndim else a for a in args]
                assert call(*fresh, axis=axis, out=fresh[i]) is fresh[i]
                assert same_bits(native(fresh[i]), wanted)


@pytest.mark.parametrize(
    "function",
    ["softmax_vjp", "softmax_jvp", "log_softmax_vjp", "log_softmax_jvp", "logsumexp_jvp"],
)
def test_one_array_as_both_arguments(api, function):
    row = Presented("")
    for dtype in row.dtypes:
        a = row.arguments(function, dtype)[0]
        call = getattr(api, function)
        wanted = call(a, a.copy())
        assert same_bits(call(a, a), wanted)
        if wanted.shape == a.shape:
            assert same_bits(call(a, a, out=a), wanted)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_out_with_dtype(api, dtype):
    out = np.full(NUMBERS.shape, 7, dtype)
    assert api.softmax(NUMBERS, dtype=dtype, out=out) is out
    assert same_bits(out, api.softmax(NUMBERS, dtype=dtype))


def test_out_with_where(api):
    """Entries outside `where` are written too, with 0."""
    x, where = np.array(NUMBERS), NUMBERS > -1
    wanted = api.softmax(x, where=where)
    assert api.softmax(x, where=where, out=x) is x
    assert same_bits(x, wanted)
