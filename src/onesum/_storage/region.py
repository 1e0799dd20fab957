"""An array whose elements lie one after the other in a file: read and written in boxes.

Through `pread` and `pwrite`, not through mapped memory: the process holds the block it asked for
and no more, a file that is cut short is an error and not the end of the process, and several
threads may read and write at once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# From 256 KiB on Linux (6.18, ext4) takes larger pages for what is written, and two to five times
# as long: 2.5 GB by dd took 0.9 s of a processor with bs=128k, 2.5 with 256k, 4 to 5 with 4M.
WRITTEN_AT_ONCE = 128 << 10

Box = tuple[slice, ...]  # a range with both ends for every axis
Buffer = NDArray[np.uint8]


def lengths_of(box: Box) -> tuple[int, ...]:
    return tuple(s.stop - s.start for s in box)


def numbers_in(box: Box, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The elements in a box of an array of this shape, counted as in C order."""
    number = np.zeros((), np.int64)
    for part, n in zip(box, shape, strict=True):
        number = number[..., np.newaxis] * n + np.arange(part.start, part.stop)
    return number.reshape(-1)


def array_in(
    buffer: Buffer | None, shape: tuple[int, ...], dtype: np.dtype[Any], order: tuple[int, ...]
) -> NDArray[Any]:
    """An array of this shape in the first bytes of a buffer, with its axes in this order there."""
    stored = tuple(shape[i] for i in order)
    if buffer is None:
        flat = np.empty(stored, dtype)
    else:
        flat = buffer[: math.prod(stored) * dtype.itemsize].view(dtype).reshape(stored)
    return flat.transpose(np.argsort(order)) if order else flat


class Region:
    """The elements of an array in a file, from an offset on.

    order : the axes, outermost first, as they lie in the file.
    """

    def __init__(
        self,
        file: int,
        offset: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        order: tuple[int, ...],
    ) -> None:
        self.file, self.offset, self.dtype, self.order = file, offset, dtype, order
        self.stored = tuple(shape[i] for i in order)
        self.end = offset + math.prod(shape) * dtype.itemsize
        self.strides = [dtype.itemsize * math.prod(self.stored[i + 1 :]) for i in range(len(shape))]

    def read(self, box: Box, buffer: Buffer | None = None) -> NDArray[Any]:
        """What lies in a box: a new array, or one in the first bytes of the buffer."""
        block = array_in(buffer, lengths_of(box), self.dtype, self.order)
        memory = _bytes_of(block.transpose(self.order))
        for position, start, length in self._runs(box):
            _read_at(self.file, memory[start : start + length], position)
        return block

    def write(self, box: Box, block: NDArray[Any]) -> None:
        """Put a block of the dtype of this into its place."""
        stored = np.ascontiguousarray(block.transpose(self.order), self.dtype)
        memory = _bytes_of(stored)
        for position, start, length in self._runs(box):
            _write_at(self.file, memory[start : start + length], position)

    def _runs(self, box: Box) -> Iterator[tuple[int, int, int]]:
        """The parts of a box that lie in one piece: where in the file, where in the block, bytes.

        The innermost axes that are taken whole are in one piece with a range of the next one.
        """
        box = tuple(box[i] for i in self.order)
        lengths = lengths_of(box)
        if 0 in lengths:
            return
        outer = len(box)
        while outer and lengths[outer - 1] == self.stored[outer - 1]:
            outer -= 1
        outer = max(outer - 1, 0)
        length = math.prod(lengths[outer:]) * self.dtype.itemsize
        first = self.offset + sum(s.start * n for s, n in zip(box, self.strides, strict=True))
        for i, index in enumerate(np.ndindex(*lengths[:outer])):
            position = first + sum(map(int.__mul__, index, self.strides))
            yield position, i * length, length


def _bytes_of(contiguous: NDArray[Any]) -> memoryview:
    return contiguous.reshape(-1).view(np.uint8).data


def _read_at(file: int, memory: memoryview, position: int) -> None:
    while memory:
        n = os.preadv(file, [memory], position)
        if not n:
            raise EOFError("the file ends before its array does")
        memory, position = memory[n:], position + n


def _write_at(file: int, memory: memoryview, position: int) -> None:
    while memory:
        n = os.pwrite(file, memory[:WRITTEN_AT_ONCE], position)
        memory, position = memory[n:], position + n
