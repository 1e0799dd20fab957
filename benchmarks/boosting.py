"""What a custom objective costs a round of boosting: ours, in NumPy, and the library's own.

The objective is called alone, on scores as the library keeps them; and in whole rounds, where a
clock in it tells its part from that of the trees. All take turns, in an order shuffled every round.
The objectives give the same derivatives, so the trees are the same.
"""

import random
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from onesum.bench import host
from onesum.bench.turns import Turn, settle
from onesum.boosting import SoftmaxObjective

from .importing import quartiles

ROWS, FEATURES, CLASSES = 100_000, 20, (4, 10, 50)
ROUNDS = 15
LOOPED = 1000  # rows that Python goes through one number at a time: the time is multiplied
ONESUM, NUMPY, LOOPS, OWN = "onesum", "NumPy", "loops", "built-in"
FLOOR = 1e-16  # of the curvature

Array = Any
Objective = Callable[[Array, Any], tuple[Array, Array]]


def run(results: Path, quick: bool, threads: int) -> None:
    host.pin(threads, None)
    about = host.describe()
    about["versions"] |= {"lightgbm": _version("lightgbm"), "xgboost": _version("xgboost")}
    rows, rounds = (500, 3) if quick else (ROWS, ROUNDS)
    result: dict[str, Any] = {
        "host": about,
        "threads": threads,
        "unit": "microseconds: lower quartile, median, upper quartile",
        "rows": rows,
        "features": FEATURES,
        "cells": [],
    }
    for library in LIBRARIES:
        for n_classes in CLASSES[:1] if quick else CLASSES:
            cell = measure(library, n_classes, rows, rounds, threads)
            result["cells"].append(cell)
            host.save(results / "boosting.json", result)
            print(*cell.values(), flush=True)


