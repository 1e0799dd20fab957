"""The loss and the accuracy of stored logits, in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import Normalizer, cross_entropy
from .._functions.ranks import before
from .._storage import Stored
from .._storage.blocks import Blocks, blocks_of
from .._storage.region import Box, Buffer, lengths_of, numbers_in
from .._storage.stream import stream
from ..compare._labels import need_classes, need_labels
from . import signals
from .errors import UserError
from .progress import progress_bar
from .rows import rows_where
from .statistics import Evaluation
from .transform import Array


class Labelled(NamedTuple):
    """Stored logits, their labels, and what is asked about them."""

    x: Stored
    y: Stored
    axes: tuple[int, ...]
    temperature: float
    ignore_index: int | None
    k: int


class Task(NamedTuple):
    """A box to read: whole rows, or a piece of them, to gather or to rank by."""

    box: Box
    kind: Literal["whole", "gather", "rank"]
    first: bool
    last: bool


def evaluate(given: Labelled, room: int | None, shown: bool | None) -> Evaluation:
    """Go through the logits once, in blocks of so many bytes; twice where no row fits into one."""
    x, y = given.x, given.y
    blocks = blocks_of(x, given.axes, room, 8)
    shape = tuple(x.shape[i] for i in blocks.batch)
    try:
        need_labels(y.name, y, shape)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
    work = _Work(given, blocks)
    if not work.classes:
        raise UserError(f"{x.name}: expected a class at least, got shape {x.shape}")
    passes = 1 if blocks.whole else 2
    nbytes = blocks.elements * x.dtype.itemsize
    with signals.deferred(), progress_bar("loss", x.nbytes * passes, 0, shown) as work.advance:
        stream(work.tasks(), work.work, work.take, nbytes, alone=lambda task: task.first)
    return work.result


class _Work:
    """The tasks' steps, and what is known of the rows so far."""

    advance: Any

    def __init__(self, given: Labelled, blocks: Blocks) -> None:
        self.given, self.blocks = given, blocks
        self.classes = math.prod(given.x.shape[i] for i in given.axes)
        self.result = Evaluation()
        # Of the rows that are gone through in pieces.
        self.state: Any = None
        self.own = self.rank = np.empty(0)

    def tasks(self) -> Iterator[Task]:
        for rows in self.blocks.rows():
            if self.blocks.whole:
                yield Task(rows, "whole", False, True)
                continue
            pieces = list(self.blocks.pieces(rows))
            for kind in ("gather", "rank"):
                for i, box in enumerate(pieces):
                    yield Task(box, kind, i == 0, i == len(pieces) - 1)

    # --- in several threads ---

    def work(self, task: Task, buffer: Buffer) -> Any:
        """Read a box, and answer what is to be known of it."""
        x = self.given.x.read(task.box, buffer)
        labels = self.given.y.read(self.blocks.of_rows(task.box))
        if task.kind == "whole":
            return self._whole(x, labels, task.box)
        if task.kind == "gather":
            return self._gather(x, labels, task.box)
        own = self.own[..., None]
        return before(self._rows(x), self._indices(task.box), own, labels[..., None])

    def _whole(self, x: Array, labels: Array, box: Box) -> tuple[Array, Array, Array]:
        """The loss and the rank of each row, and whether it has NaN."""
        given = self.given
        self._need_classes(labels, box)
        losses = cross_entropy(
            x,
            labels,
            given.axes,
            temperature=given.temperature,
            ignore_index=given.ignore_index,
            reduction="none",
            dtype=np.float64,
        )
        rows = self._rows(x)
        safe = np.where(self._counted(labels), labels, 0)[..., None].astype(np.int64)
        own = np.take_along_axis(rows, safe, -1)
        rank = before(rows, np.arange(self.classes), own, safe)
        return np.asarray(losses), rank, np.asarray(np.isnan(x).any(axis=given.axes))

    def _gather(self, x: Array, labels: Array, box: Box) -> tuple[Normalizer, Array, Array]:
        """The state of these classes; where the label's is among them, and its logit."""
        self._need_classes(labels, box)
        x = x.astype(np.float64)
        state = Normalizer.of(x, self.given.axes, temperature=self.given.temperature)
        here = self._indices(box) == labels[..., None]
        own = np.take_along_axis(self._rows(x), here.argmax(-1)[..., None], -1)[..., 0]
        return state, np.asarray(here.any(-1)), own

    def _need_classes(self, labels: Array, box: Box) -> None:
        """Refuse a label that is no class."""
        first = [s.start for s in self.blocks.of_rows(box)]
        try:
            need_classes(self.given.y.name, labels, self.classes, self._counted(labels), first)
        except IndexError as error:
            raise UserError(str(error)) from None

    def _counted(self, labels: Array) -> Array:
        ignore = self.given.ignore_index
        if ignore is None:
            return np.ones(labels.shape, np.bool_)
        return np.asarray(labels != ignore)

    def _indices(self, box: Box) -> Array:
        """The classes in a box, counted as a label does: in C order."""
        axes = self.given.axes
        return numbers_in(tuple(box[i] for i in axes), tuple(self.given.x.shape[i] for i in axes))

    def _rows(self, x: Array) -> Array:
        """The classes along a last axis; 16-bit numbers, which are slow to compare, in 32."""
        axes = self.given.axes
        rows = np.moveaxis(x, axes, range(-len(axes), 0)) if axes else x
        rows = rows.reshape(*rows.shape[: x.ndim - len(axes)], -1)
        wide = x.dtype.itemsize == 2 and x.dtype.kind not in "iu"
        return rows.astype(np.float32) if wide else rows

    # --- in the main thread, in the order of the tasks ---

    def take(self, task: Task, answer: Any) -> None:
        if task.kind == "whole":
            self._add(task, *answer)
        elif task.kind == "gather":
            state, here, own = answer
            self.state = state if task.first else self.state | state
            self.own = np.where(here, own, np.nan if task.first else self.own)
        else:
            self.rank = answer if task.first else self.rank + answer
            if task.last:
                own = np.expand_dims(self.own, self.given.axes)
                losses = -np.squeeze(self.state.log_softmax(own), self.given.axes)
                self._add(task, losses, self.rank, np.isnan(np.asarray(self.state.m)))
        self.advance(math.prod(lengths_of(task.box)) * self.given.x.dtype.itemsize)
        signals.check()

    def _add(self, task: Task, losses: Array, rank: Array, nan: Array) -> None:
        rows = self.blocks.of_rows(task.box)
        result, counted = self.result, self._counted(self.given.y.read(rows))
        undefined = np.isnan(losses) & counted
        result.nan |= rows_where(undefined & nan, rows)
        result.undefined |= rows_where(undefined & ~nan, rows)
        result.losses.add(losses[counted])
        result.first += int(np.count_nonzero((rank == 0) & counted))
        result.within += int(np.count_nonzero((rank < self.given.k) & counted))
