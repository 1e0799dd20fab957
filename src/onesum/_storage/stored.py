"""What a stored array is, whatever its format."""

from __future__ import annotations

import hashlib
import math
import operator
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import StorageError, naming, unusable
from .region import Box, Buffer, Region

Identity = dict[str, Any]


class Stored(ABC):
    """An array in a file: read in blocks, of which nothing is kept.

    `x[2:5, :, 7]` reads what it names: integers and slices without steps. Pickles as its name.
    """

    format: ClassVar[str]
    chunks: tuple[int, ...] | None = None  # what is read, and written, at once
    parts: tuple[int, ...] | None = None  # of a chunk, where it has any: Zarr's chunks in shards

    def __init__(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...]
    ) -> None:
        self.name, self.shape, self.dtype, self.order = name, shape, dtype, order
        self.path = Path(name)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __getitem__(self, key: Any) -> NDArray[Any]:
        box, numbers = box_of(key, self.shape)
        block = self.read(box)
        return block[tuple(0 if i in numbers else slice(None) for i in range(self.ndim))]

    @abstractmethod
    def read(self, box: Box, buffer: Buffer | None = None) -> NDArray[Any]:
        """What lies in a box: an array of its own, or one in the first bytes of the buffer."""

    @abstractmethod
    def identity(self) -> Identity:
        """What tells that this is the array it was, without reading it."""

    def __reduce__(self) -> tuple[Any, ...]:
        from . import open_array

        return open_array, (os.path.abspath(self.name),)

    def __repr__(self) -> str:
        return f"<{self.format} {self.name}: {self.dtype} {self.shape}>"


class StoredRegion(Stored):
    """An array whose elements lie one after the other in a file, which is this one's to close."""

    def __init__(
        self,
        name: str,
        file: int,
        offset: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        order: tuple[int, ...],
    ) -> None:
        super().__init__(name, shape, dtype, order)
        region = Region(file, offset, shape, dtype, order)
        size = os.fstat(file).st_size
        if size < region.end:
            raise StorageError(f"{name}: expected {region.end} bytes, got {size}: cut short")
        self.region = region

    def read(self, box: Box, buffer: Buffer | None = None) -> NDArray[Any]:
        try:
            with naming(self.name):
                return self.region.read(box, buffer)
        except EOFError:
            raise StorageError(f"{self.name}: was cut short while it was read") from None

    def identity(self) -> Identity:
        header = os.pread(self.region.file, self.region.offset, 0)
        return file_identity(self.path, header)

    def __del__(self) -> None:
        if hasattr(self, "region"):
            os.close(self.region.file)


def file_identity(path: Path, header: bytes) -> Identity:
    about = path.stat()
    return {
        "bytes": about.st_size,
        "modified": about.st_mtime_ns,
        "header": hashlib.sha256(header).hexdigest(),
    }


def open_file(name: str) -> int:
    """A file to read from, as the system numbers it."""
    if os.path.exists(name) and not os.path.isfile(name):  # to open a pipe is to wait for it
        raise StorageError(f"{name}: expected a file, got a directory or a device")
    try:
        return os.open(name, os.O_RDONLY)
    except OSError as error:
        raise unusable(name, error) from None


def box_of(key: Any, shape: tuple[int, ...]) -> tuple[Box, set[int]]:
    """What a key names, as a box, and the axes that it names one index of."""
    keys = list(key) if isinstance(key, tuple) else [key]
    if Ellipsis in keys:
        i = keys.index(Ellipsis)
        keys[i : i + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    keys += [slice(None)] * (len(shape) - len(keys))
    if len(keys) > len(shape):
        raise IndexError(f"expected at most {len(shape)} indices, got {len(keys)}")
    box, numbers = [], set()
    for axis, (k, n) in enumerate(zip(keys, shape, strict=True)):
        if isinstance(k, slice):
            start, stop, step = k.indices(n)
            if step != 1:
                raise IndexError(f"expected a slice without a step, got {k}")
            box.append(slice(start, max(start, stop)))
            continue
        try:
            i = operator.index(k)
        except TypeError:
            raise IndexError(f"expected an integer or a slice, got {k!r:.60}") from None
        if not -n <= i < n:
            raise IndexError(f"expected an index from {-n} to {n - 1}, got {i}")
        numbers.add(axis)
        box.append(slice(i % n, i % n + 1))
    return tuple(box), numbers
