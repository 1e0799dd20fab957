"""What is made of the lazy Jacobians: copies, parts of a batch, multiples, sums, dense arrays."""

from __future__ import annotations

import copy
import math
import pickle

import array_api_strict
import hypothesis.strategies as st
import numpy as np
import oracle
import pytest
import torch
from hypothesis import given
from measure import same_bits
from test_jacobian import MAKERS, V, X, made
from test_properties import batches

import onesum


@pytest.fixture(params=MAKERS)
def name(request):
    return request.param


def as_ints(several):
    return np.array(several, dtype=int)


@st.composite
def operators(draw):
    """A Jacobian of any shape, axis, type and temperature, the batch axes of p, and a vector."""
    name = draw(st.sampled_from(MAKERS))
    x, v, axis, _ = draw(batches())
    p = getattr(onesum, name)(x, axis)
    batch = tuple(oracle.Layout(x.shape, axis).rest)
    shape = tuple(x.shape[i] for i in batch)
    t = draw(st.sampled_from([1.0, 0.7, np.linspace(0.5, 2, math.prod(shape)).reshape(shape)]))
    jacobian = getattr(onesum, f"{name}_jacobian")(p, axis, temperature=t)
    return draw(st.sampled_from([jacobian, jacobian.T])), batch, v


@st.composite
def entries(draw, shape):
    """An index, and what it is for each axis: an int, a slice, at most once an array."""
    whole = []
    array = draw(st.sampled_from(["none", *range(len(shape))]))
    for axis, n in enumerate(shape):
        one = st.integers(-n, n - 1)
        if axis == array:
            several = st.lists(one, max_size=4)
            bools = st.lists(st.booleans(), min_size=n, max_size=n)
            whole.append(draw(st.one_of(several, several.map(as_ints), bools.map(np.array))))
        else:
            whole.append(draw(st.one_of(one, one.map(np.int32), st.slices(n))))
    end = draw(st.integers(0, len(shape)))
    dots = [...] if draw(st.booleans()) else []
    start = draw(st.integers(0, end)) if dots else end
    index = (*whole[:start], *dots, *whole[end:]) if dots else tuple(whole[:end])
    skipped = range(start, end) if dots else range(end, len(shape))
    meant = [slice(None) if i in skipped else e for i, e in enumerate(whole)]
    return index[0] if len(index) == 1 else index, meant


def picked(a, axes, each):
    """What the entries pick, one axis after the other from the last."""
    for axis, entry in sorted(zip(axes, each, strict=True), key=lambda pair: -pair[0]):
        a = a[(slice(None),) * axis + (entry,)]
    return a


@given(case=operators(), data=st.data())
def test_a_part_of_the_batch(api, case, data):
    """J[i] is what those rows alone would give, bit by bit, with the axes where they were."""
    jacobian, batch, v = case
    index, each = data.draw(entries(jacobian.shape[:-2]), label="index")
    part, u = jacobian[index], picked(v, batch, each)
    assert type(part) is type(jacobian)
    assert same_bits(part @ u, picked(jacobian @ v, batch, each))
    assert same_bits(u @ part, picked(v @ jacobian, batch, each))
    assert same_bits(part.diagonal(), picked(jacobian.diagonal(), batch, each))
    assert same_bits(part.to_dense(), picked(jacobian.to_dense(), range(len(batch)), each))
    assert part.shape == part.to_dense().shape


@given(case=operators(), how=st.sampled_from([copy.copy, copy.deepcopy, pickle]), rest=st.data())
def test_copies(case, how, rest):
    jacobian, _, v = case
    jacobian = rest.draw(st.sampled_from([jacobian, jacobian / 3, jacobian - 2 * jacobian]))
    again = pickle.loads(pickle.dumps(jacobian)) if how is pickle else how(jacobian)
    assert repr(again) == repr(jacobian)
    assert same_bits(again @ v, jacobian @ v)
    assert same_bits(v @ again.T, v @ jacobian.T)
    assert same_bits(again.to_dense(), jacobian.to_dense())


@given(case=operators())
def test_asarray(case):
    jacobian, _, _ = case
    dense = jacobian.to_dense()
    assert same_bits(np.asarray(jacobian), dense)
    assert same_bits(np.array(jacobian, np.float64), np.asarray(dense, np.float64))
    with pytest.raises(ValueError, match="copy"):
        np.asarray(jacobian, copy=False)


