"""The types of the public face: mypy, pyright and Python agree on a file of user code."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

ROOT = Path(__file__).parent.parent
FILE = ROOT / "tests" / "typing_user_code.py"
SOURCE = FILE.read_text()
MARKED = {i for i, line in enumerate(SOURCE.splitlines(), 1) if line.endswith("# error")}


def run(*command: str) -> str:
    """What a checker prints about the file. It exits with 1, for there are errors."""
    done = subprocess.run(
        [sys.executable, "-m", *command, str(FILE)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": "src"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def mypy() -> list[tuple[int, str]]:
    found = map(json.loads, run("mypy", "--output", "json").splitlines())
    return [(e["line"], e["message"]) for e in found if e["severity"] == "error"]


def pyright() -> list[tuple[int, str]]:
    answer = json.loads(run("pyright", "--outputjson", "--pythonpath", sys.executable))
    found = [e for e in answer["generalDiagnostics"] if e["severity"] == "error"]
    return [(e["range"]["start"]["line"] + 1, e["message"]) for e in found]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_refuses_what_is_marked(checker):
    found = checker()
    assert [f"line {line}: {message}" for line, message in found if line not in MARKED] == []
    assert MARKED - {line for line, _ in found} == set()


def has_type(value: Any, kind: Any) -> bool:
    """Whether a value is of a static type, as far as a value can tell."""
    if kind is Any:
        return True
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return any(has_type(value, one) for one in arguments)
    if origin is tuple and Ellipsis not in arguments:
        return len(value) == len(arguments) and all(map(has_type, value, arguments))
    if origin is np.ndarray:
        (scalar,) = typing.get_args(arguments[1])
        return isinstance(value, np.ndarray) and (scalar is Any or value.dtype.type is scalar)
    return isinstance(value, origin or kind)


def test_a_value_tells_its_type():
    """The check below would pass on anything."""
    single = npt.NDArray[np.float32]
    pair = np.zeros(2, np.float32), np.float32(0)
    assert has_type(pair, tuple[single, np.float32])
    assert has_type(None, single | None)
    assert not has_type(pair, tuple[np.float32, np.float32])
    assert not has_type(pair, tuple[single])
    assert not has_type(np.zeros(2), single)
    assert not has_type(np.float32(0), npt.NDArray[Any])


def test_python_refuses_what_is_marked(api, monkeypatch):
    """Otherwise the types would forbid what works; and what they tell of results is true."""
    wrong = []

    def check(value: Any, kind: Any) -> None:
        if not has_type(value, kind):
            wrong.append(f"{type(value)} is no {kind}")

    monkeypatch.setattr(typing, "assert_type", check)
    names: dict[str, Any] = {}
    for statement in ast.parse(SOURCE).body:
        program = compile(ast.Module([statement], []), str(FILE), "exec")
        try:
            exec(program, names)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            if statement.lineno not in MARKED:
                wrong.append(f"line {statement.lineno}: {error!r}")
        else:
            if statement.lineno in MARKED:
                wrong.append(f"line {statement.lineno} runs")
    assert not wrong, "\n".join(wrong)
