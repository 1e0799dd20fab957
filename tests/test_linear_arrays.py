"""The cross entropy of a linear layer of arrays of every shape, layout, kind and library."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
import torch
from measure import same_bits
from test_linear import (
    CHUNKS,
    INDICES,
    OPTIONS,
    PER_ELEMENT,
    PROBABILITIES,
    B,
    D,
    H,
    N,
    W,
    check,
    composed,
    flat,
)

import onesum


@pytest.mark.parametrize("chunk", [None, (2, 3)])
def test_arrays_that_lack_nothing(api, chunk):
    """Masked arrays without a masked element are arrays; what the options mask is ignored."""
    target, options = np.abs(INDICES) % N, {"chunk": chunk, "reduction": "sum"}
    arrays = [np.ma.array(a) for a in (H, W, target, B)]
    call = api.linear_cross_entropy_value_and_grad
    got = flat(call(*arrays, **options))
    assert all(map(same_bits, got, flat(call(H, W, target, B, **options))))
    s = np.ma.masked_greater(np.arange(6.0).reshape(2, 3), 3)
    loss, grads = call(H, W, target, B, sample_weight=s, **options)
    wanted = composed(H, W, target, B, sample_weight=s.filled(0), reduction="sum")
    check([np.asarray(loss), *grads], wanted)
    assert np.all(grads[0][1, 1:] == 0)


@pytest.mark.parametrize("chunk", [None, (2, 3)])
@pytest.mark.parametrize("batch", [(), (0,), (1,), (3, 0), (2, 1, 4)])
def test_shapes(api, batch, chunk):
    """Any number of leading axes, and of rows."""
    rng = np.random.default_rng(2)
    h, target = rng.normal(0, 1, (*batch, D)), rng.integers(0, N, batch)
    where = np.broadcast_to(np.arange(N) != 3, (*batch, N))
    for options in ({"reduction": "none"}, {"reduction": "sum", "where": where}):
        got = api.linear_cross_entropy_value_and_grad(h, W, target, B, chunk=chunk, **options)
        check(flat(got), composed(h, W, target, B, **options))
    mean = api.linear_cross_entropy(h, W, target, chunk=chunk)
    assert np.isnan(mean) == (0 in batch)


def test_masked_probabilities(api):
    """What numpy.ma masks of them is no choice, as for cross_entropy."""
    target = np.ma.MaskedArray(PROBABILITIES, mask=~PER_ELEMENT)
    for chunk in CHUNKS:
        options = {"chunk": chunk, "reduction": "sum"}
        got = api.linear_cross_entropy_value_and_grad(H, W, target, **options)
        wanted = composed(H, W, PROBABILITIES, where=PER_ELEMENT, reduction="sum")
        check(flat(got), wanted)


def test_layouts(api):
    """Arrays in any layout, and broadcast ones, whose rows are no matrix without a copy."""
    h, w = np.asfortranarray(H)[:, ::-1], np.asfortranarray(W)[::-1]
    target = np.where(INDICES < 0, -1, INDICES)[:, ::-1]
    where = PER_ELEMENT[:, :1] | (np.arange(N) == 0)
    probabilities = np.broadcast_to(PROBABILITIES[:, :1], (2, 3, N))
    for chunk in CHUNKS:
        for aim in (target, probabilities):
            options = {"where": where, "reduction": "none"}
            options["ignore_index"] = -1 if aim is target else None
            with np.errstate(all="ignore"):
                got = api.linear_cross_entropy_value_and_grad(
                    h, w, aim, B[::-1], chunk=chunk, **options
                )
                check(flat(got), composed(h, w, aim, B[::-1], **options))
    lists = onesum.linear_cross_entropy_value_and_grad(
        H.tolist(), W.tolist(), target.tolist(), B.tolist(), ignore_index=-1
    )
    assert all(
        map(
            same_bits,
            flat(lists),
            flat(onesum.linear_cross_entropy_value_and_grad(H, W, target, B, ignore_index=-1)),
        )
    )


@pytest.mark.parametrize("chunk", [None, (4, N), (4, 3)])
@pytest.mark.parametrize("xp", [torch, array_api_strict], ids=lambda xp: xp.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_libraries(xp, dtype, chunk):
    """In kind, and the same numbers."""
    h, w, b = (xp.asarray(np.array(a, dtype)) for a in (H, W, B))
    aims = {
        "class indices": {"target": xp.asarray(INDICES), "ignore_index": -100},
        "probabilities": {"target": xp.asarray(PROBABILITIES)},
    }
    options: dict[str, Any] = {"where": PER_ELEMENT, "label_smoothing": 0.25, "z_loss": 0.125}
    options["temperature"] = OPTIONS["temperature"][1]
    for aim in aims.values():
        loss, grads = onesum.linear_cross_entropy_value_and_grad(
            h, w, bias=b, chunk=chunk, reduction="sum", **aim, **options
        )
        assert {type(a) for a in (loss, *grads)} == {type(h)}
        numbers = [np.asarray(a if xp is torch else a._array) for a in (loss, *grads)]
        aim = {k: np.asarray(a if xp is torch else getattr(a, "_array", a)) for k, a in aim.items()}
        arrays = (np.asarray(a if xp is torch else a._array) for a in (h, w))
        wanted = composed(*arrays, bias=B.astype(dtype), reduction="sum", **aim, **options)
        check(numbers, wanted, np.dtype(dtype))
        alone = onesum.linear_cross_entropy(
            h, w, aim["target"], b, ignore_index=aim.get("ignore_index"), reduction="sum", **options
        )
        assert float(alone) == pytest.approx(float(loss), nan_ok=True)


def test_inputs_are_left_alone(api):
    """The Api watches what it is given; also read-only arrays will do."""
    arrays = [np.array(a) for a in (H, W, np.abs(INDICES) % N, B)]
    for a in arrays:
        a.flags.writeable = False
    for chunk in CHUNKS:
        api.linear_cross_entropy_value_and_grad(*arrays, chunk=chunk)
