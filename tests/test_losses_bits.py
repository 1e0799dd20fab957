"""The losses give a row the same bits whatever surrounds it, and however it lies in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracle
import pytest
from implementations import dtypes
from measure import same_bits
from oracle_losses import TARGETS, targets
from rows import logits
from table import (
    COTANGENT,
    NUMBERS,
    backwards,
    inside,
    read_only,
    swapped,
    unaligned,
    upside_down,
)

import onesum

PRESENT = [inside, backwards, upside_down, unaligned, read_only, swapped, np.asfortranarray]


@pytest.mark.parametrize("present", PRESENT)
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_layout_of_the_arguments(numpy_api, present, axis):
    rng = np.random.default_rng(4)
    for dtype in dtypes(numpy_api.name):
        x, v = NUMBERS.astype(dtype), COTANGENT.astype(dtype)
        if dtype == "bfloat16" and present is swapped:
            continue  # ml_dtypes has one byte order
        batch = tuple(np.delete(x.shape, axis))
        for y in [rng.integers(0, x.shape[axis], batch), np.abs(v)]:
            options = {"axis": axis, "label_smoothing": 0.1, "reduction": "none"}
            options["softcap"] = rng.choice([None, 3.0])
            call = numpy_api.cross_entropy_value_and_grad
            got = call(present(x), present(y), **options)
            assert all(map(same_bits, got, call(x, y, **options)))
            call = numpy_api.cross_entropy_hvp
            got = call(present(x), present(y), present(v), **options)
            assert same_bits(got, call(x, y, v, **options))
        index = rng.integers(0, x.shape[axis], batch)
        call = numpy_api.selective_log_softmax
        assert same_bits(call(present(x), present(index), axis), call(x, index, axis))
        assert same_bits(numpy_api.entropy(present(x), axis), numpy_api.entropy(x, axis))
        call = numpy_api.kl_divergence_value_and_grad
        got, wanted = call(present(x), present(v), axis), call(x, v, axis)
        assert all(map(same_bits, (got[0], *got[1]), (wanted[0], *wanted[1])))


def test_one_row_for_all(numpy_api):
    """Stride 0, in the logits and in the target."""
    x, y = np.broadcast_to(NUMBERS[0, 0], (5, 6)), np.broadcast_to(2, 5)
    got = numpy_api.cross_entropy_value_and_grad(x, y, reduction="none")
    wanted = numpy_api.cross_entropy_value_and_grad(x.copy(), y.copy(), reduction="none")
    assert all(map(same_bits, got, wanted))
    y = np.broadcast_to(np.full(6, 0.25), (5, 6))
    got = numpy_api.cross_entropy_value_and_grad(x, y, reduction="none")
    wanted = numpy_api.cross_entropy_value_and_grad(x.copy(), y.copy(), reduction="none")
    assert all(map(same_bits, got, wanted))


# out=


LAYOUTS = [np.array, np.asfortranarray, backwards, inside, unaligned]


@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), None])
def test_out(numpy_api, axis):
    """Filled, returned, of any strides; perhaps x, v or the probabilities."""
    layout = oracle.Layout(NUMBERS.shape, axis)
    rng = np.random.default_rng(9)
    for dtype in dtypes(numpy_api.name):
        x, v = NUMBERS.astype(dtype), COTANGENT.astype(dtype)
        index = layout.reduce(rng.integers(0, layout.n, NUMBERS.size // layout.n).reshape(-1, 1))
        for y in [index, np.abs(v)]:
            for function, args in [
                ("cross_entropy_value_and_grad", (x, y)),
                ("cross_entropy_hvp", (x, y, v)),
            ]:
                options = {"axis": axis, "label_smoothing": 0.1}
                call = getattr(numpy_api, function)
                wanted = gradient(call(*args, **options))
                for make in LAYOUTS:
                    out = make(np.full_like(x, 7))
                    assert gradient(call(*args, **options, out=out)) is out
                    assert same_bits(out, wanted)
                    for i, argument in enumerate(args):
                        if argument.shape == x.shape:
                            fresh = [make(a) if a.ndim else a for a in args]
                            assert gradient(call(*fresh, **options, out=fresh[i])) is fresh[i]
                            assert same_bits(fresh[i], wanted)


def gradient(answer: Any) -> Any:
    return answer[1] if isinstance(answer, tuple) else answer


@pytest.mark.parametrize("function", ["cross_entropy_value_and_grad", "cross_entropy_hvp"])
def test_out_that_overlaps(numpy_api, function):
    """An out that shares memory with x but is not x."""
    memory = np.arange(40, dtype=np.float64) % 7
    x, y = memory[:30].reshape(5, 6), np.array([0, 5, 2, 3, 1])
    more = [np.ones((5, 6)) * np.arange(6)] if function.endswith("hvp") else []
    wanted = gradient(getattr(numpy_api, function)(x.copy(), y, *more))
    for out in [
        memory[4:34].reshape(5, 6),
        memory[:30].reshape(5, 6)[::-1],
        memory[:30].reshape(6, 5).T,
    ]:
        memory[:] = np.arange(40) % 7
        getattr(numpy_api, function)(memory[:30].reshape(5, 6), y, *more, out=out)
        assert same_bits(out, wanted)


@pytest.mark.parametrize("what", ["weight", "sample_weight", "y"])
def test_out_that_overlaps_what_a_row_has_besides(numpy_api, what):
    """Weights and classes are read again after the first rows are written."""
    rng = np.random.default_rng(3)
    given = {"weight": rng.random(6), "sample_weight": rng.random(90), "y": np.arange(90) % 6}
    x = rng.normal(size=(90, 6))
    call = numpy_api.cross_entropy_value_and_grad
    for names in [(what,), tuple(given)] if what != "y" else [("y",), tuple(given)]:
        options = {name: given[name] for name in names}
        y = options.pop("y", given["y"])
        wanted = call(x, y, **options, reduction="none")
        memory = np.zeros(600)
        held = memory[3 : 3 + given[what].size].view(given[what].dtype)
        held[:] = given[what]
        if what == "y":
            y = held
        else:
            options[what] = held
        out = memory[:540].reshape(90, 6)
        loss, grad = call(x, y, **options, reduction="none", out=out)
        assert grad is out
        assert same_bits(loss, wanted[0])
        assert same_bits(out, wanted[1])


def test_out_with_dtype_and_where(numpy_api):
    out, y = np.full((4, 5, 6), 7, np.float32), np.zeros((4, 5), int)
    options = {"dtype": np.float32, "where": NUMBERS > -1}
    _, wanted = numpy_api.cross_entropy_value_and_grad(NUMBERS, y, **options)
    assert numpy_api.cross_entropy_value_and_grad(NUMBERS, y, **options, out=out)[1] is out
    assert same_bits(out, wanted)
    assert np.all(out[NUMBERS <= -1] == 0)


# Whatever surrounds a row


SIZES = [1, 2, 3, 10, 17, 33, 100, 1000]
BATCH = 37


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("kind", [kind for kind in TARGETS if kind != "the likeliest class"])
def test_batch_size_and_axis(numpy_api, kind, dtype):
    call = numpy_api.cross_entropy_value_and_grad
    for n in SIZES:
        x = logits("spread 3", BATCH, n, dtype)
        y, options = targets(kind, x)
        s = options.pop("sample_weight", None)
        options |= {"reduction": "none"}

        def of(rows, axis=-1, x=x, y=y, s=s, options=options):
            if s is not None:
                options = options | {"sample_weight": s[rows]}
            moved = [
                a[rows] if a.ndim == 1 else np.ascontiguousarray(np.moveaxis(a[rows], -1, axis))
                for a in (x, y)
            ]
            loss, grad = call(*moved, axis, **options)
            return loss, np.moveaxis(grad, axis, -1)

        losses, grads = of(slice(None))
        order = np.random.default_rng(n).permutation(BATCH)
        for rows in [slice(3, 4), slice(5, 7), slice(20, 37), order, 8]:
            for axis in [-1, 0]:
                loss, grad = of(rows, axis)
                assert same_bits(loss, losses[rows]), f"n={n}, rows {rows}, axis {axis}"
                assert same_bits(grad, grads[rows]), f"n={n}, rows {rows}, axis {axis}"


@pytest.mark.parametrize("function", ["entropy", "kl_divergence", "cross_entropy_hvp"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_batch_of_the_other_losses(numpy_api, function, dtype):
    call = getattr(numpy_api, function)
    for n in [2, 10, 33, 300]:
        x, v = (logits("spread 3", BATCH, n, dtype, seed) for seed in (0, 1))
        options = {} if function == "entropy" else {"reduction": "none"}
        for args in {
            "entropy": [(x,)],
            "kl_divergence": [(x, v)],
            "cross_entropy_hvp": [(x, np.arange(BATCH) % n, v), (x, np.abs(v), v)],
        }[function]:
            whole = call(*args, **options)
            for rows in [slice(0, 1), slice(5, 7), slice(20, 37)]:
                got = call(*(a[rows] for a in args), **options)
                assert same_bits(got, whole[rows]), f"n={n}, rows {rows}"
            first = [np.ascontiguousarray(a.T) for a in args]
            assert same_bits(call(*first, axis=0, **options).T, whole), f"n={n}, classes first"


@pytest.fixture
def threads():
    before = onesum.get_num_threads()
    yield onesum.set_num_threads
    onesum.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_threads(numpy_api, threads, dtype):
    """Loss and gradient, reduced too, are those of one thread."""
    for k, n in [(5000, 10), (500, 100), (3, 20_000)]:
        x = logits("spread 3", k, n, dtype)
        for kind in ["a class", "probabilities, all options"]:
            y, options = targets(kind, x)
            for axis, arrays in [(-1, (x, y)), (0, (np.ascontiguousarray(x.T), y.T))]:
                threads(1)
                wanted = numpy_api.cross_entropy_value_and_grad(*arrays, axis, **options)
                threads(2)
                got = numpy_api.cross_entropy_value_and_grad(*arrays, axis, **options)
                assert all(map(same_bits, got, wanted)), f"{k}x{n} {kind} axis {axis}"
