"""What `import onesum` costs beside the `import numpy` it contains, and how large the wheel is."""

import statistics
import subprocess
import sys
from pathlib import Path

from . import ROOT, host

PROGRAM = """
from time import perf_counter
start = perf_counter()
import {module}
print(perf_counter() - start)
"""


def run(results: Path, quick: bool) -> None:
    rounds = 3 if quick else 40
    times: dict[str, list[float]] = {"numpy": [], "onesum": []}
    for i in range(rounds + 1):
        for module in sorted(times, reverse=bool(i % 2)):  # neither always comes first
            times[module].append(_fresh(module))
    wheels = sorted((ROOT / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    result = {
        "host": host.describe(),
        "rounds": rounds,
        "unit": "milliseconds: lower quartile, median, upper quartile",
        # The first round fills the caches.
        "times": {module: _quartiles(values[1:]) for module, values in times.items()},
        "wheel": {"name": wheels[-1].name, "bytes": wheels[-1].stat().st_size} if wheels else None,
    }
    print(result["times"], result["wheel"])
    host.save(results / "import.json", result)


def _fresh(module: str) -> float:
    """Seconds that the import takes in a new process, once the interpreter runs."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def _quartiles(values: list[float]) -> list[float]:
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    return [float(f"{1e3 * q:.4g}") for q in quartiles]
