# mypy: allow-untyped-defs, allow-untyped-calls
"""Dask's array expressions (`array.query-planning`) by the names of the array API standard.

Dask has not brought all functions to expressions yet. Those that the checks need are made here of
what is there; of all others `array_api_compat` says what Dask says.
"""

import dask.array as da
import numpy as np
from dask.array._array_expr._collection import elemwise

from .dask_namespace import __getattr__, astype, expand_dims, library, look_up, reshape

__all__ = ["__getattr__", "astype", "expand_dims", "library", "look_up", "reshape"]


def where(condition, a, b):
    return elemwise(np.where, condition, a, b)


def squeeze(x, axis):
    return x[(slice(None),) * (axis % x.ndim) + (0,)]


def permute_dims(x, axes):
    return x.transpose(axes)


def broadcast_to(x, shape):
    """In the chunks of x, and in one along each new or larger axis."""
    shape = tuple(shape)
    if tuple(x.shape) == shape:
        return x
    sizes = ((1,),) * (len(shape) - x.ndim) + x.chunks
    chunks = tuple(c if sum(c) == n else (n,) for c, n in zip(sizes, shape, strict=True))
    return elemwise(_first_broadcast, x, da.zeros(shape, dtype=bool, chunks=chunks), dtype=x.dtype)


def _first_broadcast(a, b):
    return np.broadcast_arrays(a, b)[0]


def matmul(a, b):
    wanted = "dask.config array.query-planning: False, for it has no products of matrices"
    raise NotImplementedError(f"linear_cross_entropy: expected {wanted}; got True")
