"""The machine: what it is, how much of it to use, and where results are kept."""

import hashlib
import json
import os
import platform
import re
import sys
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import onesum

PACKAGES = ("onesum", "numpy", "scipy", "torch", "jax", "onnxruntime", "ml_dtypes")


def limit_threads(n: int) -> None:
    """Give every library n threads on n processors. To be called before any of them is imported."""
    os.environ.update(environment(n))
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        if n > len(available):
            raise SystemExit(f"--threads: expected at most {len(available)}, got {n}")
        os.sched_setaffinity(0, available[-n:])


def environment(threads: int, isa: str | None = None) -> dict[str, str]:
    """What the libraries read as they are loaded."""
    variables = {
        f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL", "ONESUM")
    }
    variables["NPROC"] = str(threads)  # XLA's
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    if isa:
        variables["ONESUM_ISA"] = isa
    return variables


def pin(threads: int, isa: str | None) -> None:
    """Limit the threads and name the instruction set, in time.

    NumPy and onesum are loaded already when a module of this package runs: so the process starts
    again from the beginning, unless it began in this environment.
    """
    in_time = environment(threads, isa).items() <= os.environ.items()
    limit_threads(threads)
    if not in_time:
        os.environ.update(environment(threads, isa))
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def threads() -> int:
    """The number that limit_threads() set."""
    return int(os.environ["OMP_NUM_THREADS"])


def describe() -> dict[str, Any]:
    config = onesum.show_config(mode="dicts")
    return {
        "date": date.today().isoformat(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "memory": _memory(),
        "huge_pages": _huge_pages(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": _compiler(),
        "core": _fingerprint(),
        "backend": config["backend"],
        "isa": config["isa"],
        "versions": {name: _version(name) for name in PACKAGES},
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two descriptions are of the same machine with the same libraries."""
    passing = ("date", "load")
    return all(one.get(k) == other.get(k) for k in one.keys() | other.keys() if k not in passing)


def cache(about: dict[str, Any], level: int) -> int:
    """Bytes of a cache of a machine described, as in "1024K"; if unknown, of an ordinary one."""
    size = about["caches"].get(f"L{level}", {2: "1024K", 3: "32768K"}[level])
    return int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[size[-1]]


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


def _memory() -> str | None:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):
        return None
    return f"{size / 2**30:.0f} GiB"


def _huge_pages() -> str | None:
    """Whether the system hands out memory in large pages: always, when asked, or never."""
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return None
    found = re.search(r"\[(\w+)\]", text)
    return found[1] if found else None


def _core() -> bytes:
    core = sys.modules.get("onesum._core")
    return Path(core.__file__).read_bytes() if core and core.__file__ else b""


def _compiler() -> str | None:
    """What the core was compiled by: GCC and Clang leave their names in what they compile."""
    found = re.search(rb"(?:GCC: \(|clang version )[^\0]*", _core())
    return found[0].decode() if found else None


def _fingerprint() -> str | None:
    """Which build of the core: times of two builds are not to be mixed."""
    return hashlib.sha256(_core()).hexdigest()[:12] if _core() else None


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
    # A reader, or a run that is killed meanwhile, finds the old file or the new one.
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text("{\n" + ",\n".join(entries) + "\n}\n")
    unfinished.replace(path)


def load(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result
