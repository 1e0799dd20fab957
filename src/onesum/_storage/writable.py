"""A new array in a file, written in blocks."""

from __future__ import annotations

import errno
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StorageError, unusable
from .formats import FORMATS, format_of
from .npy import npy_header
from .numbers import need_numbers, need_standard
from .partial import Partial, Progress
from .region import Box
from .safetensors import (
    SafetensorsArray,
    need_tensor_name,
    safetensors_header,
    split_name,
)
from .stored import Stored, box_of
from .targets import FileTarget, Shape, Target, ZarrTarget
from .zarr import ZarrArray, create_zarr, need_one_array


class Writable:
    """An array that grows beside its name and takes it when it is whole: `create_array`.

    `finish` gives it its name; `close`, or an exception in the `with` block, leaves what there is,
    to go on with; `discard` leaves nothing.
    """

    def __init__(
        self,
        partial: Partial,
        target: Target,
        shape: Shape,
        dtype: np.dtype[Any],
        progress: Progress,
        overwrite: bool,
    ) -> None:
        self.path, self.shape, self.dtype = partial.path, shape, dtype
        self.partial, self.target, self.progress = partial, target, progress
        self.overwrite = overwrite

    def __setitem__(self, key: Any, block: NDArray[Any]) -> None:
        self.write(box_of(key, self.shape)[0], block)

    def write(self, box: Box, block: NDArray[Any]) -> None:
        self.target.write(box, block)

    def checkpoint(self, progress: Progress) -> None:
        """Bring all to the disk, then the record of it."""
        self.target.sync()
        self.partial.save(progress)
        self.progress = progress

    def finish(self) -> None:
        self.target.sync()
        self.target.need_whole()
        self.target.close()
        self.partial.take_name(self.overwrite)

    def close(self) -> None:
        self.target.close()
        self.partial.close()

    def discard(self) -> None:
        self.target.close()
        self.partial.remove()

    def __enter__(self) -> Writable:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def create_array(
    name: str,
    shape: Shape,
    dtype: np.dtype[Any],
    *,
    like: Stored | None = None,
    chunks: Shape | None = None,
    parts: Shape | None = None,
    about: dict[str, Any] | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Writable:
    """A new array, in the format that the suffix of its name says.

    like : its order, version of Zarr and name of the tensor are taken where they fit.
    chunks, parts : of a Zarr array; with parts of its chunks these are shards.
    about : what makes the result what it is; with `resume` an interrupted one must have the same.
    """
    file, tensor = split_name(name)
    form = format_of(file)
    if form not in FORMATS:
        raise StorageError(f"{name}: expected a name that ends in {', '.join(FORMATS)}")
    need_numbers(name, dtype)
    if tensor is None:
        tensor = like.tensor if isinstance(like, SafetensorsArray) else "data"
    if form == ".safetensors":
        need_tensor_name(name, tensor)
    else:
        need_standard(name, dtype, form)
    path = Path(file)
    if path.is_symlink():
        path = path.resolve()
    form_about = {"shape": shape, "dtype": str(dtype), "tensor": tensor}
    partial = Partial(path, {"output": form_about, **(about or {})})
    fresh = _make_way(partial, path, form, overwrite, resume)
    order = _order(form, like, len(shape))
    try:
        progress = partial.begin(form == ".zarr") if fresh else partial.go_on()
    except OSError as error:
        raise unusable(name, error) from None
    try:
        target: Target
        if form == ".zarr":
            if fresh:
                version = like.version if isinstance(like, ZarrArray) else 3
                create_zarr(str(partial.data), shape, dtype, chunks, parts, version)
            for half in partial.data.rglob("*.partial"):  # a chunk that was being written
                half.unlink()
            target = ZarrTarget(str(partial.data))
        else:
            need_room(partial.data, math.prod(shape) * dtype.itemsize)
            header = (
                npy_header(name, shape, dtype, order)
                if form == ".npy"
                else safetensors_header(tensor, shape, dtype)
            )
            target = FileTarget(str(partial.data), header, shape, dtype, order)
            if not target.begun:
                target.begin()
    except BaseException:
        partial.remove() if fresh else partial.close()
        raise
    return Writable(partial, target, shape, dtype, progress, overwrite)


def _make_way(partial: Partial, path: Path, form: str, overwrite: bool, resume: bool) -> bool:
    """Whether the result starts from nothing; refuses to destroy what nobody gave up."""
    if path.exists():
        if form == ".zarr":
            need_one_array(str(path))
        elif path.is_dir():
            raise StorageError(f"{path}: is a directory: it is not replaced")
        if not overwrite:
            raise StorageError(f"{path}: exists already; --overwrite replaces it")
    if not path.parent.is_dir():
        raise StorageError(f"{path}: there is no directory {path.parent}")
    if not partial.data.exists():
        return True
    if resume:
        return False
    if not overwrite:
        raise StorageError(
            f"{partial.data}: is left from an interrupted run: "
            "--resume goes on, --overwrite starts again"
        )
    partial.hold()  # nobody is writing it
    partial.remove()
    return True


def _order(form: str, like: Stored | None, ndim: int) -> Shape:
    """As the axes of another array lie, where the format can have it."""
    axes = tuple(range(ndim))
    if form != ".npy" or like is None or like.order == tuple(range(like.ndim)):
        return axes
    return axes[::-1]


def need_room(path: Path, nbytes: int) -> None:
    """Refuse at once what the disk cannot hold."""
    there = path.stat().st_blocks * 512 if path.exists() else 0
    free = shutil.disk_usage(path.parent).free
    if nbytes - there > free:
        raise OSError(errno.ENOSPC, f"needs {nbytes - there} bytes, {free} are free", str(path))
