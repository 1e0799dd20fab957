"""What Dask arrays are checked for: at the call, or where their values are, in the tasks."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import dask.dataframe
import numpy as np
import pandas
import pytest
from implementations import on_numpy, using
from numpy.testing import assert_array_equal

import onesum

X = np.random.default_rng(0).normal(size=(4, 6))
CHUNKS = {"whole rows": (2, 6), "classes in chunks": (2, 3)}
BACKENDS = sorted({on_numpy()[0], on_numpy()[-1]})


def computed(answer: Any) -> Any:
    return dask.compute(answer, scheduler="sync")[0]


def at_call_and_in_task(call: Any, argument: Any, error: type[Exception], match: str) -> None:
    """NumPy's values are known when the call is made; those of Dask when they are computed."""
    for backend in BACKENDS:
        for chunks in CHUNKS.values():
            x = da.from_array(X, chunks=chunks)
            with using(backend):
                with pytest.raises(error, match=match):
                    call(x, argument)
                lazy = call(x, da.from_array(argument, chunks=2))
                with pytest.raises(error, match=match):
                    computed(lazy)


@pytest.mark.parametrize("value", [-1, 6, 10**9])
def test_class_indices_out_of_range(value):
    target = np.array([0, 1, 5, value])
    weight = np.ones(6)
    wanted = f"expected class indices from 0 to 5, got {value} at position 3"
    for call in (
        lambda x, y: onesum.cross_entropy(x, y),
        lambda x, y: onesum.cross_entropy_value_and_grad(x, y, weight=weight, label_smoothing=0.1),
    ):
        at_call_and_in_task(call, target, IndexError, f"^target: {wanted}")
    at_call_and_in_task(onesum.selective_log_softmax, target, IndexError, f"^index: {wanted}")


def test_indices_of_any_type():
    """An ignored one is none; what wraps in a signed type is out of range."""
    target = np.array([0, 1, 5, 2**64 - 100], dtype=np.uint64)
    for ignore_index in (None, 1):
        at_call_and_in_task(
            lambda x, y, i=ignore_index: onesum.cross_entropy(x, y, ignore_index=i),
            target,
            IndexError,
            "^target: expected class indices from 0 to 5, got 18446744073709551516 at position 3",
        )
    target = np.array([-100, 1, 5, -100], dtype=np.int16)
    wanted = onesum.cross_entropy(X, target, ignore_index=-100, reduction="none")
    for lazy in (target, da.from_array(target, chunks=3)):
        x = da.from_array(X, chunks=(2, 6))
        got = onesum.cross_entropy(x, lazy, ignore_index=-100, reduction="none")
        assert_array_equal(computed(got), wanted)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_temperatures_and_weights(bad):
    per_row, per_class = np.array([1.0, bad, 2.0, 3.0]), np.array([1.0, bad, 2, 3, 4, 5])
    wanted = f"^temperature: expected numbers > 0, got {bad} among them"
    at_call_and_in_task(lambda x, t: onesum.softmax(x, temperature=t), per_row, ValueError, wanted)
    if bad == 0.0:
        return
    wanted = f"weight: expected finite numbers >= 0, got {bad} among them"
    target = np.arange(4)
    at_call_and_in_task(
        lambda x, w: onesum.cross_entropy(x, target, weight=w), per_class, ValueError, f"^{wanted}"
    )
    at_call_and_in_task(
        lambda x, w: onesum.cross_entropy(x, target, sample_weight=w),
        per_row,
        ValueError,
        f"^sample_{wanted}",
    )


# --- what is no array of numbers ----------------------------------------------------------------


def test_masked_chunks_are_refused():
    """In every argument: there is no way back that would mask the result."""
    x = da.from_array(X, chunks=(2, 3))
    masked = da.ma.masked_array(x, mask=X > 0)
    wanted = "expected chunks without a mask, got masked ones"
    for name, call in {
        "x": lambda: onesum.softmax(masked),
        "g": lambda: onesum.softmax_vjp(x, masked),
        "y": lambda: onesum.kl_divergence(x, masked),
        "target": lambda: onesum.cross_entropy(x, masked),
        "temperature": lambda: onesum.softmax(x, temperature=masked[:, 0]),
        "where": lambda: onesum.softmax(x, where=masked > 0),
    }.items():
        with pytest.raises(TypeError, match=f"^{name}: {wanted}"):
            call()


def test_frames_are_refused():
    frame = dask.dataframe.from_pandas(pandas.DataFrame(X), npartitions=2)
    for value, kind in ((frame, "DataFrame"), (frame[0], "Series")):
        wanted = rf"^x: expected an array, got dask.dataframe.{kind} \(take .to_dask_array\(leng"
        with pytest.raises(TypeError, match=wanted):
            onesum.softmax(value)
    got = onesum.softmax(frame.to_dask_array(lengths=True))
    assert_array_equal(computed(got), onesum.softmax(X))
    with pytest.raises(TypeError, match=r"^x: expected an array, got dask.delayed.Delayed$"):
        onesum.softmax(dask.delayed(np.sum)(X))
