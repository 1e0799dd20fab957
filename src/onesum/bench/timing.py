"""Times, side by side.

All libraries take turns in one process, in an order shuffled every round, so that whatever else the
machine does falls on all alike. A turn begins when no thread of the process computes any more: the
workers of several libraries go on spinning after a call, up to 60 ms, and would take a processor
from whoever comes next. Then comes one call that is not timed, and then those that are; short calls
are repeated.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from timeit import Timer
from typing import Any, NamedTuple

import numpy as np

from . import host, peers
from .cases import KEPT, READING, Array, Case, dtype_of, operands, result_shape

SAMPLE = 5e-4  # seconds: shorter calls are repeated until a turn takes this long
PAUSE = (
    1e-2  # seconds: a thread that spins is accounted for at the clock's ticks, up to 10 ms apart
)
MOST_PAUSES = 20
LONG = 0.1  # seconds: a call that takes longer has no use for one before it
CHECKED = 1 << 20  # elements of each result that are compared before it is timed
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
        cell = measure(case, effort, host.cache(result["host"], 2))
        result["cells"].append(cell)
        if path:
            host.save(path, result)
        show(cell)
    return result


def case_of(cell: Cell) -> Case:
    return Case(cell["operation"], cell["dtype"], tuple(cell["shape"]), cell["axis"])


def measure(case: Case, effort: Effort, cache: int = 1 << 20) -> Cell:
    """One cell: the quartiles of every library's times and of the floors', fresh and into `out`."""
    once, at_least = case.bytes_moved(cache)
    arrays = operands(case)
    out = np.empty(result_shape(case), dtype_of(case.dtype))  # one for all: the same memory
    calls, failed = _checked_calls(case, arrays, out)
    calls |= {("floors", *key): call for key, call in floors(case, arrays, out).items()}
    turns = {key: Turn(call) for key, call in calls.items()}
    samples: dict[tuple[str, str, str], list[float]] = {key: [] for key in turns}
    shuffle = random.Random(0).shuffle
    order = list(turns)
    start = time.perf_counter()
    rounds = 0
    while rounds < effort.least or (
        rounds < effort.most and time.perf_counter() - start < effort.seconds
    ):
        shuffle(order)
        for key in order:
            samples[key].append(turns[key].take())
        rounds += 1
    cell: Cell = {
        **case._asdict(),
        "bytes": once,
        "bytes_at_least": at_least,
        "rounds": rounds,
        "times": {},
        "floors": {},
        "failed": failed,
    }
    for (group, name, mode), values in samples.items():
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        cell[group].setdefault(name, {})[mode] = [float(f"{1e6 * q:.4g}") for q in quartiles]
    return cell


class Turn:
    """The calls of one library in a round."""

    def __init__(self, call: peers.Call) -> None:
        self.timer = Timer(call)
        once = self.timer.timeit(1)
        if once < SAMPLE:
            once = min(self.timer.repeat(5, 1))
        self.loops = max(1, round(SAMPLE / once))
        self.warm = once < LONG

    def take(self) -> float:
        settle()
        if self.warm:
            self.timer.timeit(1)
        return self.timer.timeit(self.loops) / self.loops


def settle() -> None:
    """Wait until the process sleeps while this thread does."""
    for _ in range(MOST_PAUSES):
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < PAUSE / 4:
            return


def _checked_calls(
    case: Case, arrays: tuple[Array, ...], out: Array
) -> tuple[dict[tuple[str, str, str], peers.Call], dict[str, str]]:
    """Every call to be timed, under "times", its library and "fresh" or "out"; and who cannot."""
    found: dict[tuple[str, str, str], peers.Call] = {}
    failed = {}
    wanted = None
    for name, peer in peers.installed().items():
        try:
            with np.errstate(all="ignore"):
                calls = peer(case.operation, arrays, case.axis, out)
                if calls is None:
                    continue
                for call in calls.ready().values():
                    sample = _sample(case, call(), out.dtype)
                    wanted = sample if wanted is None else wanted
                    relative, absolute = TOLERANCES.get(case.dtype, TOLERANCE)
                    if not np.allclose(sample, wanted, relative, absolute):
                        raise ValueError(f"off by up to {np.abs(sample - wanted).max():.2g}")
        except Exception as error:
            if name == peers.ONESUM:
                raise
            failed[name] = f"{type(error).__name__}: {error}".partition("\n")[0][:120]
            continue
        found |= {("times", name, mode): call for mode, call in calls.ready().items()}
    return found, failed


def _sample(case: Case, answer: Any, dtype: Any) -> Array:
    """The beginning of each array of an answer, one after the other."""
    samples = []
    for part in answer if isinstance(answer, tuple) else (answer,):
        array = np.asarray(peers.as_numpy(part))
        if array.dtype != dtype:
            raise TypeError(f"returns {array.dtype}")
        samples.append(array.reshape(-1)[:CHECKED].astype(np.float64))
    if len(samples) > 1:
        samples[1] *= case.rows  # the gradient of a mean: as large as probabilities again
    return np.concatenate(samples)


def floors(case: Case, arrays: tuple[Array, ...], out: Array) -> dict[tuple[str, str], peers.Call]:
    """Reading the operands and writing the result, with nothing to compute; by kind of store.

    The classes of a loss are next to nothing beside its logits, and are not read.
    """
    core = sys.modules.get("onesum._core")
    if core is None:
        return {}
    if case.operation in READING:
        read = partial(core._move, None, arrays[:1], False)
        return {("reading", "fresh"): read, ("reading", "out"): read}
    sources, to_fresh = arrays, partial(_move_to_fresh, core._move, out)
    into = sources
    if case.in_place:
        sources, into = arrays[:1], (out,)
        if case.array_bytes >= KEPT:  # elsewhere the floor of `out` tells this
            to_fresh = partial(core._move, out)
    found: dict[tuple[str, str], peers.Call] = {}
    for name, streaming in (("streaming", True), ("ordinary", False)):
        found[name, "fresh"] = partial(to_fresh, sources, streaming)
        found[name, "out"] = partial(core._move, out, into, streaming)
    return found


def _move_to_fresh(move: Any, like: Array, arrays: tuple[Array, ...], streaming: bool) -> Array:
    target = np.empty_like(like)
    move(target, arrays, streaming)
    return target