NUMBERS = st.one_of(
    st.sampled_from([1, -1, 2.0, 0.25, -1024, np.float32(3), np.array(0.1), 0.0, torch.tensor(5)]),
    st.floats(1e-6, 1e6) | st.floats(-1e6, -1e-6),
)


def rounded(a, dtype):
    with np.errstate(all="ignore"):
        return a.astype(dtype)[()]


@given(case=operators(), c=NUMBERS)
def test_multiples(api, case, c):
    """Results times the number, rounded once more: for powers of two the same as outside."""
    jacobian, _, v = case
    results = [
        lambda j: j @ v,
        lambda j: v @ j,
        lambda j: j.diagonal(),
        lambda j: j.to_dense(),
    ]
    times = float(c)
    for result in results:
        alone = np.asarray(result(jacobian))
        wide, dtype = alone.astype(float), alone.dtype
        for multiple in [c * jacobian, jacobian * c]:
            assert type(multiple) is type(jacobian)
            assert same_bits(result(multiple), rounded(wide * times, dtype))
        assert same_bits(result(-jacobian), -alone)
        assert same_bits(result(jacobian * 3 / 7), rounded(wide * 3 / 7, dtype))
        if times:
            assert same_bits(result(jacobian / c), rounded(wide / times, dtype))


@given(case=operators(), sign=st.sampled_from([1, -1]), rest=st.data())
def test_sums(case, sign, rest):
    """Each term as it is alone, and then one rounding."""
    a, batch, v = case
    b = rest.draw(st.sampled_from([a.T, 3 * a, a + a]))
    total = a + b if sign == 1 else a - b
    index, each = rest.draw(entries(a.shape[:-2]), label="index")
    results = [lambda j: j @ v, lambda j: v @ j, lambda j: j.diagonal(), lambda j: j.to_dense()]
    for result in results:
        first, second = (np.asarray(result(j)) for j in (a, b))
        wanted = rounded(first.astype(float) + sign * second.astype(float), first.dtype)
        assert same_bits(result(total), wanted)
        half = rounded(wanted.astype(float) * 0.5, first.dtype)
        assert same_bits(result(total / 2), half)
    assert total.shape == a.shape
    assert total.dtype == a.dtype
    assert same_bits(total.T @ v, v @ total)
    u = picked(v, batch, each)
    assert same_bits(total[index] @ u, picked(total @ v, batch, each))


def test_sums_of_two_kinds(api):
    """Of any two on the same vectors; the types promote."""
    p = api.softmax(np.float16(X), temperature=2.0)
    a = api.softmax_jacobian(p, temperature=2.0)
    for dtype, both in [("float16", "float16"), ("bfloat16", "float32"), ("float64", "float64")]:
        b = api.log_softmax_jacobian(api.log_softmax(X.astype(dtype)))
        assert (a + b).dtype == np.dtype(both)
        assert (a + b).to_dense().dtype == np.dtype(both)
        wanted = a.to_dense().astype(float) + b.to_dense().astype(float)
        assert same_bits((a + b).to_dense(), wanted.astype(both))
    with pytest.raises(TypeError, match="solve"):
        (a + b).solve(X)


@pytest.mark.parametrize("transposed", [False, True])
def test_solve_of_multiples(api, name, transposed):
    """The pseudo-inverse of c J is that of J over c; that of 0 is 0."""
    _, jacobian = made(api, name)
    jacobian = jacobian.T if transposed else jacobian
    alone = jacobian.solve(V)
    assert same_bits((2 * jacobian).solve(V), alone / 2)
    assert same_bits((-3 * jacobian).solve(V), alone / -3)
    assert same_bits((jacobian / 3).solve(V), alone * 3)
    assert not np.any((0 * jacobian).solve(V))


def test_iteration(api, name):
    _, jacobian = made(api, name, axis=0)
    parts = list(jacobian)
    assert len(parts) == 5
    for i, part in enumerate(parts):
        assert same_bits(part @ V[:, i], (jacobian @ V)[:, i])
    with pytest.raises(TypeError, match="batch"):
        iter(parts[0][0])


