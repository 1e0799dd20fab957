"""Normalizers of chunks of the class axis: merged in any order, they give the rows' own results."""

from __future__ import annotations

import itertools
import pickle
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import torch
from implementations import every
from measure import judge, same_bits
from oracle import WIDE
from rows import KINDS, logits

import onesum

Normalizer = onesum.Normalizer
INF, NAN = np.inf, np.nan

# Values, and no warnings that they do not deserve.
pytestmark = pytest.mark.filterwarnings("error")


def cut(n, pieces, seed=0):
    """So many slices of n classes, some perhaps of none."""
    ends = np.sort(np.random.default_rng([seed, n, pieces]).integers(0, n + 1, pieces - 1))
    return [slice(a, b) for a, b in itertools.pairwise([0, *ends, n])]


def merged(parts, order):
    """One after the other, in this order."""
    first, *others = (parts[i] for i in order)
    for other in others:
        first = first | other
    return first


def chunked(api, x, cuts, order, **options):
    """The normalizer of all chunks, and what becomes of them, side by side."""
    where = options.get("where")

    def given(a):
        return api.convert(a) if api.convert and isinstance(a, np.ndarray) else a

    t = {k: given(v) for k, v in options.items() if k == "temperature"}
    chunks = [given(x[:, part]) for part in cuts]
    masks = [{} if where is None else {"where": given(where[:, part])} for part in cuts]
    parts = [Normalizer.of(c, **m, **t) for c, m in zip(chunks, masks, strict=True)]
    all_of = merged(parts, order)
    results = []
    for method in (all_of.softmax, all_of.log_softmax):
        pieces = [api.back(method(c, **m)) for c, m in zip(chunks, masks, strict=True)]
        results.append(np.concatenate(pieces, axis=1))
    return all_of, *results, api.back(all_of.logsumexp)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row(kind, dtype):
    """By every implementation, with masks and temperatures: within the budget of the functions."""
    x = logits(kind, 7, 70, dtype)
    rng = np.random.default_rng(3)
    where = rng.random(x.shape) < 0.7
    where[:, 0] = True
    t = rng.choice([0.5, 1.0, 2.0], 7)
    for options in ({}, {"where": where, "temperature": t}, {"temperature": 0.25}):
        judges = [
            judge(getattr(oracle, name)(x, **options, arithmetic=WIDE), name)
            for name in ("softmax", "log_softmax", "logsumexp")
        ]
        for seed, api in enumerate(every(dtype, libraries=True)):
            cuts = cut(70, 4, seed)
            order = np.random.default_rng(seed).permutation(4)
            _, *results = chunked(api, x, cuts, order, **options)
            for got, right in zip(results, judges, strict=True):
                right(got, f"{api.name}, {sorted(options)}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_order(dtype):
    """All orders of five chunks, and a tree of them: within an ulp of all at once."""
    x = logits("spread 20", 4, 60, dtype)
    cuts = cut(60, 5)
    p, logp, total = onesum.softmax(x), onesum.log_softmax(x), onesum.logsumexp(x)
    parts = [Normalizer.of(x[:, part]) for part in cuts]
    trees = [(parts[0] | parts[1]) | (parts[2] | (parts[3] | parts[4]))]
    for all_of in [*(merged(parts, o) for o in itertools.permutations(range(5))), *trees]:
        for part in cuts:
            np.testing.assert_array_max_ulp(all_of.softmax(x[:, part]), p[:, part], 1)
            np.testing.assert_array_max_ulp(all_of.log_softmax(x[:, part]), logp[:, part], 1)
        np.testing.assert_array_max_ulp(all_of.logsumexp, total, 1)


def test_of_other_libraries():
    """Tensors on a CPU have NumPy's bits; JAX's arrays their own results, traced here, and not in
    test_states_of_rows.py."""
    x = logits("spread 3", 5, 40, "float32")
    wanted = onesum.softmax(x)

    def left(all_of, a):
        return (all_of.of(a[:, :13]) | all_of.of(a[:, 13:])).softmax(a[:, :13])

    of_torch = left(Normalizer, torch.tensor(x))
    assert isinstance(of_torch, torch.Tensor)
    assert same_bits(of_torch.numpy(), left(Normalizer, x))
    p = jax.jit(left, static_argnums=0)(Normalizer, jnp.asarray(x))
    assert isinstance(p, jax.Array)
    np.testing.assert_array_max_ulp(np.asarray(p), wanted[:, :13], 2)


def test_the_identity():
    """No classes, and classes of nothing but -inf, change nothing: not a bit."""
    x = logits("spread 3", 3, 9, "float64")
    alone = Normalizer.of(x)
    nothing = Normalizer.of(np.empty((3, 0)))
    empty = Normalizer.of(np.full((3, 2), -INF))
    for other in (nothing | alone, alone | nothing, alone | empty, empty | alone | nothing):
        assert same_bits(other.softmax(x), alone.softmax(x))
        assert same_bits(other.m, alone.m)
        assert same_bits(other.r, alone.r)
        assert same_bits(other.logsumexp, alone.logsumexp)
    both = nothing | empty
    assert np.all(both.logsumexp == -INF)
    assert np.all(np.isnan(both.softmax(np.full((3, 2), -INF))))
    assert both.classes == 2
    assert np.all(both.pivot == -1)


LIMITS = {
    "NaN": ([NAN, 0, 1, 2], NAN),
    "one +inf": ([0, INF, 1, 2], INF),
    "several +inf": ([0, INF, 1, INF], INF),
    "several +inf in a chunk": ([INF, INF, 1, 0], INF),
    "NaN beside +inf": ([0, INF, 1, NAN], NAN),
    "-inf and NaN": ([-INF, NAN, -INF, -INF], NAN),
    "nothing but -inf": ([-INF] * 4, -INF),
    "-inf": ([-INF, -INF, 3, 0], None),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", LIMITS)
def test_limits(case, dtype):
    row, total = LIMITS[case]
    # Rows around it are what they were.
    x = np.array([[0, 1, 2, 3], row, [3, 2, 1, 0]], dtype)
    for api in every(dtype, libraries=True):
        with np.errstate(all="ignore"):
            wanted = onesum.softmax(x), onesum.log_softmax(x), onesum.logsumexp(x)
        got = chunked(api, x, [slice(0, 2), slice(2, 4)], [0, 1])[1:]
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, err_msg=f"{case}, {api.name}")
            assert np.array_equal(np.isnan(a), np.isnan(b))
        if total is not None:
            assert np.array_equal(got[2][1], np.float64(total), equal_nan=True)


def test_what_it_says_of_the_rows():
    x = np.array([[1.0, 5.0, 2.0], [7.0, 7.0, 7.0]])
    where = np.array([[True, True, False], [False, True, True]])
    a, b = Normalizer.of(x, where=where), Normalizer.of(x + 1)
    assert (a.shape, a.classes, a.dtype) == ((2,), 3, np.float64)
    assert a.count.tolist() == [2, 2]
    assert b.count.tolist() == [3, 3]
    assert a.pivot.tolist() == [1, 1]
    both = a | b
    assert both.pivot.tolist() == [4, 3]
    assert both.count.tolist() == [5, 5]
    assert (b | a).pivot.tolist() == [1, 0]
    assert both.m.tolist() == [6, 8]
    assert repr(both) == "Normalizer(shape=(2,), classes=6, numpy, float64)"
    narrow = Normalizer.of(np.float16(x))
    assert (narrow | Normalizer.of(np.float32(x))).dtype == np.float32
    assert narrow.logsumexp.dtype == np.float16


def test_every_axis():
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    for axis in (0, 1, -1, (0, 2), None):
        p = onesum.softmax(x, axis=axis)
        n = Normalizer.of(x, axis)
        np.testing.assert_array_max_ulp(n.logsumexp, onesum.logsumexp(x, axis=axis), 1)
        np.testing.assert_array_max_ulp(n.softmax(x), p, 1)
    one = Normalizer.of(2.0)
    assert one.softmax(2.0) == 1
    assert isinstance(one.logsumexp, np.float64)


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (1, 2), None])
def test_chunks_along_every_axis(axis):
    """With a mask, and T of each row; classes along two axes are cut along either."""
    rng = np.random.default_rng(0)
    x, where = rng.normal(size=(3, 4, 5)), rng.random((3, 4, 5)) < 0.8
    axes = range(3) if axis is None else np.atleast_1d(axis)
    t = rng.random([n for i, n in enumerate(x.shape) if i not in axes]) + 0.5
    options = {"axis": axis, "where": where, "temperature": t if t.ndim else 2.0}
    p, total = onesum.softmax(x, **options), onesum.logsumexp(x, **options)
    for along in axes:
        parts = [np.split(a, [1, 1], axis=along) for a in (x, where)]
        beside = axis, options["temperature"]
        states = [Normalizer.of(a, beside[0], w, beside[1]) for a, w in zip(*parts, strict=True)]
        n = states[2] | states[0] | states[1]
        np.testing.assert_array_max_ulp(n.logsumexp, total, 2)
        got = [n.softmax(a, w) for a, w in zip(*parts, strict=True)]
        np.testing.assert_array_max_ulp(np.concatenate(got, axis=along), p, 2)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", ">f4"])
