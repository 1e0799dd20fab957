"""Dask arrays whose classes come in several chunks, within the budgets of exact arithmetic."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import oracle
import oracle_losses
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implementations import arrays_of, using
from measure import check
from numpy.testing import assert_array_equal
from oracle import WIDE
from oracle_losses import TARGETS, targets
from rows import KINDS, OPERATIONS, arguments, logits

import onesum

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
K = 12
FLOATS = ["float16", "float32", "float64"]


def pieces(rng: np.random.Generator, n: int) -> tuple[int, ...]:
    """Chunk sizes that add up to n: some of 1, and more of them than one task merges."""
    ends = np.unique(np.append(rng.integers(1, n, min(n, 20)), n)) if n > 1 else [n]
    return tuple(np.diff([0, *ends]).tolist())


def cut(a: Any, k: int, n: int, seed: int = 0) -> Any:
    """In chunks of 5 rows, and of such classes; arguments of another size as they are."""
    if not isinstance(a, np.ndarray):
        return a
    of_classes = pieces(np.random.default_rng(seed), n)
    sizes = {n: of_classes, k: (5, 5, 2)}
    return da.from_array(a, chunks=tuple(sizes.get(m, m) for m in a.shape))


def computed(answer: Any) -> list[Any]:
    return list(dask.compute(*arrays_of(answer), scheduler="sync"))


@pytest.mark.parametrize("function", OPERATIONS)
def test_every_kind_of_row(function):
    for dtype in FLOATS:
        for kind in KINDS:
            args = arguments(function, logits(kind, K, 40, dtype))
            wanted = getattr(oracle, function)(*args, arithmetic=WIDE)
            lazy = getattr(onesum, function)(*(cut(a, K, 40) for a in args))
            assert lazy.dtype == dtype
            check(computed(lazy)[0], wanted, function, f"{kind}, {dtype}")


@pytest.mark.parametrize("kind", TARGETS)
def test_cross_entropy(kind):
    for dtype in FLOATS:
        for rows in ("spread 20", "offset", "gaps"):
            x = logits(rows, K, 40, dtype)
            target, options = targets(kind, x)
            v = np.random.default_rng(9).normal(size=x.shape).astype(dtype)
            lazy = [cut(a, K, 40) for a in (x, target, v)]
            given = {name: cut(a, K, 40) for name, a in options.items()}
            note = f"{kind}, {rows}, {dtype}"
            wanted = oracle_losses.cross_entropy(x, target, arithmetic=WIDE, **options)
            answer = onesum.cross_entropy_value_and_grad(*lazy[:2], reduction="none", **given)
            loss, grad = computed(answer)
            check(loss, wanted.loss, "cross_entropy", note)
            check(grad, wanted.grad, "cross_entropy_grad", note)
            wanted = oracle_losses.cross_entropy_hvp(x, target, v, arithmetic=WIDE, **options)
            hv = onesum.cross_entropy_hvp(*lazy, reduction="none", **given)
            check(computed(hv)[0], wanted, "cross_entropy_hvp", note)


def test_information():
    for dtype in FLOATS:
        for rows in KINDS:
            x = logits(rows, K, 40, dtype)
            lazy, note = cut(x, K, 40), f"{rows}, {dtype}"
            wanted = oracle_losses.entropy(x, arithmetic=WIDE)
            check(computed(onesum.entropy(lazy))[0], wanted, "entropy", note)
            index = np.random.default_rng(1).integers(0, 40, K)
            wanted = oracle_losses.selective_log_softmax(x, index, arithmetic=WIDE)
            got = onesum.selective_log_softmax(lazy, cut(index, K, 40))
            check(computed(got)[0], wanted, "selective_log_softmax", note)


def test_kl_divergence():
    """Of rows that are near, far, and at other levels."""
    for dtype in FLOATS:
        x = logits("spread 3", K, 40, dtype)
        noise = np.random.default_rng(2).normal(size=x.shape)
        for size in (1e-9, 1e-3, 1.0, 30.0):
            y = (x + size * noise + 100).astype(dtype)
            wanted = oracle_losses.kl_divergence(x, y, arithmetic=WIDE)
            lazy = cut(x, K, 40), cut(y, K, 40)
            answer = onesum.kl_divergence_value_and_grad(*lazy, reduction="none")
            note = f"{size}, {dtype}"
            for name, got, exact in zip(
                ("kl_divergence", "kl_divergence_grad", "kl_divergence_grad"),
                computed(answer),
                wanted,
                strict=True,
            ):
                check(got, exact, name, note)
