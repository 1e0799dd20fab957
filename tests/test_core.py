"""Which implementation serves NumPy arrays: instruction sets, overrides, and doing without."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from implementations import REQUIRE_CORE, core

ASK = """
import json, numpy, onesum
config = onesum.show_config(mode="dicts")
p = onesum.softmax(numpy.array([0.0, 0.0]))
print(json.dumps([config["backend"], config["isa"], config["reason"], p.tolist()]))
"""


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ONESUM_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=kept | environment,
        timeout=120,
    )


def answer(program: str, **environment: str) -> list:
    run = python(program, **environment)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


# Where the core is asked for and not there, the tests of it fail rather than vanish.
ISAS = list(core().isas) if core() else ["missing"] * REQUIRE_CORE


@pytest.mark.parametrize("isa", ISAS)
def test_isa_override(isa):
    """ONESUM_ISA chooses, in any case."""
    for name in [isa, isa.upper()]:
        backend, used, _, p = answer(ASK, ONESUM_ISA=name)
        assert (backend, used, p) == ("native", isa, [0.5, 0.5])


@pytest.mark.parametrize("isa", ISAS)
def test_isa_that_is_not_there(isa):
    """A clear error, not a crash at the first instruction."""
    run = python("import onesum", ONESUM_ISA="z80")
    assert run.returncode != 0
    assert "ImportError: ONESUM_ISA" in run.stderr
    assert "'z80'" in run.stderr
    assert isa in run.stderr  # what there is
    with pytest.raises(ValueError, match=r"'z80'.*" + isa):
        core()._use_isa("z80")


@pytest.mark.parametrize("isa", ISAS)
def test_best_isa_is_the_default(isa):
    _, used, _, _ = answer(ASK)
    assert used == core().isas[-1]


def test_backend_override():
    backend, _, reason, p = answer(ASK, ONESUM_BACKEND="reference")
    assert (backend, p) == ("reference", [0.5, 0.5])
    assert "ONESUM_BACKEND" in reason
    run = python("import onesum", ONESUM_BACKEND="fast")
    words = "ImportError: ONESUM_BACKEND: expected 'native' or 'reference', got 'fast'\n"
    assert run.stderr.endswith(words)


def test_the_overrides_are_shown():
    """All variables of ours that are set, and no others; also in what is printed."""
    ask = "import json, onesum; print(json.dumps(onesum.show_config('dicts')['overrides']))"
    assert answer(ask, OMP_NUM_THREADS="2") == {}
    set_to = {"ONESUM_BACKEND": "reference", "ONESUM_NUM_THREADS": "3"}
    assert answer(ask, OMP_NUM_THREADS="2", **set_to) == set_to
    printed = python("import onesum; onesum.show_config()", **set_to).stdout.splitlines()
    words = "overrides        ONESUM_BACKEND=reference, ONESUM_NUM_THREADS=3"
    assert printed[-1] == words
    printed = python("import onesum; onesum.show_config()").stdout.splitlines()
    assert printed[-1] == "overrides        none"


def test_without_the_core():
    """Where it was not built, the reference backend serves and says so; if it must not, that."""
    absent = "import sys; sys.modules['onesum._core'] = None\n"
    backend, isa, reason, p = answer(absent + ASK)
    assert (backend, isa, p) == ("reference", None, [0.5, 0.5])
    assert "not built" in reason
    run = python(absent + "import onesum", ONESUM_BACKEND="native")
    words = f"ImportError: ONESUM_BACKEND: expected 'reference', got 'native': {reason}\n"
    assert run.stderr.endswith(words)


def test_without_array_api_compat():
    """NumPy arrays do not need it; for those that do, the message says what to install."""
    absent = "import sys; sys.modules['array_api_compat'] = None\n"
    answer(absent + ASK)
    cupy = "type('ndarray', (), {'__module__': 'cupy'})()"  # of a library that has no namespace
    run = python(absent + f"import onesum; onesum.softmax({cupy})")
    assert "ImportError" in run.stderr
    assert "array-api-compat" in run.stderr


def test_without_ml_dtypes():
    """bfloat16 is only there with ml_dtypes, and nothing else needs it."""
    answer("import sys; sys.modules['ml_dtypes'] = None\n" + ASK)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_after_fork():
    """A child of a process that has used the package may use it too."""
    program = """
import json, multiprocessing, numpy, onesum
x = numpy.zeros((3, 70_000), numpy.float32)
wanted = onesum.softmax(x).sum()
with multiprocessing.get_context("fork").Pool(2) as pool:
    sums = [a.sum() for a in pool.map(onesum.softmax, [x] * 4)]
print(json.dumps([bool(s == wanted) for s in sums]))
"""
    assert answer(program) == [True] * 4


def test_the_table_of_powers_is_what_its_tool_writes():
    path = Path(__file__).parents[1] / "tools" / "exp_table.py"
    spec = importlib.util.spec_from_file_location("exp_table", path)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.HEADER.read_text() == tool.header()