def _version(package: str) -> str | None:
    """Of XGBoost there are two packages."""
    for name in (package, f"{package}-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return None


# The objectives


def in_numpy(k: float, floor: float) -> Objective:
    """The formulas over whole arrays: what the examples of both libraries come to."""

    def objective(scores: Array, data: Any) -> tuple[Array, Array]:
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        gradient = p.copy()
        gradient[np.arange(len(p)), data.get_label().astype(np.int64)] -= 1.0
        return gradient, np.maximum(k * p * (1.0 - p), floor)

    return objective


def in_loops(k: float, floor: float) -> Objective:
    """The same, one number at a time: how XGBoost's example explains them."""

    def objective(scores: Array, data: Any) -> tuple[Array, Array]:
        labels = data.get_label()
        gradient, curvature = np.zeros(scores.shape), np.zeros(scores.shape)
        for i, row in enumerate(scores):
            e = np.exp(row - row.max())
            p = e / e.sum()
            for c in range(len(p)):
                gradient[i, c] = p[c] - 1.0 if c == labels[i] else p[c]
                curvature[i, c] = max(k * p[c] * (1.0 - p[c]), floor)
        return gradient, curvature

    return objective


class Clocked:
    """An objective that keeps how long each call took."""

    def __init__(self, objective: Objective):
        self.objective = objective
        self.times: list[float] = []

    def __call__(self, scores: Array, data: Any) -> tuple[Array, Array]:
        start = time.perf_counter()
        answer = self.objective(scores, data)
        self.times.append(time.perf_counter() - start)
        return answer


class _Labels(NamedTuple):
    """What an objective asks of a library's data."""

    y: Array

    def get_label(self) -> Array:
        return self.y.astype(np.float32)

    def get_weight(self) -> None:
        return None


# The libraries: from the data to trainings, from a training's objective to its next round

Training = Callable[[Objective | None], Callable[[], Any]]


def _lightgbm(x: Array, y: Array, n_classes: int, threads: int) -> Training:
    import lightgbm

    data = lightgbm.Dataset(x, y, params={"verbose": -1}).construct()
    params = {
        "num_class": n_classes,
        "num_threads": threads,
        "boost_from_average": False,
        "verbose": -1,
    }

    def training(objective: Objective | None) -> Callable[[], Any]:
        name = "multiclass" if objective is None else "none"
        model = lightgbm.Booster({**params, "objective": name}, data)
        return lambda: model.update(fobj=objective)

    return training


def _xgboost(x: Array, y: Array, n_classes: int, threads: int) -> Training:
    import xgboost

    data = xgboost.DMatrix(x, y, nthread=threads)
    params = {
        "num_class": n_classes,
        "nthread": threads,
        "base_score": [1 / n_classes] * n_classes,
        "objective": "multi:softprob",
    }

    def training(objective: Objective | None) -> Callable[[], Any]:
        model = xgboost.Booster(params, [data])
        count = iter(range(1 << 30))
        return lambda: model.update(data, next(count), objective)

    return training


# Of each: how it is set up, the curvature that is its own, its order and type of scores.
LIBRARIES = {
    "LightGBM": (_lightgbm, "scaled", "F", np.float64),
    "XGBoost": (_xgboost, "upper_bound", "C", np.float32),
}


def measure(library: str, n_classes: int, rows: int, rounds: int, threads: int) -> dict[str, Any]:
    prepare, curvature, order, dtype = LIBRARIES[library]
    k = {"scaled": n_classes / (n_classes - 1), "upper_bound": 2.0}[curvature]
    ours = SoftmaxObjective(n_classes, curvature=curvature)
    objectives: dict[str, Objective] = {
        ONESUM: ours.lightgbm if library == "LightGBM" else ours.xgboost,
        NUMPY: in_numpy(k, FLOOR),
        LOOPS: in_loops(k, FLOOR),
    }
    rng = np.random.default_rng(n_classes)
    y = rng.integers(0, n_classes, rows)
    x = (rng.normal(size=(n_classes, FEATURES))[y] + rng.normal(size=(rows, FEATURES))) / 2
    scores = np.asarray(rng.normal(0, 2, (rows, n_classes)), dtype, order=order)
    some = min(LOOPED, rows)
    _check(objectives, scores[:some], y[:some])

    def alone(name: str) -> Callable[[], Any]:
        n = some if name == LOOPS else rows
        arguments = scores[:n], _Labels(y[:n])
        return lambda: objectives[name](*arguments)

    turns = {name: Turn(alone(name)).take for name in objectives}
    calls = _in_rounds(turns, rounds)
    calls[LOOPS] = [t * rows / some for t in calls[LOOPS]]

    clocks = {name: Clocked(objectives[name]) for name in (ONESUM, NUMPY)}
    training = prepare(x, y, n_classes, threads)
    trainings = {name: training(clock) for name, clock in clocks.items()} | {OWN: training(None)}
    whole = _in_rounds(
        {name: partial(_timed, update) for name, update in trainings.items()}, rounds
    )
    return {
        "library": library,
        "classes": n_classes,
        "alone": {name: _microseconds(times) for name, times in calls.items()},
        "round": {name: _microseconds(times) for name, times in whole.items()},
        "within": {name: _microseconds(clock.times[1:]) for name, clock in clocks.items()},
    }


def _check(objectives: dict[str, Objective], scores: Array, y: Array) -> None:
    """All compute the same."""
    wanted = objectives[ONESUM](scores, _Labels(y))
    for objective in objectives.values():
        np.testing.assert_allclose(objective(scores, _Labels(y)), wanted, rtol=1e-4, atol=1e-6)


def _in_rounds(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The seconds that each turn tells in each round, after a first that does not count."""
    for turn in turns.values():
        turn()
    times: dict[str, list[float]] = {name: [] for name in turns}
    order, shuffle = list(turns), random.Random(0).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            times[name].append(turns[name]())
    return times


def _timed(update: Callable[[], Any]) -> float:
    """The seconds of a training's next round: no two are alike, so there is no call to warm up."""
    settle()
    start = time.perf_counter()
    update()
    return time.perf_counter() - start


def _microseconds(seconds: list[float]) -> list[float]:
    return quartiles([1e6 * t for t in seconds])
