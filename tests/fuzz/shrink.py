"""A smaller call that misses in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .call import Call, Operand, make
from .check import Miss, _values, misses
from .rows import LINEAR, Rows, narrowed, role

STEPS = 150


def shrunk(miss: Miss) -> Miss:
    """Try simpler calls as long as one misses in the same way, and tries are left."""
    tries = 0
    progress = True
    while progress and tries < STEPS:
        progress = False
        for call in _simpler(miss.call):
            tries += 1
            if tries > STEPS:
                break
            same = _missing(call, miss)
            if same is not None:
                miss, progress = same, True
                break
    return miss


def _missing(call: Call, miss: Miss) -> Miss | None:
    try:
        return next((m for m in misses(call) if m.key == miss.key), None)
    except Exception:  # a call that cannot be made
        return None


def _simpler(call: Call) -> Iterator[Call]:
    """What is the same but for one thing, the largest steps first."""
    if call.out is not None:
        yield replace(call, out=None)
        if call.out.layout != "contiguous":
            yield replace(call, out=replace(call.out, layout="contiguous"))
        for name in call.out.over:
            over = {n: o for n, o in call.out.over.items() if n != name}
            yield replace(call, out=replace(call.out, over=over))
    for name, operand in call.arrays.items():
        if operand.layout != "contiguous":
            arrays = call.arrays | {name: replace(operand, layout="contiguous")}
            yield replace(call, arrays=arrays)
        if name in OPTIONAL:
            arrays = {n: a for n, a in call.arrays.items() if n != name}
            over = (
                None
                if call.out is None
                else replace(call.out, over={n: o for n, o in call.out.over.items() if n != name})
            )
            yield replace(call, arrays=arrays, out=over)
    for name in call.options:
        if name in ("keepdims", "dtype") and call.out is not None:
            continue
        yield replace(call, options={k: v for k, v in call.options.items() if k != name})
    yield from _fewer(call)
    yield from _shorter_numbers(call)


OPTIONAL = ("where", "temperature", "weight", "sample_weight", "b")


def _fewer(call: Call) -> Iterator[Call]:
    """Half of the rows, or classes; a single one less."""
    if call.function in LINEAR:
        return
    rows = Rows(call, _values(call, make(call)))
    if not rows.k or not rows.n:
        return
    canonical = rows.canonical()
    if len(rows.shape) != 2 or len(canonical.options) < len(call.options):
        yield canonical
    shape = rows.shape
    for axis, size in enumerate(shape):
        for part in _parts(size):
            smaller = narrowed(call, axis, part)
            if smaller is not None:
                yield smaller


def _parts(size: int) -> Iterator[np.ndarray]:
    everything = np.arange(size)
    if size > 3:
        yield everything[: size // 2]
        yield everything[size // 2 :]
    if 1 < size <= 12:
        for i in everything:
            yield np.delete(everything, i)


def _shorter_numbers(call: Call) -> Iterator[Call]:
    """Numbers of one or two digits."""
    for name, operand in call.arrays.items():
        a = operand.values
        if a.dtype.kind in "biu" or role(call, name) == "several":
            continue
        for digits in (1, 2, 4):
            with np.errstate(all="ignore"):
                short = np.array([float(f"{v:.{digits}g}") for v in a.ravel().tolist()])
                short = short.reshape(a.shape).astype(a.dtype)
            if not np.array_equal(short, a, equal_nan=True):
                short = Operand(short, operand.layout, operand.mask)
                yield replace(call, arrays=call.arrays | {name: short})
                break
