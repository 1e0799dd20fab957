"""Indexing the batch of an operator: an entry picks from its own axis; axes stay in order."""

import operator
from typing import Any

import numpy as np

from ..._library import device

Array = Any
Entry = Any  # an int from 0 on, a slice, or a NumPy array of such ints


def batch_index(index: Any, batch: tuple[int, ...]) -> list[Entry]:
    """One entry for each axis of the batch."""
    entries = list(index) if isinstance(index, tuple) else [index]
    dots = [i for i, entry in enumerate(entries) if entry is Ellipsis]
    if len(dots) > 1:
        raise IndexError(f"index: expected one Ellipsis, got {len(dots)}")
    missing = len(batch) - (len(entries) - len(dots))
    if missing < 0:
        wanted = f"at most {len(batch)} entries, for the axes of the batch {batch}"
        advice = "the two axes of a matrix cannot be indexed but in to_dense()"
        raise IndexError(f"index: expected {wanted}, got {len(batch) - missing} ({advice})")
    start = dots[0] if dots else len(entries)
    entries[start : start + 1] = [slice(None)] * missing
    checked = [_entry(*each) for each in zip(entries, range(len(batch)), batch, strict=True)]
    arrays = sum(isinstance(entry, np.ndarray) for entry in checked)
    if arrays > 1:
        raise IndexError(f"index: expected one array beside ints and slices, got {arrays}")
    return checked


def _entry(entry: Any, axis: int, n: int) -> Entry:
    if isinstance(entry, slice):
        return entry
    try:
        if np.ndim(entry) == 0 and not isinstance(entry, (bool, np.bool_)):
            return range(n)[operator.index(entry)]
        picked = np.arange(n)[entry]
        if picked.ndim == 1:
            return picked
    except (IndexError, TypeError, ValueError):
        pass
    wanted = f"an int from {-n} to {n - 1}, a slice, or a 1-d array of such ints or of {n} bools"
    raise IndexError(f"index: expected {wanted} for axis {axis} of the batch, got {entry!r:.60}")


def taken(xp: Any, a: Array, axes: tuple[int, ...], entries: list[Entry]) -> Array:
    """What the entries pick of these axes of an array: a view, unless one of them is an array."""
    index: list[Entry] = [slice(None)] * a.ndim
    for axis, entry in zip(axes, entries, strict=True):
        if isinstance(entry, np.ndarray):
            a = xp.take(a, xp.asarray(entry, device=device(a)), axis=axis)
        else:
            index[axis] = entry
    return a[tuple(index)]