def test_the_pivot(dtype):
    """The first class that is m, or the first NaN, in pieces of the class axis."""
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(6, 70_000)), 1).astype(dtype)
    x[1, [5, 69_000]], x[2, [66_000, 68_000]], x[3] = NAN, INF, -INF
    where = rng.random(x.shape) < 0.5
    where[4] = False
    for mask in (None, where):
        wide = x.astype(float)
        wanted = np.argmax(wide if mask is None else np.where(mask, wide, -INF), axis=1)
        wanted[3] = -1
        wanted[4] = wanted[4] if mask is None else -1
        for _ in every(dtype if dtype != ">f4" else "float32"):
            assert Normalizer.of(x, where=mask).pivot.tolist() == wanted.tolist()
            assert Normalizer.of(x.T, 0, None if mask is None else mask.T).pivot.tolist() == (
                wanted.tolist()
            )


def test_the_pivot_takes_no_copy():
    """What `of` has beside x does not grow with it."""
    for dtype, where in (("float32", None), ("float16", None), ("float32", np.ones(10**6, bool))):
        x = np.zeros((1, 10**6), dtype)
        Normalizer.of(x[:, :10])
        tracemalloc.start()
        try:
            Normalizer.of(x, where=where)
            assert tracemalloc.get_traced_memory()[1] < 2.5e6, (dtype, where)
        finally:
            tracemalloc.stop()


