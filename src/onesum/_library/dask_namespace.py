# mypy: allow-untyped-defs, allow-untyped-calls
"""Dask's functions by the names of the array API standard: `array_api_compat`'s, and our casts."""

import math
from typing import Any

import dask.array as da
from dask.array.utils import meta_from_array

from . import quiet

library = "dask.array"


def __getattr__(name: str) -> Any:
    import array_api_compat.dask.array as compat

    return getattr(compat, name)


def astype(x, dtype, copy=True, device=None):
    """In tasks that do not warn of what is infinite in a narrower type."""
    if x.dtype == dtype:
        return x
    meta = meta_from_array(x._meta, x.ndim, dtype)
    return x.map_blocks(_cast, dtype, dtype=dtype, meta=meta, token="onesum-cast")


@quiet
def _cast(x, dtype):
    return x.astype(dtype)


def expand_dims(x, axis):
    return x[(slice(None),) * (axis % (x.ndim + 1)) + (None,)]


def reshape(x, shape):
    """What differs by axes of size 1 is no matter of sizes, which may not be known."""
    shape = tuple(shape)
    if shape == (-1,):
        shape = (math.prod(x.shape),)
    if str(tuple(x.shape)) == str(shape):
        return x
    if [str(n) for n in x.shape if n != 1] != [str(n) for n in shape if n != 1]:
        return __getattr__("reshape")(x, shape)
    x = x[tuple(0 if n == 1 else slice(None) for n in x.shape)]
    return x[tuple(None if n == 1 else slice(None) for n in shape)]


def look_up(values, index):
    """The elements of a vector, which goes whole to every task."""
    axes = tuple(range(index.ndim))
    pairs = values, (index.ndim,), index, axes
    return da.blockwise(
        _looked_up, axes, *pairs, concatenate=True, align_arrays=False, dtype=values.dtype
    )


def _looked_up(values, index):
    return values[index]
