# mypy: allow-untyped-defs, allow-untyped-calls
"""Dask's functions by the names of the array API standard: `array_api_compat`'s, and our casts."""

from typing import Any

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
