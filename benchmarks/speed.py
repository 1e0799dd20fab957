"""Times, side by side.

All libraries take turns in one process, in an order shuffled every round, so that whatever else the
machine does falls on all alike. Short calls are repeated within a turn.
"""

import random
import statistics
from pathlib import Path
from timeit import Timer
from typing import Any

import numpy as np

from . import host, peers
from .cases import Case, cases, operands

SAMPLE = 5e-4  # seconds: shorter calls are repeated until a turn takes this long
CHECKED = 1 << 20  # elements: results up to this size are compared before they are timed
COPY = "copy"


def run(results: Path, quick: bool, isa: str | None) -> None:
    threads = host.threads()
    peers.start(threads)
    seconds, least, most = (0.02, 3, 5) if quick else (2.5, 7, 99)
    cells = []
    for case in cases(quick):
        cell = measure(case, seconds, least, most)
        cells.append(cell)
        print(f"{case!s:45}", _line(cell), flush=True)
    result = {
        "host": host.describe(),
        "threads": threads,
        "missing": peers.missing(),
        "unit": "microseconds: lower quartile, median, upper quartile",
        "cells": cells,
    }
    name = "speed" + (f"-{isa}" if isa else "") + (f"-{threads}-threads" if threads > 1 else "")
    host.save(results / f"{name}.json", result)


def measure(case: Case, seconds: float, least: int, most: int) -> dict[str, Any]:
    """One cell: the quartiles of every library's times, fresh and into `out`."""
    calls = _prepare(case)
    timers = {key: Timer(call) for key, call in calls.items()}
    loops = {key: _loops(timer) for key, timer in timers.items()}
    once = sum(timer.timeit(loops[key]) for key, timer in timers.items())
    rounds = int(min(max(seconds / once, least), most))
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in timers}
    shuffle = random.Random(0).shuffle
    order = list(timers)
    for _ in range(rounds):
        shuffle(order)
        for key in order:
            samples[key].append(timers[key].timeit(loops[key]) / loops[key])
    times: dict[str, dict[str, list[float]]] = {}
    for (name, mode), values in samples.items():
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        times.setdefault(name, {})[mode] = [float(f"{1e6 * q:.4g}") for q in quartiles]
    return {
        **case._asdict(),
        "bytes": case.bytes_moved,
        "rounds": rounds,
        "times": times,
    }


def _loops(timer: Timer) -> int:
    """How many calls make a turn of about SAMPLE."""
    timer.timeit(1)  # the first call compiles, allocates and fills caches
    once = timer.timeit(1)
    if once < SAMPLE:
        once = min(timer.repeat(5, 1))
    return max(1, round(SAMPLE / once))


def _prepare(case: Case) -> dict[tuple[str, str], peers.Call]:
    """Every call to be timed, by the name of the library and "fresh" or "out"."""
    arrays = operands(case)
    found = {}
    wanted = None
    for name, peer in peers.installed().items():
        calls = peer(case.operation, arrays, case.axis)
        if calls is None:
            continue
        for mode, call in calls._asdict().items():
            if call is None:
                continue
            found[name, mode] = call
            if arrays[0].size <= CHECKED:
                answer = np.asarray(peers.as_numpy(call()))
                wanted = answer if wanted is None else wanted
                np.testing.assert_allclose(answer, wanted, 1e-3, 1e-5, err_msg=f"{name} {case}")
    # The floor: a copy reads and writes its size, so half the bytes are copied.
    source = np.ones(case.bytes_moved // 8, np.float32)
    target = source.copy()
    found[COPY, "fresh"] = source.copy
    found[COPY, "out"] = lambda: np.copyto(target, source)
    return found


def _line(cell: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {'/'.join(f'{t[1]:.4g}' for t in modes.values())}"
        for name, modes in cell["times"].items()
    )
