"""When a backend may write its result straight into `out`, while it reads the arguments.

Only then is it told of `out`. Otherwise its result, a new array, is copied there at the end, when
nothing is read any more: so whatever shares memory with `out`, the result is the same.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Read(NamedTuple):
    """An argument as it was given, and whether it is read element by element as out is written."""

    array: Array
    in_step: bool


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
