"""Arrays on a CUDA device: whether onesum is right there, and how fast, by PyTorch, JAX and CuPy.

    lanes.py    the libraries: how arrays get to the device and back, and their own functions
    right.py    every function against the references of the tests;  derived.py   through autograd,
                torch.func, jit and vmap, and the cases that have a name
    fast.py     times and memory;  tables.py   what is shown
    worker.py   one lane in one process, a line of JSON a finding

First all lanes are checked side by side, for it takes no times; then each is timed alone. Every
part has a limit of time: what is not done by then is listed as left out.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from onesum.bench import host

from .. import ROOT
from .lanes import LANES

RIGHT = 110  # seconds for all checks
FAST = {"torch": 25, "torch.compile": 50, "JAX": 30}  # and for the times of each lane
GRACE = 5  # beyond the limit that a lane keeps itself

Findings = list[dict[str, Any]]


def run(results: Path, quick: bool, device: str) -> int:
    """The number of failures; all findings are in cuda.json."""
    begin = time.monotonic()
    workers = [Worker(lane, "right", device, RIGHT, quick) for lane in LANES]
    findings = [finding for worker in workers for finding in worker.findings()]
    for lane, seconds in FAST.items():
        findings += Worker(lane, "fast", device, seconds, quick).findings()
    result = {
        "host": host.describe(),
        "device": device,
        "seconds": round(time.monotonic() - begin),
        "unit": "errors in ulps, and in budgets of tests/budget.py; times in microseconds; bytes",
        "lanes": [_without(f, "kind") for f in findings if f["kind"] == "about"],
        "errors": worst(findings),
        "cases": [_without(f, "kind") for f in findings if f["kind"] == "case"],
        "failures": [_without(f, "kind") for f in findings if f["kind"] == "failure"],
        "times": [_without(f, "kind") for f in findings if f["kind"] == "time"],
        "left out": [_without(f, "kind") for f in findings if f["kind"] == "left out"],
    }
    path = results / "cuda.json"
    host.save(path, result)
    if os.environ.get("OUT"):
        shutil.copy(path, os.environ["OUT"])
    show(result)
    return len(result["failures"]) + sum(not case["ok"] for case in result["cases"])


class Worker:
    """A lane in its own process, and what it says."""

    def __init__(self, lane: str, part: str, device: str, seconds: float, quick: bool):
        self.lane, self.part, self.seconds = lane, part, seconds
        command = [sys.executable, "-m", f"{__name__}.worker", lane, part, device]
        command += ["--seconds", str(seconds), *(["--quick"] if quick else [])]
        self.errors = ""
        self._end = time.monotonic() + seconds + GRACE
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)
        self._lines: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors = (self.errors + line)[-4000:]

    def findings(self) -> Findings:
        """All it found, once it has ended or its time is over."""
        why = ""
        try:
            code = self._process.wait(max(self._end - time.monotonic(), 0))
            why = f"it ended with {code}: {self.errors[-1500:]}" if code else ""
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            why = f"after {self.seconds:g} seconds there was no time left"
        for reader in self._readers:
            reader.join(GRACE)
        found: Findings = [json.loads(a) for a in list(self._lines) if a.startswith('{"kind"')]
        if why:
            last = next((f for f in reversed(found) if "function" in f), {})
            after = {key: last[key] for key in ("function", "dtype", "input") if key in last}
            found.append({"kind": "left out", "what": "the rest", "after": after, "why": why})
        return [{**f, "lane": self.lane, "part": self.part} for f in found if f["kind"] != "done"]


def worst(findings: Findings) -> Findings:
    """The largest error of each lane, its own functions apart, by budget and type."""
    table: dict[tuple[Any, ...], dict[str, Any]] = {}
    for f in findings:
        if f["kind"] != "error":
            continue
        key = f["lane"], bool(f.get("own")), f["budget"], f["dtype"]
        entry = table.setdefault(
            key, dict(zip(("lane", "own", "function", "dtype"), key, strict=True))
        )
        for name in ("ulps", "of_budget"):
            values = [a for a in (entry.get(name), f[name]) if isinstance(a, int | float)]
            lost = name in entry and entry[name] is None
            entry[name] = None if lost or len(values) < 1 + (name in entry) else max(values)
        entry["checks"] = entry.get("checks", 0) + 1
    return list(table.values())


def _without(finding: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in finding.items() if name != key}


def show(result: dict[str, Any]) -> None:
    """The tables, and all that is wrong, for a terminal."""
    from .tables import on_a_gpu

    print(on_a_gpu(result))
    for case in result["cases"]:
        print("right" if case["ok"] else "WRONG", case["lane"], case["name"], case["got"])
    for f in result["failures"]:
        print("FAILURE", f["lane"], f["function"], f["dtype"], f["input"], f["why"])
        print(f.get("traceback", ""), end="")
    for f in result["left out"]:
        print("left out:", f["lane"], f["part"], f["what"], f.get("after", ""), f["why"])
    print(f"{len(result['failures'])} failures in {result['seconds']} seconds")
