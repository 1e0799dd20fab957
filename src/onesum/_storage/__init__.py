"""Arrays in files: NumPy's .npy, safetensors and Zarr, read and written in blocks.

    open_array(name) -> Stored       x.shape, x.dtype, x[2:5]
    create_array(name, ...) -> Writable   w[2:5] = block; w.finish()

Nothing is ever unpickled. What is wrong with a file is a `StorageError`, which begins with its
name.
"""

from __future__ import annotations

import os

from .errors import StorageError
from .formats import FORMATS, PICKLES, format_of
from .npy import open_npy
from .safetensors import SafetensorsArray, split_name
from .stored import Stored
from .writable import Writable, create_array
from .zarr import ZarrArray

__all__ = ["FORMATS", "StorageError", "Stored", "Writable", "create_array", "open_array"]


def open_array(name: str | os.PathLike[str]) -> Stored:
    """An array in a file, of which nothing is read yet.

    Parameters
    ----------
    name : str or path
        A .npy file; a .safetensors file, with `:NAME` after it if it has several tensors; the
        directory of a Zarr array.

    Raises
    ------
    StorageError
        If there is no such array, or none of real numbers, or the file is cut short or damaged.
    """
    name = os.fspath(name)
    form = format_of(split_name(name)[0])
    if form == ".npy":
        return open_npy(name)
    if form == ".safetensors":
        return SafetensorsArray(name)
    if form == ".zarr":
        return ZarrArray(name)
    if form in PICKLES:
        wanted = "save the tensor as .safetensors or .npy"
        raise StorageError(f"{name}: is a pickle, which runs code when it is loaded: {wanted}")
    if form == ".npz":
        wanted = "expected one array: save it as .npy"
        raise StorageError(f"{name}: is an archive of arrays: {wanted}")
    wanted = ", ".join(FORMATS)
    raise StorageError(f"{name}: expected a name that ends in {wanted}, got {form or 'no suffix'}")
