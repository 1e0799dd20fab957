"""Logits as rows: whatever has a shape, a dtype and slices, read a block of rows at a time."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._arguments.labelled import split_labels
from .._arguments.masked import unmasked
from .._library import FLOATING, as_array, dtype_name, is_integral, to_numpy
from .._storage import Stored
from .._storage.blocks import Lies
from ._labels import row_name

Array = Any
T = TypeVar("T")


class Logits:
    """One of the two, named as the argument that it came as; the other has the base beside it."""

    def __init__(self, name: str, value: Any, axis: Any, base: Logits | None = None) -> None:
        self.name = name
        self.source = readable(name, value)
        self.shape = tuple(int(n) for n in self.source.shape)
        kind = dtype_name(self.source.dtype)
        if kind not in FLOATING and kind != "bool" and not is_integral(kind):
            wanted = f"{', '.join(FLOATING)}, integer or bool"
            raise TypeError(f"{name}: expected {wanted}, got dtype {self.source.dtype}")
        if base is not None:
            _need_same_shape(base, self.shape)
        self.axis = _axis_of(name, axis, self.shape)
        self.classes = self.shape[self.axis]
        self.batch = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        self.rows = math.prod(self.batch)
        if not self.classes or not self.rows:
            wanted = "at least one row and one class"
            raise ValueError(f"{name}: expected {wanted}, got shape {self.shape}")

    def read(self, block: tuple[slice, ...]) -> Array:
        """Rows as a NumPy array of two dimensions."""
        a = np.moveaxis(to_numpy(self.source[block]), self.axis, -1)
        a = a.reshape(-1, self.classes)
        if a.dtype.name not in FLOATING:
            return a.astype(np.float64)
        # A mapped file is read here, in the thread that reads, and not where it is computed with.
        return np.array(a) if isinstance(a, np.memmap) else np.asarray(a)

    @property
    def lies(self) -> Lies:
        """How the elements lie in what they are read from."""
        source, axes = self.source, tuple(range(len(self.shape)))
        if isinstance(source, Stored):
            return source
        if isinstance(source, np.memmap):
            fortran = source.flags.f_contiguous and not source.flags.c_contiguous
            return _Layout(self.shape, source.dtype, axes[::-1] if fortran else axes, None)
        return _Layout(self.shape, np.dtype(np.float64), axes, _chunks(source, len(axes)))

    def row_name(self, row: int) -> str:
        return row_name(int(i) for i in np.unravel_index(row, self.batch))


class _Layout(NamedTuple):
    """`Lies`, of what does not say so itself."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    chunks: tuple[int, ...] | None


def _chunks(source: Any, ndim: int) -> tuple[int, ...]:
    """Those of arrays of Zarr, h5py, Dask and `LinearLogits`; of others one element."""
    for name in ("shards", "chunks", "chunksize"):
        chunks = getattr(source, name, None)
        if isinstance(chunks, tuple) and all(isinstance(n, int) for n in chunks):
            return chunks
    return (1,) * ndim


def _need_same_shape(base: Logits, shape: tuple[int, ...]) -> None:
    if shape == base.shape:
        return
    if len(shape) == len(base.shape):
        classes = shape[base.axis]
        rows = math.prod(shape[: base.axis] + shape[base.axis + 1 :])
        for n, expected, what in ((rows, base.rows, "row"), (classes, base.classes, "class")):
            if n != expected:
                several = "" if n == 1 else "es" if what == "class" else "s"
                raise ValueError(f"other: has {n} {what}{several}, base has {expected}")
    raise ValueError(f"other: expected the shape of base, {base.shape}, got {shape}")


def ahead(reads: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What these answer, each called in a thread while the one before is in use."""
    with ThreadPoolExecutor(1, "onesum-read") as thread:
        waiting: Future[T] | None = None
        for read in reads:
            following = thread.submit(read)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def readable(name: str, value: Any) -> Any:
    """What has a shape, a dtype and slices: the value, or the array that it can be made."""
    value, _ = split_labels(name, value)
    value = unmasked(name, value)
    if not isinstance(value, np.generic) and all(
        hasattr(value, needed) for needed in ("shape", "dtype", "__getitem__")
    ):
        return value
    return as_array(name, value)


def _axis_of(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    try:
        i = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis: expected an int, got {axis!r:.60}") from None
    if not shape:
        raise ValueError(f"{name}: expected an array of at least one dimension, got a number")
    if not -len(shape) <= i < len(shape):
        raise np.exceptions.AxisError(i, len(shape), "axis")
    return i % len(shape)
