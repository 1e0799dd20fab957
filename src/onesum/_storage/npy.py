"""NumPy's own files."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from numpy.lib import format as npy

from .errors import StorageError
from .numbers import need_numbers, need_standard
from .stored import StoredRegion, open_file

# The third version is the second in UTF-8, of which numbers need no more than ASCII.
HEADERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    (3, 0): npy.read_array_header_2_0,
}


class NpyArray(StoredRegion):
    format = "npy"


def open_npy(name: str) -> NpyArray:
    file = open_file(name)
    try:
        with open(file, "rb", closefd=False, buffering=0) as stream:
            shape, fortran, dtype = _header(name, stream)
            offset = stream.tell()
        need_numbers(name, dtype)
        axes = tuple(range(len(shape)))
        return NpyArray(name, file, offset, shape, dtype, axes[::-1] if fortran else axes)
    except BaseException:
        os.close(file)
        raise


def _header(name: str, stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        shape, fortran, dtype = HEADERS[npy.read_magic(stream)](stream)
        if min(shape, default=0) < 0:
            raise ValueError
        return shape, fortran, dtype
    except Exception:  # it is read as Python is, and as much can be wrong with it
        size = os.stat(name).st_size
        got = "an empty file" if not size else "something else, or the header is damaged"
        raise StorageError(f"{name}: expected a NumPy array (.npy), got {got}") from None


def npy_header(
    name: str, shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...]
) -> bytes:
    """What comes before the elements."""
    need_standard(name, dtype, ".npy")
    stream = io.BytesIO()
    fortran = len(shape) > 1 and order == tuple(range(len(shape)))[::-1]
    descr = npy.dtype_to_descr(dtype)
    about = {"descr": descr, "fortran_order": fortran, "shape": shape}
    npy.write_array_header_1_0(stream, about)
    return stream.getvalue()
