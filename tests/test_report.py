"""The tables of the documents are what the report makes of the results."""

from __future__ import annotations

import pytest
from test_benchmark_figures import cell_of
from test_benchmarks import RESULTS, benchmarks

from benchmarks import report
from benchmarks.markdown import filled
from benchmarks.report import accuracy, calibration, losses, speed
from onesum.bench.cases import VALUE_AND_GRAD

HOST = {
    "cpu": "a processor",
    "isa": "x86-64-v3",
    "date": "2026-01-01",
    "versions": dict.fromkeys(
        ("onesum", "numpy", "scipy", "torch", "jax", "onnxruntime", "scikit-learn"), "1.0"
    ),
}


def test_tables_are_made_from_the_results():
    benchmarks("report", "--check")


def test_report_shows_the_tables():
    text = benchmarks("report", "--quick", "--results", RESULTS)
    assert "| softmax, float32 |" in text
    assert "`import onesum` takes" in text


def test_a_page_that_is_out_of_date(tmp_path, monkeypatch, capsys):
    """It is named, and the report is 1; without `--check` it is mended."""
    page = tmp_path / "page.md"
    page.write_text("before <!-- begin: a --> old <!-- end: a --> after")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "pages", lambda results: {page: {"a": "new"}})
    monkeypatch.setattr("benchmarks.plots.draw", lambda *args: None)
    assert report.run(RESULTS, show=False, check=True) == 1
    assert "page.md is not what" in capsys.readouterr().out
    assert report.run(RESULTS, show=False, check=False) == 0
    assert page.read_text() == "before <!-- begin: a -->\nnew\n<!-- end: a --> after"
    assert report.run(RESULTS, show=False, check=True) == 0


def test_a_block_that_is_not_there():
    with pytest.raises(ValueError, match=r"^page: expected one block <!-- begin: a -->"):
        filled("nothing", {"a": "new"}, "page")


def test_goals_of_the_losses():
    """A ratio below its goal is named, one that reaches it is not; what is not measured is -."""
    cells = [
        cell_of(VALUE_AND_GRAD, (65536, 10), onesum={"fresh": 10}, torch={"fresh": 29}),
        cell_of(VALUE_AND_GRAD, (4096, 1000), onesum={"fresh": 10}, torch={"fresh": 31}),
        cell_of(VALUE_AND_GRAD, (1, 10), onesum={"fresh": 31}, torch={"fresh": 100}),
    ]
    table, below = losses.goals(cells)
    assert f"| {VALUE_AND_GRAD} (fresh), torch | 3.0 | 2.9 | 3.1 | - | - |  |" in table
    assert [line.partition(": ")[2] for line in below] == ["torch 2.9 of 3.0", "torch 3.2 of 3.3"]


def test_where_another_is_faster(monkeypatch):
    """Counted with the means, the worst by name; in bold among a few."""
    cells = [
        cell_of("softmax", (1, 10), onesum={"fresh": 2, "out": 2}, torch={"fresh": 8, "out": 1}),
        cell_of("softmax", (2, 10), onesum={"fresh": 2, "out": 2}, torch={"fresh": 2, "out": 8}),
    ]
    result = {"host": HOST, "threads": 2, "cells": cells}
    rows = speed.means([result]).splitlines()[2:]
    worst = "softmax float32 1x10 (out): torch 0.50"
    assert rows[0] == f"| 2 threads, x86-64-v3 | all | 2 | 2.0 | 1.41 | 1 of 4 | {worst} |"
    assert rows[1] == f"|  | calls | 2 | 2.0 | 1.41 | 1 of 4 | {worst} |"
    monkeypatch.setattr(speed, "BRIEF", [("softmax", "1x10"), (VALUE_AND_GRAD, "128x10")])
    other = cell_of(VALUE_AND_GRAD, onesum={"fresh": 4000}, NumPy={"fresh": 8000}, JAX={"fresh": 1})
    brief = speed.in_brief(result, {"host": HOST, "threads": 2, "cells": [other]})
    assert "| `softmax`, 1 x 10 | 2 µs | - | - | 4.0 | - | - |" in brief
    assert f"| `{VALUE_AND_GRAD}`, 128 x 10 | 4 ms | 2.0 | - | - | **0.00** | - |" in brief
    assert brief.count("2026-01-01") == 1


def test_errors_in_brief(monkeypatch):
    """The worst of our implementations, rounded up; what is not finite is said."""
    errors = {"onesum v2": 1.311, "onesum reference": 0.5, "SciPy": None, "JAX": 12345.0}
    entry = {"operation": "softmax", "dtype": "float32", "input": "zeros", "errors": errors}
    monkeypatch.setattr(accuracy, "BRIEF", {"of zeros": ("softmax", "float32", "zeros")})
    table = accuracy.in_brief({"host": HOST, "errors": [entry]})
    assert "| of zeros | 1.32 | not finite | - | 1.2e4 |" in table


def test_calibration():
    """As `python -m benchmarks calibration` writes it, or nothing yet."""
    times = {"onesum": [900, 1000, 1100], "scikit-learn": [1, 5500, 9000], "SciPy": [1, 1e6, 2e6]}
    row = {"shape": [100_000, 10], "dtype": "float32", "times": times}
    table = calibration.tables({"host": HOST, "threads": 2, "rows": [row]})
    assert "| 100000x10, float32 | 1 ms | 5.5 ms | 5.5 | 1 s | 1000 |" in table
    assert "scikit-learn 1.0" in table
    assert calibration.tables(None) == calibration.NOTHING
