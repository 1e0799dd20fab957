"""A process for each library, in which nobody else computes.

In one process for all, whatever one library leaves running slows the next: threads that go on
spinning after a call, threads that are woken by another's barrier, a heap in pieces. So each has a
process of its own. It is started once, answers one request at a time, and its answer comes when
none of its threads computes any more; then it sleeps in a read from its pipe until it is asked
again. As the parent asks one of them at a time, one computes at a time.

Each makes the operands itself, from the same seed and at the same place of a page. They could all
read the same shared memory, but not as they read ordinary memory: it has small pages where an
array of NumPy's has large ones. So there are as many copies as libraries: for 100 million floats
and a derivative some 8 GB in all. They are made one after the other, and are gone when the next
cell is made.
"""

import multiprocessing
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple, Self

from .cases import Case
from .peers import ONESUM, Peer
from .ready import ready
from .turns import Turn, settle

LIMIT = 120  # seconds that any answer may take: of the libraries' imports, too

Key = tuple[str, str, str]  # "times" or "floors", whose, "fresh" or "out"


class Failed(NamedTuple):
    """An answer that there is none, and why."""

    reason: str


class Answer(NamedTuple):
    """Of a library that was asked to make a cell ready: what it can be asked for, and samples."""

    samples: dict[str, Any]
    keys: list[Key]


class Process:
    """A library in its process. Whatever fails ends it, and is the answer from then on."""

    def __init__(self, name: str, peer: Peer, limit: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.name, self.limit = name, limit
        self.failed: Failed | None = None
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, name, peer), daemon=True)
        self.process.start()
        theirs.close()

    def wait(self) -> None:
        """Until it has started."""
        self._answer(LIMIT)

    def prepare(self, case: Case, cache: int) -> Answer | Failed | None:
        """Make a cell ready, or say that the library lacks the operation."""
        answer: Answer | Failed | None = self._ask((case, cache))
        return answer

    def take(self, key: Key) -> float | Failed:
        """The seconds of a call."""
        answer: float | Failed = self._ask(key)
        return answer

    def fail(self, reason: str) -> Failed:
        self.failed = Failed(reason)
        self.end()
        return self.failed

    def end(self) -> None:
        self.process.kill()  # it sleeps, or it hangs
        self.process.join()
        self.connection.close()

    def _ask(self, request: Any) -> Any:
        if self.failed is None:
            with suppress(OSError):  # if it has ended, that is the answer
                self.connection.send(request)
        return self._answer(self.limit)

    def _answer(self, limit: int) -> Any:
        if self.failed is not None:
            return self.failed
        try:
            # One by one: a machine that stands still meanwhile uses up one of them, and not all.
            if not any(self.connection.poll(1) for _ in range(limit)):
                return self.fail(f"no answer within {limit} s")
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(limit)
            return self.fail(_how_it_ended(self.process.exitcode))
        return self.fail(answer.reason) if isinstance(answer, Failed) else answer


class Libraries:
    """The processes of some libraries. One that failed in a cell has a new one for the next."""

    def __init__(self, chosen: dict[str, Peer], limit: int = LIMIT) -> None:
        self.chosen, self.limit = chosen, limit
        self.processes: dict[str, Process] = {}

    def ready(self) -> list[Process]:
        """All of them, awake; they start beside each other."""
        new = [
            Process(name, peer, self.limit)
            for name, peer in self.chosen.items()
            if name not in self.processes or self.processes[name].failed
        ]
        self.processes |= {process.name: process for process in new}
        for process in new:
            process.wait()
        return [self.processes[name] for name in self.chosen]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            if not process.failed:
                process.end()


def _how_it_ended(status: int | None) -> str:
    if status is not None and status < 0:
        return f"its process ended: {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


def _serve(connection: Connection, name: str, peer: Peer) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked is interrupted, and ends this
    turns: dict[Key, Turn] = {}
    answer: Any = None
    with suppress(EOFError, OSError):  # nobody asks any more
        while True:
            if not settle():
                answer = Failed("its threads never come to rest")
            connection.send(answer)
            request = connection.recv()
            try:
                if request in turns:
                    answer = turns[request].seconds()
                else:
                    turns.clear()
                    case, cache = request
                    answer = _prepare(turns, case, cache, name, peer)
            except Exception as error:
                answer = Failed(f"{type(error).__name__}: {error}".partition("\n")[0][:120])


def _prepare(
    turns: dict[Key, Turn], case: Case, cache: int, name: str, peer: Peer
) -> Answer | None:
    found = ready(case, cache, peer, name == ONESUM)
    if found is None:
        return None
    calls: dict[Key, Any] = {("times", name, mode): call for mode, call in found.calls.items()}
    calls |= {("floors", *key): call for key, call in found.floors.items()}
    turns.update((key, Turn(call)) for key, call in calls.items())
    return Answer(found.samples, list(turns))
