"""The benchmarks run, and the tables in the documents are what they make of the results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def benchmarks(*args: str | Path) -> str:
    command = [sys.executable, "-m", "benchmarks", *map(str, args)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_tables_are_made_from_the_results():
    benchmarks("report", "--check")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("results")
    for command in ("speed", "accuracy", "import"):
        benchmarks(command, "--quick", "--results", directory)
    return directory


def load(path: Path) -> dict:
    return json.loads(path.read_text())


def test_speed(results):
    result = load(results / "speed.json")
    assert result["threads"] == 1
    for cell in result["cells"]:
        assert {"onesum", "copy", "NumPy"} <= cell["times"].keys()
        for modes in cell["times"].values():
            for low, middle, high in modes.values():
                assert 0 < low <= middle <= high


def test_a_library_is_timed_or_named_as_missing(results):
    from_others = {"SciPy", "torch", "JAX", "ONNX Runtime"}
    result = load(results / "speed.json")
    softmax = next(cell for cell in result["cells"] if cell["operation"] == "softmax")
    timed = from_others & softmax["times"].keys()
    assert timed | set(result["missing"]) == from_others
    assert not timed & set(result["missing"])


def test_accuracy(results):
    for entry in load(results / "accuracy.json")["errors"]:
        own = [e for name, e in entry["errors"].items() if name.startswith("onesum")]
        assert own
        assert all(e is not None and e < 5 for e in own), entry


def test_import(results):
    result = load(results / "import.json")
    assert result["times"]["onesum"][1] > 0


def test_the_host_is_described(results):
    for name in ("speed", "accuracy", "import"):
        machine = load(results / f"{name}.json")["host"]
        assert machine["cpu"]
        assert machine["versions"]["onesum"]
        assert machine["backend"]


def test_report(results):
    """The tables of the trial are shown, and the documents stay as they are."""
    text = benchmarks("report", "--quick", "--results", results)
    assert "| softmax, float32 |" in text
    assert "`import onesum` takes" in text


def test_instruction_set(tmp_path):
    pytest.importorskip("onesum._core")
    import onesum

    isa = onesum.show_config(mode="dicts")["isas"][0]
    benchmarks("speed", "--quick", "--isa", isa, "--results", tmp_path)
    assert load(tmp_path / f"speed-{isa}.json")["host"]["isa"] == isa
