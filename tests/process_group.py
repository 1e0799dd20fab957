"""Processes that are the ranks of torch.distributed, and stay for all tests of a run.

They are forked from one process that has imported torch, and talk over gloo.
"""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

RANKS = 4
SIZES = (1, 2, 3, 4)  # of the groups: the first of the ranks
TIMEOUT = timedelta(seconds=60)  # more than a loaded machine needs; none of the tests waits for it


# What all ranks may raise together and go on.
REFUSALS = (TypeError, ValueError, IndexError)


class Failed(NamedTuple):
    """The exception of a rank."""

    kind: type[BaseException]
    text: str


class Ranks:
    """Processes that run functions of (group, rank, *arguments)."""

    def __init__(self, ranks: int = RANKS, timeout: timedelta = TIMEOUT) -> None:
        self._folder = tempfile.TemporaryDirectory()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.distributed.tensor", "onesum.torch", "pytest"])
        store = str(Path(self._folder.name) / "store")
        pairs = [context.Pipe() for _ in range(ranks)]
        self.processes = [
            context.Process(target=_serve, args=(there, rank, ranks, store, timeout), daemon=True)
            for rank, (_, there) in enumerate(pairs)
        ]
        self._pipes = [here for here, _ in pairs]
        self.usable = True  # not once ranks have parted: some may still wait for the others
        # Threads of BLAS that spin while they wait would take more than the products do.
        with mock.patch.dict(os.environ, OPENBLAS_NUM_THREADS="1"):
            for process, (_, there) in zip(self.processes, pairs, strict=True):
                process.start()
                there.close()

    def call(self, function: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of the first ranks, or what they failed with: a tuple of arguments each."""
        pipes, self.usable = self._pipes[: len(arguments)], False
        for pipe, own in zip(pipes, arguments, strict=True):
            pipe.send((function, len(arguments), own))
        answers = [self._result(pipe) for pipe in pipes]
        failed = [a for a in answers if isinstance(a, Failed)]
        refused = all(issubclass(f.kind, REFUSALS) for f in failed)
        self.usable = not failed or (refused and len(failed) == len(answers))
        return answers

    def _result(self, pipe: Any) -> Any:
        assert pipe.poll(2 * TIMEOUT.total_seconds()), "a rank does not answer"
        try:
            return pipe.recv()
        except EOFError:
            return Failed(EOFError, "the process has ended")

    def close(self) -> None:
        for pipe, process in zip(self._pipes, self.processes, strict=True):
            with contextlib.suppress(OSError):
                pipe.send(None)
            process.join(10 if self.usable else 0)
            if process.is_alive():
                process.kill()
        self._folder.cleanup()


def _serve(pipe: Any, rank: int, ranks: int, store: str, timeout: timedelta) -> None:
    import pytest
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    shared = dist.FileStore(store, ranks)
    dist.init_process_group("gloo", store=shared, rank=rank, world_size=ranks, timeout=timeout)
    groups = {n: dist.new_group(list(range(n)), timeout=timeout) for n in SIZES if n <= ranks}
    while (asked := pipe.recv()) is not None:
        function, size, arguments = asked
        try:
            answer = function(groups[size], rank, *arguments)
        except (Exception, pytest.fail.Exception) as error:
            answer = Failed(type(error), str(error))
        pipe.send(answer)
    dist.destroy_process_group()


_shared: list[Ranks] = []


def shared_ranks() -> Ranks:
    """Those of this process, started when they are first asked for, or are of no more use."""
    if _shared and not _shared[0].usable:
        _close_shared()
    if not _shared:
        _shared.append(Ranks())
    return _shared[0]


@atexit.register
def _close_shared() -> None:
    while _shared:
        _shared.pop().close()


@contextlib.contextmanager
def own_ranks(ranks: int, timeout: timedelta) -> Iterator[Ranks]:
    """Processes for a test that ends some of them."""
    made = Ranks(ranks, timeout)
    try:
        yield made
    finally:
        made.close()
