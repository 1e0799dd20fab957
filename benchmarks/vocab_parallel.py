"""The cross entropy of a sharded vocabulary, beside `loss_parallel` of torch's DTensors.

Two processes have a thread and a processor each, half of the classes, and both implementations;
they talk over gloo. What is timed is the loss and its gradient by float32 logits of spread 3, from
when both begin to when both have it. The two take turns, in an order shuffled every round.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from onesum.bench import host
from onesum.bench.cases import shape_name

from .importing import quartiles

Shape = tuple[int, int]

RANKS = 2
SHAPES: list[Shape] = [(512, 32000), (4096, 128256)]
QUICK: list[Shape] = [(64, 1024)]
ONESUM, LOSS_PARALLEL = "onesum", "loss_parallel"
ROUNDS = 9


def run(results: Path, quick: bool, shapes: list[Shape] | None = None) -> None:
    about = {"host": host.describe(), "threads": 1, "ranks": RANKS}
    unit = "microseconds: lower quartile, median, upper quartile"
    rows: list[dict[str, Any]] = []
    for shape in shapes or (QUICK if quick else SHAPES):
        rows.append({"shape": shape, "times": times(shape, 3 if quick else ROUNDS)})
        print(shape_name(shape, -1), rows[-1]["times"], flush=True)
        host.save(results / "vocab_parallel.json", {**about, "unit": unit, "rows": rows})


def times(shape: Shape, rounds: int) -> dict[str, list[float]]:
    """The quartiles of both, as the first rank has them."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.vocab_parallel"]
        environment = {**os.environ, **host.environment(1)}
        processes = [
            subprocess.Popen(
                [*command, json.dumps([rank, f"{directory}/store", shape, rounds])],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            for rank in range(RANKS)
        ]
        try:
            answers = [process.communicate()[0] for process in processes]
        finally:
            for process in processes:
                process.kill()
    for process in processes:
        if process.returncode:
            raise RuntimeError(f"{process.args}: ended with {process.returncode}")
    samples: dict[str, list[float]] = json.loads(answers[0])
    return {name: quartiles([1e6 * t for t in values]) for name, values in samples.items()}


def work(rank: int, store: str, shape: Shape, rounds: int) -> None:
    """What a rank does: once each for a comparison, and then the rounds."""
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {available[rank % len(available)]})
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    shared = dist.FileStore(store, RANKS)
    dist.init_process_group("gloo", store=shared, rank=rank, world_size=RANKS)
    calls = {ONESUM: in_onesum, LOSS_PARALLEL: in_torch}
    x, y = operands(rank, shape)
    prepared = {name: make(x, y) for name, make in calls.items()}
    gradients = [call()[:8].clone() for call in prepared.values()]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-9)
    samples: dict[str, list[float]] = {name: [] for name in prepared}
    shuffle, order = random.Random(0).shuffle, list(prepared)  # the same on all ranks
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            dist.barrier()
            start = perf_counter()
            prepared[name]()
            taken = torch.tensor(perf_counter() - start, dtype=torch.float64)
            dist.all_reduce(taken, dist.ReduceOp.MAX)
            samples[name].append(taken.item())
    if rank == 0:
        print(json.dumps(samples), flush=True)
    dist.barrier()
    os._exit(0)  # a regular end aborts now and then, for threads that torch leaves behind


def operands(rank: int, shape: Shape) -> tuple[Any, Any]:
    """The logits of a rank, and the classes of all."""
    import torch

    own = torch.Generator().manual_seed(rank)
    x = 3 * torch.randn(shape[0], shape[1] // RANKS, generator=own)
    return x, torch.randint(shape[1], shape[:1], generator=torch.Generator().manual_seed(RANKS))


def in_onesum(x: Any, y: Any) -> Callable[[], Any]:
    from onesum.torch import vocab_parallel_cross_entropy

    leaf = x.detach().requires_grad_()

    def call() -> Any:
        leaf.grad = None  # otherwise backward() would add to it
        vocab_parallel_cross_entropy(leaf, y).backward()
        return leaf.grad

    return call


def in_torch(x: Any, y: Any) -> Callable[[], Any]:
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard
    from torch.distributed.tensor.parallel import loss_parallel

    mesh = init_device_mesh("cpu", (RANKS,))
    leaf = DTensor.from_local(x.detach(), mesh, [Shard(1)]).requires_grad_()

    def call() -> Any:
        leaf.grad = None
        with loss_parallel():
            torch.nn.functional.cross_entropy(leaf, y).backward()
        return leaf.grad.to_local()

    return call


if __name__ == "__main__":
    rank, store, shape, rounds = json.loads(sys.argv[1])
    work(rank, store, tuple(shape), rounds)
