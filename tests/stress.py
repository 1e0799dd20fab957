"""The stress program (stress.cpp): compiled once in each kind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from once import once

ROOT = Path(__file__).parents[1]


def stress(factory: pytest.TempPathFactory, sanitizers: str = "") -> Path:
    """The program, plain or under some sanitizers."""
    options = [f"-fsanitize={sanitizers}"] if sanitizers else []
    return once(factory, f"stress-{sanitizers or 'plain'}", lambda path: compile_to(path, *options))


def compile_to(program: Path, *options: str) -> None:
    sources = [
        ROOT / "tests" / f"{name}.cpp" for name in ("stress", "pool_stress", "memory_stress")
    ]
    runtime = ("parallel_rows", "thread_pool", "machine", "result_memory")
    sources += [ROOT / "csrc" / "runtime" / f"{name}.cpp" for name in runtime]
    compiler = [os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-g1", "-pthread"]
    compiler.append(f"-I{ROOT / 'csrc'}")
    subprocess.run([*compiler, *options, *sources, "-o", program], check=True)


def hammer(program: Path, *args: str | Path) -> str:
    """Run it; what it prints."""
    run = subprocess.run([program, *args], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[:4000]
    return run.stdout
