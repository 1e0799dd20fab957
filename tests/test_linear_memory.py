"""The cross entropy of a linear layer in less memory than its logits would take."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
from implementations import REQUIRE_CORE, core, on_numpy, using
from test_benchmarks import benchmarks, load

import onesum
from onesum._functions.linear.call import LEAST, MOST, PART, LinearCall


@pytest.mark.parametrize("rows", [1, 20, 1024, 4096, 1 << 16])
@pytest.mark.parametrize("classes", [10, 32000, 50000, 256000, 10**7])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_usual_chunk(rows, classes, dtype):
    """Within its bounds, and no row or class too many."""
    h, w = (np.broadcast_to(np.zeros((), dtype), (k, 8)) for k in (rows, classes))
    call = LinearCall(h, w, None)
    wide = call.computed_in(call.dtype(None, w))
    height, width = call.chunk(None, rows, wide)
    assert 1 <= height <= rows
    assert 1 <= width <= classes
    held, logits = height * width * wide.itemsize, rows * classes * wide.itemsize
    assert held <= min(MOST, max(LEAST, logits / PART))
    if width < classes:
        assert height >= min(rows, 64)


def native_only() -> None:
    if core() is None and not REQUIRE_CORE:
        pytest.skip("the core is not built: the plain formulas take more")


def extra_memory(function, *args, **options) -> int:
    """The most that NumPy and the core held beyond the results."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        answer = function(*args, **options)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    arrays = answer[1] if isinstance(answer, tuple) else ()
    return most - before - sum(a.nbytes for a in arrays if a is not None)


ROWS, FEATURES, CLASSES = 1024, 32, 20000
LARGE = {
    "plain": {},
    "bias, all options": {
        "bias": np.zeros(CLASSES, np.float32),
        "weight": np.ones(CLASSES),
        "label_smoothing": 0.1,
        "z_loss": 1e-4,
        "ignore_index": 3,
        "where": (np.arange(CLASSES) % 50 > 0) | (np.arange(4) > 0)[:, None, None],
        "temperature": np.linspace(0.5, 2, ROWS).reshape(4, -1),
    },
    "blocks": {"chunk": (256, 2000)},
    "blocks, spread": {"chunk": (256, 2000), "label_smoothing": 0.1},
}


@pytest.mark.parametrize("options", LARGE.values(), ids=LARGE)
def test_memory(options):
    """Less than an eighth of the logits beyond the results, which the logits would be all of."""
    native_only()
    rng = np.random.default_rng(3)
    h = rng.normal(0, 1, (4, ROWS // 4, FEATURES)).astype("float32")
    w = rng.normal(0, 0.1, (CLASSES, FEATURES)).astype("float32")
    target = rng.integers(0, CLASSES, (4, ROWS // 4))
    logits = 4 * ROWS * CLASSES
    both = onesum.linear_cross_entropy_value_and_grad
    with using(on_numpy()[-1]):
        assert extra_memory(both, h, w, target, **options) < logits / 8
        assert extra_memory(onesum.linear_cross_entropy, h, w, target, **options) < logits / 8
        if options:
            return
        x = h @ w.T  # the measure sees what it is to see
        assert extra_memory(lambda: onesum.softmax(x).sum()) >= logits
        half = extra_memory(both, h.astype("float16"), w.astype("float16"), target)
        assert half < logits / 8 + 4 * (w.size + h.size)


def test_memory_of_the_reference(monkeypatch):
    """Less than the logits: its formulas take many times what they are given."""
    monkeypatch.setattr("onesum._functions.linear.call.LEAST", 1 << 19)
    rows, classes = 10_000, 100
    rng = np.random.default_rng(3)
    h, w = (rng.normal(0, 1, (k, 2)).astype("float32") for k in (rows, classes))
    target = rng.integers(0, classes, rows)
    with using("reference"):
        for function in (onesum.linear_cross_entropy, onesum.linear_cross_entropy_value_and_grad):
            assert extra_memory(function, h, w, target) < 4 * rows * classes


@pytest.mark.slow
def test_the_benchmark(tmp_path):
    """It sees the logits where they all are, and that here they are not."""
    benchmarks("linear", "--quick", "--results", tmp_path)
    for row in load(tmp_path / "linear.json")["rows"]:
        for name in ("onesum", "torch", "NumPy, products alone", "torch, products alone"):
            low, middle, high = row["times"][name]
            assert 0 < low <= middle <= high
        if sys.platform == "linux":
            assert row["extra"]["onesum"] < row["logits"] / 2
            assert row["extra"]["torch"] > row["logits"] / 2
            assert row["extra"]["onesum, all logits"] > row["logits"] / 2
