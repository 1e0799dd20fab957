"""The benchmarks run; of what they time, and what is made of it, see test_benchmark_figures.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from once import once

import onesum
from onesum.bench import __main__ as command
from onesum.bench import figures, host
from onesum.bench.cases import DTYPES, LOSS, LOSSES, VALUE_AND_GRAD

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# The beginning of a program that is told where its results go, and knows no other library than
# NumPy beside ours.
FEW = (
    "import sys; from pathlib import Path; from onesum.bench import peers; "
    "few = {name: peers.installed()[name] for name in (peers.ONESUM, 'NumPy')}; "
    "peers.installed = lambda: few; results = Path(sys.argv[1])"
)
COMMANDS = {
    "speed": "speed",
    "shape": "speed --shape 3x64x5 --axis 1 --dtype float64",
    "losses": "losses --threads 1",
    "classes last": "losses --threads 1 --shape 3x5x64 --dtype float64",
    "bfloat16": "speed --shape 4x5 --dtype bfloat16 --cells softmax*",
}
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


def measure(folder: Path) -> None:
    """Several commands, one after the other, for which every library is started once."""
    program = (
        "import sys; from contextlib import nullcontext; from benchmarks.__main__ import main\n"
        "from onesum.bench import __main__ as bench, peers\n"
        "from onesum.bench.processes import Libraries\n"
        "(folder, *commands) = sys.argv[1:]\n"
        "shared = Libraries(peers.installed())\n"
        "bench.Libraries = lambda chosen: nullcontext(shared)\n"
        "for name, options in (command.split(': ') for command in commands):\n"
        "    sys.argv[1:] = [*options.split(), '--quick', '--results', f'{folder}/{name}']\n"
        "    main()"
    )
    python("-c", program, folder, *(f"{name}: {command}" for name, command in COMMANDS.items()))


def measured(factory: pytest.TempPathFactory) -> Path:
    return once(factory, "benchmarks", measure)


def test_speed(tmp_path_factory):
    result = load(measured(tmp_path_factory) / "speed" / "speed.json")
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


def test_a_shape_of_one_s_own(tmp_path_factory):
    cells = load(measured(tmp_path_factory) / "shape" / "speed.json")["cells"]
    assert {(*cell["shape"], cell["axis"], cell["dtype"]) for cell in cells} == {
        (3, 64, 5, 1, "float64")
    }
    assert not any(cell["failed"] for cell in cells)


def test_losses(tmp_path_factory):
    """Every library's loss, and who can a gradient, also in place; then their tables."""
    from benchmarks.report import losses

    result = load(measured(tmp_path_factory) / "losses" / "losses.json")
    alone, both = result["cells"]
    assert [alone["operation"], both["operation"]] == [*LOSSES]
    assert not alone["failed"]
    assert not both["failed"]
    assert {*alone["times"], *result["missing"]} == LIBRARIES
    assert all([*modes] == ["fresh"] for modes in alone["times"].values())
    with_out = {"onesum", "NumPy", "JAX"}
    assert {name for name, modes in both["times"].items() if "out" in modes} <= with_out
    assert {"onesum", "NumPy"} <= both["times"].keys() <= {*with_out, "torch"}
    text = f"{losses.beside_the_best(result)} {losses.every(result)}"
    assert "| 128x10 | " in text
    assert "| cross_entropy_value_and_grad, float32 | " in text
    assert "Below the goal: nowhere" in text  # no goal was set for this shape


def test_losses_where_classes_are_not_second(tmp_path_factory):
    """Where torch would have them."""
    result = load(measured(tmp_path_factory) / "classes last" / "losses.json")
    assert [cell["operation"] for cell in result["cells"]] == [*LOSSES]
    for cell in result["cells"]:
        assert not cell["failed"]
        assert "torch" in {*cell["times"], *result["missing"]}


def test_who_cannot_is_named(tmp_path_factory, capsys):
    """A library that does not know a dtype is left out, with its reason."""
    result = load(measured(tmp_path_factory) / "bfloat16" / "speed.json")
    if "ONNX Runtime" in result["missing"]:
        pytest.skip("without ONNX Runtime")
    cell = result["cells"][0]
    assert "ONNX Runtime" in cell["failed"]
    assert "ONNX Runtime" not in cell["times"]
    command._show(cell, figures.PEERS, 10)
    assert "without ONNX Runtime: " in capsys.readouterr().out


