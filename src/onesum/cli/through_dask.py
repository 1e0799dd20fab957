"""A transform computed by Dask: on its threads, or by the workers of a scheduler."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._storage.writable import Writable
from .errors import FailedError, UserError
from .rows import Rows
from .transform import FUNCTIONS, Transform


def compute_by_dask(
    transform: Transform, out: Writable, scheduler: str | None, timeout: float
) -> Rows:
    """Write the result. Nothing is left of it when it is interrupted."""
    try:
        import dask
        import dask.array as da
    except ModuleNotFoundError:
        out.discard()
        raise UserError("--engine dask: needs dask: pip install 'dask[array]'") from None
    try:
        with _client(scheduler, timeout) as where_to:
            result, nan = _lazy(transform, da)
            stored = da.store(result, out.target, lock=False, compute=False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, about NaN
                _, count = dask.compute(stored, nan, scheduler=where_to)
        out.finish()
    except BaseException:
        out.discard()
        raise
    return Rows(int(count))


def _lazy(transform: Transform, da: Any) -> tuple[Any, Any]:
    """The result, and the number of rows with NaN logits."""
    take = tuple(max(1, t) for t in transform.blocks.take)
    # Dask takes a hash of an array for its name: that of a file is what tells whether it is new.
    x = da.from_array(transform.x, chunks=take, name=False, meta=_empty(transform.x))
    where = transform.where
    options: dict[str, Any] = {"temperature": transform.temperature}
    nan = da.isnan(x)
    if where is not None:
        options["where"] = da.from_array(where, chunks=-1, name=False, meta=_empty(where))
        nan &= options["where"]
    if transform.dtype != x.dtype:
        options["dtype"] = transform.dtype.name
    result = FUNCTIONS[transform.name](x, transform.axes, **options)
    # The chunks of what is written: no two tasks write into one chunk of a Zarr array.
    sizes = tuple(take[i] for i in transform.blocks.batch) if transform.reduces else take
    return result.rechunk(sizes), nan.any(axis=transform.axes).sum()


def _empty(stored: Any) -> Any:
    return np.empty((0,) * stored.ndim, stored.dtype)


@contextmanager
def _client(address: str | None, timeout: float) -> Iterator[Any]:
    """What computes, as Dask names it."""
    if address is None:
        yield "threads"
        return
    if not (timeout > 0 and math.isfinite(timeout)):
        raise UserError(f"--timeout: expected seconds above 0, got {timeout}")
    if not re.fullmatch(r"(\w+://)?[^/]+:\d+", address):  # a Client that refuses it hangs
        raise UserError(f"--scheduler: expected an address as tcp://host:8786, got {address!r}")
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise UserError("--scheduler: needs distributed: pip install 'dask[distributed]'") from None
    try:
        client = Client(address, timeout=timeout, set_as_default=False)
    except (OSError, TimeoutError):
        seconds = f"{timeout:g} s"
        raise FailedError(f"--scheduler: {address} did not answer within {seconds}") from None
    with client:
        yield client
