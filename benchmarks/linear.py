"""The cross entropy of a linear layer and its gradients: beside PyTorch, and beside bare products.

PyTorch computes all logits, their cross entropy and the gradients of both by autograd. How much of
a time is that of a BLAS library, the three products alone tell: the logits, dh and dW, of the same
shapes, by NumPy's and by PyTorch's. Everything is in float32, with fresh results.

As in `memory.py`, memory is what a fresh process grows by at most, less the results.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import onesum
from onesum.bench import host
from onesum.bench.turns import Turn

from .importing import quartiles
from .memory import REFERENCES, held

CASES = [(4096, 1024, 50000)]  # a minute for each round
QUICK = [(1024, 32, 5000)]
SMALL = (600, 64, 2000)
ROUNDS = 3
ONESUM, ALL_LOGITS, TORCH = "onesum", "onesum, all logits", "torch"
NUMPY_PRODUCTS, TORCH_PRODUCTS = "NumPy, products alone", "torch, products alone"

Array = Any
Call = Callable[[], tuple[Array, ...]]


def run(results: Path, quick: bool, threads: int) -> None:
    host.pin(threads, None)  # for the processes too
    rows = []
    for case in QUICK if quick else CASES:
        row = {
            **dict(zip(("rows", "features", "classes"), case, strict=True)),
            "logits": 4 * case[0] * case[2],
            "results": 4 * (case[0] + case[2]) * case[1],
            "times": times(case, 3 if quick else ROUNDS),
            "extra": extra(case),
        }
        rows.append(row)
        print(row, flush=True)
    about = {"host": host.describe(), "threads": threads}
    unit = "microseconds: lower quartile, median, upper quartile; bytes"
    host.save(results / "linear.json", {**about, "unit": unit, "rows": rows})


def times(case: tuple[int, int, int], rounds: int) -> dict[str, list[float]]:
    """The quartiles of all, which take turns."""
    arrays = operands(case)
    calls = in_numpy(*arrays) | in_torch(*arrays)
    if case in QUICK:  # for the others it takes as long as a round
        compare(calls)
    turns = {name: Turn(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in turns}
    shuffle, order = random.Random(0).shuffle, list(turns)
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            samples[name].append(1e6 * turns[name].take())
    return {name: quartiles(values) for name, values in samples.items()}


def compare(calls: dict[str, Call]) -> None:
    """Whether all that are timed give the same."""
    wanted = calls[ONESUM]()
    for name in calls.keys() & {ALL_LOGITS, TORCH}:
        for a, b in zip(calls[name](), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(a), b, 1e-3, 1e-5, err_msg=name)


def extra(case: tuple[int, int, int]) -> dict[str, int] | None:
    """The memory that the losses take beyond their results, or None where no one tells."""
    if not REFERENCES.exists():
        return None
    growths = {}
    for name in (ONESUM, ALL_LOGITS, TORCH):
        command = [sys.executable, "-m", "benchmarks.linear", json.dumps(case), name]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        growths[name] = int(answer.stdout)
    return growths


def measure(case: tuple[int, int, int], name: str) -> int:
    make = in_torch if name == TORCH else in_numpy
    make(*operands(SMALL))[name]()  # what comes once
    call = make(*operands(case))[name]
    REFERENCES.write_text("5")  # forget the most so far
    before = held("VmRSS")
    answer = call()
    grown = held("VmHWM") - before
    return max(0, grown - sum(a.nbytes for a in answer if a.ndim))


def operands(case: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    k, d, n = case
    rng = np.random.default_rng(0)
    h = rng.standard_normal((k, d), dtype=np.float32)
    w = rng.standard_normal((n, d), dtype=np.float32)
    w /= np.float32(d**0.5)
    return h, w, rng.integers(0, n, k)


def in_numpy(h: Array, w: Array, target: Array) -> dict[str, Call]:
    """The calls; each answers the loss, if it has one, dh and dW."""

    def in_chunks() -> tuple[Array, ...]:
        loss, (dh, dw, _) = onesum.linear_cross_entropy_value_and_grad(h, w, target)
        return loss, dh, dw

    def all_logits() -> tuple[Array, ...]:
        x = h @ w.T
        loss, g = onesum.cross_entropy_value_and_grad(x, target, out=x)
        return loss, g @ w, g.T @ h

    def products() -> tuple[Array, ...]:
        x = h @ w.T
        return x @ w, x.T @ h

    return {ONESUM: in_chunks, ALL_LOGITS: all_logits, NUMPY_PRODUCTS: products}


def in_torch(h: Array, w: Array, target: Array) -> dict[str, Call]:
    import torch

    h, w, target = (torch.from_numpy(a) for a in (h, w, target))

    def all_logits() -> tuple[Array, ...]:
        layer = h.detach().requires_grad_(), w.detach().requires_grad_()
        x = torch.nn.functional.linear(*layer)
        loss = torch.nn.functional.cross_entropy(x, target)
        loss.backward()
        return loss.detach(), *(a.grad for a in layer)

    def products() -> tuple[Array, ...]:
        x = h @ w.T
        return x @ w, x.T @ h

    return {TORCH: all_logits, TORCH_PRODUCTS: products}


if __name__ == "__main__":
    print(measure(tuple(json.loads(sys.argv[1])), sys.argv[2]))
