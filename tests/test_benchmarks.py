"""The benchmarks run, and the tables in the documents are what they make of the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onesum
from onesum.bench import __main__ as command
from onesum.bench import figures, host, peers, timing
from onesum.bench.cases import DTYPES, KINDS, LOSS, LOSSES, OPERATIONS, VALUE_AND_GRAD, Case, cases

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# The beginning of a program that is told where its results go, and knows no other library than
# NumPy beside ours.
FEW = (
    "import sys; from pathlib import Path; from onesum.bench import peers; "
    "few = {name: peers.installed()[name] for name in (peers.ONESUM, 'NumPy')}; "
    "peers.installed = lambda: few; results = Path(sys.argv[1])"
)
LIBRARIES = {"onesum", "NumPy", "SciPy", "torch", "JAX", "ONNX Runtime"}


def python(*args: str | Path) -> str:
    run = subprocess.run(
        [sys.executable, *map(str, args)], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def benchmarks(*args: str | Path) -> str:
    return python("-m", "benchmarks", *args)


def load(path: Path) -> dict:
    """A result, with its host described."""
    result = json.loads(path.read_text())
    assert result["host"]["cpu"]
    assert result["host"]["backend"]
    assert result["host"]["versions"]["onesum"]
    return result


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


def test_speed(tmp_path):
    path = tmp_path / "speed.json"
    benchmarks("speed", "--quick", "--results", tmp_path)
    result = load(path)
    assert result["threads"] == 1
    for cell in result["cells"]:
        assert {"onesum", "NumPy"} <= cell["times"].keys()
        assert cell["floors"]
        for modes in [*cell["times"].values(), *cell["floors"].values()]:
            for low, middle, high in modes.values():
                assert 0 < low <= middle <= high
    # A library is timed, or named as missing.
    softmax = next(cell for cell in result["cells"] if cell["operation"] == "softmax")
    assert not softmax["failed"]
    assert {*softmax["times"], *result["missing"]} == LIBRARIES
    assert len(LIBRARIES) == len(softmax["times"]) + len(result["missing"])
    # Resumed, it keeps what it has and measures the rest.
    kept, *lost = result["cells"]
    path.write_text(json.dumps(result | {"cells": [kept]}))
    text = benchmarks("speed", "--quick", "--resume", "--results", tmp_path)
    assert load(path)["cells"][0] == kept
    assert len(load(path)["cells"]) == 1 + len(lost)
    assert "logsumexp float32" in text


def test_losses(tmp_path):
    """Every library's loss, and who can a gradient, also in place; then their tables."""
    path = tmp_path / "losses.json"
    benchmarks("losses", "--quick", "--threads", "1", "--results", tmp_path)
    alone, both = load(path)["cells"]
    assert [alone["operation"], both["operation"]] == [*LOSSES]
    assert not alone["failed"]
    assert not both["failed"]
    assert {*alone["times"], *load(path)["missing"]} == LIBRARIES
    assert all([*modes] == ["fresh"] for modes in alone["times"].values())
    with_out = {"onesum", "NumPy", "JAX"}
    assert {name for name, modes in both["times"].items() if "out" in modes} <= with_out
    assert {"onesum", "NumPy"} <= both["times"].keys() <= {*with_out, "torch"}
    program = (
        "import sys; from pathlib import Path; from benchmarks.report import losses; "
        "from onesum.bench import host; result = host.load(Path(sys.argv[1])); "
        "print(losses.beside_the_best(result), losses.every(result))"
    )
    text = python("-c", program, path)
    assert "| 128x10 | " in text
    assert "| cross_entropy_value_and_grad, float32 | " in text
    assert "Below the goal: nowhere" in text  # no goal was set for this shape


def test_arrays(tmp_path):
    """Both libraries compute the same, and have a time."""
    lanes = ["torch", "JAX"]  # not torch.compile, which takes long to do so
    program = (
        "import sys; from pathlib import Path; from benchmarks import arrays; "
        f"arrays.LANES = {lanes}; arrays.run(Path(sys.argv[1]), quick=True, threads=1)"
    )
    python("-c", program, tmp_path)
    rows = load(tmp_path / "arrays.json")["rows"]
    assert [row["lane"] for row in rows] == lanes
    for row in rows:
        assert list(row["times"]) == ["onesum", row["lane"]]
        assert all(0 < low <= middle <= high for low, middle, high in row["times"].values())


