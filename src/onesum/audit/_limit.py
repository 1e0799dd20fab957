"""Calls that may never return."""

from __future__ import annotations

import contextlib
import ctypes
import io
import numbers
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Outcome(NamedTuple):
    value: Any
    error: BaseException | None
    printed: str


class TimeLimitError(Exception):
    """A call did not return in time."""


def need_limit(name: str, value: Any) -> None:
    wanted = "a finite number of seconds above 0"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected {wanted}, got {value!r:.60}")
    if not 0 < float(value) <= threading.TIMEOUT_MAX:
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")


class Limited:
    """Calls in a thread, which is left behind for another when one of them does not return."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.left = 0  # calls that did not return
        self._start()

    def _start(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="onesum.audit")
        self._thread.start()

    def __call__(self, call: Callable[[], Any]) -> Outcome:
        """Its result or what it raised, and what it printed."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self._calls.put(call)
            try:
                value, error = self._outcomes.get(timeout=self.seconds)
            except queue.Empty:
                self._leave()
                told = f"did not return within {self.seconds:g} s"
                raise TimeLimitError(told) from None
        return Outcome(value, error, printed.getvalue())

    def close(self) -> None:
        self._calls.put(None)

    def _work(self) -> None:
        calls, outcomes = self._calls, self._outcomes  # those of a later thread are others
        with np.errstate(all="ignore"):
            while (call := calls.get()) is not None:
                try:
                    outcome: tuple[Any, BaseException | None] = call(), None
                except BaseException as error:
                    outcome = None, error
                outcomes.put(outcome)

    def _leave(self) -> None:
        """Python code ends at its next instruction; other code goes on until the process ends."""
        self.close()
        ident = ctypes.c_ulong(self._thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
        self.left += 1
        self._start()