def test_update_adds_a_chunk():
    x = logits("spread 3", 4, 10, "float32")
    where = np.random.default_rng(0).random((4, 6)) < 0.5
    n = Normalizer.of(x[:, :4])
    copy = n | Normalizer.of(np.empty((4, 0), np.float32))
    n.update(x[:, 4:], where)
    wanted = copy | Normalizer.of(x[:, 4:], where=where)
    assert same_bits(n.softmax(x), wanted.softmax(x))
    assert (n.classes, copy.classes) == (10, 4)
    with pytest.raises(ValueError, match="x: expected rows of shape"):
        n.update(x[:2])
    assert n.classes == 10


def test_it_pickles_small():
    """In the size of the rows, whatever the number of classes."""
    x = np.random.default_rng(0).normal(size=(100, 50_000)).astype("float32")
    n = Normalizer.of(x)
    data = pickle.dumps(n)
    assert len(data) < 100 * 64
    assert same_bits(pickle.loads(data).softmax(x[:, :10]), n.softmax(x[:, :10]))


def test_results_go_to_out():
    x = logits("spread 3", 4, 10, "float32")
    n = Normalizer.of(x)
    wanted, room = n.softmax(x), x.copy()
    assert n.softmax(room, out=room) is room
    assert same_bits(room, wanted)
    with pytest.raises(ValueError, match="out: expected dtype float32"):
        n.softmax(x, out=np.empty((4, 10)))


def test_refusals():
    n = Normalizer.of(np.ones((2, 3)))

    def raises_type(message):
        return pytest.raises(TypeError, match=f"^{message}")

    def raised(error, match):
        return pytest.raises(error, match=match)

    with raises_type("Normalizer: make one by Normalizer.of"):
        Normalizer()
    with raised(ValueError, match=r"^x: expected a tensor that requires no gradient"):
        Normalizer.of(torch.ones(3, requires_grad=True))
    with raised(ValueError, match=r"^x: expected 2 dimensions, as the chunks before, got 1"):
        n.softmax(np.ones(3))
    with raised(ValueError, match=r"^x: expected rows of shape \(2,\) beside"):
        n.log_softmax(np.ones((3, 3)))
    with raises_type("x: expected an array of numpy, got one of torch"):
        n.softmax(torch.ones(2, 3))
    with raises_type("other: expected a state in arrays of numpy, got torch"):
        n | Normalizer.of(torch.ones(2, 3))
    with raised(ValueError, match=r"^other: expected rows of shape \(2,\), got"):
        n | Normalizer.of(np.ones((3, 3)))
    with raised(ValueError, match=r"^other: expected the temperature 1\.0, got 2\.0"):
        n | Normalizer.of(np.ones((2, 3)), temperature=2)
    t = np.array([1.0, 2.0])
    with raised(ValueError, match=r"^other: expected the temperature"):
        Normalizer.of(np.ones((2, 3)), temperature=t) | Normalizer.of(
            np.ones((2, 3)), temperature=t + 1
        )
    with raises_type("unsupported operand"):
        n | 3
    with raised(ValueError, match="where: expected a shape that broadcasts"):
        n.softmax(np.ones((2, 3)), where=np.ones((4, 3), bool))


@pytest.mark.slow
def test_a_hundred_million_classes():
    """In 64 chunks, in several orders: within an ulp of all at once."""
    x = np.random.default_rng(0).normal(0, 3, 10**8).astype(np.float32)
    wanted = onesum.softmax(x)
    logp = onesum.log_softmax(x)
    cuts = cut(10**8, 64)
    parts = [Normalizer.of(x[part]) for part in cuts]
    rng = np.random.default_rng(1)
    orders = [range(64), range(63, -1, -1), *(rng.permutation(64) for _ in range(6))]
    for order in orders:
        all_of = merged(parts, order)
        np.testing.assert_array_max_ulp(all_of.logsumexp, onesum.logsumexp(x), 1)
        for part in cuts:
            np.testing.assert_array_max_ulp(all_of.softmax(x[part]), wanted[part], 1)
            np.testing.assert_array_max_ulp(all_of.log_softmax(x[part]), logp[part], 1)
