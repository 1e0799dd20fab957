"""How the cost of an element changes as rows grow longer, and as there are more of them."""

from collections.abc import Iterator
from pathlib import Path

from onesum.bench import figures, host, peers, timing
from onesum.bench.cases import Case, Shape
from onesum.bench.processes import Libraries

OPERATIONS = ("softmax", "softmax_vjp")
TOTAL = 1 << 22
EFFORT = timing.Effort(1, most=29)


def _steps(least: float, most: float) -> list[int]:
    """Two to a decade."""
    steps = [round(10 ** (i / 2)) for i in range(17)]
    return [step for step in steps if least <= step <= most]


# By what grows: the shapes, and the number they are drawn over.
CURVES: dict[str, list[tuple[Shape, int]]] = {
    "one row of n": [((n,), n) for n in _steps(10, 1e8)],
    "rows of n, 4 million elements": [((TOTAL // n, n), n) for n in _steps(1, 1e6)],
    "k rows of 10": [((k, 10), k) for k in _steps(1, 1e6)],
    "k rows of 1000": [((k, 1000), k) for k in _steps(1, 1e5)],
}


def run(results: Path, quick: bool, threads: int, largest: int | None) -> None:
    host.pin(threads, None)
    about = host.describe()
    result = {
        "host": about,
        "threads": threads,
        "missing": peers.missing(),
        "unit": "microseconds: lower quartile, median, upper quartile",
        "cells": [],
    }
    most = 100 if quick else largest
    effort = timing.QUICK if quick else EFFORT
    with Libraries(peers.installed()) as libraries:
        for operation, curve, shape, x in _points():
            case = Case(operation, "float32", shape, -1)
            if most and case.array_bytes > 4 * most:
                continue
            cell = timing.measure(libraries, case, effort, host.cache(about, 2))
            result["cells"].append({"curve": curve, "x": x, **cell})
            host.save(results / "growth.json", result)
            print(f"{curve:30} {case!s:40}", *figures.row(cell, "out", []), flush=True)


def _points() -> Iterator[tuple[str, str, Shape, int]]:
    for operation in OPERATIONS:
        for curve, points in CURVES.items():
            for shape, x in points:
                yield operation, curve, shape, x