def test_vocab_parallel(tmp_path):
    """Both compute the same on two ranks, and have a time."""
    benchmarks("vocab_parallel", "--quick", "--results", tmp_path)
    (row,) = load(tmp_path / "vocab_parallel.json")["rows"]
    assert list(row["times"]) == ["onesum", "loss_parallel"]
    assert all(0 < low <= middle <= high for low, middle, high in row["times"].values())


def test_files(tmp_path):
    """The command and `cp` write the file, and two files are compared."""
    benchmarks("files", "--quick", "--results", tmp_path)
    result = load(tmp_path / "files.json")
    assert set(result["softmax"]["seconds"]) == {"cp", "onesum", "cp, sync", "onesum, sync"}
    assert min(result["softmax"]["seconds"].values()) > 0
    assert min(result["compare"]["seconds"], result["compare"]["NumPy"]) > 0
    assert 1 < result["compare"]["resident MiB"] < 512


@pytest.fixture
def _one_thread(monkeypatch):
    """For every library, as on the command line."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("_one_thread")
def test_losses_where_classes_are_not_second():
    """Where torch would have them."""
    for operation in LOSSES:
        cell = timing.measure(Case(operation, "float64", (3, 5, 64), -1), timing.QUICK)
        assert not cell["failed"]
        assert "torch" in {*cell["times"], *peers.missing()}


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


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("wrong", ["loss", "gradient"])
def test_what_is_wrong_is_not_timed(monkeypatch, wrong):
    """Nor a gradient that is wrong by little, since it is one of a mean over many rows."""
    known = peers.installed()
    ours = known[peers.ONESUM]

    def theirs(*args):
        def call():
            loss, grad = ours(*args).fresh()
            return (loss + 1, grad) if wrong == "loss" else (loss, grad * 0)

        return peers.Calls(call)

    monkeypatch.setattr(
        peers, "installed", lambda: {peers.ONESUM: ours, "another": theirs, "NumPy": known["NumPy"]}
    )
    cell = timing.measure(Case(VALUE_AND_GRAD, "float32", (200_000, 3), -1), timing.QUICK)
    assert {*cell["times"]} == {peers.ONESUM, "NumPy"}
    assert cell["failed"]["another"].startswith("ValueError: off by")


def test_a_file_of_another_machine_is_not_resumed(tmp_path):
    path = tmp_path / "times.json"
    result = load(RESULTS / "speed.json")
    result["host"] |= host.describe() | {"cpu": "another"}
    path.write_text(json.dumps(result))
    options = ["--quick", "--cells", "logsumexp *", "--json", path]
    with pytest.raises(AssertionError, match="cannot resume"):
        python("-m", "onesum.bench", "--resume", *options)
    assert load(path) == result


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cannot choose processors")
def test_the_installed_benchmark(tmp_path):
    """A shape of one's own, pinned; several threads where there are several processors."""
    threads = min(2, len(os.sched_getaffinity(0)))
    (isa, *_) = onesum.show_config(mode="dicts")["isas"]
    path = tmp_path / "times.json"
    options = ["--shape", "3x64x5", "--axis", "1", "--dtype", "float64", "--seconds", "0"]
    pinned = ["--threads", str(threads), "--isa", isa]
    text = python("-m", "onesum.bench", *options, *pinned, "--json", path)
    result = load(path)
    assert result["host"]["isa"] == isa
    assert result["threads"] == threads
    assert "softmax float64 3x64x5, axis 1" in text
    assert "strided" in text
    assert {tuple(cell["shape"]) for cell in result["cells"]} == {(3, 64, 5)}
    assert not any(cell["failed"] for cell in result["cells"])


@pytest.mark.usefixtures("_one_thread")
def test_who_cannot_is_named(capsys):
    """A library that does not know a dtype is left out, with its reason."""
    cell = timing.measure(Case("softmax", "bfloat16", (4, 5), -1), timing.QUICK)
    assert "ONNX Runtime" in cell["failed"]
    assert "ONNX Runtime" not in cell["times"]
    command._show(cell, figures.PEERS, 10)
    assert "without ONNX Runtime: " in capsys.readouterr().out


