"""A transform computed by this process, block by block, so that it can be gone on with."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import Normalizer
from .._storage import StorageError
from .._storage.region import Box, Buffer, array_in, lengths_of
from .._storage.stream import stream
from .._storage.writable import Writable
from . import signals
from .progress import progress_bar
from .rows import NONE, Rows, rows_where
from .transform import FUNCTIONS, Array, Transform, finish

CHECKPOINT_SECONDS = 10.0


class Task(NamedTuple):
    """A box to read, and what to do with it.

    whole : its rows are all in it.  gather : add these classes to the state of the rows.
    share : write what these classes have of the rows.
    first, last : of its kind, for these rows.  number : of the part of the result; None of none.
    """

    box: Box
    kind: Literal["whole", "gather", "share"]
    first: bool
    last: bool
    number: int | None


def tasks_of(transform: Transform, done: int) -> Iterator[Task]:
    """What is left to do when so many parts of the result are written."""
    blocks, number = transform.blocks, 0
    for rows in blocks.rows():
        pieces = [rows] if blocks.whole else list(blocks.pieces(rows))
        writes = 1 if blocks.whole or transform.reduces else len(pieces)
        if number + writes <= done:
            number += writes
        elif blocks.whole:
            yield Task(rows, "whole", False, True, number)
            number += 1
        else:
            end = len(pieces) - 1
            for i, box in enumerate(pieces):
                only = number if transform.reduces and i == end else None
                yield Task(box, "gather", i == 0, i == end, only)
            start = max(0, done - number)
            for i in range(start, 0 if transform.reduces else len(pieces)):
                yield Task(pieces[i], "share", i == start, i == end, number + i)
            number += writes


def compute(transform: Transform, out: Writable, shown: bool | None) -> Rows:
    """Write the result, and answer which rows have NaN logits.

    What is written stays when it is interrupted.
    """
    work = _Work(transform, out)
    size = transform.x.dtype.itemsize
    every, left = (
        sum(math.prod(lengths_of(task.box)) * size for task in tasks_of(transform, done))
        for done in (0, work.done)
    )
    try:
        title = transform.name.replace("_", "-")
        with progress_bar(title, every, every - left, shown) as work.advance:
            tasks = tasks_of(transform, work.done)
            stream(tasks, work.work, work.take, work.buffer_bytes, alone=lambda task: task.first)
        work.settle()
        finish(transform, out)
    except (OSError, StorageError, signals.Interrupted) as error:
        work.keep()
        error.add_note(f"{out.partial.data} has what is done: --resume goes on with it")
        raise
    finally:
        work.saver.shutdown()
        out.close()
    return work.nan


class _Work:
    """What is done for a task, and what is known of those that are done."""

    advance: Any

    def __init__(self, transform: Transform, out: Writable) -> None:
        self.transform, self.out = transform, out
        self.done = out.progress.get("done", 0)
        self.nan = Rows(*out.progress.get("nan", NONE))
        self.state: Any = None  # of the rows that are gone through in pieces
        elements = transform.blocks.elements
        self.input_bytes = -(-elements * transform.x.dtype.itemsize // 64) * 64
        self.buffer_bytes = self.input_bytes + elements * transform.dtype.itemsize
        self.saver = ThreadPoolExecutor(1, "save")
        self.saving: Future[None] | None = None
        self.saved = time.monotonic()

    # --- in several threads ---

    def work(self, task: Task, buffer: Buffer) -> Normalizer | Rows:
        """Read a box, and write what becomes of it or answer its state."""
        transform = self.transform
        x = transform.x.read(task.box, buffer[: self.input_bytes])
        where = transform.mask(task.box)
        if task.kind == "gather":
            return Normalizer.of(self._wide(x), transform.axes, where, transform.temperature)
        if task.kind == "share":
            result = self._share(x, where, buffer)
            self.out.write(task.box, result)
            return NONE
        result = self._whole(x, where, buffer)
        self.out.write(transform.target(task.box), result)
        return self._nan_rows(task, result, where)

    def _whole(self, x: Array, where: Array | None, buffer: Buffer) -> Array:
        transform = self.transform
        options: dict[str, Any] = {"where": where, "temperature": transform.temperature}
        if x.dtype != transform.dtype:
            options["dtype"] = transform.dtype
        if not transform.reduces:
            options["out"] = self._room_for(x, buffer)
        return np.asarray(FUNCTIONS[transform.name](x, transform.axes, **options))

    def _share(self, x: Array, where: Array | None, buffer: Buffer) -> Array:
        share, out = getattr(self.state, self.transform.name), self._room_for(x, buffer)
        if self.state.dtype == out.dtype:
            return np.asarray(share(self._wide(x), where, out=out))
        out[...] = share(self._wide(x), where)
        return out

    def _room_for(self, x: Array, buffer: Buffer) -> Array:
        """Where a result of the shape of x goes: over x, if that is the buffer's and of its type.

        What is not read into the buffer cannot be written to.
        """
        dtype = self.transform.dtype
        if x.dtype == dtype and x.flags.writeable:
            return x
        return array_in(buffer[self.input_bytes :], x.shape, dtype, _order(x))

    def _wide(self, x: Array) -> Array:
        """So that a result of another type is rounded once."""
        same = x.dtype == self.transform.dtype or x.dtype.kind in "biu"
        return x if same else x.astype(np.float64)

    def _nan_rows(self, task: Task, result: Array, where: Array | None) -> Rows:
        """The rows of a task that have NaN logits.

        One makes all of its row NaN, where it takes part: a row shows it in any class, with
        `where` in some. But so does a row of nothing but -inf, so that the logits are read again.
        """
        transform = self.transform
        nan = _any_nan(result, () if transform.reduces else transform.axes, where)
        if not transform.reduces and nan.any():
            x = transform.x.read(task.box)
            nan = np.isnan(x) if where is None else np.isnan(x) & where
            nan = nan.any(axis=transform.axes)
        return rows_where(nan, transform.blocks.of_rows(task.box))

    # --- in the main thread, in the order of the tasks ---

    def take(self, task: Task, answer: Any) -> None:
        """What a task answered; then is the time to keep a record, and to be interrupted."""
        transform = self.transform
        self.advance(math.prod(lengths_of(task.box)) * transform.x.dtype.itemsize)
        if task.kind == "gather":
            self.state = answer if task.first else self.state | answer
            if task.number is not None:
                result = np.asarray(self.state.logsumexp, transform.dtype)
                self.out.write(transform.target(task.box), result)
        if task.number is not None:
            self.done = task.number + 1
            if task.kind == "whole":
                self.nan |= answer
            elif task.last:
                nan = np.isnan(np.asarray(self.state.logsumexp))
                self.nan |= rows_where(nan, transform.blocks.of_rows(task.box))
            self._save()
        signals.check()

    def _save(self) -> None:
        """Bring what is written to the disk, and the record of it, now and then."""
        if time.monotonic() - self.saved < CHECKPOINT_SECONDS:
            return
        if self.saving is not None:
            if not self.saving.done():
                return
            self.saving.result()  # a disk may be found full as late as this
        self.saved = time.monotonic()
        self.saving = self.saver.submit(self.out.checkpoint, self._progress())

    def settle(self) -> None:
        """The record that is being made is made. A failure to write is told of only once, here."""
        self.saver.shutdown()
        if self.saving is not None:
            self.saving.result()

    def keep(self) -> None:
        """Record what is written. If it cannot be, an earlier record stands."""
        with suppress(OSError):
            self.settle()
            self.out.checkpoint(self._progress())

    def _progress(self) -> dict[str, Any]:
        return {"done": self.done, "nan": list(self.nan)}


def _any_nan(result: Array, axes: tuple[int, ...], where: Array | None) -> Array:
    if where is not None or 0 in result.shape:
        return np.asarray(np.isnan(result).any(axis=axes))
    first = tuple(0 if i in axes else slice(None) for i in range(result.ndim))
    return np.asarray(np.isnan(result[first]))


def _order(x: Array) -> tuple[int, ...]:
    """Its axes, outermost first, as they lie in memory."""
    fortran = x.flags.f_contiguous and not x.flags.c_contiguous
    axes = tuple(range(x.ndim))
    return axes[::-1] if fortran else axes
