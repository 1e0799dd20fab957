"""Cells are measured in this process, and what is there already is kept."""

from __future__ import annotations

import json

import pytest
from test_benchmarks import load, measured

from onesum.bench import __main__ as command
from onesum.bench import figures, peers, timing
from onesum.bench.cases import LOSSES, VALUE_AND_GRAD, Case, cases


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """For every library, as on the command line."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_resumed(tmp_path_factory, tmp_path, monkeypatch):
    """It keeps what it has and measures the rest."""
    known = peers.installed()
    few = {name: known[name] for name in (peers.ONESUM, "NumPy")}
    monkeypatch.setattr(peers, "installed", lambda: few)
    whole = load(measured(tmp_path_factory) / "speed" / "speed.json")
    path, shown = tmp_path / "speed.json", []
    path.write_text(json.dumps(whole | {"cells": whole["cells"][:1]}))
    timing.run(path, cases(quick=True), timing.QUICK, resume=True, show=shown.append)
    cells = load(path)["cells"]
    assert cells == [whole["cells"][0], *json.loads(json.dumps(shown))]
    assert list(map(timing.case_of, cells)) == cases(quick=True)


def test_losses_where_classes_are_not_second():
    """Where torch would have them."""
    for operation in LOSSES:
        cell = timing.measure(Case(operation, "float64", (3, 5, 64), -1), timing.QUICK)
        assert not cell["failed"]
        assert "torch" in {*cell["times"], *peers.missing()}


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


def test_who_cannot_is_named(capsys):
    """A library that does not know a dtype is left out, with its reason."""
    cell = timing.measure(Case("softmax", "bfloat16", (4, 5), -1), timing.QUICK)
    assert "ONNX Runtime" in cell["failed"]
    assert "ONNX Runtime" not in cell["times"]
    command._show(cell, figures.PEERS, 10)
    assert "without ONNX Runtime: " in capsys.readouterr().out