def test_accuracy(tmp_path):
    benchmarks("accuracy", "--quick", "--results", tmp_path)
    errors = load(tmp_path / "accuracy.json")["errors"]
    assert {"softmax", LOSS, f"gradient of {LOSS}"} <= {entry["operation"] for entry in errors}
    for entry in errors:
        own = [e for name, e in entry["errors"].items() if name.startswith("onesum")]
        assert own
        assert all(e is not None and e < 5 for e in own), entry


def test_import(tmp_path):
    benchmarks("import", "--quick", "--results", tmp_path)
    assert load(tmp_path / "import.json")["times"]["onesum"][1] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process held")
def test_memory(tmp_path):
    """It sees NumPy's temporary array, and that softmax has none, nor a gradient in place."""
    python("-c", f"{FEW}; from benchmarks import memory; memory.run(results, True, 1)", tmp_path)
    extra = {row["operation"]: row["extra"] for row in load(tmp_path / "memory.json")["rows"]}
    assert extra["softmax"]["onesum"]["fresh"] < 1e6
    assert extra["logsumexp"]["NumPy"]["fresh"] > 2e6
    assert extra[VALUE_AND_GRAD]["onesum"]["out"] < 1e6


def test_growth_and_its_pictures(tmp_path):
    program = (
        f"{FEW}; from benchmarks import growth, plots; from onesum.bench import host; "
        "growth.run(results, True, 1, None); "
        "plots.draw(host.load(results / 'growth.json'), results)"
    )
    python("-c", program, tmp_path)
    result = load(tmp_path / "growth.json")
    assert {cell["operation"] for cell in result["cells"]} == {"softmax", "softmax_vjp"}
    assert "<svg" in (tmp_path / "growth-softmax.svg").read_text()


# The floors


def misaligned(size: int, offset: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size + offset, dtype=np.uint8)[offset:]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, (1 << 20) + 13])
@pytest.mark.parametrize("offset", [0, 1, 48])
def test_floors_move_the_bytes(size, offset):
    """All of them and no others, however they lie, with either kind of store."""
    core = pytest.importorskip("onesum._core")
    rng = np.random.default_rng(size)
    a, b = misaligned(size, offset, rng), misaligned(size, 3, rng)
    for streaming in (False, True):
        for sources, wanted in (((a,), a), ((a, b), a ^ b)):
            around = np.full(size + 200, 7, np.uint8)
            core._move(around[offset + 5 : offset + 5 + size], sources, streaming)
            np.testing.assert_array_equal(around[offset + 5 : offset + 5 + size], wanted)
            assert np.all(around[: offset + 5] == 7)
            assert np.all(around[offset + 5 + size :] == 7)
            assert core._move(None, sources, streaming) == np.bitwise_xor.reduce(wanted)
        same = a.copy()
        core._move(same, (same,), streaming)
        np.testing.assert_array_equal(same, a)


def test_floors_take_arrays_of_equal_size():
    core = pytest.importorskip("onesum._core")
    a = np.zeros(8, np.float32)
    for target, sources, error, text in (
        (a, (), ValueError, "sources: expected one or two arrays, got 0"),
        (a, (a, a, a), ValueError, "sources: expected one or two arrays, got 3"),
        (a, ([1],), TypeError, "sources: expected NumPy arrays"),
        (1, (a,), TypeError, "target: expected NumPy arrays"),
        (a, (a[1:],), ValueError, "sources: expected arrays of 32 bytes, got 28"),
        (a[::2], (a[::2],), ValueError, "target: expected C-contiguous arrays"),
        (np.broadcast_to(a[0], (1,)), (a[:1],), ValueError, "target: expected a writeable array"),
    ):
        with pytest.raises(error, match=text):
            core._move(target, sources, True)


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


def test_a_lane_on_this_machine():
    """CUDA or not, the references are met and a lane that is not to be had says why."""
    from benchmarks.cuda import Worker

    found = Worker("CuPy", "right", "cpu", 30, True).findings()
    assert [f["kind"] for f in found] == ["left out"]
    found = Worker("torch", "right", "cpu", 60, True).findings()
    assert {f["kind"] for f in found} == {"about", "case", "error"}
    assert all(f["ok"] for f in found if f["kind"] == "case")
    assert {f["dtype"] for f in found if f["kind"] == "error"} == set(DTYPES)
