"""Times, side by side.

Every library has a process of its own (processes.py), and all take turns in an order shuffled every
round, so that whatever else the machine does falls on all alike. A turn begins when the threads of
whoever had the last one sleep again: several libraries leave workers that go on spinning after a
call, and would take a processor from whoever comes next.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import host, peers
from .cases import Case
from .processes import Answer, Failed, Key, Libraries, Process

TOLERANCES = {"float16": (2e-2, 2e-2), "bfloat16": (1e-1, 1e-1)}  # relative, absolute
TOLERANCE = (1e-3, 1e-5)

Cell = dict[str, Any]
Result = dict[str, Any]


class Effort(NamedTuple):
    """How long a cell is measured, and in how many rounds."""

    seconds: float
    least: int = 5
    most: int = 99


QUICK = Effort(0.02, least=3, most=5)


def run(
    libraries: Libraries,
    path: Path | None,
    wanted: Iterable[Case],
    effort: Effort,
    resume: bool = False,
    show: Callable[[Cell], None] = lambda cell: None,
) -> Result:
    """Measure the cells and save them, each as it is done; one that the file has may be kept."""
    result: Result = {
        "host": host.describe(),
        "threads": host.threads(),
        "missing": peers.missing(),
        "unit": "microseconds: lower quartile, median, upper quartile",
        "cells": [],
    }
    if resume and path and path.exists():
        old = host.load(path)
        if not host.same(old["host"], result["host"]) or old["threads"] != result["threads"]:
            raise SystemExit(f"{path}: measured elsewhere or by something else; cannot resume it")
        result = old
    done = {case_of(cell) for cell in result["cells"]}
    for case in wanted:
        if case in done:
            continue
        cell = measure(libraries, case, effort, host.cache(result["host"], 2))
        result["cells"].append(cell)
        if path:
            host.save(path, result)
        show(cell)
    return result


def case_of(cell: Cell) -> Case:
    return Case(cell["operation"], cell["dtype"], tuple(cell["shape"]), cell["axis"])


def measure(libraries: Libraries, case: Case, effort: Effort, cache: int = 1 << 20) -> Cell:
    """One cell: the quartiles of every library's times and of the floors', fresh and into `out`."""
    processes = libraries.ready()
    turns = _prepared(processes, case, cache)
    samples, rounds = _rounds(turns, effort)
    failed = _failed(processes)
    once, at_least = case.bytes_moved(cache)
    cell: Cell = {
        **case._asdict(),
        "bytes": once,
        "bytes_at_least": at_least,
        "rounds": rounds,
        "times": {},
        "floors": {},
        "failed": failed,
    }
    for key, values in samples.items():
        if turns[key].failed:
            continue
        group, name, mode = key
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        cell[group].setdefault(name, {})[mode] = [float(f"{1e6 * q:.4g}") for q in quartiles]
    return cell


def _prepared(processes: list[Process], case: Case, cache: int) -> dict[Key, Process]:
    """Whom to ask for each time. Only what agrees with onesum is timed."""
    turns: dict[Key, Process] = {}
    wanted = None
    for process in processes:  # onesum's first
        answer = process.prepare(case, cache)
        _failed(processes)
        if not isinstance(answer, Answer):
            continue
        for sample in answer.samples.values():
            wanted = sample if wanted is None else wanted
            relative, absolute = TOLERANCES.get(case.dtype, TOLERANCE)
            if not np.allclose(sample, wanted, relative, absolute):
                process.fail(f"ValueError: off by up to {np.abs(sample - wanted).max():.2g}")
        turns |= dict.fromkeys(answer.keys, process)
    return turns


def _rounds(turns: dict[Key, Process], effort: Effort) -> tuple[dict[Key, list[float]], int]:
    samples: dict[Key, list[float]] = {key: [] for key in turns}
    shuffle = random.Random(0).shuffle
    order = list(turns)
    start = time.perf_counter()
    rounds = 0
    while rounds < effort.least or (
        rounds < effort.most and time.perf_counter() - start < effort.seconds
    ):
        shuffle(order)
        for key in order:
            answer = turns[key].take(key)
            if not isinstance(answer, Failed):
                samples[key].append(answer)
        rounds += 1
    return samples, rounds


def _failed(processes: list[Process]) -> dict[str, str]:
    """Who did, and why. Without onesum there is nothing to compare with."""
    failed = {process.name: process.failed.reason for process in processes if process.failed}
    if peers.ONESUM in failed:
        raise RuntimeError(f"{peers.ONESUM}: {failed[peers.ONESUM]}")
    return failed
