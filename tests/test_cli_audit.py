"""`onesum audit`: functions by name, statuses, and a line for every mistake."""

from __future__ import annotations

import json

import pytest

from onesum.audit import _process
from onesum.cli import main

STUDENT = """
import numpy as np

def softmax(x, axis=-1):
    e = np.exp(x)
    return e / e.sum(axis=axis, keepdims=True)

def backward(p, g, axis=-1):
    return g * p

def holds_the_interpreter(x):
    import re
    re.match("(a+)+$", "a" * 60 + "b")

def ends_the_process(x):
    import os
    os._exit(7)

number = 3
"""


@pytest.fixture
def student(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "student.py").write_text(STUDENT)
    (tmp_path / "broken.py").write_text("import no_such_library")
    (tmp_path / "unreadable.py").write_text("def softmax(:")
    return tmp_path


def run(capsys, *arguments):
    status = main(["audit", *arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_forward_and_its_backward(student, capsys):
    arguments = "student:softmax", "--vjp", "student:backward", "--json", "report.json"
    status, out, err = run(capsys, *arguments)
    assert (status, err) == (1, "")
    assert "no_max_shift" in out
    assert "missing_sum" in out
    forward, backward = json.loads((student / "report.json").read_text())
    assert [m["mistake"] for m in forward["mistakes"]] == ["no_max_shift"]
    assert backward["kind"] == "softmax_vjp"
    assert [m["mistake"] for m in backward["mistakes"]] == ["missing_sum"]


def test_what_passes(capsys):
    status, out, err = run(capsys, "onesum:log_softmax", "--profile", "strict", "--json", "-")
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert (report["kind"], report["ok"], report["profile"]) == ("log_softmax", True, "strict")


def test_a_library_as_it_is(capsys):
    assert run(capsys, "scipy.special:softmax", "--profile", "scipy", "--quiet") == (0, "", "")
    assert run(capsys, "scipy.special:log_softmax", "--quiet") == (1, "", "")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("holds_the_interpreter", "nor let anything else run"),
        ("ends_the_process", "ended the process: status 7"),
    ],
)
def test_what_cannot_be_stopped_is_ended(student, capsys, monkeypatch, name, told):
    monkeypatch.setattr(_process, "GRACE", 2.0)
    status, out, err = run(capsys, f"student:{name}", "--limit", "0.5", "--json", "-")
    assert (status, err) == (1, "")
    assert told in json.loads(out)["findings"][0]["text"]


def test_an_import_that_never_returns(student, capsys, monkeypatch):
    monkeypatch.setattr(_process, "IMPORT", 0.0)
    (student / "waits.py").write_text("import time\ntime.sleep(100)")
    status, out, err = run(capsys, "waits:softmax")
    assert (status, out) == (2, "")
    assert err == "onesum: MODULE:FUNCTION: cannot import waits: did not return within 0 s\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere:f"], "MODULE:FUNCTION: cannot import nowhere: no module 'nowhere'"),
        (["broken:f"], "MODULE:FUNCTION: cannot import broken: no module 'no_such_library'"),
        (
            ["unreadable:softmax"],
            "MODULE:FUNCTION: cannot import unreadable: SyntaxError: invalid syntax",
        ),
        (["student:sofmax"], "MODULE:FUNCTION: student has no 'sofmax'"),
        (["student:number"], "MODULE:FUNCTION: expected a function, got int student:number"),
        (["student"], "MODULE:FUNCTION: expected MODULE:FUNCTION, got 'student'"),
        (["student:softmax", "--vjp", "student:"], "--vjp: expected MODULE:FUNCTION, got"),
        (["student:softmax", "--kind", "x"], "--kind: expected one of softmax, log_softmax"),
        (["student:softmax", "--profile", "x"], "--profile: expected one of default, strict"),
        (
            ["student:softmax", "--limit", "0"],
            "--limit: expected a finite number of seconds above 0",
        ),
        (["student:softmax", "--limit", "inf"], "--limit: expected a finite number of seconds"),
        (["student:softmax", "--json", "no/x.json"], "--json: no: no such directory"),
        (["student:softmax", "--json", "."], "--json: .: is a directory"),
    ],
)
def test_mistakes_on_the_command_line(student, capsys, arguments, told):
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"onesum: {told}")
    assert err.count("\n") == 1
