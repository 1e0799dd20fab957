"""Arrays in files of every format, for the tests of storage and of the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import zarr

FORMATS = ["npy", "npy in Fortran order", "safetensors", "zarr 2", "zarr 3"]


def logits(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    return np.random.default_rng(0).normal(0, 5, shape).astype(dtype)


def save(folder: Path, form: str, x: Any, name: str = "x") -> str:
    """The file's name."""
    path = str(folder / f"{name}.{form.split()[0]}")
    if form == "npy":
        np.save(path, x)
    elif form.startswith("npy"):
        np.save(path, np.asfortranarray(x).reshape(x.shape, order="F"))
    elif form == "safetensors":
        safetensors.numpy.save_file({"logits": np.ascontiguousarray(x).reshape(x.shape)}, path)
    else:
        chunks = tuple(max(1, (n + 1) // 3) for n in x.shape)
        version = int(form.split()[1])
        stored = zarr.create_array(
            store=path, shape=x.shape, dtype=x.dtype, chunks=chunks, zarr_format=version
        )
        stored[...] = x
    return path


def load(path: str | Path) -> Any:
    """What is in a file, as the library of its format reads it."""
    path = str(path)
    if path.endswith(".npy"):
        return np.load(path)
    if path.endswith(".safetensors"):
        [x] = safetensors.numpy.load_file(path).values()
        return x
    return zarr.open_array(path, mode="r")[...]


def pickling_zarr(folder: Path) -> str:
    """A Zarr array whose chunks would be unpickled."""
    path = folder / "pickled.zarr"
    path.mkdir()
    about = {
        "zarr_format": 2,
        "shape": [2],
        "chunks": [2],
        "dtype": "<f4",
        "compressor": None,
        "filters": [{"id": "pickle"}],
        "fill_value": 0,
        "order": "C",
    }
    (path / ".zarray").write_text(json.dumps(about))
    return str(path)
