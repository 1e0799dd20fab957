"""How the arrays of a drawn call lie in memory, and where its `out` is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .answers import result_dtype
from .call import LAYOUTS, OF_OUT, OF_SCALARS, Call, Out
from .rows import Rows
from .shapes import Draw
from .values import Rng, chance, choice


def _laid(rng: Rng, call: Call) -> Call:
    """The arrays of a call in memory somehow, as long as values need not change much."""
    if chance(rng, 0.3):
        return call
    arrays = {}
    same = choice(rng, tuple(LAYOUTS)) if chance(rng, 0.4) else None
    for name, operand in call.arrays.items():
        layout = same or (choice(rng, tuple(LAYOUTS)) if chance(rng, 0.5) else "contiguous")
        a = operand.values
        if a.ndim == 0 and layout not in OF_SCALARS:
            layout = "contiguous"
        if layout == "list" and (a.dtype.name not in ("float64", "int64", "bool") or a.size == 0):
            layout = "contiguous"
        if layout.startswith("other") and a.dtype.name == "bfloat16":
            layout = "contiguous"
        if layout.startswith("one") and (a.size == 0 or name in ("p", "logp")):
            layout = "contiguous"  # no row of probabilities, if it had one class for all
        arrays[name] = replace(operand, layout=layout)
    return replace(call, arrays=arrays)


REDUCED = ("logsumexp", "logsumexp_jvp")
WITH_OUT = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "softmax_vjp",
    "softmax_jvp",
    "log_softmax_vjp",
    "log_softmax_jvp",
    "logsumexp_vjp",
    "logsumexp_jvp",
    "cross_entropy_value_and_grad",
    "cross_entropy_hvp",
)


def _with_out(rng: Rng, call: Call, shape: tuple[int, ...], dtype: str) -> Call:
    """`out` in new memory, in that of an argument, beside it or under others."""
    fits = [
        name
        for name, a in call.arrays.items()
        if a.values.shape == shape and a.values.dtype.name == dtype and a.mask is None
    ]
    place = choice(rng, fits) if fits and chance(rng, 0.6) else "new"
    layout = choice(rng, OF_OUT) if shape and chance(rng, 0.5) else "contiguous"
    size = math.prod(shape)
    if place != "new":
        arrays = dict(call.arrays)
        arrays[place] = replace(arrays[place], layout=layout)
        call = replace(call, arrays=arrays)
    out = Out(shape, dtype, place, layout)
    if size == 0:
        return replace(call, out=out)
    if place != "new" and layout == "contiguous" and chance(rng, 0.3):
        shift = int(rng.integers(1, size + 1)) * choice(rng, (-1, 1))
        return replace(call, out=replace(out, shift=shift))
    if layout == "contiguous" and place in ("new", "x") and chance(rng, 0.5):
        out = replace(out, over=_over(rng, call, place, size * np.dtype(dtype).itemsize))
    return replace(call, out=out)


def _over(rng: Rng, call: Call, place: str, room: int) -> dict[str, tuple[int, int]]:
    """Arguments to lie in the memory of `out`, one behind the other."""
    over: dict[str, tuple[int, int]] = {}
    begin = 0
    names = [n for n, a in call.arrays.items() if n != place and a.mask is None]
    rng.shuffle(names)
    for name in names[: int(rng.integers(1, 3))]:
        a = call.arrays[name].values
        size = a.dtype.itemsize
        begin += -begin % size  # aligned, for all else is copied
        most = (room - begin) // size
        if a.size == 0 or a.size > most:
            continue
        apart = 1  # how many numbers lie between the first of one and that of the next
        if a.ndim == 1 and a.size > 1 and chance(rng, 0.4):
            apart = int(rng.integers(1, (most - 1) // (a.size - 1) + 1)) * choice(rng, (-1, 1))
        length = (a.size - 1) * abs(apart) + 1
        first = begin + int(rng.integers(0, most - length + 1)) * size
        start = first if apart > 0 else first + (length - 1) * size
        over[name] = start, 0 if apart == 1 else apart * size
        begin = first + length * size
    return over


# Where the mask of numpy.ma of x (and y) is all that is to be said of it.
MASKED = ("softmax", "log_softmax", "logsumexp", "logsumexp_jvp", "entropy", "kl_divergence")


def _masked(rng: Rng, call: Call, d: Draw) -> Call:
    arrays = dict(call.arrays)
    for name in ("x", "y"):
        if name in arrays and chance(rng, 0.7):
            arrays[name] = replace(arrays[name], mask=rng.random(d.shape) < 0.3)
    return replace(call, arrays=arrays)


def finished(rng: Rng, call: Call, d: Draw) -> Call:
    """The call in memory somehow, perhaps with `out`, rarely with masks."""
    if call.function in MASKED and d.shape and "b" not in call.arrays and chance(rng, 0.03):
        call = _masked(rng, call, d)
    call = _laid(rng, call)
    if call.function in WITH_OUT and chance(rng, 0.4) and "b" not in call.arrays:
        shape = d.shape
        if call.function in REDUCED:
            kept = call.options.get("keepdims", False)
            shape = d.column(np.zeros(d.k), kept=kept).shape
        if not call.options.get("return_sign"):
            names = {name: a.values for name, a in call.arrays.items()}
            dtype = result_dtype(Rows(call, names)).name
            call = _with_out(rng, call, shape, dtype)
    return call
