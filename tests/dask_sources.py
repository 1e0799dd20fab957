"""Chunks that tell how many of them there are: what tasks of other processes can import."""

from __future__ import annotations

import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

_lock = threading.Lock()
live = most = made = 0
order: list[float] = []  # the first number of each, as they come


def start() -> None:
    global live, most, made
    live = most = made = 0
    order.clear()


def counted(block: Any) -> Any:
    """A copy, of which it is known how many there are at a time."""
    global live, most, made
    a = np.array(block)
    with _lock:
        live, made = live + 1, made + 1
        order.append(float(a.flat[0]))
        most = max(most, live)
    weakref.finalize(a, _gone)
    return a


def told() -> tuple[int, int]:
    return most, made


def _gone() -> None:
    global live
    with _lock:
        live -= 1


def fatal_once(block: Any, marker: str) -> Any:
    """The block; but the first process that comes here dies of it."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return block
    time.sleep(0.2)  # others are at work
    os._exit(1)
