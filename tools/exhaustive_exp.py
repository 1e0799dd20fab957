"""Compile exhaustive_exp.cpp for each instruction set and run those that this CPU has.

`python tools/exhaustive_exp.py` (about two minutes) exits with an error if a bound is exceeded.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-Wno-psabi", "-w", f"-I{HERE.parent / 'csrc'}"]


def targets() -> dict[str, list[str]]:
    """The instruction sets of this machine and the compiler's flags for them."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return {"baseline": []}
    from onesum import _core

    return {name: [f"-march={name}"] for name in _core.isas}


def main() -> int:
    compiler = os.environ.get("CXX", "c++")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in targets().items():
            program = Path(folder, name)
            source = HERE / "exhaustive_exp.cpp"
            subprocess.run([compiler, *FLAGS, *flags, source, "-o", program, "-lm"], check=True)
            print(f"{name}: ", end="", flush=True)
            failed |= subprocess.run([program]).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
