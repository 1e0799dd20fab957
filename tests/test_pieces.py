"""Rows longer than a piece, columns longer than a tile, outputs larger than the caches.

What is cut in the core, for threads and caches, must not be seen in a result.
"""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from implementations import every, on_numpy
from measure import check, judge, same_bits
from rows import MASKABLE, OPERATIONS, arguments, classes_first, classes_last, logits

import onesum

PIECE = 1 << 16  # classes, as csrc/common/tuning.h has it
STREAMED = 24 << 20  # bytes, as csrc/common/tuning.h has it
LENGTHS = [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 777]

# Arrays that are large in fact take long, and the kernels meet small thresholds in every
# instruction set and layout already (kernel_sweep.cpp): of these one is enough.
one_instruction_set = pytest.mark.parametrize("kernel_api", on_numpy()[1:][-1:], indirect=True)


@pytest.fixture
def threads():
    """Sets the number of threads for one test."""
    before = onesum.get_num_threads()
    yield onesum.set_num_threads
    onesum.set_num_threads(before)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize(("kind", "dtype"), [("spread 3", "float64"), ("gaps", "float16")])
def test_long_rows_are_right(function, kind, dtype):
    args = arguments(function, logits(kind, 2, 2 * PIECE + 11, dtype))
    right = judge(getattr(oracle, function)(*args, arithmetic=oracle.WIDE), function)
    for api in every():
        right(getattr(api, function)(*args), f"{kind}, {api.name}")


@one_instruction_set
@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_rows_have_the_same_bits_everywhere(kernel_api, function, dtype, threads):
    """Alone, in a batch, along the other axis; by one thread or several."""
    call = getattr(kernel_api, function)
    for n in LENGTHS:
        args = arguments(function, logits("spread 3", 3, n, dtype))
        threads(1)
        whole = call(*args)
        threads(3)
        assert same_bits(call(*args), whole), f"n={n}, 3 threads"
        assert same_bits(call(*(a[1] for a in args)), whole[1]), f"n={n}, one row"
        got = classes_last(function, call(*classes_first(function, args), axis=0))
        assert same_bits(got, whole), f"n={n}, axis 0"


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_columns_longer_than_a_tile(kernel_api, function, dtype):
    call = getattr(kernel_api, function)
    for n, width in [(1025, 150), (4100, 17)]:
        args = arguments(function, logits("spread 3", width, n, dtype))
        whole = call(*args)
        got = classes_last(function, call(*classes_first(function, args), axis=0))
        assert same_bits(got, whole), f"n={n}, {width} columns"


@one_instruction_set
@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_share_long_columns_by_their_classes(kernel_api, function, dtype, threads):
    """Few rows side by side, of many classes: parts of them, whoever sums which."""
    n, width = 13_000, 37
    first = classes_first(function, arguments(function, logits("spread 3", width, n, dtype)))
    threads(1)
    whole = getattr(kernel_api, function)(*first, axis=0)
    for count in [2, 3]:
        threads(count)
        got = getattr(kernel_api, function)(*first, axis=0)
        assert same_bits(got, whole), f"{count} threads"


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_columns_of_several_panels(kernel_api, function, dtype):
    call = getattr(kernel_api, function)
    for n, width in [(2, 3001), (21, 2500), (81, 1300), (256, 515)]:
        args = arguments(function, logits("spread 3", width, n, dtype))
        whole = call(*args)
        first = classes_first(function, args)
        assert same_bits(classes_last(function, call(*first, axis=0)), whole), f"{n}x{width}"
        beside = tuple(np.pad(a, [(0, 0)] * (a.ndim - 1) + [(3, 2)])[..., 3:-2] for a in first)
        assert same_bits(classes_last(function, call(*beside, axis=0)), whole), (
            f"{n}x{width}, apart"
        )


@one_instruction_set
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exponentials_that_were_kept_over_another_maximum(kernel_api, dtype):
    """Each piece keeps them over its own, in the output; in place they are computed again."""
    below = [0, 3, 13.5, 14.5, 40, 87, 102, 60, 250, 0]  # how much less a piece's maximum is
    x = logits("spread 3", 1, len(below) * PIECE - 5, dtype)
    x = np.clip(x, -9, 3) - np.repeat(below, PIECE)[:-5].astype(dtype)
    got = kernel_api.softmax(x)
    judge(oracle.softmax(x, arithmetic=oracle.WIDE), "softmax")(got, kernel_api.name)
    assert same_bits(kernel_api.softmax(x, out=x), got)


