"""Rows of logits, or of probabilities, whose labels are known: checked, a block at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, get_args

import numpy as np

from .._arguments.masked import split_mask, unmasked
from .._typing import From
from ..compare._gathered import NoSoftmaxError, labels_of
from ..compare._logits import Logits, ahead

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


class Part(NamedTuple):
    """Some rows.

    first : the number of the first of them.
    x, largest : their logits, float64, and the largest of each.
    labels, weights : those of the rows; None where all count the same.
    p : their probabilities, where it is these that were given.
    """

    first: int
    x: Array
    largest: Array
    labels: Array
    weights: Array | None
    p: Array | None = None


class Rows:
    """Logits of any library or in a file, and what is known of each row.

    Where something is left out, by `where` or a mask, the logit is -inf; so is that of a
    probability of 0.
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
        self.off = SUM_OF_HALVES if self.given.source.dtype.itemsize == 2 else SUM
        self.labels = labels_of(labels, self.given)
        self.weights = None if sample_weight is None else weights_of(sample_weight, self.given)
        # Called with how many bytes were read.
        self.advance: Callable[[int], None] = lambda nbytes: None
        self.where = _kept(where, mask, self.given.shape)

    @property
    def number(self) -> int:
        return self.given.rows

    @property
    def classes(self) -> int:
        return self.given.classes

    @property
    def total_weight(self) -> float:
        return float(self.number if self.weights is None else self.weights.sum())

    def parts(self) -> Iterator[Part]:
        """All rows in order; the next ones are read while these are in use."""
        cut = list(_blocks(self.given.shape, self.given.axis, max(BLOCK, self.classes)))
        for first, block in self._numbered(ahead(partial(self._read, box) for box in cut)):
            self.advance(block.nbytes)
            step = max(1, PART // self.classes)
            for start in range(0, len(block), step):
                yield self._part(first + start, block[start : start + step])

    def sample(self, elements: int) -> list[Part]:
        """About so many elements of rows evenly spaced, to look at more than once."""
        cut = list(_blocks(self.given.shape, self.given.axis, max(PART, self.classes)))
        sizes = [self._rows_in(box) for box in cut]
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

    def _rows_in(self, box: tuple[slice, ...]) -> int:
        sizes = (len(range(*s.indices(n))) for s, n in zip(box, self.given.shape, strict=True))
        return int(np.prod([n for i, n in enumerate(sizes) if i != self.given.axis], dtype=int))

    def _read(self, box: tuple[slice, ...]) -> Array:
        block = self.given.read(box)
        if self.where is None:
            return block
        kept = np.moveaxis(self.where[box], self.given.axis, -1).reshape(block.shape)
        outside = 0.0 if self.from_ == "probabilities" else -np.inf
        return np.where(kept, block, np.asarray(outside, block.dtype))

    def _part(self, first: int, rows: Array) -> Part:
        at = slice(first, first + len(rows))
        x = rows.astype(np.float64, copy=False)
        largest = x.max(axis=-1)
        self._need_valid(first, x, largest)
        p = None
        if self.from_ == "probabilities":
            with np.errstate(divide="ignore"):
                p, x, largest = x, np.log(x), np.log(largest)
        weights = None if self.weights is None else self.weights[at]
        return Part(first, x, largest, self.labels[at], weights, p)

    def _need_valid(self, first: int, x: Array, largest: Array) -> None:
        """That each row has a softmax, and is what it was declared to be."""
        if self.from_ == "logits":
            wanted = "logits, of which one is not -inf, and none inf or NaN"
            self._need(np.isfinite(largest), first, wanted, largest)
            return
        p, wanted = x, "probabilities"
        if self.from_ == "log_probabilities":
            self._need(
                largest <= self.off, first, "logarithms of probabilities, at most 0", largest
            )
            p, wanted = np.exp(x), "logarithms of probabilities"
        for extreme in (p.min(axis=-1), p.max(axis=-1)):
            inside = (extreme >= 0.0) & (extreme <= 1.0 + self.off)
            self._need(inside, first, "probabilities from 0 to 1", extreme)
        total = p.sum(axis=-1)
        self._need(abs(total - 1.0) <= self.off, first, f"{wanted} that sum to 1", total, " in all")

    def _need(self, good: Array, first: int, wanted: str, got: Array, what: str = "") -> None:
        if not good.all():
            i = int(np.argmin(good))
            row = self.row_name(first + i)
            text = f"{self.given.name}: expected {wanted}, got {got[i]:g}{what} in {row}"
            raise (NoSoftmaxError if self.from_ == "logits" else ValueError)(text)


def _kept(where: Any, mask: Array | None, shape: tuple[int, ...]) -> Array | None:
    """What is not left out, of the shape of x; None where that is all."""
    if where is None:
        return None if mask is None else ~mask
    where = np.asarray(where)
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
    weights = np.asarray(unmasked("sample_weight", sample_weight))
    if weights.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight: expected numbers, got dtype {weights.dtype}")
    if weights.shape != given.batch:
        wanted = f"shape {given.batch}, one per row"
        raise ValueError(f"sample_weight: expected {wanted}, got {weights.shape}")
    weights = weights.reshape(-1).astype(np.float64)
    bad = np.flatnonzero(~((weights >= 0.0) & (weights < np.inf)))
    if bad.size:
        row = int(bad[0])
        got = f"{weights[row]:g} in {given.row_name(row)}"
        raise ValueError(f"sample_weight: expected finite numbers >= 0, got {got}")
    if not weights.any():
        raise ValueError("sample_weight: expected a number above zero, got zeros only")
    return weights


def _blocks(shape: tuple[int, ...], axis: int, elements: int) -> Iterator[tuple[slice, ...]]:
    """Slices that give all rows in C order, about so many elements at a time, at least a row."""
    batch = [i for i in range(len(shape)) if i != axis]
    if not batch:
        yield (slice(None),)
        return
    size = shape[axis]
    while len(batch) > 1 and size * shape[batch[-1]] <= elements:
        size *= shape[batch.pop()]
    *one_by_one, cut = batch
    step = max(1, elements // size)
    for at in itertools.product(*(range(shape[i]) for i in one_by_one)):
        for start in range(0, shape[cut], step):
            block = [slice(None)] * len(shape)
            for i, j in zip(one_by_one, at, strict=True):
                block[i] = slice(j, j + 1)
            block[cut] = slice(start, min(start + step, shape[cut]))
            yield tuple(block)
