"""The direct calls: taken for what is plain, declined for all else, and the gufunc's bits."""

from __future__ import annotations

import contextlib
import itertools
import sys
import tracemalloc
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from implementations import Api, core, on_numpy, using
from measure import same_bits
from numpy.lib.stride_tricks import as_strided
from rows import FUNCTIONS, arguments, logits
from table import backwards, inside, read_only, swapped, unaligned, upside_down

import onesum
from onesum._backends import native, reference, registry

ROWS = ("logsumexp", "logsumexp_vjp", "logsumexp_jvp")  # take keepdims
REDUCED = ("logsumexp", "logsumexp_jvp")
SHAPES = [(7,), (1, 10), (5, 3), (40, 20), (3, 4, 5), (1, 4, 1), (6, 1, 2, 3)]
EMPTY = [(0,), (0, 3), (3, 0), (2, 0, 3), (0, 0)]
STRIDED = [inside, backwards, upside_down, np.asfortranarray, read_only]


# What takes arrays apart is compiled once: one instruction set stands for all.
@pytest.fixture(params=on_numpy()[1:][-1:], autouse=True)
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with using(request.param) as api:
        yield api


@pytest.fixture(params=["float16", "float32", "float64"])
def dtype(request):
    return request.param


def direct_only(monkeypatch) -> None:
    """From here on what the core declines is an error."""

    def refuse(*arguments):
        raise AssertionError("the direct call declined")

    for module in ("general", "logsumexp", "losses"):
        monkeypatch.setattr(f"onesum._functions.{module}.Call", refuse)


def by_gufunc(function: str, *args: Any, **options: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "direct", reference.direct)
        return getattr(onesum, function)(*args, **options)


def operands(function: str, shape: tuple[int, ...], axis: int, dtype: str) -> list[np.ndarray]:
    """Arrays for a function, classes along `axis`."""
    turned = np.moveaxis(np.empty(shape), axis, -1).shape
    n = turned[-1]
    args = arguments(function, logits("spread 3", int(np.prod(turned[:-1])), n, dtype))
    full = [np.ascontiguousarray(np.moveaxis(a.reshape(turned), -1, axis)) for a in args[:1]]
    for a in args[1:]:
        short = a.ndim < args[0].ndim
        shaped = a.reshape(turned[:-1] if short else turned)
        full.append(shaped if short else np.ascontiguousarray(np.moveaxis(shaped, -1, axis)))
    return full


def same(got: Any, wanted: Any, model: Any, note: str) -> None:
    """Bits and type as wanted, memory laid out as that of the model."""
    assert type(got) is type(wanted), note
    assert same_bits(got, wanted), note
    if isinstance(got, np.ndarray):
        assert got.flags.owndata
        assert got.flags.writeable
        assert steps(got) == steps(model), note


def steps(a: np.ndarray) -> list[int]:
    """The strides that mean anything."""
    return [stride for stride, n in zip(a.strides, a.shape, strict=True) if n > 1]


