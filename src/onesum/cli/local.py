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
from .._storage.stream import Write, stream
from .._storage.writable import Writable
from . import signals
from .errors import FailedError
from .progress import progress_bar
from .rows import NONE, Rows, rows_where
from .transform import FUNCTIONS, Array, Transform

CHECKPOINT_SECONDS = 1.0


class Data(NamedTuple):
    """What is read for a task, and the memory that is its own until its result is written."""

    x: Array
    where: Array | None
    buffer: Buffer


class Task(NamedTuple):
    """A box to read, and what to do with it.

    whole : the rows are all in it.  gather : add these classes to the state of the rows.
    share : write what these classes have of the rows.
    first, last : of the boxes of these rows.  number : of what is written; None of nothing.
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
            yield Task(rows, "whole", True, True, number)
            number += 1
        else:
            end = len(pieces) - 1
            for i, box in enumerate(pieces):
                only = number if transform.reduces and i == end else None
                yield Task(box, "gather", i == 0, i == end, only)
            for i, box in enumerate(pieces if not transform.reduces else []):
                if number + i >= done:
                    yield Task(box, "share", i == 0, i == end, number + i)
            number += writes


def compute(transform: Transform, out: Writable, shown: bool | None) -> Rows:
    """Write the result. What is written stays when it is interrupted."""
    work = _Work(transform, out)
    identity = transform.x.identity()
    size = transform.x.dtype.itemsize
    every, left = (
        sum(math.prod(lengths_of(task.box)) * size for task in tasks_of(transform, done))
        for done in (0, work.done)
    )
    try:
        title = transform.name.replace("_", "-")
        with progress_bar(title, every, every - left, shown) as work.advance:
            tasks = tasks_of(transform, work.done)
            stream(tasks, work.read, work.compute, work.buffer_bytes, work.written)
        if transform.x.identity() != identity:
            raise FailedError(f"{transform.x.name}: was changed while it was read: start again")
        work.saver.shutdown()
        out.finish()
    except (OSError, FailedError, StorageError, signals.Interrupted) as error:
        work.keep()
        error.add_note(f"{out.partial.data} has what is done: --resume goes on with it")
        raise
    finally:
        work.saver.shutdown()
        out.close()
    return work.nan


class _Work:
    """The tasks' three steps, and what is known of those that are done."""

    advance: Any

    def __init__(self, transform: Transform, out: Writable) -> None:
        self.transform, self.out = transform, out
        self.done = out.progress.get("done", 0)
        self.nan = Rows(*out.progress.get("nan", NONE))
        self.found: dict[int, Rows] = {}  # in what is computed and not written yet
        self.state: Any = None  # of the rows that are gone through in pieces
        blocks = transform.blocks
        sizes = (min(t, n) for t, n in zip(blocks.take, blocks.shape, strict=True))
        elements = math.prod(sizes)
        self.input_bytes = -(-elements * transform.x.dtype.itemsize // 64) * 64
        self.buffer_bytes = self.input_bytes + elements * transform.dtype.itemsize
        self.saver = ThreadPoolExecutor(1, "save")
        self.saving: Future[None] | None = None
        self.saved = time.monotonic()

    def read(self, task: Task, buffer: Buffer) -> Data:
        x = self.transform.x.read(task.box, buffer[: self.input_bytes])
        return Data(x, self.transform.mask(task.box), buffer)

    def compute(self, task: Task, data: Data) -> Write | None:
        transform = self.transform
        if task.kind == "gather":
            self._gather(task, data)
            if task.number is None:
                return None
            result = np.asarray(self.state.logsumexp, transform.dtype)
        else:
            result = self._result(task, data)
        if task.last and task.number is not None:
            self.found[task.number] = self._nan_rows(task, result, data.where)
        target = transform.target(task.box)
        return lambda: self.out.write(target, result)

    def written(self, task: Task) -> None:
        """Of tasks in their order: what the record is to say, and the place to be interrupted."""
        self.advance(math.prod(lengths_of(task.box)) * self.transform.x.dtype.itemsize)
        if task.number is not None:
            self.done = task.number + 1
            self.nan |= self.found.pop(task.number, NONE)
            saving = self.saving
            if time.monotonic() - self.saved > CHECKPOINT_SECONDS and (
                saving is None or saving.done()
            ):
                if saving is not None:
                    saving.result()  # a disk may be found full as late as this
                self.saved = time.monotonic()
                self.saving = self.saver.submit(self.out.checkpoint, self._progress())
        signals.check()

    def keep(self) -> None:
        """Record what is written. If it cannot be, an earlier record stands."""
        self.saver.shutdown()
        with suppress(OSError):
            self.out.checkpoint(self._progress())

    def _progress(self) -> dict[str, Any]:
        return {"done": self.done, "nan": list(self.nan)}

    # --- the functions ---

    def _result(self, task: Task, data: Data) -> Array:
        transform, x = self.transform, data.x
        shape = lengths_of(transform.target(task.box))
        if transform.reduces:
            out = np.empty(shape, transform.dtype)
        elif x.dtype == transform.dtype and x.flags.writeable:
            out = x  # it is the block's own
        else:
            out = array_in(data.buffer[self.input_bytes :], shape, transform.dtype, x_order(x))
        if task.kind == "whole":
            options: dict[str, Any] = {
                "where": data.where,
                "temperature": transform.temperature,
                "out": out,
            }
            if x.dtype != transform.dtype:
                options["dtype"] = transform.dtype
            FUNCTIONS[transform.name](x, transform.axes, **options)
            return out
        share = getattr(self.state, transform.name)
        if self.state.dtype == transform.dtype:
            return np.asarray(share(self._wide(x), data.where, out=out))
        out[...] = share(self._wide(x), data.where)
        return out

    def _gather(self, task: Task, data: Data) -> None:
        transform = self.transform
        some = Normalizer.of(self._wide(data.x), transform.axes, data.where, transform.temperature)
        self.state = some if task.first else self.state | some

    def _wide(self, x: Array) -> Array:
        """So that a result of another type is rounded once."""
        same = x.dtype == self.transform.dtype or x.dtype.kind in "biu"
        return x if same else x.astype(np.float64)

    # --- NaN ---

    def _nan_rows(self, task: Task, result: Array, where: Array | None) -> Rows:
        """The rows of a task that have NaN logits.

        One makes all of its row NaN, where it takes part: a row shows it in any class, with
        `where` in some. But so does a row of nothing but -inf, so that the logits are read again.
        """
        transform = self.transform
        if task.kind != "whole":
            nan = np.isnan(np.asarray(self.state.logsumexp))
        else:
            nan = _any_nan(result, () if transform.reduces else transform.axes, where)
            if not transform.reduces and nan.any():
                x = transform.x.read(task.box)
                nan = np.isnan(x) if where is None else np.isnan(x) & where
                nan = nan.any(axis=transform.axes)
        return rows_where(nan, transform.blocks.of_rows(task.box))


def _any_nan(result: Array, axes: tuple[int, ...], where: Array | None) -> Array:
    if where is not None or 0 in result.shape:
        return np.asarray(np.isnan(result).any(axis=axes))
    return np.isnan(result[tuple(0 if i in axes else slice(None) for i in range(result.ndim))])


def x_order(x: Array) -> tuple[int, ...]:
    """Its axes, outermost first, as they lie in memory."""
    fortran = x.flags.f_contiguous and not x.flags.c_contiguous
    axes = tuple(range(x.ndim))
    return axes[::-1] if fortran else axes
