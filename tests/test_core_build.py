"""The core under the sanitizers, and its symbols; in test-slow, for compiling it takes a minute.

Quickly, without the kernels: the sweep finds what these read and write beyond their arrays by pages
that may not be touched. Then with them, in all cases of all instruction sets.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from implementations import REQUIRE_CORE, core

ROOT = Path(__file__).parents[1]
ISAS = [isa.removeprefix("x86-64-") for isa in core().isas] if core() else ["-"] * REQUIRE_CORE
# What lies between the kernels and Python: every layout, dtype and kind of argument. The large
# shapes are left out, for small ones reach here what is for large ones.
BINDINGS = ["test_calls.py", "test_losses.py"]
SELECTED = "native and not 40000"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="preloads the sanitizers as Linux does"
)


def build(folder: Path, isa: str, target: str, kernels: bool) -> None:
    """Build a target with the sanitizers, of the kernels too or not, for one instruction set."""
    cmake = [sys.executable, "-m", "cmake"]
    definitions = [f"-DPython_EXECUTABLE={sys.executable}", f"-DONESUM_ISAS={isa}"]
    definitions += ["-DONESUM_SANITIZE=ON", f"-DONESUM_SANITIZE_KERNELS={kernels}"]
    definitions += ["-DONESUM_SMALL_THRESHOLDS=ON"]
    commands = [
        [*cmake, "-G", "Ninja", "-S", ROOT, "-B", folder, *definitions],
        [*cmake, "--build", folder, "--target", target],
    ]
    for command in commands:
        run = subprocess.run(command, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]


def one_global_symbol(folder: Path) -> None:
    """A function that two objects have in common may be linked from the one this CPU cannot run.
    At -O0 every one is emitted that could be."""
    (path,) = folder.rglob("kernels.cpp.o")
    listing = subprocess.run(
        ["nm", "--defined-only", "--extern-only", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    symbols = [line.split()[1:] for line in listing if line and "__odr_asan" not in line]
    assert [kind for kind, _ in symbols] == ["D"], symbols


def library(name: str) -> str:
    """The full path of one of the compiler's runtime libraries."""
    compiler = os.environ.get("CXX", "c++")
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


def watched(command: list[str | Path], **environment: str) -> str:
    """Run it under the sanitizers; what it prints, or a failure with the first report."""
    options = {"ASAN_OPTIONS": "quarantine_size_mb=8", "UBSAN_OPTIONS": "print_stacktrace=1"}
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | options | environment, capture_output=True, text=True
    )
    output = run.stdout + run.stderr
    found = re.search("runtime error|ERROR: AddressSanitizer|kernel_sweep: ", output)
    at = max(found.start() - 200, 0) if found else -4000
    assert run.returncode == 0, output[at:][:6000]
    return run.stdout


def bindings(folder: Path) -> None:
    """The kernels' way to Python, with the sanitized core in the place of the installed one."""
    (module,) = folder.glob("_core*.so")
    preloaded = ["libasan.so", "libubsan.so", "libstdc++.so"]
    environment = {
        "LD_PRELOAD": " ".join(library(name) for name in preloaded),
        "ASAN_OPTIONS": "detect_leaks=0",  # CPython keeps what it has interned
        "ONESUM_CORE": str(module),
        "PYTHONPATH": str(ROOT / "tests"),
    }
    suite = [ROOT / "tests" / name for name in BINDINGS]
    # -s: a report goes to where it can be read, though the process ends with it
    options = ["-p", "sanitized_core", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-x", "-s"]
    pytest_command = [sys.executable, "-m", "pytest", *options, "-k", SELECTED, *suite]
    assert " passed" in watched(pytest_command, **environment)


def sweep(folder: Path, isa: str, *every_case_of: str) -> None:
    build(folder, isa, "kernel_sweep", kernels=bool(every_case_of))
    one_global_symbol(folder)
    assert " 0 failures" in watched([folder / "kernel_sweep", *every_case_of])


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS[-1:])
def test_the_sanitizers_find_nothing(tmp_path, isa):
    """In the bindings; nor the sweep in any kernel and regime (kernel_sweep.cpp)."""
    sweep(tmp_path, isa)
    build(tmp_path, isa, "_core", kernels=False)
    bindings(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
def test_nor_in_any_case_of_any_instruction_set(tmp_path, isa):
    """Whose kernels are the same source."""
    sweep(tmp_path, isa, isa)
