"""Rows of logits to test with, of every kind that has ever gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import oracle
from oracle import WIDE, Array

Rng = np.random.Generator


def _gaps(rng: Rng, k: int, n: int) -> Array:
    """One class ahead of the others by 17 to 80: p of it is 1 as far as the dtype can tell."""
    x = -np.abs(rng.normal(0, 0.5, (k, n))) - np.linspace(17, 80, k)[:, np.newaxis]
    x[np.arange(k), rng.integers(0, n, k)] = 0
    return x + np.round(rng.normal(0, 4, (k, 1)))


KINDS: dict[str, Callable[[Rng, int, int], Array]] = {
    "spread 3": lambda rng, k, n: rng.normal(0, 3, (k, n)),
    "spread 20": lambda rng, k, n: rng.normal(0, 20, (k, n)),
    "uniform": lambda rng, k, n: rng.uniform(-80, 0, (k, n)),
    "offset": lambda rng, k, n: 1e4 + rng.normal(0, 3, (k, n)),
    "gaps": _gaps,
    "constant": lambda rng, k, n: np.repeat(rng.normal(0, 10, (k, 1)), n, axis=1),
}

FUNCTIONS = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "softmax_vjp",
    "softmax_jvp",
    "log_softmax_vjp",
    "log_softmax_jvp",
    "logsumexp_vjp",
    "logsumexp_jvp",
)
DERIVATIVES = FUNCTIONS[3:]
# What is computed in its own way. softmax's J is symmetric: test_contract.py holds its JVP to its
# VJP, and what is true of the numbers of one is true of the other.
OPERATIONS = tuple(f for f in FUNCTIONS if f != "softmax_jvp")
MASKABLE = ("softmax", "log_softmax", "logsumexp", "logsumexp_vjp", "logsumexp_jvp")


def logits(kind: str, k: int, n: int, dtype: Any, seed: int = 0) -> Array:
    return KINDS[kind](np.random.default_rng([seed, k, n]), k, n).astype(dtype)


def arguments(function: str, x: Array, seed: int = 0) -> tuple[Array, ...]:
    """What the function takes: rows of logits, or their p or log p, and a random second array."""
    if function not in DERIVATIVES:
        return (x,)
    rng = np.random.default_rng([seed, 99])
    shape = x.shape[:-1] if function == "logsumexp_vjp" else x.shape
    second = rng.normal(size=shape).astype(x.dtype)
    if function.startswith("softmax_"):
        return oracle.softmax(x, arithmetic=WIDE).value.astype(x.dtype), second
    if function.startswith("log_softmax_"):
        return oracle.log_softmax(x, arithmetic=WIDE).value.astype(x.dtype), second
    return x, second


def classes_first(function: str, args: tuple[Array, ...]) -> tuple[Array, ...]:
    """The same arguments for axis=0, each a contiguous array with its classes along axis 0."""
    moved = [np.ascontiguousarray(np.moveaxis(a, -1, 0)) for a in args]
    if function == "logsumexp_vjp":
        moved[1] = args[1]
    return tuple(moved)


def classes_last(function: str, result: Array) -> Array:
    """Undo classes_first on a result."""
    return result if function in ("logsumexp", "logsumexp_jvp") else np.moveaxis(result, 0, -1)