@pytest.mark.parametrize("function", OPERATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [5000, PIECE + 777])
def test_maxima_that_are_met_late(function, dtype, n):
    """A sum begun before the maximum is known is the sum that it would have been.

    The reference looks for the maximum first, however long a row is.
    """
    x = logits("spread 3", 6, n, dtype)
    steps = np.linspace(0, 1, n)
    x[0] += 180 * steps - 90  # a new maximum in every tile
    x[1, :-3] = -np.inf  # none until the end
    x[2, : n // 2] = -np.inf
    x[3] += 1000 * (steps > 0.9)  # leaves the range in which a sum can be moved
    x[4, n // 3] = 80  # nothing but this one counts
    x[5] -= 240 * (steps < 0.7)
    args = arguments(function, x)
    right = judge(getattr(oracle, function)(*args, arithmetic=oracle.WIDE), function)
    for api in every():
        if n > PIECE and api.name == "reference":
            continue
        call = getattr(api, function)
        whole = call(*args)
        right(whole, api.name)
        for i in range(len(x)):
            assert same_bits(call(*(a[i] for a in args)), whole[i]), f"{api.name}: row {i} alone"
        got = classes_last(function, call(*classes_first(function, args), axis=0))
        assert same_bits(got, whole), f"{api.name}: axis 0"


@pytest.mark.parametrize("function", MASKABLE)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", -256), ("float64", -2048)])
def test_pieces_on_both_sides_of_a_bound(function, dtype, bound):
    """One beyond the range in which a sum can be moved, in a row of which the maximum is not."""
    x = bound - 3 + logits("spread 3", 2, PIECE + 777, dtype).clip(-2, 2)
    x[0, PIECE:] += 6
    x[1, :777] += 9
    args = arguments(function, x)
    right = judge(getattr(oracle, function)(*args, arithmetic=oracle.WIDE), function)
    for api in every():
        whole = getattr(api, function)(*args)
        right(whole, api.name)
        got = getattr(api, function)(*classes_first(function, args), axis=0)
        assert same_bits(classes_last(function, got), whole), f"{api.name}: axis 0"


@pytest.mark.parametrize("function", MASKABLE)
@pytest.mark.parametrize("axis", [-1, 0])
def test_masks_of_long_rows(numpy_api, function, axis):
    """The same as of the classes that take part alone, up to the order of a sum."""
    n = 2 * PIECE + 11
    args = arguments(function, logits("spread 3", 2, n, "float64"))
    where = np.random.default_rng(1).random((2, n)) < 0.5
    where[:, PIECE : 2 * PIECE] = False  # a piece of nothing
    kept = [
        tuple((a[i] if a.ndim == 1 else a[i, where[i]])[np.newaxis] for a in args) for i in range(2)
    ]
    call = getattr(numpy_api, function)
    if axis == 0:
        first = classes_first(function, args)
        got = classes_last(function, call(*first, axis=0, where=where.T))
    else:
        got = call(*args, where=where)
    for i in range(2):
        reference = getattr(oracle, function)(*kept[i], arithmetic=oracle.WIDE)
        row = got[i : i + 1] if got.ndim == 1 else got[i : i + 1, where[i]]
        check(row, reference, function)


@pytest.mark.parametrize("function", OPERATIONS)
def test_what_is_not_finite_in_a_late_piece(numpy_api, function):
    call = getattr(numpy_api, function)
    args = arguments(function, logits("spread 3", 2, 2 * PIECE + 11, "float32"))
    args[0][1, -3] = np.nan
    got = call(*args)
    assert not np.isnan(got[0]).any()
    assert np.isnan(got[1]).all()


@pytest.mark.parametrize("function", ["softmax", "log_softmax", "logsumexp"])
def test_infinities_in_a_late_piece(numpy_api, function):
    x = logits("spread 3", 2, 2 * PIECE + 11, "float32")
    x[0, :-5] = -np.inf
    x[1, -7] = np.inf
    got = getattr(numpy_api, function)(x)
    short = getattr(numpy_api, function)(x[:, -20:])
    np.testing.assert_array_equal(got if got.ndim == 1 else got[:, -20:], short)


NUMBERS = logits("spread 3", 1, 1_000_003, "float64")


def many(k: int, n: int, dtype: str) -> np.ndarray:
    """Rows of logits, more than it is worth to draw."""
    return np.resize(NUMBERS.astype(dtype), (k, n))


@one_instruction_set
@pytest.mark.parametrize("function", ["softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp"])
@pytest.mark.parametrize(
    ("n", "dtype"),
    [
        (1000, "float32"),
        (100_003, "float32"),
        (9001, "float16"),
        (100_003, "float16"),
        (1000, "float64"),
    ],
)
def test_outputs_that_go_past_the_caches(kernel_api, function, n, dtype):
    """Whole lines are streamed: rows begin anywhere in a line, and nothing beside them is hurt."""
    rows = STREAMED // (np.dtype(dtype).itemsize * n) + 2
    x = many(rows, n, dtype)
    args = (x,)
    if function.endswith("_vjp"):
        args = getattr(kernel_api, function.removesuffix("_vjp"))(x), np.flip(x)
    call = getattr(kernel_api, function)
    for offset in [0, 5]:
        space = np.full(rows * n + 64, 7, dtype)
        out = space[offset : offset + rows * n].reshape(rows, n)
        call(*args, out=out)
        assert (space[:offset] == 7).all()
        assert (space[offset + rows * n :] == 7).all()
        for i in [0, 1, rows // 2, rows - 1]:
            assert same_bits(out[i], call(*(a[i] for a in args))), f"row {i}, offset {offset}"


@one_instruction_set
@pytest.mark.parametrize("function", ["softmax", "log_softmax", "softmax_vjp", "log_softmax_vjp"])
@pytest.mark.parametrize("n", [21, 300])
def test_columns_that_go_past_the_caches(kernel_api, function, n):
    width = STREAMED // (4 * n) + 12
    x = many(width, n, "float32").T.copy()
    args = (x,)
    if function.endswith("_vjp"):
        args = getattr(kernel_api, function.removesuffix("_vjp"))(x, axis=0), np.flip(x).copy()
    call = getattr(kernel_api, function)
    some = [*range(40), width // 2, *range(width - 20, width)]
    wanted = call(*(a[:, some].T.copy() for a in args)).T
    for offset in [0, 1, 5]:
        space = np.full(x.size + 64, 7, np.float32)
        out = space[offset : offset + x.size].reshape(x.shape)
        call(*args, axis=0, out=out)
        assert (space[:offset] == 7).all()
        assert (space[offset + x.size :] == 7).all()
        assert same_bits(out[:, some], np.ascontiguousarray(wanted)), f"offset {offset}"
