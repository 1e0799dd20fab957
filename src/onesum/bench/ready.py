"""A cell made ready in the process of a library: its operands, its calls and a sample of each."""

import gc
import math
import sys
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import onesum

from . import peers
from .cases import (
    KEPT,
    READ_AT_FIRST,
    READING,
    TWO_WALKS,
    Array,
    Case,
    Shape,
    dtype_of,
    operands,
    result_shape,
)

CHECKED = 1 << 20  # elements of each result that are compared before it is timed
PAGE = 4096
OFFSET = 16  # bytes after the beginning of a page: there malloc puts what is large

Modes = dict[str, peers.Call]


class Ready(NamedTuple):
    samples: dict[str, Array]  # by mode: what its call answers, in part
    calls: Modes
    floors: dict[tuple[str, str], peers.Call]


def ready(case: Case, cache: int, peer: peers.Peer, with_floors: bool) -> Ready | None:
    """None where the library lacks the operation. `cache`: bytes of the second-level cache."""
    if case.array_bytes >= KEPT:
        gc.collect()  # what the cell before has left
    arrays = tuple(map(_placed, operands(case)))
    out = _empty(result_shape(case), dtype_of(case.dtype))
    onesum.release_memory()
    with np.errstate(all="ignore"):
        calls = peer(case.operation, arrays, case.axis, out)
        if calls is None:
            return None
        samples = {mode: _sample(case, call(), out.dtype) for mode, call in calls.ready().items()}
    below = floors(case, cache, arrays, out) if with_floors else {}
    return Ready(samples, calls.ready(), below)


def _empty(shape: Shape, dtype: Any) -> Array:
    """An array at the same place of a page in every process, whatever was allocated before."""
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + PAGE, np.uint8)
    begin = (OFFSET - room.ctypes.data) % PAGE
    array: Array = room[begin : begin + size].view(dtype).reshape(shape)
    return array


def _placed(array: Array) -> Array:
    copy = _empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def _sample(case: Case, answer: Any, dtype: Any) -> Array:
    """The beginning of each array of an answer, one after the other."""
    samples = []
    for part in answer if isinstance(answer, tuple) else (answer,):
        array = np.asarray(peers.as_numpy(part))
        if array.dtype != dtype:
            raise TypeError(f"returns {array.dtype}")
        samples.append(array.reshape(-1)[:CHECKED].astype(np.float64))
    if len(samples) > 1:
        samples[1] *= case.rows  # the gradient of a mean: as large as probabilities again
    return np.concatenate(samples)


def floors(
    case: Case, cache: int, arrays: tuple[Array, ...], out: Array
) -> dict[tuple[str, str], peers.Call]:
    """Reading the operands and writing the result, with nothing to compute; by kind of store.

    The classes of a loss are next to nothing beside its logits, and are not read. Rows that the
    cache cannot hold are also moved in two walks: what the sum of a row needs is read first, and
    then all of that row is read and written.
    """
    core: Any = sys.modules.get("onesum._core")
    if core is None:
        return {}
    if case.operation in READING:
        read = partial(core._move, None, arrays[:1], False)
        return {("reading", "fresh"): read, ("reading", "out"): read}
    sources, to_fresh = arrays, partial(_move_to_fresh, core._move, out)
    into = sources
    if case.in_place:
        sources, into = arrays[:1], (out,)
        if case.array_bytes >= KEPT:  # elsewhere the floor of `out` tells this
            to_fresh = partial(core._move, out)
    found: dict[tuple[str, str], peers.Call] = {}
    once, at_least = case.bytes_moved(cache)
    in_two_walks = not case.strided and once < at_least and case.operation in READ_AT_FIRST
    for name, streaming in (("streaming", True), ("ordinary", False)):
        found[name, "fresh"] = partial(to_fresh, sources, streaming)
        found[name, "out"] = partial(core._move, out, into, streaming)
        if in_two_walks:
            first = tuple(arrays[i] for i in READ_AT_FIRST[case.operation])
            row_bytes = case.n * case.itemsize
            call = partial(core._move_rows, out, first, arrays, row_bytes, streaming)
            found[f"{TWO_WALKS}, {name}", "out"] = call
    return found


def _move_to_fresh(move: Any, like: Array, arrays: tuple[Array, ...], streaming: bool) -> Array:
    target = np.empty_like(like)
    move(target, arrays, streaming)
    return target
