"""What the benchmarks time, and the figures and tables that are made of the results."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np

from onesum.bench import figures, ready
from onesum.bench.cases import DTYPES, KINDS, LOSS, LOSSES, OPERATIONS, VALUE_AND_GRAD, Case, cases


def test_the_cells():
    """Every dtype, and every kind of cell; the classes and the bytes as defined."""
    everything = cases()
    assert len(set(everything)) == len(everything)
    assert {case.dtype for case in everything} == set(DTYPES)
    assert {case.kind for case in everything} == set(KINDS)
    assert {case.operation for case in everything} == set(OPERATIONS)
    one_pass, two_passes = Case("softmax", "float32", (4, 1000), -1).bytes_moved(4000)
    assert one_pass == two_passes == 2 * 16000
    assert Case("softmax_vjp", "float32", (4, 1000), -1).bytes_moved(3999) == (48000, 80000)
    assert Case("log_softmax_vjp", "float32", (1000, 4), 0).bytes_moved(63999) == (48000, 64000)


def test_the_cells_of_the_losses():
    """Every dtype, and a strided axis; a loss reads its logits once, however long a row is."""
    everything = cases(LOSSES)
    assert len(set(everything)) == len(everything)
    assert {case.operation for case in everything} == set(LOSSES)
    assert {case.dtype for case in everything} == set(DTYPES)
    assert any(case.strided for case in everything)
    assert Case(LOSS, "float32", (4, 1000), -1).bytes_moved(1) == (16000, 16000)
    assert Case(VALUE_AND_GRAD, "float32", (4, 1000), -1).bytes_moved(1) == (32000, 48000)


def cell_of(operation: str, shape: tuple[int, ...] = (128, 10), **times: dict[str, float]) -> dict:
    """A cell of medians, by library and mode."""
    quartiles = {
        name: {mode: [time] * 3 for mode, time in modes.items()} for name, modes in times.items()
    }
    return {**Case(operation, "float32", shape, -1)._asdict(), "times": quartiles, "failed": {}}


def test_in_place_others_count_with_their_best():
    times = {
        "onesum": {"fresh": 2, "out": 1},
        "torch": {"fresh": 6},
        "JAX": {"fresh": 8, "out": 9},
        "NumPy": {"fresh": 8, "out": 7},
    }
    cell = cell_of(VALUE_AND_GRAD, **times)
    assert [figures.ratio(cell, "torch", mode) for mode in figures.MODES] == [3, 6]
    assert [figures.ratio(cell, "JAX", mode) for mode in figures.MODES] == [4, 8]
    assert [figures.ratio(cell, "NumPy", mode) for mode in figures.MODES] == [4, 7]
    assert figures.best(cell, "out") == (6, "torch")
    # An array given is not the operand's place: only like is compared with like.
    cell = cell_of("softmax", **times)
    assert [figures.ratio(cell, "torch", mode) for mode in figures.MODES] == [3, None]
    assert [figures.ratio(cell, "JAX", mode) for mode in figures.MODES] == [4, 9]
    alone = cell_of(LOSS, onesum={"fresh": 1}, torch={"fresh": 2})
    assert figures.modes(alone) == ["fresh"]
    assert figures.ratio(alone, "torch", "out") is None


def test_what_is_found_on_a_device(tmp_path):
    """The worst of each, and what is not finite, wrong or left out is said."""
    from benchmarks import cuda
    from benchmarks.cuda.tables import NOTHING, on_a_gpu

    of = {"kind": "error", "lane": "torch", "budget": "softmax"}
    findings = [
        {**of, "dtype": "float32", "ulps": 0.5, "of_budget": 0.3},
        {**of, "dtype": "float32", "ulps": 0.75, "of_budget": 0.2},
        {**of, "dtype": "float32", "ulps": 8.0, "of_budget": 5.0, "own": True},
        {**of, "dtype": "float16", "ulps": None, "of_budget": "inf"},
        {**of, "dtype": "float16", "ulps": 0.5, "of_budget": 1.0},
    ]
    errors = cuda.worst(findings)
    assert [(e["ulps"], e["of_budget"]) for e in errors] == [(0.75, 0.3), (8.0, 5.0), (None, None)]
    time = {"lane": "torch", "operation": "softmax", "shape": "4x10", "dtype": "float32"}
    result = {
        "host": {"date": "2026-01-01"},
        "lanes": [{"lane": "torch", "part": "right", "device": "H100", "torch": "2"}],
        "errors": errors,
        "cases": [{"lane": "torch", "name": "uint8", "ok": False, "got": 0}],
        "failures": [{"lane": "torch", "function": "entropy", "dtype": "float64"}],
        "times": [{**time, "ratio": 0.5, "memory": 100, "own memory": 200}],
        "left out": [{"lane": "CuPy", "why": "it is not there"}],
    }
    text = on_a_gpu(result)
    assert "| softmax, float32 | 0.75 | 8 |" in text
    assert "| softmax, float16 | not finite |  |" in text
    assert "| torch, float32, 4x10 | 0.50 (2.0) |" in text
    assert "Not as they should be: torch: uint8; torch: entropy, float64." in text
    assert "CuPy (it is not there)" in text
    assert on_a_gpu(None) == NOTHING


def test_two_walks(monkeypatch):
    """A floor of its own, beside the floors, for rows that the cache cannot hold."""
    calls = []
    core = SimpleNamespace(_move=lambda *args: None, _move_rows=lambda *args: calls.append(args))
    monkeypatch.setitem(sys.modules, "onesum._core", core)
    y, g, out = (np.zeros((4, 1000), np.float32) for _ in range(3))
    for operation, first in (("softmax_vjp", (y, g)), ("log_softmax_vjp", (g,))):
        case = Case(operation, "float32", y.shape, -1)
        assert all("two" not in name for name, _ in ready.floors(case, 4000, (y, g), out))
        floors = ready.floors(case, 3999, (y, g), out)
        assert {mode for name, mode in floors if "two walks" in name} == {"out"}
        floors["two walks, streaming", "out"]()
        target, read, moved, row_bytes, streaming = calls.pop()
        assert target is out
        assert [*map(id, read)] == [*map(id, first)]
        assert [*map(id, moved)] == [id(y), id(g)]
        assert (row_bytes, streaming) == (4000, True)
    cell = cell_of("softmax", onesum={"fresh": 4, "out": 4})
    times = {"streaming": 1, "two walks, streaming": 3, "two walks, ordinary": 3.5}
    cell["floors"] = {name: {"out": [time] * 3} for name, time in times.items()}
    assert figures.floor(cell, "out") == 1
    assert figures.of_two_walks(cell) == 3 / 4
