"""The floors under the times: memory moved, with nothing computed (csrc/runtime/bandwidth.cpp)."""

from __future__ import annotations

import numpy as np
import pytest


def misaligned(size: int, offset: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size + offset, dtype=np.uint8)[offset:]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, (1 << 20) + 13])
@pytest.mark.parametrize("offset", [0, 1, 48])
def test_floors_move_the_bytes(size, offset):
    """All of them and no others, however they lie, with either kind of store."""
    core = pytest.importorskip("onesum._core")
    rng = np.random.default_rng(size)
    a, b = misaligned(size, offset, rng), misaligned(size, 3, rng)
    for streaming in (False, True):
        for sources, wanted in (((a,), a), ((a, b), a ^ b)):
            around = np.full(size + 200, 7, np.uint8)
            core._move(around[offset + 5 : offset + 5 + size], sources, streaming)
            np.testing.assert_array_equal(around[offset + 5 : offset + 5 + size], wanted)
            assert np.all(around[: offset + 5] == 7)
            assert np.all(around[offset + 5 + size :] == 7)
            assert core._move(None, sources, streaming) == np.bitwise_xor.reduce(wanted)
        same = a.copy()
        core._move(same, (same,), streaming)
        np.testing.assert_array_equal(same, a)


@pytest.mark.parametrize("shape", [(1, 1), (5, 63), (1000, 300), (3, 1 << 19)])
@pytest.mark.parametrize("offset", [0, 1, 48])
def test_rows_are_read_and_then_moved(shape, offset):
    core = pytest.importorskip("onesum._core")
    k, n = shape
    rng = np.random.default_rng(n)
    a, b = misaligned(k * n, offset, rng), misaligned(k * n, 3, rng)
    for streaming in (False, True):
        for first, moved, wanted in (
            ((b,), (a,), a),
            ((a, b), (a, b), a ^ b),
            ((a,), (a, b), a ^ b),
        ):
            around = np.full(k * n + 200, 7, np.uint8)
            target = around[offset + 5 : offset + 5 + k * n]
            seen = core._move_rows(target, first, moved, n, streaming)
            assert seen == np.bitwise_xor.reduce(np.bitwise_xor.reduce(first))
            np.testing.assert_array_equal(target, wanted)
            assert np.all(around[: offset + 5] == 7)
            assert np.all(around[offset + 5 + k * n :] == 7)
    with pytest.raises(ValueError, match=f"row_bytes: expected a divisor of {k * n}, got 0"):
        core._move_rows(a, (a,), (b,), 0, True)
    with pytest.raises(
        ValueError, match=f"moved: expected arrays of {k * n} bytes, got {k * n - 1}"
    ):
        core._move_rows(a, (a,), (b[1:],), n, True)


def test_floors_take_arrays_of_equal_size():
    core = pytest.importorskip("onesum._core")
    a = np.zeros(8, np.float32)
    for target, sources, error, text in (
        (a, (), ValueError, "sources: expected one or two arrays, got 0"),
        (a, (a, a, a), ValueError, "sources: expected one or two arrays, got 3"),
        (a, ([1],), TypeError, "sources: expected NumPy arrays"),
        (1, (a,), TypeError, "target: expected NumPy arrays"),
        (a, (a[1:],), ValueError, "sources: expected arrays of 32 bytes, got 28"),
        (a[::2], (a[::2],), ValueError, "target: expected C-contiguous arrays"),
        (np.broadcast_to(a[0], (1,)), (a[:1],), ValueError, "target: expected a writeable array"),
    ):
        with pytest.raises(error, match=text):
            core._move(target, sources, True)
