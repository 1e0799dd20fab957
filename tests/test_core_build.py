"""How the core is built: nothing shared between instruction sets, no fault sanitizers can see."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onesum import _core

ROOT = Path(__file__).parents[1]
# What the sanitized core is put through: every function, layout, dtype and kind of bad input.
SUITE = [
    "test_contract.py",
    "test_bits.py",
    "test_errors.py",
    "test_out.py",
    "test_where.py",
    "test_calls.py",
    "test_losses.py",
    "test_losses_bits.py",
    "test_losses_errors.py",
]


def build(folder: Path, *options: str) -> Path:
    """Configure and build the core in a folder of its own."""
    cmake = [sys.executable, "-m", "cmake"]
    definitions = [f"-DPython_EXECUTABLE={sys.executable}", *options]
    subprocess.run(
        [*cmake, "-G", "Ninja", "-S", ROOT, "-B", folder, *definitions],
        check=True,
        capture_output=True,
    )
    subprocess.run([*cmake, "--build", folder], check=True, capture_output=True)
    return folder


def one_global_symbol_each(folder: Path) -> None:
    """A function that two objects have in common may be linked from the one this CPU cannot run."""
    objects = sorted(folder.rglob("kernels.cpp.o"))
    assert len(objects) >= min(2, len(_core.built_isas))  # the sanitized core leaves x86-64-v3 out
    for path in objects:
        listing = subprocess.run(
            ["nm", "--defined-only", "--extern-only", path],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\n")
        symbols = [line.split()[1:] for line in listing if line and "__odr_asan" not in line]
        assert [kind for kind, _ in symbols] == ["D"], f"{path.name}: {symbols}"


def library(name: str) -> str:
    """The full path of one of the compiler's runtime libraries."""
    compiler = os.environ.get("CXX", "c++")
    found = subprocess.run(
        [compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="preloads the sanitizers as Linux does")
def test_the_sanitizers_find_nothing(tmp_path: Path) -> None:
    """Nor does an instruction set share a function: at -O0 every one is emitted that could be."""
    build(tmp_path, "-DONESUM_SANITIZE=ON")
    one_global_symbol_each(tmp_path)
    (core,) = tmp_path.glob("_core*.so")
    preloaded = ["libasan.so", "libubsan.so", "libstdc++.so"]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(library(name) for name in preloaded),
        "ASAN_OPTIONS": "detect_leaks=0",  # CPython keeps what it has interned
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "ONESUM_CORE": str(core),
        "PYTHONPATH": str(ROOT / "tests"),
    }
    suite = [str(ROOT / "tests" / name) for name in SUITE]
    # -s: a report goes to where it can be read, though the process ends with it
    options = ["-p", "sanitized_core", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-x", "-s"]
    selected = ["-k", "native"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selected, *suite],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    output = result.stdout + result.stderr
    found = re.search("runtime error|ERROR: AddressSanitizer", output)  # a report begins so
    at = max(found.start() - 200, 0) if found else -4000
    assert result.returncode == 0, output[at:][:4000]
    assert " passed" in result.stdout
