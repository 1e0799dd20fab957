"""How a stored array is cut into blocks of rows, and rows too long for a block into pieces.

A block lies together in its file as far as its shape allows: it takes the innermost axes of the
file first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from .region import Box
from .stored import Stored

# Below a page, to read a piece of a file costs what a page costs.
SHORTEST_RUN = 4096
# Small blocks stay in the caches from reading to writing. Where rows do not fit into one, or would
# be read in bits, larger ones may do; if not, they come in pieces, whose state takes more room.
SIZES = (4 << 20, 32 << 20)
PIECE = 1 << 20
# So much of a block of pieces may be rows: each has a state of some numbers, and temporaries.
ROWS_OF_PIECES = 16


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
    stored: Stored, axes: Sequence[int], nbytes: int | None = None, itemsize: int = 0
) -> Blocks:
    """Blocks of at most so many bytes, but of one row, or one chunk of the file, at least.

    itemsize : of an element in memory, where that is more than in the file.
    """
    size = max(itemsize, stored.dtype.itemsize)
    sizes = (*SIZES, PIECE) if nbytes is None else (nbytes,)
    cuts = [_blocks(stored, tuple(axes), n // size) for n in sizes]
    return next((blocks for blocks in cuts if blocks.whole), cuts[-1])


def _blocks(stored: Stored, axes: tuple[int, ...], room: int) -> Blocks:
    chunks = stored.chunks or (1,) * stored.ndim
    least = [max(1, min(c, n)) for c, n in zip(chunks, stored.shape, strict=True)]
    take = list(least)
    for i in axes:
        take[i] = max(1, stored.shape[i])
    _grow(take, stored, least, room, fixed=axes)
    if math.prod(take) > room or _run(take, stored) < min(SHORTEST_RUN, stored.nbytes):
        take = list(least)
        _grow(take, stored, least, room, classes=axes)
    return Blocks(stored.shape, axes, stored.order, tuple(take))


def _grow(
    take: list[int],
    stored: Stored,
    least: list[int],
    room: int,
    fixed: Sequence[int] = (),
    classes: Sequence[int] = (),
) -> None:
    """Let a block have as much of every axis as there is room for, the innermost first.

    fixed : axes that it has its part of.
    classes : the class axes, where rows come in pieces: then it has few rows.
    """
    for i in reversed(stored.order):
        if i in fixed:
            continue
        n = room // (math.prod(take) // take[i])
        if classes and i not in classes:
            rows = math.prod(t for j, t in enumerate(take) if j not in classes and j != i)
            n = min(n, room // ROWS_OF_PIECES // rows)
        n = max(least[i], n // least[i] * least[i])
        take[i] = min(n, max(1, stored.shape[i]))


def _run(take: list[int], stored: Stored) -> int:
    """How many bytes of a block lie in one piece; those of a chunk do whatever its shape."""
    if stored.chunks is not None:
        return SHORTEST_RUN
    run = stored.dtype.itemsize
    for i in reversed(stored.order):
        run *= take[i]
        if take[i] < stored.shape[i]:
            break
    return run
