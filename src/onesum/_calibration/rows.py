"""Rows of logits, or of probabilities, whose labels are known: checked, a block at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np

from .._arguments.masked import split_mask
from .._library import to_numpy
from .._storage.blocks import Blocks, blocks_in_order
from .._typing import From
from ..compare._gathered import NoSoftmaxError, labels_of
from ..compare._logits import Logits, ahead, readable

Array = Any

FROM = get_args(From)
# Elements computed with at one time: with what is made of them they stay in the second cache.
PART = 2**15
# Elements read at one time.
BLOCK = 2**20
# How far from 1 a row of probabilities may sum: those rounded to float16 are within 2^-11.
SUM = 1e-3
# The same of 16-bit numbers, of which the logarithms are off by 2^-9 of some ten.
SUM_OF_HALVES = 5e-2
# Weights beyond these would leave nothing of their squares and sums; 0 is none.
WEIGHTS = 1e-100, 1e100


class Part(NamedTuple):
    """Some rows, none of which has a weight of 0.

    numbers : which rows they are.
    x, largest : their logits, float64, and the largest of each.
    labels, weights : those of the rows; None where all count the same.
    p : their probabilities, where it is these that were given.
    """

    numbers: Array
    x: Array
    largest: Array
    labels: Array
    weights: Array | None
    p: Array | None = None


class Rows:
    """Logits of any library or in a file, and what is known of each row.

    Where something is left out, by `where` or a mask, the logit is -inf; so is that of a
    probability of 0. A row whose weight is 0 takes no part, whatever it holds.
    """

    def __init__(
        self,
        x: Any,
        labels: Any,
        axis: Any = -1,
        from_: str = "logits",
        sample_weight: Any = None,
        where: Any = None,
        name: str = "x",
    ) -> None:
        if from_ not in FROM:
            raise ValueError(f"from_: expected one of {', '.join(FROM)}, got {from_!r}")
        x, mask = split_mask(x)
        self.from_, self.given = from_, Logits(name, x, axis)
        self.off = off_of(self.given.source)
        self.labels = labels_of(labels, self.given)
        self.weights = None if sample_weight is None else weights_of(sample_weight, self.given)
        # Called with how many bytes were read.
        self.advance: Callable[[int], None] | None = None
        self.where = kept_of(where, mask, self.given.shape)

    @property
    def number(self) -> int:
        return self.given.rows

    @property
    def classes(self) -> int:
        return self.given.classes

    @property
    def counted(self) -> Any:
        """Those that take part, as an index of the rows."""
        return slice(None) if self.weights is None else self.weights > 0.0

    @property
    def counted_weights(self) -> Array | None:
        return None if self.weights is None else self.weights[self.counted]

    def parts(self) -> Iterator[Part]:
        """All rows in order; the next ones are read while these are in use."""
        boxes = self._blocks(BLOCK).rows()
        for first, block in self._numbered(ahead(partial(self._read, box) for box in boxes)):
            if self.advance is not None:
                self.advance(block.nbytes)
            step = max(1, PART // self.classes)
            for start in range(0, len(block), step):
                part = self._part(first + start, block[start : start + step])
                if len(part.x):
                    yield part

    def sample(self, elements: int) -> list[Part]:
        """About so many elements of rows evenly spaced, to look at more than once."""
        blocks = self._blocks(PART)
        cut = list(blocks.rows())
        sizes = [math.prod(s.stop - s.start for s in blocks.of_rows(box)) for box in cut]
        firsts = np.cumsum([0, *sizes])
        step = max(1, len(cut) * PART // elements)
        return [self._part(int(firsts[i]), self._read(cut[i])) for i in range(0, len(cut), step)]

    def row_name(self, row: int) -> str:
        return self.given.row_name(row)

    def _numbered(self, read: Iterator[Array]) -> Iterator[tuple[int, Array]]:
        first = 0
        for block in read:
            yield first, block
            first += len(block)

    def _blocks(self, elements: int) -> Blocks:
        return blocks_in_order(self.given.shape, self.given.axis, elements)

    def _read(self, box: tuple[slice, ...]) -> Array:
        block = self.given.read(box)
        if self.where is None:
            return block
        kept = np.moveaxis(self.where[box], self.given.axis, -1).reshape(block.shape)
        outside = 0.0 if self.from_ == "probabilities" else -np.inf
        return np.where(kept, block, np.asarray(outside, block.dtype))

    def _part(self, first: int, rows: Array) -> Part:
        at: Any = slice(first, first + len(rows))
        numbers, weights = np.arange(at.start, at.stop), None
        if self.weights is not None:
            counts = self.weights[at] > 0.0
            if not counts.all():
                at = numbers = numbers[counts]
                rows = rows[counts]
            weights = self.weights[at]
        x = rows.astype(np.float64, copy=False)
        largest = x.max(axis=-1)
        self._need_valid(numbers, x, largest)
        p = None
        if self.from_ == "probabilities":
            with np.errstate(divide="ignore"):
                p, x, largest = x, np.log(x), np.log(largest)
        return Part(numbers, x, largest, self.labels[at], weights, p)

    def _need_valid(self, numbers: Array, x: Array, largest: Array) -> None:
        """That each row has a softmax, and is what it was declared to be."""
        if self.from_ == "logits":
            wanted = "logits, of which one is not -inf, and none inf or NaN"
            self._need(np.isfinite(largest), numbers, wanted, largest)
            return
        p, wanted = x, "probabilities"
        if self.from_ == "log_probabilities":
            self._need(
                largest <= self.off, numbers, "logarithms of probabilities, at most 0", largest
            )
            p, wanted = np.exp(x), "logarithms of probabilities"
        for extreme in (p.min(axis=-1), p.max(axis=-1)):
            inside = (extreme >= 0.0) & (extreme <= 1.0 + self.off)
            self._need(inside, numbers, "probabilities from 0 to 1", extreme)
        total = p.sum(axis=-1)
        self._need(
            abs(total - 1.0) <= self.off, numbers, f"{wanted} that sum to 1", total, " in all"
        )

    def _need(self, good: Array, numbers: Array, wanted: str, got: Array, what: str = "") -> None:
        if not good.all():
            i = int(np.argmin(good))
            row = self.row_name(int(numbers[i]))
            text = f"{self.given.name}: expected {wanted}, got {got[i]:g}{what} in {row}"
            raise (NoSoftmaxError if self.from_ == "logits" else ValueError)(text)


def off_of(x: Any) -> float:
    """How far from 1 a row of probabilities may sum, by what they were rounded to."""
    return SUM_OF_HALVES if getattr(getattr(x, "dtype", None), "itemsize", 0) == 2 else SUM


def kept_of(where: Any, mask: Array | None, shape: tuple[int, ...]) -> Array | None:
    """What is not left out, of the shape of x; None where that is all."""
    if where is None:
        return None if mask is None else ~mask
    where = to_numpy(readable("where", where))
    if where.dtype != np.bool_:
        raise TypeError(f"where: expected bool, got dtype {where.dtype}")
    try:
        where = np.broadcast_to(where, shape)
    except ValueError:
        wanted = f"a shape that broadcasts to {shape}"
        raise ValueError(f"where: expected {wanted}, got {where.shape}") from None
    return where if mask is None else where & ~mask


def weights_of(sample_weight: Any, given: Logits) -> Array:
    """One number a row, of which one at least is above 0."""
    weights = to_numpy(readable("sample_weight", sample_weight))
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight: expected numbers, got dtype {weights.dtype}")
    if weights.shape != given.batch:
        wanted = f"shape {given.batch}, one per row"
        raise ValueError(f"sample_weight: expected {wanted}, got {weights.shape}")
    weights = weights.reshape(-1).astype(np.float64)
    low, high = WEIGHTS
    bad = np.flatnonzero(~((weights == 0.0) | ((weights >= low) & (weights <= high))))
    if bad.size:
        row = int(bad[0])
        got = f"{weights[row]:g} in {given.row_name(row)}"
        wanted = f"0, or numbers from {low:g} to {high:g}"
        raise ValueError(f"sample_weight: expected {wanted}, got {got}")
    if not weights.any():
        raise ValueError("sample_weight: expected a number above zero, got zeros only")
    return weights
