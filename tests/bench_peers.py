"""Libraries that misbehave, or write down when they compute; each in a process of onesum.bench."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import onesum
from onesum.bench import turns
from onesum.bench.peers import Calls

SPUN = 0.08  # seconds that a thread goes on after a call


def right(*arguments: Any) -> Calls:
    operation, arrays, axis, _ = arguments
    return Calls(lambda: getattr(onesum, operation)(*arrays, axis=axis))


def wrong_loss(*arguments: Any) -> Calls:
    def call() -> Any:
        loss, grad = right(*arguments).fresh()
        return loss + 1, grad

    return Calls(call)


def wrong_gradient(*arguments: Any) -> Calls:
    """By little, since it is one of a mean over many rows."""

    def call() -> Any:
        loss, grad = right(*arguments).fresh()
        return loss, grad * 0

    return Calls(call)


def recorded(name: str, path: Path, spins: bool, *arguments: Any) -> Calls:
    """A line for each time in which something computes: whose it is, begin, end."""

    def note(begin: float) -> None:
        with open(path, "a") as file:
            file.write(f"{name} {begin} {time.monotonic()}\n")

    def spin() -> None:
        begin = time.monotonic()
        while time.monotonic() < begin + SPUN:
            pass
        note(begin)

    def call() -> Any:
        begin = time.monotonic()
        time.sleep(1e-3)  # so long that one call is enough for a turn
        answer = right(*arguments).fresh()
        note(begin)
        if spins:
            threading.Thread(target=spin).start()
        return answer

    return Calls(call)


def dying(*arguments: Any) -> Calls:
    os._exit(3)


def dying_once(flag: Path, *arguments: Any) -> Calls:
    if not flag.exists():
        flag.touch()
        os.abort()
    return right(*arguments)


def failing_later(*arguments: Any) -> Calls:
    """At its first turn: a call is made once for its sample, and once or six times for its time."""
    calls = 0

    def call() -> Any:
        nonlocal calls
        calls += 1
        if calls > 7:
            raise MemoryError("not\nenough")
        return right(*arguments).fresh()

    return Calls(call)


def hanging(*arguments: Any) -> Calls:
    return Calls(lambda: time.sleep(3600))


def restless(*arguments: Any) -> Calls:
    """A thread of its computes for ever."""
    turns.MOST_PAUSES = 3

    def spin() -> None:
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()
    return right(*arguments)
