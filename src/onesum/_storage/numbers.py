"""The types of numbers that stored arrays may have."""

import os
from typing import Any

import numpy as np

from .errors import StorageError, needs

DType = np.dtype[Any]

# The names of the safetensors format; all of it is little-endian.
SAFETENSORS = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
BFLOAT16 = "BF16"
NUMBERS = "bools, integers, float16, bfloat16, float32 or float64"


def bfloat16(path: str) -> DType:
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        raise needs(path, "ml_dtypes (for bfloat16)") from None
    dtype: DType = np.dtype(ml_dtypes.bfloat16)
    return dtype


def is_bfloat16(dtype: DType) -> bool:
    return dtype.name == "bfloat16"


def from_safetensors(path: str, name: str) -> DType:
    if name == BFLOAT16:
        return bfloat16(path)
    if name not in SAFETENSORS:
        raise StorageError(f"{path}: expected {NUMBERS}, got dtype {name}")
    return np.dtype(SAFETENSORS[name])


def to_safetensors(dtype: DType) -> str:
    if is_bfloat16(dtype):
        return BFLOAT16
    return next(name for name, code in SAFETENSORS.items() if np.dtype(code) == dtype)


def need_numbers(path: str | os.PathLike[str], dtype: DType) -> None:
    """Refuse what is no array of real numbers: objects, text, records, complex numbers."""
    path = os.fspath(path)
    if dtype.hasobject:
        raise StorageError(f"{path}: expected {NUMBERS}, got Python objects, which are not loaded")
    if dtype == np.dtype("V2"):
        raise StorageError(
            f"{path}: expected {NUMBERS}, got 2 bytes of no type: if they are bfloat16, "
            "which .npy has no name for, save them as .safetensors"
        )
    if (dtype.kind not in "biuf" and not is_bfloat16(dtype)) or dtype.itemsize > 8:
        raise StorageError(f"{path}: expected {NUMBERS}, got dtype {dtype}")


def need_standard(path: str | os.PathLike[str], dtype: DType, file_format: str) -> None:
    """Refuse to write what a format has no type for."""
    if is_bfloat16(dtype):
        raise StorageError(
            f"{os.fspath(path)}: {file_format} has no bfloat16: "
            "expected a .safetensors file, or another dtype (--dtype float32)"
        )
