"""Zarr arrays, of both versions of the format, in directories."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StorageError, needs, unusable
from .numbers import need_numbers, need_standard
from .region import Box, Buffer
from .stored import Identity, Stored

METADATA = ("zarr.json", ".zarray")
GROUP = ".zgroup"


class ZarrArray(Stored):
    format = "zarr"

    def __init__(self, name: str) -> None:
        self.metadata = _metadata(name)
        array = opened(name, "r")
        need_numbers(name, array.dtype)
        super().__init__(name, tuple(array.shape), array.dtype, tuple(range(array.ndim)))
        self.array = array
        self.version = int(array.metadata.zarr_format)
        self.chunks = tuple(array.shards or array.chunks)
        self.parts = tuple(array.chunks) if array.shards else None

    def read(self, box: Box, buffer: Buffer | None = None) -> NDArray[Any]:
        try:
            return np.asarray(self.array[box])
        except (OSError, ValueError, RuntimeError) as error:  # each codec has its own
            raise StorageError(f"{self.name}: a chunk cannot be read: {error}") from error

    def identity(self) -> Identity:
        """Of all its files: their number, their bytes, the last time that one was modified."""
        count = size = modified = 0
        for folder, _, files in os.walk(self.path):
            for file in files:
                about = os.stat(os.path.join(folder, file))
                count, size = count + 1, size + about.st_size
                modified = max(modified, about.st_mtime_ns)
        header = hashlib.sha256(self.metadata).hexdigest()
        return {"bytes": size, "files": count, "modified": modified, "header": header}


def library(name: str) -> Any:
    try:
        import zarr
    except ModuleNotFoundError:
        raise needs(name, "zarr") from None
    return zarr


def opened(name: str, mode: str) -> Any:
    zarr = library(name)
    try:
        return zarr.open_array(name, mode=mode)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise StorageError(f"{name}: expected a Zarr array: {reason}") from None


def metadata_of(path: str) -> Path | None:
    """The file that describes an array, of either version."""
    there = (Path(path, name) for name in METADATA)
    return next((file for file in there if file.is_file()), None)


def _metadata(name: str) -> bytes:
    """The array's description, once it is known to ask for nothing that runs code."""
    path = Path(name)
    if not path.exists():
        raise StorageError(f"{name}: No such file or directory")
    file = metadata_of(name)
    if file is None:
        raise StorageError(f"{name}: expected a Zarr array, got {_instead(path)}")
    try:
        text = file.read_bytes()
        about = json.loads(text)
    except OSError as error:
        raise unusable(name, error) from None
    except ValueError:
        raise StorageError(f"{file}: expected JSON") from None
    if not isinstance(about, dict) or about.get("node_type", "array") != "array":
        raise StorageError(f"{name}: expected a Zarr array, got {_instead(path)}")
    # A codec of this name would run whatever program the chunks hold.
    if re.search(rb'"[^"]*pickle[^"]*"', text):
        raise StorageError(f"{name}: expected numbers, got pickled objects, which are not read")
    return text


def need_one_array(name: str) -> None:
    """Refuse to replace a directory that is no array, or in which others lie."""
    try:
        _metadata(name)
    except StorageError as error:
        raise StorageError(f"{error}: it is not replaced") from None
    for folder, _, files in os.walk(name):
        if folder != name and not {*METADATA, GROUP}.isdisjoint(files):
            raise StorageError(f"{name}: has {folder} in it: it is not replaced")


def _instead(path: Path) -> str:
    if not path.is_dir():
        return "a file"
    arrays = sorted(p.name for p in path.iterdir() if metadata_of(str(p)))
    if not arrays:
        return "a directory without one"
    return f"a group; its arrays: {', '.join(str(path / name) for name in arrays[:8])}"


def create_zarr(
    path: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...] | None,
    parts: tuple[int, ...] | None,
    version: int,
) -> None:
    """An array without a chunk yet."""
    need_standard(path, dtype, "Zarr")
    fitting = None if chunks is None else tuple(max(1, n) for n in chunks)
    library(path).create_array(
        store=path,
        shape=shape,
        dtype=dtype,
        chunks=parts or fitting or "auto",
        shards=fitting if parts else None,
        zarr_format=version,
        fill_value=0,
    )
