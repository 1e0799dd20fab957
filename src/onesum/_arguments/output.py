"""Where a result goes: to `out`, if there is one, which the backend may or may not write into.

It may where it does not write over what it still reads. Otherwise its result, a new array, is
copied there at the end, when nothing is read any more: so whatever shares memory with `out`, the
result is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .masked import split_mask

Array = Any


class Read(NamedTuple):
    """An argument as it was given, and whether it is read element by element as out is written."""

    array: Array
    in_step: bool


class Output(NamedTuple):
    """`out` as it was given, checked, and what of it the backend writes into: None for nothing."""

    given: Array = None
    room: Array = None

    @property
    def written(self) -> bool:
        return self.room is not None

    def take(self, result: Array, mask: Array) -> Array:
        """Put a result in its place, with the mask of a masked array."""
        out = self.given
        if not self.written:
            try:
                target = np.asarray(out) if isinstance(out, np.ndarray) else out
                target[...] = result
            except TypeError as error:
                kind = f"{type(out).__module__}.{type(out).__qualname__}"
                raise TypeError(f"out: a {kind} cannot be written to") from error
        if split_mask(out)[1] is not None:
            out.unshare_mask()  # it may be another array's
            out.mask = False if mask is None else mask
        return out


NEW = Output()  # a new array


def may_write(out: Array, arguments: Iterable[Read]) -> bool:
    """Whether out is plain memory, apart from every argument or exactly one that is in step."""
    plain = out.flags.aligned and out.dtype.isnative and not _repeats(out)
    return plain and all(
        not np.may_share_memory(a, out) or (in_step and _is_the_same(a, out))
        for a, in_step in arguments
    )


def _is_the_same(a: Array, out: Array) -> bool:
    ours, theirs = a.__array_interface__, out.__array_interface__
    return bool(ours["data"] == theirs["data"] and a.dtype == out.dtype) and (
        a.shape == out.shape and a.strides == out.strides
    )


def _repeats(out: Array) -> bool:
    """Whether some of its elements may lie over one another, as `as_strided` can lay them."""
    reach = out.itemsize
    axes = zip(out.strides, out.shape, strict=True)
    for stride, n in sorted((abs(stride), n) for stride, n in axes if n > 1):
        if stride < reach:
            return True
        reach += stride * (n - 1)
    return False
