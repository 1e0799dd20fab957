"""Softmax of Dask arrays larger than the memory of two workers, beside its natural expression.

The logits are float32 in a Zarr store, their classes in chunks, and so is the result. The workers
start anew for each run, and the expressions take turns. Their peak is that of the resident memory,
as the kernel has it; spilled is what they wrote to disk because their limit was near.
"""

import json
import math
import os
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
WORKERS, LIMIT = 2, "1GB"
SIZES, QUICK = (1, 2, 4, 8), (0.05,)
CHUNK = (512, 4096)  # 8 MiB; there is one block of rows, of more and more classes
EXPRESSIONS = ("onesum", "natural")
ROUNDS = 3
PATIENCE = 120.0  # seconds: workers of which all memory is held may pause for good
# As Dask starts its workers, each array has new pages from the system. Or memory that is given back
# is used again: the workers have that from the process that starts them, for what a cluster is told
# of their environment comes too late for malloc.
MALLOC: dict[str, dict[str, str]] = {
    "Dask's": {},
    "kept": {"MALLOC_MMAP_THRESHOLD_": str(64 * MIB), "MALLOC_TRIM_THRESHOLD_": str(128 * MIB)},
}
RUNS = [(memory, name) for memory in MALLOC for name in EXPRESSIONS]


def run(results: Path, quick: bool, sizes: list[float] | None = None) -> None:
    about = {"host": host.describe(), **constants()}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        for size in sizes or (QUICK if quick else SIZES):
            source = Path(directory) / "x.zarr"
            shape = write(source, size)
            runs: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in RUNS}
            for _ in range(1 if quick else ROUNDS):
                for (memory, name), done in runs.items():
                    if done and "failed" in done[-1]:
                        continue
                    if not quick:
                        fill(Path(directory) / "holes")
                    done.append(in_a_process(name, source, Path(directory) / "y.zarr", memory))
                    print(size, memory, name, done[-1], flush=True)
            for (memory, name), done in runs.items():
                about_it = {"gigabytes": size, "shape": shape, "memory": memory, "expression": name}
                rows.append(about_it | whole(done))
            host.save(results / "dask.json", {**about, "rows": rows})
            shutil.rmtree(source)


def whole(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one: the median of their times, and the most of everything else."""
    failed = [run for run in runs if "failed" in run]
    if failed:
        return failed[0]
    seconds = [run["seconds"] for run in runs]
    return {
        "seconds": median(seconds),
        "all seconds": seconds,
        "peak MiB": max(run["peak MiB"] for run in runs),
        "spilled MiB": max(run["spilled MiB"] for run in runs),
    }


def constants() -> dict[str, Any]:
    import dask
    import distributed
    import zarr

    versions = {m.__name__: m.__version__ for m in (dask, distributed, zarr)}
    return {"workers": WORKERS, "limit": LIMIT, "chunk": CHUNK, "versions": versions}


def write(path: Path, gigabytes: float) -> tuple[int, int]:
    """Logits of spread 3, block by block."""
    rows, classes = CHUNK[0], CHUNK[1] * max(1, round(gigabytes * GB / 4 / math.prod(CHUNK)))
    store = empty(path, (rows, classes))
    rng = np.random.default_rng(0)
    for i in range(0, rows, CHUNK[0]):
        for j in range(0, classes, CHUNK[1]):
            block = 3 * rng.standard_normal(CHUNK, dtype=np.float32)
            store[i : i + CHUNK[0], j : j + CHUNK[1]] = block
    return rows, classes


def empty(path: Path, shape: tuple[int, int]) -> Any:
    """An array that is not compressed, and of which Zarr does not look first whether all of a chunk
    is zero: either would take most of the time.
    """
    import zarr

    options = {"chunks": CHUNK, "dtype": "float32", "compressors": None}
    options["config"] = {"write_empty_chunks": True}
    return zarr.create_array(store=path, shape=shape, **options)


def fill(path: Path) -> None:
    """Put all but a gigabyte of the memory to use, by reading holes of a file.

    What a virtual machine has not used for a while comes from its host at first, and takes ten
    times as long as memory that the system takes from its own cache: as on a machine long in use.
    """
    import psutil

    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(max(0, psutil.virtual_memory().free - GB))
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(MIB)
        while file.readinto(buffer):
            pass


def in_a_process(expression: str, source: Path, target: Path, memory: str) -> dict[str, Any]:
    """Seconds and memory, or why there are none."""
    command = [sys.executable, "-m", "benchmarks.dask", expression, str(source), str(target)]
    try:
        env = {**os.environ, **host.environment(1), **MALLOC[memory]}  # one thread in each worker
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {PATIENCE:.0f} seconds"}
    finally:
        shutil.rmtree(target, ignore_errors=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def work(expression: str, source: str, target: str) -> dict[str, Any]:
    import dask.array as da
    import zarr
    from distributed import Client, LocalCluster

    options = {"n_workers": WORKERS, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(memory_limit=LIMIT, **options) as cluster, Client(cluster) as client:
        x = da.from_zarr(zarr.open_array(source, mode="r"))
        function = softmax if expression == "onesum" else natural
        y = function(x)
        result = empty(Path(target), x.shape)
        client.run(used)  # what a worker imports is no part of it
        function(da.zeros((4, 8), chunks=(2, 4))).compute()
        os.sync()  # the disk has done what came before
        start = time.perf_counter()
        da.store(y, result, lock=False)  # to_zarr would merge chunks, which are those of the store
        seconds = time.perf_counter() - start
        workers = client.run(used).values()
        check(source, target)
    return {
        "seconds": seconds,
        "peak MiB": [w["peak"] / MIB for w in workers],
        "spilled MiB": sum(w["spilled"] for w in workers) / MIB,
    }


def softmax(x: Any) -> Any:
    import onesum

    return onesum.softmax(x)


def natural(x: Any) -> Any:
    import dask.array as da

    e = da.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def used(dask_worker: Any) -> dict[str, float]:
    """The most resident memory of a worker so far, and the bytes that it spilled."""
    import resource

    import zarr  # noqa: F401

    import onesum  # noqa: F401

    metrics = getattr(dask_worker.data, "cumulative_metrics", {})
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "spilled": metrics.get(("disk-write", "bytes"), 0),
    }


def check(source: str, target: str) -> None:
    """The first rows, beside the dense function."""
    import zarr

    import onesum

    x, y = zarr.open_array(source, mode="r"), zarr.open_array(target, mode="r")
    np.testing.assert_allclose(y[:2], onesum.softmax(x[:2]), 1e-4)


if __name__ == "__main__":
    print(json.dumps(work(*sys.argv[1:])))
