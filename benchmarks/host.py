"""The machine: what it is, how much of it to use, and where results are kept."""

import json
import os
import platform
import re
import sys
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("onesum", "numpy", "scipy", "torch", "jax", "onnxruntime", "ml_dtypes")


def limit_threads(n: int) -> None:
    """Give every library n threads on n processors. To be called before any of them is imported."""
    for name in ("OMP", "OPENBLAS", "MKL", "ONESUM"):
        os.environ[f"{name}_NUM_THREADS"] = str(n)
    os.environ["NPROC"] = str(n)  # XLA's
    if n == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        if n > len(available):
            raise SystemExit(f"--threads: expected at most {len(available)}, got {n}")
        os.sched_setaffinity(0, available[-n:])


def threads() -> int:
    """The number that limit_threads() set."""
    return int(os.environ["OMP_NUM_THREADS"])


def describe() -> dict[str, Any]:
    import onesum

    config = onesum.show_config(mode="dicts")
    return {
        "date": date.today().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": _compiler(),
        "backend": config["backend"],
        "isa": config["isa"],
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text, re.MULTILINE))
    name = facts.get("model name", platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def _caches() -> dict[str, str]:
    """Each cache of the first processor, as in {"L1d": "32K", "L2": "1024K"}."""
    caches = {}
    for directory in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (directory / name).read_text().strip() for name in ("level", "type", "size")
        )
        caches[f"L{level}{'' if kind == 'Unified' else kind[0].lower()}"] = size
    return caches


def _compiler() -> str | None:
    """What the core was compiled by: GCC and Clang leave their names in what they compile."""
    core = sys.modules.get("onesum._core")
    if core is None or core.__file__ is None:
        return None
    found = re.search(rb"(?:GCC: \(|clang version )[^\0]*", Path(core.__file__).read_bytes())
    return found[0].decode() if found else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def save(path: Path, result: dict[str, Any]) -> None:
    """As JSON, one line for each entry of each list, so that a difference can be read."""
    entries = []
    for key, value in result.items():
        if isinstance(value, list):
            lines = ",\n  ".join(json.dumps(item, allow_nan=False) for item in value)
            text = f"[\n  {lines}\n ]" if lines else "[]"
        else:
            text = json.dumps(value, allow_nan=False, indent=1).replace("\n", "\n ")
        entries.append(f" {json.dumps(key)}: {text}")
    path.write_text("{\n" + ",\n".join(entries) + "\n}\n")


def load(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result