def test_accuracy(tmp_path):
    from benchmarks import accuracy

    accuracy.run(tmp_path, quick=True)
    errors = load(tmp_path / "accuracy.json")["errors"]
    assert {"softmax", LOSS, f"gradient of {LOSS}"} <= {entry["operation"] for entry in errors}
    for entry in errors:
        own = [e for name, e in entry["errors"].items() if name.startswith("onesum")]
        assert own
        assert all(e is not None and e < 5 for e in own), entry


def test_arrays(tmp_path):
    """Both libraries compute the same, and have a time, each in a process of its own."""
    program = (
        "import sys; from pathlib import Path; from benchmarks import arrays; "
        "arrays.LANES = ['JAX']; arrays.run(Path(sys.argv[1]), quick=True, threads=1)"
    )
    python("-c", program, tmp_path)
    (row,) = load(tmp_path / "arrays.json")["rows"]
    assert row["lane"] == "JAX"
    assert list(row["times"]) == ["onesum", "JAX"]
    assert all(0 < low <= middle <= high for low, middle, high in row["times"].values())


def test_tensors():
    """What the processes of the other lanes call; not torch.compile's, which take long."""
    from benchmarks import arrays

    for operation in arrays.OPERATIONS:
        case = arrays.Case("torch", operation, (4, 10))
        samples = [arrays.in_torch(case, own)().ravel().tolist() for own in (True, False)]
        arrays.compare(case, *samples)


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
    """Pinned; several threads where there are several processors."""
    threads = min(2, len(os.sched_getaffinity(0)))
    (isa, *_) = onesum.show_config(mode="dicts")["isas"]
    path = tmp_path / "times.json"
    options = [
        "--libraries",
        "numpy",
        "--shape",
        "3x64x5",
        "--axis",
        "1",
        "--quick",
        "--cells",
        "softmax *",
        "--json",
        path,
    ]
    text = python("-m", "onesum.bench", "--threads", str(threads), "--isa", isa, *options)
    result = load(path)
    assert result["host"]["isa"] == isa
    assert result["threads"] == threads
    assert "softmax float32 3x64x5, axis 1" in text
    assert "strided" in text
    (cell,) = result["cells"]
    assert [*cell["times"]] == ["onesum", "NumPy"]


def test_import(tmp_path):
    benchmarks("import", "--quick", "--results", tmp_path)
    assert load(tmp_path / "import.json")["times"]["onesum"][1] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process held")
def test_memory(tmp_path):
    """It sees NumPy's temporary array, and that softmax has none, nor a gradient in place."""
    program = (
        f"{FEW}; from benchmarks import memory; "
        f"memory.OPERATIONS = ('softmax', 'logsumexp', {VALUE_AND_GRAD!r}); "
        "memory.run(results, True, 1)"
    )
    python("-c", program, tmp_path)
    extra = {row["operation"]: row["extra"] for row in load(tmp_path / "memory.json")["rows"]}
    assert extra["softmax"]["onesum"]["fresh"] < 1e6
    assert extra["logsumexp"]["NumPy"]["fresh"] > 2e6
    assert extra[VALUE_AND_GRAD]["onesum"]["out"] < 1e6


def test_growth_and_its_pictures(tmp_path):
    program = (
        f"{FEW}; from benchmarks import growth, plots; from onesum.bench import host; "
        "growth.OPERATIONS = ('softmax',); growth.run(results, True, 1, None); "
        "plots.draw(host.load(results / 'growth.json'), results)"
    )
    python("-c", program, tmp_path)
    result = load(tmp_path / "growth.json")
    assert {cell["curve"] for cell in result["cells"]} == {"one row of n", "k rows of 10"}
    assert "<svg" in (tmp_path / "growth-softmax.svg").read_text()


def test_a_lane_on_this_machine(monkeypatch):
    """CUDA or not, the references are met."""
    from benchmarks.cuda import worker

    found = []
    monkeypatch.setattr(worker, "say", lambda **finding: found.append(finding))
    worker.check_all(worker.LANES["torch"]("cpu"), quick=True)
    assert {f["kind"] for f in found} == {"case", "error"}
    assert all(f["ok"] for f in found if f["kind"] == "case")
    assert {f["dtype"] for f in found if f["kind"] == "error"} == set(DTYPES)


def test_a_lane_that_is_not_to_be_had():
    """It says so, in its process."""
    from benchmarks.cuda import Worker

    found = Worker("CuPy", "right", "cpu", 30, True).findings()
    assert [f["kind"] for f in found] == ["left out"]
