"""Scores and classes: checked, and taken in blocks of rows."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._arguments import Call
from .._arguments.masked import unmasked
from .._arguments.options import number_of
from .._arguments.targets import target_of
from .._backends.target import Target

Array = Any

BLOCK = 1 << 16  # elements: enough for the threads, while what is made of them stays in cache


def checked(
    x: Any, target: Any, label_smoothing: Any, weight: Any, sample_weight: Any, gamma: Any
) -> tuple[Call, Target, float]:
    x, target = unmasked("x", x), unmasked("target", target)
    weight, sample_weight = unmasked("weight", weight), unmasked("sample_weight", sample_weight)
    call = Call("x", np.asarray(x), -1)
    if len(call.shape) != 2 or call.shape[1] < 2:
        wanted = "shape (n, K), a score for each of K >= 2 classes"
        raise ValueError(f"x: expected {wanted}, got {call.shape}")
    gamma = number_of("gamma", gamma)
    if not 0 <= gamma < math.inf:
        raise ValueError(f"gamma: expected a number >= 0, got {gamma}")
    target = np.asarray(target)
    if target.dtype.kind == "f":  # the libraries keep labels as floats
        with np.errstate(invalid="ignore"):
            classes = target.astype(np.int64)
        if np.any(classes != target):
            position = int(np.flatnonzero(classes != target)[0])
            got = f"{target.flat[position]} at position {position}"
            raise ValueError(f"target: expected whole numbers, got {got}")
        target = classes
    return call, target_of(call, target, weight, label_smoothing, None, sample_weight), gamma


def rows_of_a_block(x: Array) -> int:
    return max(1, BLOCK // int(x.shape[1]))


def blocks(x: Array, target: Target) -> Iterator[tuple[slice, Array, Target]]:
    """Some rows at a time: where they are, their scores in float64, and their targets."""
    size = rows_of_a_block(x)
    wide = np.empty_like(x[:size], dtype=np.float64)
    for start in range(0, len(x), size):
        at = slice(start, start + size)
        scores, s = x[at], target.sample_weight
        if x.dtype != np.float64:
            wide[: len(scores)] = scores
            scores = wide[: len(scores)]
        block = target._replace(
            classes=target.classes[at], sample_weight=None if s is None else s[at]
        )
        yield at, scores, block


def row_weights(target: Target) -> Any:
    """s_i w_y, one per row; 1.0 without weights."""
    weights = 1.0 if target.sample_weight is None else target.sample_weight
    return weights if target.weight is None else weights * target.weight[target.classes]


def masses(target: Target, n: int) -> Array:
    """The target masses q of smoothed labels."""
    w = np.ones(n) if target.weight is None else target.weight
    q = np.empty((len(target.classes), n))
    q[...] = target.smoothing / n * w
    q[np.arange(len(q)), target.classes] += (1.0 - target.smoothing) * w[target.classes]
    return q if target.sample_weight is None else q * target.sample_weight[:, None]


def need_finite(at: slice, x: Array, losses: Array) -> None:
    finite = np.isfinite(losses)
    if not np.all(finite):
        i = int(np.argmin(finite))
        raise ValueError(f"x: expected finite scores, got {x[i]!s:.60} in row {at.start + i}")
