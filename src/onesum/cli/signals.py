"""SIGINT and SIGTERM: at once, or where the work that is in hand can be left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked the command to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _State:
    deferred = False
    pending: int | None = None


_state = _State()


@contextmanager
def handled() -> Iterator[None]:
    """The two signals raise `Interrupted`. Outside the main thread they stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.deferred, _state.pending = False, None
    before: dict[int, Any] = {s: signal.signal(s, _receive) for s in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Within, a first signal waits for `check`; a second one does not."""
    _state.deferred = True
    try:
        yield
    finally:
        _state.deferred, _state.pending = False, None


@contextmanager
def at_once() -> Iterator[None]:
    """A part of what is deferred in which no signal waits, nor one that came before."""
    _state.deferred = False
    try:
        check()
        yield
    finally:
        _state.deferred = True


def check() -> None:
    """The place to be interrupted at."""
    if _state.pending is not None:
        raise Interrupted(_state.pending)


def _receive(signum: int, frame: FrameType | None) -> None:
    if _state.deferred and _state.pending is None:
        _state.pending = signum
        return
    raise Interrupted(signum)
