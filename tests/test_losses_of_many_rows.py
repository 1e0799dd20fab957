"""Losses of so many rows that their targets are read by vectors and their sum is shared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from measure import same_bits

import onesum

ROWS = 20_001  # more than are summed at one time, and no whole number of vectors
NEITHER = [-1, 3, -(2**63), 2**63 - 1]


@pytest.mark.parametrize("magnitude", [1.0, 2.0**53])
def test_sums_as_if_with_twice_the_digits(kernel_api, magnitude):
    """A loss of this magnitude beside many small ones, whichever part of the sum it is in."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 3, (ROWS, 3)), rng.integers(0, 3, ROWS)
    for large in [0, 2506, ROWS // 2, ROWS - 1]:
        z = x.copy()
        z[large, (y[large] + 1) % 3] += magnitude
        each = kernel_api.cross_entropy(z, y, reduction="none")
        total = math.fsum(each)
        assert kernel_api.cross_entropy(z, y, reduction="sum") == total
        assert kernel_api.cross_entropy(z, y) == total / ROWS
        assert kernel_api.cross_entropy_value_and_grad(z, y, reduction="sum")[0] == total


def test_sums_do_not_depend_on_the_threads(kernel_api):
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 9, (100_003, 4)), rng.integers(0, 4, 100_003)
    before = onesum.get_num_threads()
    try:
        sums = []
        for n in [1, 2, 3, 8]:
            onesum.set_num_threads(n)
            sums.append(kernel_api.cross_entropy(x, y, reduction="sum"))
    finally:
        onesum.set_num_threads(before)
    assert all(same_bits(s, sums[0]) for s in sums)


@pytest.mark.parametrize("bad", NEITHER)
def test_one_bad_index_among_many(kernel_api, bad):
    x, y = np.zeros((ROWS, 3), np.float32), np.full(ROWS, 2)
    for position in [0, 5, 8, ROWS // 2, ROWS - 2, ROWS - 1]:
        y[position] = bad
        with pytest.raises(IndexError, match=rf"from 0 to 2, got {bad} at position {position}\b"):
            kernel_api.cross_entropy(x, y)
        y[position] = 2
    assert kernel_api.cross_entropy(x, y) == np.float32(math.log(3))


def test_every_lane_has_the_logit_of_its_own_class(kernel_api):
    """Losses of whole blocks of rows, of blocks with an ignored row, and of the last few."""
    rng = np.random.default_rng(2)
    for dtype in ["float16", "float32", "float64"]:
        x = rng.normal(0, 3, (531, 5)).astype(dtype)
        y = rng.integers(0, 5, 531)
        wanted = -kernel_api.log_softmax(x.astype(np.float64))[np.arange(531), y]
        got = kernel_api.cross_entropy(x, y, reduction="none")
        np.testing.assert_allclose(got, wanted.astype(dtype), rtol=4 * np.finfo(dtype).eps)
        some = np.where(np.arange(531) % 37 == 0, -1, y)
        got = kernel_api.cross_entropy(x, some, reduction="none", ignore_index=-1)
        wanted = np.where(some < 0, 0.0, wanted)
        np.testing.assert_allclose(got, wanted.astype(dtype), rtol=4 * np.finfo(dtype).eps)
