"""How a stored array is cut into blocks of rows, and rows too long for a block into pieces.

A block lies together in its file as far as its shape allows: it takes the innermost axes of the
file first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np

from .region import Box

# Below a page, to read a piece of a file costs what a page costs.
SHORTEST_RUN = 4096
# Small blocks stay in the caches from reading to writing. Where rows do not fit into one, or would
# be read in bits, larger ones may do; if not, they come in pieces, whose state takes more room.
SIZES = (4 << 20, 32 << 20)
PIECE = 1 << 20
# So much of a block of pieces may be rows: each has a state of some numbers, and temporaries.
ROWS_OF_PIECES = 16


class Lies(Protocol):
    """What is known of an array in a file, or of anything else that is read in blocks."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def order(self) -> tuple[int, ...]:
        """The axes, outermost first, as they lie there."""

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """What is read at once; None where any part may be read by itself."""


class Blocks(NamedTuple):
    """The parts of an array: which rows, and if they are not whole, in which pieces.

    take : how much of every axis a block has at most.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    order: tuple[int, ...]
    take: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether the rows of a block are whole."""
        return all(self.take[i] >= self.shape[i] for i in self.axes)

    @property
    def elements(self) -> int:
        """How many a block has at most."""
        return math.prod(min(t, n) for t, n in zip(self.take, self.shape, strict=True))

    @property
    def batch(self) -> tuple[int, ...]:
        """The axes that are no class axes."""
        return tuple(i for i in range(len(self.shape)) if i not in self.axes)

    def rows(self) -> Iterator[Box]:
        """Boxes that have all classes of some rows, in the order of the file."""
        return self._boxes(self.batch, tuple(slice(0, n) for n in self.shape))

    def pieces(self, rows: Box) -> Iterator[Box]:
        """The boxes that such a one is read in."""
        return self._boxes(self.axes, rows)

    def of_rows(self, box: Box) -> Box:
        """The same rows in an array that has no class axes."""
        return tuple(box[i] for i in self.batch)

    def _boxes(self, axes: tuple[int, ...], box: Box) -> Iterator[Box]:
        cut = [i for i in self.order if i in axes]
        for starts in product(*(range(0, self.shape[i], self.take[i]) for i in cut)):
            part = list(box)
            for i, start in zip(cut, starts, strict=True):
                part[i] = slice(start, min(start + self.take[i], self.shape[i]))
            yield tuple(part)


def blocks_of(
    stored: Lies, axes: Sequence[int], nbytes: int | None = None, itemsize: int = 0
) -> Blocks:
    """Blocks of at most so many bytes, but of one row, or one chunk of the file, at least.

    itemsize : of an element in memory, where that is more than in the file.
    """
    size = max(itemsize, stored.dtype.itemsize)
    sizes = (*SIZES, PIECE) if nbytes is None else (nbytes,)
    cuts = [_blocks(stored, tuple(axes), n // size) for n in sizes]
    return next((blocks for blocks in cuts if blocks.whole), cuts[-1])


def blocks_beside(arrays: Sequence[Lies], axes: Sequence[int], elements: Sequence[int]) -> Blocks:
    """Blocks of whole rows of arrays of one shape, which are read side by side.

    elements : how many a block has at most, unless one row, or one chunk, has more. The first of
        these numbers at which no array is read in bits, or the last.
    """
    first = arrays[0]
    least = [max(of) for of in zip(*map(_least, arrays), strict=True)]
    plain = tuple(range(len(first.shape)))
    order = next((a.order for a in arrays if a.order != plain), plain)
    for room in elements:
        take = _whole_rows(first.shape, order, tuple(axes), least, room)
        if not any(_in_bits(take, a) for a in arrays):
            break
    return Blocks(first.shape, tuple(axes), order, tuple(take))


def blocks_in_order(shape: tuple[int, ...], axis: int, elements: int) -> Blocks:
    """Blocks of whole rows, at least one, which have them one after the other in C order."""
    plain, least = tuple(range(len(shape))), [1] * len(shape)
    take = _whole_rows(shape, plain, (axis,), least, elements)
    return Blocks(shape, (axis,), plain, tuple(take))


def _blocks(stored: Lies, axes: tuple[int, ...], room: int) -> Blocks:
    least = _least(stored)
    take = _whole_rows(stored.shape, stored.order, axes, least, room)
    if math.prod(take) > room or _in_bits(take, stored):
        take = list(least)
        _grow(take, stored.shape, stored.order, least, room, classes=axes)
    return Blocks(stored.shape, axes, stored.order, tuple(take))


def _least(stored: Lies) -> list[int]:
    """How much of every axis is read at once."""
    chunks = stored.chunks or (1,) * len(stored.shape)
    return [max(1, min(c, n)) for c, n in zip(chunks, stored.shape, strict=True)]


def _whole_rows(
    shape: tuple[int, ...],
    order: tuple[int, ...],
    axes: tuple[int, ...],
    least: list[int],
    room: int,
) -> list[int]:
    take = [max(1, shape[i]) if i in axes else n for i, n in enumerate(least)]
    _grow(take, shape, order, least, room, fixed=axes)
    return take


def _grow(
    take: list[int],
    shape: tuple[int, ...],
    order: tuple[int, ...],
    least: list[int],
    room: int,
    fixed: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> None:
    """Let a block have as much of every axis as there is room for, the innermost first.

    fixed : axes that it has its part of.
    classes : the class axes, where rows come in pieces: then it has few rows.
    """
    for i in reversed(order):
        if i in fixed:
            continue
        n = room // (math.prod(take) // take[i])
        if classes and i not in classes:
            rows = math.prod(t for j, t in enumerate(take) if j not in classes and j != i)
            n = min(n, room // ROWS_OF_PIECES // rows)
        n = max(least[i], n // least[i] * least[i])
        take[i] = min(n, max(1, shape[i]))


def _in_bits(take: list[int], stored: Lies) -> bool:
    """Whether a block lies in short pieces; a chunk does not, whatever its shape."""
    if stored.chunks is not None:
        return False
    run = stored.dtype.itemsize
    for i in reversed(stored.order):
        run *= take[i]
        if take[i] < stored.shape[i]:
            return run < SHORTEST_RUN
    return False
