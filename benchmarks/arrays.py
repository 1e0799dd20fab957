"""Arrays of PyTorch and JAX: onesum's functions beside those libraries' own, through their tapes.

Each library has a process of its own, as threads of one that go on spinning would slow the next;
and all the processes of a case take turns. What is timed is a forward and a backward call, in
float32: the gradient of logits of spread 3, for a normal cotangent or for the mean of the losses.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from onesum.bench import host
from onesum.bench.cases import shape_name
from onesum.bench.turns import Turn, settle

from .importing import quartiles

Call = Callable[[], Any]
Shape = tuple[int, int]

SHAPES: list[Shape] = [
    (1, 10),
    (65536, 10),
    (4096, 128),
    (4096, 1000),
    (512, 32000),
    (128, 128256),
]
QUICK: list[Shape] = [(4, 10)]
OPERATIONS = ("softmax", "log_softmax", "cross_entropy")
LANES = ("torch", "torch.compile", "JAX")
ROUNDS = 25
CHECKED = 10  # elements of each gradient that are compared before anything is timed


class Case(NamedTuple):
    lane: str
    operation: str
    shape: Shape


def run(results: Path, quick: bool, threads: int) -> None:
    host.pin(threads, None)  # for the processes too
    shapes, rounds = (QUICK, 3) if quick else (SHAPES, ROUNDS)
    about = {"host": host.describe(), "threads": threads}
    unit = "microseconds: lower quartile, median, upper quartile"
    rows: list[dict[str, Any]] = []
    for lane in LANES:
        for operation in OPERATIONS[:1] if quick else OPERATIONS:
            for shape in shapes:
                case = Case(lane, operation, shape)
                rows.append({**case._asdict(), "times": times(case, rounds)})
                print(lane, operation, shape_name(shape, -1), rows[-1]["times"], flush=True)
                host.save(results / "arrays.json", {**about, "unit": unit, "rows": rows})


def times(case: Case, rounds: int) -> dict[str, list[float]]:
    """The quartiles of onesum and of the array's own library."""
    workers = {"onesum": Worker(case, True), case.lane: Worker(case, False)}
    samples: dict[str, list[float]] = {name: [] for name in workers}
    try:
        compare(case, *(worker.answer() for worker in workers.values()))
        shuffle, order = random.Random(0).shuffle, list(workers)
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                samples[name].append(1e6 * workers[name].ask())
    finally:
        for worker in workers.values():
            worker.close()
    return {name: quartiles(values) for name, values in samples.items()}


def compare(case: Case, own: list[float], peers: list[float]) -> None:
    """Whether both compute the same, as far as a sample of their gradients tells."""
    np.testing.assert_allclose(own, peers, 1e-3, 1e-5 * np.abs(peers).max(), err_msg=str(case))


class Worker:
    """A process that prepares the call of one library, and times it each time it is asked to."""

    def __init__(self, case: Case, own: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.arrays", json.dumps(case), json.dumps(own)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args}: ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.communicate()


def work(case: Case, own: bool) -> None:
    """What a worker does: a sample of the gradient first, then a time for every line it reads.

    It answers when its threads sleep, so that nobody else computes beside them.
    """
    call = (in_jax if case.lane == "JAX" else in_torch)(case, own)
    print(json.dumps(np.asarray(call()).ravel()[:CHECKED].tolist()), flush=True)
    turn = Turn(call)
    settle()
    for _ in sys.stdin:
        seconds = turn.seconds()
        settle()
        print(seconds, flush=True)


def operands(case: Case) -> tuple[Any, Any]:
    """Logits, and the cotangent or the classes."""
    rng = np.random.default_rng(0)
    x = 3 * rng.standard_normal(case.shape, dtype=np.float32)
    if case.operation == "cross_entropy":
        return x, rng.integers(0, case.shape[1], case.shape[0])
    return x, rng.standard_normal(case.shape, dtype=np.float32)


def in_torch(case: Case, own: bool) -> Call:
    import torch

    import onesum

    functions = onesum if own else torch.nn.functional
    function = getattr(functions, case.operation)
    loss = case.operation == "cross_entropy"
    if not loss and not own:
        function = partial(function, dim=-1)
    if case.lane == "torch.compile":
        function = torch.compile(function, fullgraph=True, dynamic=False)
    x, other = map(torch.from_numpy, operands(case))
    x.requires_grad_()

    def call() -> Any:
        x.grad = None  # otherwise backward() would add to it
        if loss:
            function(x, other).backward()
        else:
            function(x).backward(other)
        return x.grad

    return call


def in_jax(case: Case, own: bool) -> Call:
    import jax
    import jax.numpy as jnp

    import onesum

    # Every call is waited for: faster without a queue in between.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    functions = onesum if own else jax.nn
    x, other = map(jnp.asarray, operands(case))

    def theirs(x: Any, y: Any) -> Any:
        """As optax's softmax_cross_entropy_with_integer_labels has it."""
        chosen = jnp.take_along_axis(x, y[:, None], -1)[:, 0]
        return (jax.nn.logsumexp(x, -1) - chosen).mean()

    if case.operation == "cross_entropy":
        compiled = jax.jit(jax.value_and_grad(onesum.cross_entropy if own else theirs))
    else:
        function = getattr(functions, case.operation)

        @jax.jit
        def compiled(x: Any, g: Any) -> Any:
            y, pull = jax.vjp(function, x)
            return y, pull(g)[0]

    return lambda: jax.block_until_ready(compiled(x, other))[1]


if __name__ == "__main__":
    lane, operation, shape = json.loads(sys.argv[1])
    work(Case(lane, operation, tuple(shape)), json.loads(sys.argv[2]))