def presentations(a: np.ndarray) -> Iterator[np.ndarray]:
    yield a
    if a.ndim == 0:
        return
    yield from (present(a) for present in STRIDED)
    for order in itertools.permutations(range(a.ndim)):
        yield np.ascontiguousarray(a.transpose(order)).transpose(np.argsort(order))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_gufuncs_bits(monkeypatch, function, shape, dtype):
    """Of any axis and in any layout; a new result is laid out as the gufunc has it for x alone."""
    call = getattr(onesum, function)
    for axis in range(-1, len(shape)):
        args = operands(function, shape, axis, dtype)
        for temperature in (1.0, 2.5):
            wanted = by_gufunc(function, *args, axis=axis, temperature=temperature)
            with monkeypatch.context() as patch:
                direct_only(patch)
                got = call(*args, axis=axis, temperature=temperature)
            same(got, wanted, wanted, f"axis {axis}")
        for presented in zip(*map(presentations, args), strict=False):
            note = f"axis {axis}, strides {[a.strides for a in presented]}"
            wanted = by_gufunc(function, *presented, axis=axis)
            alone = "logsumexp" if function in REDUCED else "softmax"
            model = by_gufunc(alone, presented[0], axis=axis)
            with monkeypatch.context() as patch:
                direct_only(patch)
                same(call(*presented, axis=axis), wanted, model, note)
                for make in [np.array, np.asfortranarray, backwards] if wanted.ndim else [np.array]:
                    out = make(np.full_like(wanted, 7))
                    assert call(*presented, axis=axis, out=out) is out
                    assert same_bits(out, wanted), f"{note}, out {out.strides}"


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_without_elements(monkeypatch, function, shape, dtype):
    for axis in range(len(shape)):
        x = np.zeros(shape, dtype)
        rows = np.zeros(np.delete(shape, axis), dtype)
        args = [x] if function in FUNCTIONS[:3] else [x, rows if function == "logsumexp_vjp" else x]
        wanted = by_gufunc(function, *args, axis=axis)
        with monkeypatch.context() as patch:
            direct_only(patch)
            got = getattr(onesum, function)(*args, axis=axis)
        assert type(got) is type(wanted)
        assert same_bits(got, wanted)


@pytest.mark.parametrize("function", ROWS)
@pytest.mark.parametrize("shape", [(7,), (5, 3), (3, 4, 5)], ids=str)
def test_keepdims(monkeypatch, function, shape, dtype):
    for axis, order in itertools.product(range(len(shape)), "CF"):
        args = [np.asarray(a, order=order) for a in operands(function, shape, axis, dtype)]
        if function == "logsumexp_vjp":
            args[1] = np.expand_dims(args[1], axis)
        options = {"axis": axis, "keepdims": True}
        wanted = by_gufunc(function, *args, **options)
        out = np.full_like(wanted, 7)
        with monkeypatch.context() as patch:
            direct_only(patch)
            got = getattr(onesum, function)(*args, **options)
            assert getattr(onesum, function)(*args, **options, out=out) is out
        assert same_bits(got, wanted)
        assert same_bits(out, wanted)


@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f not in REDUCED])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((1, 10), -1),
        ((40, 20), -1),
        ((40, 20), 0),
        ((3, 4, 5), 1),
        ((2, 40_000), 1),
        ((40_000, 2), 0),
    ],
    ids=str,
)
def test_in_place(monkeypatch, function, shape, axis, dtype):
    """Over each of the operands, also in rows too long to be remembered while they are read."""
    args = operands(function, shape, axis, dtype)
    wanted = by_gufunc(function, *args, axis=axis)
    for i, argument in enumerate(args):
        if argument.shape == shape:
            for present in [np.array, np.asfortranarray, backwards]:
                copies = [present(a.copy()) for a in args]
                with monkeypatch.context() as patch:
                    direct_only(patch)
                    got = getattr(onesum, function)(*copies, axis=axis, out=copies[i])
                assert got is copies[i]
                assert same_bits(got, wanted)


# What is declined


def answer(function: str, *arguments: Any) -> Any:
    return getattr(native.direct, function)(*arguments)


X = np.random.default_rng(0).normal(size=(4, 6))


class Sub(np.ndarray):
    pass


@pytest.mark.parametrize(
    "x",
    [
        swapped(X),
        unaligned(X),
        X.view(Sub),
        np.ma.array(X),
        X.astype("longdouble"),
        X.astype("int64"),
        X.astype("complex128"),
        np.array(5.0),
        np.float64(5),
        X.tolist(),
        None,
    ],
    ids=lambda x: f"{type(x).__name__}-{getattr(x, 'dtype', '')}",
)
def test_arrays_that_are_not_plain(x):
    assert answer("softmax", x, -1, 1.0, None) is NotImplemented
    assert answer("softmax_vjp", X, x, -1, 1.0, None) is NotImplemented
    assert answer("softmax_vjp", x, X, -1, 1.0, None) is NotImplemented
    if x is not None:
        assert answer("softmax", X, -1, 1.0, x) is NotImplemented
    assert answer("logsumexp_vjp", X, x, -1, 1.0, None, False) is NotImplemented


