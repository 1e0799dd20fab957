"""Blocks that are worked on by several threads, and finished in their order.

Each thread takes a block from its file to its result by itself: so the block stays in the caches of
one processor, and while one thread waits for the disk, others compute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from .._runtime import get_num_threads, set_num_threads
from .region import Buffer

# Few processors move as many bytes as memory does; each thread more holds a block more.
FEWEST, MOST = 2, 8

Task = TypeVar("Task")
Result = TypeVar("Result")


def stream(
    tasks: Iterable[Task],
    work: Callable[[Task, Buffer], Result],
    done: Callable[[Task, Result], None],
    nbytes: int,
    alone: Callable[[Task], bool] = lambda task: False,
) -> None:
    """Bring tasks through.

    Parameters
    ----------
    tasks : iterable
    work : callable
        Does a task, in a thread; the buffer is its own until then.
    done : callable
        Takes what was answered, in the caller's thread: in order, and for every task. What it, or
        work, raises ends the stream; what is being done then comes to its end before.
    nbytes : int
        Of a buffer. A few are there, whatever the number of tasks.
    alone : callable, optional
        Whether a task may only begin when all before it are done.
    """
    workers = min(max(FEWEST, get_num_threads()), MOST)
    free = [np.empty(nbytes, np.uint8) for _ in range(workers + 2)]
    running: deque[tuple[Task, Buffer, Future[Result]]] = deque()

    def settle() -> None:
        task, buffer, result = running.popleft()
        done(task, result.result())
        free.append(buffer)

    threads = ThreadPoolExecutor(workers, "onesum")
    with _one_thread_each():
        try:
            for task in tasks:
                wait = alone(task)
                while running and (wait or not free or running[0][2].done()):
                    settle()
                buffer = free.pop()
                running.append((task, buffer, threads.submit(work, task, buffer)))
            while running:
                settle()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """onesum's own threads rest meanwhile: there are enough."""
    before = get_num_threads()
    set_num_threads(1)
    try:
        yield
    finally:
        set_num_threads(before)