def test_a_part_is_a_view(api):
    """Unless an array picks it: nothing is copied."""
    p = api.softmax(X)
    jacobian = api.softmax_jacobian(p)
    view, array = jacobian[1:, 2], jacobian[[1, 2, 3], 2]
    before = array @ V[1:, 2]
    p[...] = api.softmax(-X)
    assert same_bits(view @ V[1:, 2], jacobian[1:, 2] @ V[1:, 2])
    assert not same_bits(view @ V[1:, 2], before)
    assert same_bits(array @ V[1:, 2], before)


@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
def test_of_other_arrays(xp, name):
    """All of this, in kind."""
    p, v = xp.asarray(getattr(onesum, name)(np.float32(X))), xp.asarray(np.float32(V))
    t = xp.asarray(np.linspace(0.5, 2, 20).reshape(4, 5))
    jacobian = getattr(onesum, f"{name}_jacobian")(p, temperature=t)
    product = np.asarray(jacobian @ v)
    for again in [copy.deepcopy(jacobian), pickle.loads(pickle.dumps(jacobian))]:
        assert same_bits(again @ v, product)
    index = xp.asarray([3, 0])
    for got, wanted in [
        (jacobian[1] @ v[1, ...], product[1]),
        (jacobian[1:3, -1] @ v[1:3, -1, :], product[1:3, -1]),
        (jacobian[index] @ xp.asarray(np.float32(V)[[3, 0]]), product[[3, 0]]),
        ((2 * jacobian) @ v, 2 * product),
        ((jacobian / xp.asarray(2.0)) @ v, product / 2),
        ((jacobian + jacobian) @ v, 2 * product),
        ((jacobian - jacobian) @ v, 0 * np.abs(product)),
    ]:
        assert type(got) is type(v)
        assert same_bits(got, wanted)
    assert same_bits(np.asarray(jacobian), jacobian.to_dense())
    if xp is torch:
        assert same_bits((v @ (torch.tensor(2.0) * jacobian)), 2 * np.asarray(v @ jacobian))


@pytest.mark.parametrize(
    "index",
    [
        (0, 0, 0),
        (..., 0, 0, 0),
        4,
        -5,
        (0, 5),
        None,
        True,
        "x",
        0.5,
        [4],
        [0.5],
        [[0, 1]],
        [True] * 3,
        (..., ...),
        ([0], [1]),
    ],
    ids=str,
)
def test_no_index(api, name, index):
    _, jacobian = made(api, name)
    with pytest.raises(IndexError, match="index: expected"):
        jacobian[index]


@pytest.mark.parametrize(
    ("factor", "exception"),
    [
        (np.ones(6), TypeError),
        ([2], TypeError),
        ("2", TypeError),
        (None, TypeError),
        (1j, TypeError),
        (np.inf, ValueError),
        (np.nan, ValueError),
    ],
    ids=str,
)
def test_no_factor(api, name, factor, exception):
    _, jacobian = made(api, name)
    for word, multiply in [
        ("factor", lambda: jacobian * factor),
        ("factor", lambda: factor * jacobian),
        ("divisor", lambda: jacobian / factor),
    ]:
        with pytest.raises(exception, match=f"{word}: expected a (finite )?number.*, got"):
            multiply()


def test_no_factors_beyond_float64(api, name):
    """Rather than a result of zeros or NaN."""
    _, jacobian = made(api, name)
    for factor, once in [(1e200, jacobian * 1e200), (1e-200, jacobian * 1e-200)]:
        with pytest.raises(ValueError, match="factor: expected"):
            once * factor
    with pytest.raises(ValueError, match="divisor: expected"):
        jacobian / 1e-200 / 1e-200
    with pytest.raises(ValueError, match=r"divisor: expected .*, got 0"):
        jacobian / 0


def test_no_sum(api, name):
    p, jacobian = made(api, name)
    other = [getattr(onesum, f"{name}_jacobian")(p, 1), jacobian[0]]
    for term in other:
        with pytest.raises(ValueError, match="other: expected"):
            jacobian + term
    for term in [jacobian.to_dense(), 0, getattr(onesum, f"{name}_jacobian")(torch.asarray(p))]:
        with pytest.raises(TypeError, match="other: expected a Jacobian"):
            jacobian - term