@pytest.mark.parametrize("axis", [True, False, np.int64(0), 2, -3, 2**70, None, (0,), 1.0, "last"])
def test_axes_that_are_not_plain(axis):
    assert answer("softmax", X, axis, 1.0, None) is NotImplemented


@pytest.mark.parametrize(
    "temperature", [np.float64(1), 1, True, 0.0, -0.0, -1.0, np.nan, -np.inf, None, "1", np.ones(4)]
)
def test_temperatures_that_are_not_plain(temperature):
    assert answer("softmax", X, -1, temperature, None) is NotImplemented


def test_other_shapes_and_dtypes():
    for g in [X[:, :5], X[:3], X[0], X[np.newaxis], X.astype("float32"), np.ones(4)]:
        assert answer("softmax_vjp", X, g, -1, 1.0, None) is NotImplemented
        assert answer("softmax", X, -1, 1.0, g.copy()) is NotImplemented
    for r in [np.ones(6), np.ones((4, 1)), np.ones(4, "float32"), np.ones(())]:
        assert answer("logsumexp", X, -1, 1.0, r, False) is NotImplemented
        assert answer("logsumexp_vjp", X, r, -1, 1.0, None, False) is NotImplemented
    for r in [np.ones(4), np.ones((1, 4)), np.ones((4, 6))]:
        assert answer("logsumexp", X, -1, 1.0, r, True) is NotImplemented
    for keepdims in [1, None, np.True_]:
        assert answer("logsumexp", X, -1, 1.0, None, keepdims) is NotImplemented


def test_other_counts_of_arguments():
    for given in [(), (X,), (X, -1, 1.0), (X, -1, 1.0, None, None)]:
        with pytest.raises(TypeError, match=str(len(given))):
            answer("softmax", *given)


def test_an_out_that_must_not_be_written_to():
    assert answer("softmax", X, -1, 1.0, read_only(X)) is NotImplemented
    # NumPy warns of a write to this one, and calls it writeable.
    shared = np.broadcast_arrays(np.ones(6), np.ones((1, 6)))[0]
    out = as_strided(shared, (4, 6), (0, 8))
    assert answer("softmax", X[:1].copy(), -1, 1.0, shared) is NotImplemented
    assert answer("softmax", X, -1, 1.0, out) is NotImplemented


def test_an_out_that_repeats_elements():
    memory = np.zeros(40)
    for strides in [(8, 8), (40, 8), (0, 8), (8, 0), (16, 8), (-8, 16)]:
        out = as_strided(memory[20:], (4, 6) if strides[0] >= 0 else (3, 6), strides)
        assert answer("softmax", X[: len(out)].copy(), -1, 1.0, out) is NotImplemented, strides
    for shape, strides in [
        ((4, 6), (48, 8)),
        ((4, 6), (8, 32)),
        ((4, 6), (-56, 8)),
        ((1, 6), (0, 8)),
    ]:
        out = as_strided(memory[25 if strides[0] < 0 else 0 :], shape, strides)
        x = X[: shape[0]].copy()
        assert answer("softmax", x, -1, 1.0, out) is out, strides
        assert same_bits(out, by_gufunc("softmax", x))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_out_that_overlaps_in_part(function):
    """Right, and so declined: the kernels write while they read."""
    args = operands(function, (4, 6), -1, "float64")
    wanted = by_gufunc(function, *args)
    for i, argument in enumerate(args):
        for start, step in [
            *[(0, 1), (1, 1), (7, 1), (9, 1), (20, 1), (8, -1)],
            (7 + argument.size, 1),  # by one element
        ]:
            memory = np.zeros(64)
            place = memory[8 : 8 + argument.size].reshape(argument.shape)
            place[...] = argument
            out = memory[start : start + wanted.size][::step].reshape(wanted.shape)
            given = [place if j == i else a for j, a in enumerate(args)]
            extra = (False,) if function in ROWS else ()
            name = (
                function.replace("softmax_jvp", "softmax_vjp")
                if function == "softmax_jvp"
                else function
            )
            if np.shares_memory(out, place):
                assert answer(name, *given, -1, 1.0, out, *extra) is NotImplemented
            assert getattr(onesum, function)(*given, out=out) is out
            assert same_bits(out, wanted)


