"""How much memory a call takes beyond its operands and its result.

Each call has a fresh process: what the process holds is read before it, and the most it ever held
after it. Linux tells both. A small call comes first, so that nothing is counted that comes once.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from onesum.bench import host, peers
from onesum.bench.cases import VALUE_AND_GRAD, Case, dtype_of, operands, result_shape

OPERATIONS = ("softmax", "logsumexp", "softmax_vjp", VALUE_AND_GRAD)
SHAPES = [
    ((100000000,), -1),
    ((128, 128256), -1),
    ((1000000, 10), -1),
    ((8, 21, 512, 512), 1),
    ((32000, 512), 0),
]
QUICK = [((1000, 1000), -1)]
SMALL = Case("", "float32", (256, 1024), -1)
# JAX would be measured as it compiles.
BESIDE = ("NumPy", "SciPy", "torch")
STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run(results: Path, quick: bool, threads: int) -> None:
    host.pin(threads, None)  # for the processes too
    if not REFERENCES.exists():
        raise SystemExit("memory: only Linux tells the most that a process held")
    rows = []
    names = [peers.ONESUM, *(name for name in BESIDE if name in peers.installed())]
    for operation in OPERATIONS:
        for shape, axis in QUICK if quick else SHAPES:
            case = Case(operation, "float32", shape, axis)
            result = int(np.prod(result_shape(case))) * dtype_of(case.dtype).itemsize
            extra = {
                name: {
                    mode: growth - (result if mode == "fresh" else 0)
                    for mode, growth in _in_a_process(case, name).items()
                }
                for name in names
            }
            row = {**case._asdict(), "array": case.array_bytes, "result": result, "extra": extra}
            rows.append(row)
            print(case, extra, flush=True)
    about = {"host": host.describe(), "threads": threads}
    unit = "bytes that the process grew by at most, less those of a fresh result"
    host.save(results / "memory.json", {**about, "unit": unit, "rows": rows})


def _in_a_process(case: Case, name: str) -> dict[str, int]:
    """What it grows by, fresh and into `out`."""
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(case), name]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    growths: dict[str, int] = json.loads(answer.stdout)
    return growths


def measure(case: Case, name: str) -> dict[str, int]:
    for call in prepare(SMALL._replace(operation=case.operation), name).values():
        call()
    growths = {}
    for mode, call in prepare(case, name).items():
        REFERENCES.write_text("5")  # forget the most so far
        before = held("VmRSS")  # with the operands, and `out`, whichever is asked
        answer = call()
        growths[mode] = max(0, held("VmHWM") - before)
        del answer
    return growths


def prepare(case: Case, name: str) -> dict[str, peers.Call]:
    out = np.ones(result_shape(case), dtype_of(case.dtype))
    calls = peers.installed()[name](case.operation, operands(case), case.axis, out)
    return {} if calls is None else calls.ready()


def held(what: str) -> int:
    found = re.search(rf"^{what}:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found
    return int(found[1]) << 10


if __name__ == "__main__":
    operation, dtype, shape, axis = json.loads(sys.argv[1])
    print(json.dumps(measure(Case(operation, dtype, tuple(shape), axis), sys.argv[2])))
