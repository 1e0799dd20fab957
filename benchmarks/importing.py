"""What `import onesum` costs beside the `import numpy` it contains, and how large the wheel is."""

import compileall
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onesum
from onesum.bench import host

from . import ROOT

PROGRAM = """
from time import perf_counter
start = perf_counter()
import {module}
print(perf_counter() - start)
"""


def run(results: Path, quick: bool) -> None:
    rounds = 3 if quick else 40
    times: dict[str, list[float]] = {"numpy": [], "onesum": []}
    with TemporaryDirectory() as directory:
        # An editable installation imports by detours: a compiled copy is what a user has.
        for part in onesum.__path__:
            shutil.copytree(part, Path(directory) / "onesum", dirs_exist_ok=True)
        compileall.compile_dir(directory, quiet=1)
        for i in range(rounds + 1):
            for module in sorted(times, reverse=bool(i % 2)):  # neither always comes first
                times[module].append(_fresh(module, directory))
    wheels = sorted((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    for values in times.values():
        del values[0]  # the first round fills the caches
    ratios = [own / numpy for own, numpy in zip(times["onesum"], times["numpy"], strict=True)]
    result = {
        "host": host.describe(),
        "rounds": rounds,
        "unit": "milliseconds: lower quartile, median, upper quartile; ratio within each round",
        "times": {module: quartiles([1e3 * t for t in values]) for module, values in times.items()},
        "ratio": quartiles(ratios),
        "wheel": {"name": wheels[-1].name, "bytes": wheels[-1].stat().st_size} if wheels else None,
    }
    print(result["times"], result["ratio"], result["wheel"])
    host.save(results / "import.json", result)


def _fresh(module: str, directory: str) -> float:
    """Seconds that the import takes in a new process, once the interpreter runs."""
    path = os.pathsep.join([directory, str(Path(np.__file__).parent.parent)])
    # -S: the path is this and no more, and no hook of an installation is in the way.
    command = [sys.executable, "-S", "-c", PROGRAM.format(module=module)]
    environment = {**os.environ, "PYTHONPATH": path}
    answer = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    return float(answer.stdout)


def quartiles(values: list[float]) -> list[float]:
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return [float(f"{q:.4g}") for q in quartiles]
