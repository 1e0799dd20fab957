"""The temperature of a classifier's logits: beside scikit-learn's search, and a search by values.

Each implementation has a process of its own, and they take turns, in an order shuffled every round,
while the others wait. What is timed is the fit, from logits in memory to T. The logits are normal
with a spread of 3, and too large by a factor of 1.7.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from onesum.bench import host

from .importing import quartiles

SHAPES = [(100_000, 10), (100_000, 100), (20_000, 1000)]
QUICK = [(2000, 10)]
DTYPES = ("float32", "float64")
ROUNDS = 7
ONESUM, SKLEARN, SCIPY = "onesum", "scikit-learn", "SciPy"

Array = Any
Call = Callable[[], float]


def run(results: Path, quick: bool, threads: int) -> None:
    host.pin(threads, None)  # for the processes too
    about = {"host": host.describe(), "threads": threads}
    about["host"]["versions"]["scikit-learn"] = version("scikit-learn")
    unit = "microseconds: lower quartile, median, upper quartile; the temperatures found"
    rows: list[dict[str, Any]] = []
    for shape in QUICK if quick else SHAPES:
        for dtype in DTYPES:
            rows.append({"shape": shape, "dtype": dtype, **measure(shape, dtype, quick)})
            print(rows[-1], flush=True)
            host.save(results / "calibration.json", {**about, "unit": unit, "rows": rows})


def measure(shape: tuple[int, int], dtype: str, quick: bool) -> dict[str, Any]:
    """The quartiles of all, what they found, and how many times as long as onesum they take."""
    processes = {name: started(name, shape, dtype) for name in CALLS}
    try:
        found = {name: asked(process)[1] for name, process in processes.items()}
        samples: dict[str, list[float]] = {name: [] for name in CALLS}
        shuffle, order = random.Random(0).shuffle, list(CALLS)
        for _ in range(3 if quick else ROUNDS):
            shuffle(order)
            for name in order:
                samples[name].append(1e6 * asked(processes[name])[0])
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    np.testing.assert_allclose(list(found.values()), found[ONESUM], rtol=1e-3)
    times = {name: quartiles(values) for name, values in samples.items()}
    ratios = {name: round(t[1] / times[ONESUM][1], 2) for name, t in times.items()}
    return {"times": times, "temperatures": found, "ratios": ratios}


def started(name: str, shape: tuple[int, int], dtype: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.calibration", json.dumps([name, shape, dtype])]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=dict(os.environ))


def asked(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """One call: its seconds, and the temperature."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    seconds, temperature = json.loads(process.stdout.readline())
    return seconds, temperature


def work(name: str, shape: tuple[int, int], dtype: str) -> None:
    """What a process does: a call for each line it reads."""
    rng = np.random.default_rng(0)
    x = rng.normal(0.0, 3.0, shape)
    y = (x / 1.7 + rng.gumbel(size=shape)).argmax(axis=1)
    call = CALLS[name](x.astype(dtype), y)
    for _ in sys.stdin:
        start = perf_counter()
        temperature = call()
        print(json.dumps([perf_counter() - start, temperature]), flush=True)


def in_onesum(x: Array, y: Array) -> Call:
    from onesum.sklearn import TemperatureScaling

    scaling = TemperatureScaling(classes=range(x.shape[1]))
    return lambda: float(scaling.fit(x, y).temperature_)


def in_sklearn(x: Array, y: Array) -> Call:
    """The class behind CalibratedClassifierCV(method="temperature")."""
    from sklearn.calibration import _TemperatureScaling

    labels = y.astype(np.float64)
    return lambda: float(1.0 / _TemperatureScaling().fit(x, labels).beta_)


def in_scipy(x: Array, y: Array) -> Call:
    """What is written by hand: the loss from log_softmax, and a bounded search by values."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows = np.arange(len(y))

    def loss(log_t: float) -> float:
        return float(-log_softmax(x / np.exp(log_t), axis=1)[rows, y].mean())

    def fit() -> float:
        return float(np.exp(minimize_scalar(loss, bounds=(-10.0, 10.0), method="bounded").x))

    return fit


CALLS = {ONESUM: in_onesum, SKLEARN: in_sklearn, SCIPY: in_scipy}

if __name__ == "__main__":
    work(*json.loads(sys.argv[1]))
