"""A row's result is the same bits whatever surrounds it, and however it lies in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from measure import same_bits
from rows import FUNCTIONS, OPERATIONS, arguments, classes_first, classes_last, logits
from table import backwards, inside, read_only, swapped, unaligned, upside_down

import onesum

FLOATS = ["float16", "bfloat16", "float32", "float64"]
# Every tail of small rows, the lengths around a vector, and rows long enough for other loops.
SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1000]
BATCH = 37


@pytest.fixture(params=FLOATS)
def dtype(request):
    return request.param


@pytest.mark.parametrize("function", OPERATIONS)
def test_batch_size_and_position(numpy_api, function, dtype):
    """A row alone, in a batch of any size, and at any place of it."""
    call = getattr(numpy_api, function)
    for n in SIZES:
        args = arguments(function, logits("spread 3", BATCH, n, dtype))
        whole = call(*args)
        for rows in [slice(0, 1), slice(3, 4), slice(5, 7), slice(20, 37), slice(36, 37)]:
            assert same_bits(call(*(a[rows] for a in args)), whole[rows]), f"n={n}, rows {rows}"
        assert same_bits(call(*(a[8] for a in args)), whole[8]), f"n={n}, one row without a batch"
        order = np.random.default_rng(n).permutation(BATCH)
        assert same_bits(call(*(a[order] for a in args)), whole[order]), f"n={n}, permuted"


@pytest.mark.parametrize("function", OPERATIONS)
def test_class_axis_contiguous_or_strided(numpy_api, function, dtype):
    """Classes along axis 0 give the bits of classes along the last, in batches of any width."""
    call = getattr(numpy_api, function)
    for n in [2, 3, 10, 16, 33, 100, 1000]:
        args = arguments(function, logits("spread 3", BATCH, n, dtype))
        whole = call(*args)
        for width in [1, 2, 5, 16, 37]:
            first = classes_first(function, tuple(a[:width] for a in args))
            got = classes_last(function, call(*first, axis=0))
            assert same_bits(got, whole[:width]), f"n={n}, {width} columns"


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize(
    "present", [inside, backwards, upside_down, unaligned, read_only, swapped, np.asfortranarray]
)
def test_layout_of_the_arguments(numpy_api, function, dtype, present):
    if dtype == "bfloat16" and present is swapped:
        return  # ml_dtypes has one byte order
    call = getattr(numpy_api, function)
    for n in [3, 10, 50]:
        args = arguments(function, logits("spread 3", 9, n, dtype))
        assert same_bits(call(*map(present, args)), call(*args))
        first = classes_first(function, args)
        assert same_bits(call(*map(present, first), axis=0), call(*first, axis=0))


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("axis", [-1, 0])
def test_neighbours_in_memory(kernel_api, function, dtype, axis):
    """What lies beside an array in memory is neither read nor written, down to rows of nothing."""
    call = getattr(kernel_api, function)
    for n in [0, *range(1, 20), 31, 33, 63, 65]:
        for k in [1, 2, 3, 5, 8, 9, 17] if n in (0, 3, 17) else [9]:
            args = (
                arguments(function, logits("spread 3", k, n, dtype))
                if n
                else empty(function, k, dtype)
            )
            if axis == 0:
                args = classes_first(function, args)
            wanted = call(*args, axis=axis)
            guarded = [within(a, np.nan) for a in args]
            out = within(np.full_like(wanted, 7), 99)
            assert same_bits(call(*guarded, axis=axis, out=out), wanted), f"{k} rows of {n}"
            memory = out.base.copy()
            memory[16 : 16 + out.size] = 99
            assert np.all(memory == np.array(99, dtype)), f"{k} rows of {n}: out's neighbours"


def empty(function: str, k: int, dtype: str) -> tuple[np.ndarray, ...]:
    x, row = np.zeros((k, 0), dtype), np.zeros(k, dtype)
    if function in FUNCTIONS[:3]:
        return (x,)
    return x, (row if function == "logsumexp_vjp" else x)


def within(a: np.ndarray, other: float) -> np.ndarray:
    """The array as a contiguous part of a longer one that holds another number."""
    memory = np.full(a.size + 32, other, dtype=a.dtype)
    part = memory[16 : 16 + a.size].reshape(a.shape)
    part[...] = a
    return part


@pytest.mark.parametrize("function", OPERATIONS)
def test_temperature_of_a_row(api, function, dtype):
    """A temperature per row gives each row what the same number gives it alone."""
    call = getattr(api, function)
    args = arguments(function, logits("spread 3", BATCH, 11, dtype))
    t = np.exp(np.random.default_rng(1).normal(size=BATCH))
    whole = call(*args, temperature=t)
    for i in range(BATCH):
        assert same_bits(call(*(a[i] for a in args), temperature=t[i]), whole[i])


@pytest.mark.parametrize("function", OPERATIONS)
def test_out(numpy_api, function, dtype):
    call = getattr(numpy_api, function)
    for n in [3, 10, 16, 100, 1100]:
        args = arguments(function, logits("spread 3", 9, n, dtype))
        fresh = call(*args)
        assert same_bits(call(*args, out=np.full_like(fresh, 7)), fresh)
        for i, argument in enumerate(args):
            if argument.shape == fresh.shape:
                copies = [a.copy() for a in args]
                assert same_bits(call(*copies, out=copies[i]), fresh)


@pytest.mark.parametrize("axes", [(0, 2), (2, 0), (1, 2), None])
@pytest.mark.parametrize("function", OPERATIONS)
def test_several_axes(api, function, axes):
    """A tuple of axes is those axes flattened in order."""
    x = np.random.default_rng(2).normal(0, 3, (3, 4, 5))
    sorted_axes = (0, 1, 2) if axes is None else tuple(sorted(axes))
    flat = np.moveaxis(x, sorted_axes, range(-len(sorted_axes), 0))
    rows = flat.reshape(*flat.shape[: -len(sorted_axes)], -1)
    args = arguments(function, rows)
    wanted = getattr(api, function)(*args)

    def unflatten(a):
        return np.moveaxis(a.reshape(flat.shape), range(-len(sorted_axes), 0), sorted_axes)

    several = [a if a.ndim < rows.ndim else unflatten(a) for a in args]
    got = getattr(api, function)(*several, axis=axes)
    assert same_bits(got, wanted if np.ndim(wanted) < rows.ndim else unflatten(wanted))


def test_threads(api):
    """Many threads at once answer as one. (Unwatched: threads share the warnings filters.)"""
    x = np.random.default_rng(9).normal(0, 3, (200, 50)).astype(np.float32)
    wanted = api.softmax(x)
    with ThreadPoolExecutor(4) as pool:
        assert all(
            same_bits(got, wanted) for got in pool.map(lambda _: onesum.softmax(x), range(50))
        )
