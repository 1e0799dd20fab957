"""A transform computed by Dask: on its threads, or by the workers of a scheduler."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._storage.writable import Writable
from . import signals
from .errors import FailedError, UserError
from .rows import NONE, Rows
from .transform import FUNCTIONS, Transform, finish

ADDRESS = r"((tcp|tls|ws|wss|ucx)://)?[^/]+:\d+"  # a Client that refuses one hangs


def compute_by_dask(transform: Transform, out: Writable, client: Any) -> Rows:
    """Write the result. Nothing is left of it when it is interrupted, within `signals.deferred`."""
    import dask
    import dask.array as da

    try:
        with signals.at_once(), _computing(client) as by, warnings.catch_warnings():
            result, nan = _lazy(transform, da)
            stored = da.store(result, out.target, lock=False, compute=False)
            warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, about NaN
            _, count, first = dask.compute(stored, nan.sum(), _first(nan, da), **by)
        finish(transform, out)
    except BaseException:
        out.discard()
        raise
    if not count:
        return NONE
    return Rows(int(count), [int(i) for i in np.unravel_index(int(first), nan.shape)])


@contextmanager
def _computing(client: Any) -> Iterator[dict[str, Any]]:
    """What `dask.compute` is to use: a client, or threads, of which none works on afterwards."""
    if client is not None:
        yield {"scheduler": client}
        return
    from dask import config
    from dask.system import CPU_COUNT

    threads = ThreadPoolExecutor(config.get("num_workers", None) or CPU_COUNT)
    try:
        yield {"scheduler": "threads", "pool": threads}
    finally:
        threads.shutdown(wait=True, cancel_futures=True)


def _lazy(transform: Transform, da: Any) -> tuple[Any, Any]:
    """The result, and which rows have NaN logits."""
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
    return result.rechunk(sizes), nan.any(axis=transform.axes)


def _first(rows: Any, da: Any) -> Any:
    """The place of the first row for which it is true, counted in C order; of none any other."""
    place = 0
    for n, chunks in zip(rows.shape, rows.chunks, strict=True):
        place = da.asarray(place)[..., None] * n + da.arange(n, chunks=(chunks,))
    return da.where(rows, place, rows.size).min() if rows.size else 0


def _empty(stored: Any) -> Any:
    return np.empty((0,) * stored.ndim, stored.dtype)


@contextmanager
def connected(address: str | None, timeout: float) -> Iterator[Any]:
    """The client of a scheduler, or None where there is to be none."""
    try:
        import dask.array  # noqa: F401 - before there is anything to be left
    except ModuleNotFoundError:
        raise UserError("--engine dask: needs dask: pip install 'dask[array]'") from None
    if address is None:
        yield None
        return
    if not (timeout > 0 and math.isfinite(timeout)):
        raise UserError(f"--timeout: expected seconds above 0, got {timeout}")
    if not re.fullmatch(ADDRESS, address):
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
    except (ImportError, TypeError, ValueError) as error:  # a protocol that cannot be used
        reason = str(error).partition("\n")[0]
        raise UserError(f"--scheduler: {address}: {reason}") from None
    with client:
        yield client
