"""Cells are measured, each library in its process, and what is there already is kept."""

from __future__ import annotations

import json
from functools import partial

import bench_peers
import pytest
from test_benchmarks import load, measured

from onesum.bench import peers, timing
from onesum.bench.cases import VALUE_AND_GRAD, Case, cases
from onesum.bench.processes import Libraries

SMALL = Case("softmax", "float32", (3, 5), -1)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """For every library, as on the command line."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def installed(*names: str) -> dict[str, peers.Peer]:
    """Those of them that are, and onesum."""
    return {n: peer for n, peer in peers.installed().items() if n in (peers.ONESUM, *names)}


def test_resumed(tmp_path_factory, tmp_path):
    """It keeps what it has and measures the rest."""
    whole = load(measured(tmp_path_factory) / "speed" / "speed.json")
    path, shown = tmp_path / "speed.json", []
    path.write_text(json.dumps(whole | {"cells": whole["cells"][:1]}))
    with Libraries(installed()) as libraries:
        wanted = cases(quick=True)
        timing.run(libraries, path, wanted, timing.QUICK, resume=True, show=shown.append)
    cells = load(path)["cells"]
    assert cells == [whole["cells"][0], *json.loads(json.dumps(shown))]
    assert list(map(timing.case_of, cells)) == cases(quick=True)


def test_one_computes_at_a_time(tmp_path):
    """And no thread of another is left spinning."""
    path = tmp_path / "intervals"
    chosen = {
        name: partial(bench_peers.recorded, name, path, name == "spinning")
        for name in (peers.ONESUM, "another", "spinning")
    }
    with Libraries(chosen) as libraries:
        cell = timing.measure(libraries, SMALL, timing.QUICK)
    assert {*cell["times"]} == {*chosen}
    lines = [line.split() for line in path.read_text().splitlines()]
    assert {name for name, *_ in lines} == {*chosen}
    intervals = sorted((float(begin), float(end), name) for name, begin, end in lines)
    ended = dict.fromkeys(chosen, 0.0)
    for begin, end, name in intervals:
        assert all(begin >= at for other, at in ended.items() if other != name)
        ended[name] = max(ended[name], end)


def test_who_fails_is_named_and_the_others_go_on(tmp_path):
    """Whatever it does, and be it wrong by little: a gradient is one of a mean over many rows."""
    chosen = installed("NumPy") | {
        "wrong loss": bench_peers.wrong_loss,
        "wrong gradient": bench_peers.wrong_gradient,
        "dying": bench_peers.dying,
        "dying once": partial(bench_peers.dying_once, tmp_path / "flag"),
        "failing later": bench_peers.failing_later,
        "hanging": bench_peers.hanging,
        "restless": bench_peers.restless,
    }
    with Libraries(chosen, limit=4) as libraries:
        cell = timing.measure(
            libraries, Case(VALUE_AND_GRAD, "float32", (200_000, 3), -1), timing.QUICK
        )
        assert {*cell["times"]} == {peers.ONESUM, "NumPy"}
        for wrong in ("wrong loss", "wrong gradient"):
            assert cell["failed"].pop(wrong).startswith("ValueError: off by")
        assert cell["failed"] == {
            "dying": "its process ended with status 3",
            "dying once": "its process ended: SIGABRT",
            "failing later": "MemoryError: not",
            "hanging": "no answer within 4 s",
            "restless": "its threads never come to rest",
        }
        # At the next cell it has another try.
        libraries.chosen = {name: chosen[name] for name in (peers.ONESUM, "dying once")}
        cell = timing.measure(libraries, SMALL, timing.QUICK)
        assert "dying once" in cell["times"]
        processes = [process.process for process in libraries.processes.values()]
    assert not any(process.is_alive() for process in processes)


def test_without_onesum_there_is_nothing_to_compare_with():
    with (
        Libraries({peers.ONESUM: bench_peers.dying}) as libraries,
        pytest.raises(RuntimeError, match="onesum: its process ended with status 3"),
    ):
        timing.measure(libraries, SMALL, timing.QUICK)


def test_libraries_by_name():
    assert peers.named("numpy") == [peers.ONESUM, "NumPy"]
    assert peers.named("NumPy, onesum") == [peers.ONESUM, "NumPy"]
    with pytest.raises(ValueError, match=r"expected some of onesum, .*, got 'nampy'"):
        peers.named("nampy")