# What a call leaves behind


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_leaks(function, dtype):
    args = operands(function, (4, 6), -1, dtype)
    single = [a[0] for a in args]
    out = np.zeros_like(by_gufunc(function, *args))
    name = "softmax_vjp" if function == "softmax_jvp" else function
    direct = getattr(native.direct, name)
    extra = (False,) if function in ROWS else ()
    kinds = [np.dtype(dtype), None, NotImplemented, -1, False]

    def once() -> None:
        direct(*args, -1, 1.0, None, *extra)
        direct(*args, -1, 1.0, out, *extra)
        direct(*single, -1, 1.0, None, *extra)
        assert direct(*args, 7, 1.0, None, *extra) is NotImplemented
        assert direct(*args, -1, 1.0, args, *extra) is NotImplemented
        with contextlib.suppress(TypeError):
            direct()

    once()
    watched = [*args, *single, out, *kinds]
    before = [sys.getrefcount(a) for a in watched]
    tracemalloc.start()
    try:
        for i in range(1000):
            once()
            if i == 100:
                traced = tracemalloc.get_traced_memory()[0]
        grown = tracemalloc.get_traced_memory()[0] - traced
    finally:
        tracemalloc.stop()
    counts = [sys.getrefcount(a) for a in watched]
    assert max(abs(a - b) for a, b in zip(counts, before, strict=True)) < 100
    assert grown < 20_000


def test_no_floating_point_flags(dtype):
    """Neither while it computes nor in what NumPy does next."""
    x = np.array([[-100, 0, 80, np.inf, np.nan], [0, 0, -1e4, 5, -np.inf]], dtype)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in FUNCTIONS[:3]:
            getattr(onesum, function)(x)
            assert np.ones(3, dtype).sum() == 3
            assert np.dtype(dtype).type(1) + np.dtype(dtype).type(1) == 2


def test_the_instruction_set_in_use(api, monkeypatch):
    """A direct call runs the kernels that the gufunc runs."""
    direct_only(monkeypatch)
    assert onesum.show_config(mode="dicts")["isa"] == api.name.partition("-")[2]
    assert same_bits(onesum.softmax(X), core().softmax(X, 1.0))


def test_the_reference_backend_is_asked_for(monkeypatch):
    """Whichever backend serves NumPy's arrays is the one that a plain call asks."""
    asked = []
    backend = SimpleNamespace(direct=SimpleNamespace(softmax=lambda *a: asked.append(a) or "it"))
    monkeypatch.setattr(registry, "numpy_backend", backend)
    assert onesum.softmax(X) == "it"
    assert len(asked) == 1


def test_many_threads_at_once():
    """Small arrays, and arrays for which the GIL is released."""
    rng = np.random.default_rng(3)
    arrays = [
        rng.normal(size=shape).astype("float32") for shape in [(1, 10), (300, 200), (5, 9, 7)]
    ]
    wanted = [[by_gufunc(f, x, axis=0) for f in FUNCTIONS[:3]] for x in arrays]

    def work(_: int) -> bool:
        good = True
        for x, row in zip(arrays, wanted, strict=True):
            for f, w in zip(FUNCTIONS[:3], row, strict=True):
                good &= same_bits(getattr(onesum, f)(x, axis=0), w)
                good &= same_bits(getattr(onesum, f)(x, axis=0, out=np.empty_like(w)), w)
        return good

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
