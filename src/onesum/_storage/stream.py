"""Blocks that are read, computed and written at one time, each by a thread of its own.

What is read goes into memory that the blocks take turns with, so that the process holds a few
blocks whatever the size of the array.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from .region import Buffer

AHEAD = 2  # blocks that are read while one is computed
BEHIND = 2  # blocks that wait to be written

Task = TypeVar("Task")
Data = TypeVar("Data")
Write = Callable[[], None]


def stream(
    tasks: Iterable[Task],
    read: Callable[[Task, Buffer], Data],
    compute: Callable[[Task, Data], Write | None],
    nbytes: int,
    done: Callable[[Task], None] = lambda task: None,
) -> None:
    """Bring tasks through, in their order.

    Parameters
    ----------
    tasks : iterable
    read : callable
        Reads what a task needs, perhaps into the buffer, in a thread.
    compute : callable
        Answers what is left to be done for the task in a thread, which is to write; its buffer
        is not used again before that.
    nbytes : int
        Of a buffer.
    done : callable, optional
        Called in the caller's thread when a task is written: in order, and for every task. What
        it raises ends the stream; what is being read or written then comes to its end before.
    """
    waiting = iter(tasks)
    free = [np.empty(nbytes, np.uint8) for _ in range(AHEAD + 1 + BEHIND)]
    reading: deque[tuple[Task, Buffer, Future[Data]]] = deque()
    writing: deque[tuple[Task, Buffer, Future[None] | None]] = deque()
    reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")

    def settle() -> None:
        task, buffer, written = writing.popleft()
        if written is not None:
            written.result()
        free.append(buffer)
        done(task)

    try:
        while True:
            while len(reading) <= AHEAD and (task := next(waiting, None)) is not None:
                buffer = free.pop()
                reading.append((task, buffer, reader.submit(read, task, buffer)))
            if not reading:
                break
            task, buffer, data = reading.popleft()
            write = compute(task, data.result())
            writing.append((task, buffer, writer.submit(write) if write else None))
            while writing and (len(writing) > BEHIND or _is_done(writing[0][2])):
                settle()
        while writing:
            settle()
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True, cancel_futures=True)


def _is_done(written: Future[None] | None) -> bool:
    return written is None or written.done()
