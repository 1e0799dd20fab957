"""Tensors of a safetensors file, by name."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import StorageError, needs
from .numbers import from_safetensors, to_safetensors
from .region import Box, Buffer, lengths_of
from .stored import Identity, Stored, file_identity, open_file

SUFFIX = ".safetensors"
METADATA = "__metadata__"  # what a header has beside its tensors


def split_name(name: str) -> tuple[str, str | None]:
    """The path and the tensor of `PATH:NAME`."""
    at = name.find(f"{SUFFIX}:")
    if at < 0 or os.path.exists(name):
        return name, None
    at += len(SUFFIX)
    return name[:at], name[at + 1 :]


class SafetensorsArray(Stored):
    format = "safetensors"

    def __init__(self, name: str) -> None:
        path, tensor = split_name(name)
        self.file = opened(path)
        names = sorted(self.file.keys())
        if tensor is None and len(names) == 1:
            tensor = names[0]
        if tensor not in names:
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            if tensor is None:
                wanted = f"one tensor, or its name after a colon ({path}:NAME)"
                raise StorageError(f"{path}: expected {wanted}, got {len(names)}: {some}")
            raise StorageError(f"{name}: no such tensor; there is {some}")
        self.tensor = str(tensor)
        self.slices = self.file.get_slice(self.tensor)
        shape = tuple(self.slices.get_shape())
        dtype = from_safetensors(name, self.slices.get_dtype())
        super().__init__(f"{path}:{tensor}", shape, dtype, tuple(range(len(shape))))
        self.path = type(self.path)(path)

    def read(self, box: Box, buffer: Buffer | None = None) -> NDArray[Any]:
        if 0 in (lengths := lengths_of(box)):  # which the library refuses
            return np.empty(lengths, self.dtype)
        return np.asarray(self.slices[box] if box else self.file.get_tensor(self.tensor))

    def identity(self) -> Identity:
        with self.path.open("rb") as file:
            size = file.read(8)
            header = file.read(int.from_bytes(size, "little"))
        return {**file_identity(self.path, size + header), "tensor": self.tensor}


def opened(path: str) -> Any:
    """The file, as its library reads it: lazily, and only if all of it is there."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError:
        raise needs(path, "safetensors") from None
    os.close(open_file(path))  # whose refusals are clearer
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as error:
        raise StorageError(f"{path}: expected a safetensors file: {error}") from None


def tensors(path: str) -> list[SafetensorsArray]:
    """All that a file holds."""
    return [SafetensorsArray(f"{path}:{name}") for name in sorted(opened(path).keys())]


def need_tensor_name(name: str, tensor: str) -> None:
    """Refuse a name that no reader would find the tensor by."""
    if tensor in ("", METADATA):
        wanted = f"the name of a tensor after the colon, but for {METADATA}"
        raise StorageError(f"{name}: expected {wanted}, got {tensor!r}")


def safetensors_header(tensor: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """What comes before the elements: 8 bytes of length, and JSON, padded to 8 bytes."""
    end = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    about = {"dtype": to_safetensors(dtype), "shape": list(shape), "data_offsets": [0, end]}
    text = json.dumps({tensor: about}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
