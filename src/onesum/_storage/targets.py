"""Where a result is written: the files of each format, under whatever name they grow."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import StorageError, naming
from .region import Box, Region
from .stored import box_of
from .zarr import metadata_of, opened

Shape = tuple[int, ...]

# Answers of a file system that cannot reserve room.
NOT_THERE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)


class Target(Protocol):
    """An array to be written in boxes, from several threads or processes: it pickles as its name.

    `target[2:5] = block` is the same with slices, as Dask has it.
    """

    def write(self, box: Box, block: NDArray[Any]) -> None: ...
    def __setitem__(self, key: Any, block: NDArray[Any]) -> None: ...
    def sync(self) -> None:
        """Everything written is on the disk."""

    def need_whole(self) -> None:
        """Refuse to call done what lacks something."""

    def close(self) -> None: ...


class FileTarget:
    """A header, and the elements one after the other, in a file that is there."""

    def __init__(
        self, path: str, header: bytes, shape: Shape, dtype: np.dtype[Any], order: Shape
    ) -> None:
        self.arguments = os.path.abspath(path), header, shape, dtype, order
        self.path, self.shape, self.header = path, shape, header
        self.region = Region(os.open(path, os.O_RDWR), len(header), shape, dtype, order)
        # The system lets one thread at a time write to a file; others would spin for their turn.
        self.turn = threading.Lock()

    @property
    def begun(self) -> bool:
        """Whether the file has its header, which is written when it has its room."""
        with naming(self.path):
            return os.pread(self.region.file, len(self.header), 0) == self.header

    def begin(self) -> None:
        with naming(self.path):
            _reserve(self.region.file, self.region.end)
            os.pwrite(self.region.file, self.header, 0)

    def write(self, box: Box, block: NDArray[Any]) -> None:
        with naming(self.path), self.turn:
            self.region.write(box, block)

    def __setitem__(self, key: Any, block: NDArray[Any]) -> None:
        self.write(box_of(key, self.shape)[0], block)

    def sync(self) -> None:
        with naming(self.path):
            os.fdatasync(self.region.file)

    def need_whole(self) -> None:
        size, expected = os.fstat(self.region.file).st_size, self.region.end
        if size < expected:
            raise StorageError(f"{self.path}: expected {expected} bytes, got {size}: cut short")

    def close(self) -> None:
        """Whoever still writes is refused: the number may be another file's by then."""
        file, self.region.file = self.region.file, -1
        if file >= 0:
            os.close(file)

    def __del__(self) -> None:
        if hasattr(self, "region"):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _seen, self.arguments


def _seen(path: str, *arguments: Any) -> FileTarget:
    """The same file in another process, on another machine maybe: it is not created there."""
    with suppress(FileNotFoundError):
        target = FileTarget(path, *arguments)
        if target.begun:
            return target
    raise StorageError(f"{path}: is not seen by the worker that is to write to it")


def _reserve(file: int, size: int) -> None:
    """Have the room for all of a file, where the file system can: so a full disk is known before
    anything is computed, and writing takes less of the system's time.
    """
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno not in NOT_THERE:
                raise


class ZarrTarget:
    """A Zarr array that is there already."""

    def __init__(self, path: str) -> None:
        self.path = path
        # Else Zarr looks first whether a chunk is nothing but zeros, which takes longer than all.
        self.array = opened(path, "r+").with_config({"write_empty_chunks": True})

    def write(self, box: Box, block: NDArray[Any]) -> None:
        with naming(self.path):
            self.array[box] = block
        # Zarr makes the directories of a chunk anew: in a result that was given up meanwhile too.
        if metadata_of(self.path) is None:
            shutil.rmtree(self.path, ignore_errors=True)

    def __setitem__(self, key: Any, block: NDArray[Any]) -> None:
        self.write(box_of(key, self.array.shape)[0], block)

    def sync(self) -> None:
        for folder, _, files in os.walk(self.path):
            for name in files:
                # Zarr writes a chunk under another name first: one that is gone by now is of a
                # block that nobody calls done yet.
                with suppress(FileNotFoundError):
                    sync_path(os.path.join(folder, name))
            sync_path(folder)

    def need_whole(self) -> None:
        """Every worker saw the array, or could not have opened it."""

    def close(self) -> None:
        pass

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrTarget, (os.path.abspath(self.path),)


def sync_path(path: str) -> None:
    """A file, or the names in a directory, to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
