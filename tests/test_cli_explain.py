"""`onesum explain`: numbers in; text, JSON, LaTeX, a page or a picture out."""

from __future__ import annotations

import json
import re

import pytest

from onesum.cli import main
from onesum.explain import explain
from onesum.explain._html import page


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def run(capsys, line):
    """The exit status, and what is on stdout and stderr."""
    status = main(["explain", *line.split()])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_text(capsys):
    status, out, err = run(capsys, "1 2 3 --grad 1 0 0 --target 0")
    assert (status, err) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    library = [
        line
        for line in str(explain([1, 2, 3], [1, 0, 0], 0)).split("\nExact, and")[0].splitlines()
        if not re.fullmatch("-+", line)
    ]
    assert lines[: len(library)] == library
    table = "\n".join(lines[len(library) :])
    # onesum's last bit is that of the instruction set in use, or of the reference.
    assert re.search(r"∂L/∂x_0 +0\.081925069 +0\.081925069 +0\.56 +0\.081925069 +0\.\d\d", table)
    assert re.search(r"largest error +0\.83 +0\.\d\d", table)
    assert all(len(line) <= 80 for line in lines[len(library) :])


@pytest.mark.parametrize(
    ("line", "x", "g", "target"),
    [
        ("-1 2 -3.5 --grad 1 0 0", [-1, 2, -3.5], [1, 0, 0], None),
        ("--grad -1 0 -2.5 --target 1 -- -1 2 -3.5", [-1, 2, -3.5], [-1, 0, -2.5], 1),
        ("-1 2 --grad=-1 --grad=-.5 --target=0", [-1, 2], [-1, -0.5], 0),
        ("-1e3 -2", [-1000, -2], None, None),
        ("7", [7], None, None),
        ("--target 1 -3 -4", [-3, -4], None, 1),
    ],
)
def test_negative_numbers_are_logits(capsys, line, x, g, target):
    head, separator, tail = line.partition(" -- ")
    status, out, err = run(capsys, f"--json {head}{separator}{tail}")
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert (told["x"], told["g"], told["target"]) == (x, g, target)


def test_infinite_logits(capsys):
    status, out, _ = run(capsys, "-inf 1 inf nan --json")
    assert status == 0
    assert json.loads(out)["x"] == [None, 1.0, None, None]
    status, out, _ = run(capsys, "-inf 1 2 --grad 1 0 0")
    assert status == 0
    assert "x = (−∞, 1, 2)" in out
    assert "Note: Class 0 has the logit -inf" in out


def test_json_is_that_of_the_library(capsys):
    _, out, _ = run(capsys, "1 2 3 --grad 1 0 0 --route kronecker --dtype float16 --json")
    found = explain([1, 2, 3], [1, 0, 0], None, "kronecker", dtype="float16")
    assert json.loads(out) == json.loads(json.dumps(found.to_dict()))


def test_files(capsys, directory):
    line = "1 2 3 --grad 1 0 0 --latex a.tex --html a.html --figure a.png --route quotient"
    status, out, err = run(capsys, line)
    assert (status, err) == (0, "")
    assert out.startswith("Softmax of 3 classes")
    found = explain([1.0, 2, 3], [1, 0, 0], None, "quotient")
    assert (directory / "a.tex").read_text() == found.to_latex(document=True)
    assert (directory / "a.html").read_text() == page(found)
    assert (directory / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in directory.iterdir()) == ["a.html", "a.png", "a.tex"]


def test_latex_on_stdout(capsys):
    status, out, err = run(capsys, "1 2 3 --latex -")
    assert (status, err) == (0, "")
    assert out == explain([1.0, 2, 3]).to_latex(document=True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", 'Command "explain" parameter LOGITS requires an argument.'),
        ("1 two", 'Invalid value for LOGITS: unable to convert "two" into float.'),
        ("1 2 --grad 1", "--grad: expected one number for each logit, shape (2,), got (1,)"),
        ("1 2 --target 2", "--target: expected a class from 0 to 1, got 2"),
        ("1 2 --target -1", "--target: expected a class from 0 to 1, got -1"),
        ("1 70000 --dtype float16", "LOGITS: expected numbers that fit float16, got 70000"),
        ("1 2 --latex - --json", "--latex, --json: expected one of them on stdout, got both"),
        ("1 2 --latex no/a.tex", "--latex: no: no such directory"),
        ("1 2 --html .", "--html: .: is a directory"),
        ("1 2 --figure a.gif", "--figure: expected a name that ends in .png, .svg, .pdf, got"),
        ("1 2 --route straight", 'Invalid value "straight" for --route. Choose from: "all"'),
    ],
)
def test_refused(capsys, directory, line, message):
    status, out, err = run(capsys, line)
    assert (status, out) == (2, "")
    assert err.startswith(f"onesum: {message}")
    assert err.count("\n") == 1
    assert not list(directory.iterdir())
