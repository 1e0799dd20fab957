"""The command on large files: softmax beside `cp`, and two files compared, beside NumPy.

The files are made on the spot, in a temporary directory, and deleted. Resident is the memory of the
process alone, the largest that was seen: the page cache is the system's. What is read is in the
page cache as far as it fits, for both alike; `cp` and softmax take turns. Each is timed until it
ends, and until a `sync` after it ends: `cp` leaves what it wrote to the system, the command waits.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from onesum.bench import host

GB, MIB = 10**9, 2**20
SOFTMAX, COMPARED = 6.0, 4.0  # GB, of a file
QUICK = 0.02
CLASSES = 32000
ROUNDS = 7
PART = 256  # rows that NumPy compares


def run(results: Path, quick: bool) -> None:
    result: dict[str, Any] = {"host": host.describe(), "classes": CLASSES}
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        result["softmax"] = softmax(folder, *((QUICK, 1) if quick else (SOFTMAX, ROUNDS)))
        host.save(results / "files.json", result)
        print(result["softmax"], flush=True)
        result["compare"] = compare(folder, QUICK if quick else COMPARED)
        host.save(results / "files.json", result)
        print(result["compare"], flush=True)


def softmax(folder: Path, gigabytes: float, rounds: int) -> dict[str, Any]:
    """Seconds of each, and of each until all is on the disk; and what is resident."""
    source, target = folder / "in.npy", folder / "out.npy"
    size = write(source, gigabytes, 0)
    commands = {
        "cp": ["cp", str(source), str(target)],
        "onesum": [*ONESUM, "softmax", str(source), str(target), "--quiet"],
    }
    seconds: dict[str, list[float]] = {f"{name}{end}": [] for name in commands for end in ENDS}
    resident = 0.0
    for _ in range(rounds):
        for name, command in commands.items():
            target.unlink(missing_ok=True)
            subprocess.run(["sync"], check=True)
            start = time.perf_counter()
            used = watched(command)
            seconds[name].append(time.perf_counter() - start)
            subprocess.run(["sync"], check=True)
            seconds[f"{name}, sync"].append(time.perf_counter() - start)
            resident = max(resident, used if name == "onesum" else 0)
    check(source, target)
    source.unlink(), target.unlink()
    medians = {name: median(values) for name, values in seconds.items()}
    return {"bytes": size, "seconds": medians, "all seconds": seconds, "resident MiB": resident}


def compare(folder: Path, gigabytes: float) -> dict[str, Any]:
    """Seconds of the command, and those of NumPy in float64, from a part of the rows."""
    base, other = folder / "base.npy", folder / "other.npy"
    size = write(base, gigabytes, 0)
    write(other, gigabytes, 1, noise_over=base)
    start = time.perf_counter()
    resident = watched([*ONESUM, "compare", str(base), str(other), "--json"])
    seconds = time.perf_counter() - start
    rows = size // 4 // CLASSES
    x, y = (np.load(path, mmap_mode="r") for path in (base, other))
    start = time.perf_counter()
    some = min(PART, rows)
    for first in range(0, some, 16):
        in_numpy(x[first : first + 16], y[first : first + 16])
    of_numpy = (time.perf_counter() - start) * rows / some
    del x, y
    base.unlink(), other.unlink()
    return {"bytes": size, "seconds": seconds, "NumPy": of_numpy, "resident MiB": resident}


ENDS = ("", ", sync")
ONESUM = [sys.executable, "-m", "onesum"]


def write(path: Path, gigabytes: float, seed: int, noise_over: Path | None = None) -> int:
    """Logits of spread 3, or those of another file with some noise; how many bytes."""
    rows = max(4, round(gigabytes * GB / 4 / CLASSES))
    shape = rows, CLASSES
    rng = np.random.default_rng(seed)
    out = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    given = None if noise_over is None else np.load(noise_over, mmap_mode="r")
    for first in range(0, rows, 256):
        block = rng.standard_normal((min(256, rows - first), CLASSES), dtype=np.float32)
        if given is None:
            block *= 3
        else:
            block *= np.float32(0.1)
            block += given[first : first + 256]
        out[first : first + 256] = block
    out.flush()
    return int(out.nbytes)


def watched(command: list[str]) -> float:
    """Run it; the most memory of its own that it was seen to hold, in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, anonymous(process.pid))
        time.sleep(0.01)
    if process.returncode:
        raise RuntimeError(f"{shutil.which(command[0])}: ended with {process.returncode}")
    return most / MIB


def anonymous(pid: int) -> int:
    """Resident bytes that are no file's."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return int(found[0]) * 1024 if found else 0


def in_numpy(x: Any, y: Any) -> tuple[Any, ...]:
    """What the command computes of rows, as one would write it."""
    from scipy.special import log_softmax

    log_p, log_q = (log_softmax(np.asarray(a, np.float64), axis=-1) for a in (x, y))
    p, q = np.exp(log_p), np.exp(log_q)
    log_m = np.logaddexp(log_p, log_q) - np.log(2)
    to_p, to_q = np.sum(p * (log_p - log_m), axis=-1), np.sum(q * (log_q - log_m), axis=-1)
    kl, reverse = np.sum(p * (log_p - log_q), axis=-1), np.sum(q * (log_q - log_p), axis=-1)
    return kl, reverse, (to_p + to_q) / 2, x.argmax(-1) == y.argmax(-1)


def check(source: Path, target: Path) -> None:
    """The first rows."""
    import onesum

    x, y = (np.load(path, mmap_mode="r") for path in (source, target))
    np.testing.assert_array_equal(y[:2], onesum.softmax(x[:2]))
