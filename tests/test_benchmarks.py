"""The benchmarks run, and the tables in the documents are what they make of the results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onesum

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def benchmarks(*args: str | Path) -> str:
    command = [sys.executable, "-m", "benchmarks", *map(str, args)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def load(path: Path) -> dict:
    """A result, with its host described."""
    result = json.loads(path.read_text())
    assert result["host"]["cpu"]
    assert result["host"]["backend"]
    assert result["host"]["versions"]["onesum"]
    return result


def test_tables_are_made_from_the_results():
    benchmarks("report", "--check")


def test_report_shows_the_tables():
    text = benchmarks("report", "--quick", "--results", RESULTS)
    assert "| softmax, float32 |" in text
    assert "`import onesum` takes" in text


def test_speed(tmp_path):
    benchmarks("speed", "--quick", "--results", tmp_path)
    result = load(tmp_path / "speed.json")
    assert result["threads"] == 1
    for cell in result["cells"]:
        assert {"onesum", "copy", "NumPy"} <= cell["times"].keys()
        for modes in cell["times"].values():
            for low, middle, high in modes.values():
                assert 0 < low <= middle <= high
    # A library is timed, or named as missing.
    softmax = next(cell for cell in result["cells"] if cell["operation"] == "softmax")
    names = {*softmax["times"], *result["missing"]}
    assert names == {"onesum", "copy", "NumPy", "SciPy", "torch", "JAX", "ONNX Runtime"}
    assert len(names) == len(softmax["times"]) + len(result["missing"])


def test_speed_of_an_instruction_set(tmp_path):
    for isa in onesum.show_config(mode="dicts")["isas"][:1]:
        benchmarks("speed", "--quick", "--isa", isa, "--results", tmp_path)
        assert load(tmp_path / f"speed-{isa}.json")["host"]["isa"] == isa


def test_accuracy(tmp_path):
    benchmarks("accuracy", "--quick", "--results", tmp_path)
    for entry in load(tmp_path / "accuracy.json")["errors"]:
        own = [e for name, e in entry["errors"].items() if name.startswith("onesum")]
        assert own
        assert all(e is not None and e < 5 for e in own), entry


def test_import(tmp_path):
    benchmarks("import", "--quick", "--results", tmp_path)
    assert load(tmp_path / "import.json")["times"]["onesum"][1] > 0
