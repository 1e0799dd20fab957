"""An audit in a process of its own, which can be ended whatever the function does."""

from __future__ import annotations

import contextlib
import importlib
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from ._check import check, unusable
from ._profile import profile_of
from ._report import Report

BEAT = 0.25  # seconds
GRACE = 5.0  # seconds that importing a library may keep the interpreter from the beat
IMPORT = 120.0  # seconds that all of the import may take
IMPORTED = "imported"


class NoFunctionError(Exception):
    """There is nothing to be called under this name."""


def check_named(name: str, kind: str, profile: str | None, limit: float) -> Report:
    """Audit MODULE:FUNCTION. Code that never lets the interpreter go is ended with its process, and
    so is the audit by a function that ends the process; the report says so.
    """
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_work, args=(theirs, name, kind, profile, limit), daemon=True)
    process.start()
    theirs.close()
    outcome: Any
    try:
        outcome = _outcome(ours, name, limit + GRACE)
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        outcome = f"ended the process: {how}"
    finally:
        process.kill()
        process.join()
    if isinstance(outcome, NoFunctionError):
        raise outcome
    if isinstance(outcome, Report):
        return outcome
    return unusable(name, kind, profile_of(profile), str(outcome))


def _outcome(connection: Connection, name: str, seconds: float) -> Any:
    """The report; it goes on as long as there are beats, but for the import."""
    last = time.monotonic() + IMPORT
    while connection.poll(seconds):
        received = connection.recv()
        if received == IMPORTED:
            last = math.inf
        elif received is not None:
            return received
        if time.monotonic() > last:
            module = name.partition(":")[0]
            told = f"cannot import {module}: did not return within {IMPORT:g} s"
            return NoFunctionError(told)
    return f"did not return within {seconds:g} s, nor let anything else run"


def _work(connection: Connection, name: str, kind: str, profile: str | None, limit: float) -> None:
    """What the process does: a beat from a thread, which has to get at the interpreter for it."""
    done = threading.Event()

    def beat() -> None:
        with contextlib.suppress(OSError):
            while not done.wait(BEAT):
                connection.send(None)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    outcome: Any
    try:
        function = _found(name)
        connection.send(IMPORTED)
        outcome = check(function, kind, profile=profile, limit=limit)
    except NoFunctionError as error:
        outcome = error
    done.set()
    thread.join()
    connection.send(outcome)
    connection.close()
    sys.stdout.flush()
    os._exit(0)  # a call that never returned may still be running


def _found(name: str) -> Callable[..., Any]:
    """As python -m finds it: the current directory is importable."""
    module, _, path = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = f"no module {error.name!r}" if error.name else str(error)
        raise NoFunctionError(f"cannot import {module}: {missing}") from None
    except (Exception, SystemExit) as error:
        told = f"{type(error).__name__}: {error}".rstrip(": ")
        raise NoFunctionError(f"cannot import {module}: {told}") from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NoFunctionError(f"{module} has no {path!r}") from None
    if not callable(found):
        raise NoFunctionError(f"expected a function, got {type(found).__name__} {name}")
    function: Callable[..., Any] = found
    return function
