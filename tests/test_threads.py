"""The threads of the core: how many, that they change no bit, and that they are in nobody's way."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from implementations import REQUIRE_CORE, core
from measure import same_bits
from rows import DERIVATIVES, MASKABLE, OPERATIONS, arguments, classes_first, classes_last, logits
from stress import hammer, stress
from test_core import answer, python

import onesum

pytestmark = pytest.mark.skipif(
    core() is None and not REQUIRE_CORE, reason="the compiled core is not built"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

ROOT = Path(__file__).parents[1]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
# Rows by classes: tiles, vectors, a few long rows; all large enough to be shared.
SHAPES = [(5000, 10), (700, 100), (5, 20_000)]
COUNTS = [1, 2, 3, 7]


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = onesum.get_num_threads()
    yield
    onesum.set_num_threads(before)


def on_each_count(call: Any, shared: bool = True) -> None:
    """The same bits whatever the number of threads; more than one of them do take part."""
    onesum.set_num_threads(1)
    wanted = call()
    for n in COUNTS:
        onesum.set_num_threads(n)
        before = core()._jobs()
        assert same_bits(call(), wanted), f"{n} threads"
        assert (core()._jobs() > before) == (n > 1 and shared), f"{n} threads"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", OPERATIONS)
def test_same_bits(function, dtype):
    call = getattr(onesum, function)
    for shape in SHAPES:
        args = arguments(function, logits("spread 3", *shape, dtype))
        first = classes_first(function, args)
        fortran = tuple(map(np.asfortranarray, args))
        backwards = tuple(a[::-1] for a in args)
        on_each_count(lambda args=args: call(*args))
        on_each_count(lambda args=fortran: call(*args))
        on_each_count(lambda args=backwards: call(*args))
        on_each_count(lambda args=first: classes_last(function, call(*args, axis=0)))


@pytest.mark.parametrize("function", OPERATIONS)
def test_same_bits_with_what_a_row_has_besides(function):
    """Masks, a temperature for each row, arguments broadcast, a batch of several dimensions."""
    call = getattr(onesum, function)
    rng = np.random.default_rng(3)
    args = arguments(function, logits("gaps", 800, 70, "float32"))
    options: dict[str, Any] = {"temperature": np.exp(rng.normal(size=(800)))}
    if function in MASKABLE:
        options["where"] = rng.random((800, 70)) < 0.7
    on_each_count(lambda: call(*args, **options))
    batch = tuple(a.reshape(2, 400, *a.shape[1:]) for a in arguments(function, np.tile(args[0], 2)))
    on_each_count(lambda: call(*batch))
    if function in DERIVATIVES:
        one = np.broadcast_to(args[1][:1], args[1].shape)
        on_each_count(lambda: call(args[0], one))


def test_same_bits_in_place():
    x = logits("spread 3", 900, 100, "float32")

    def in_place():
        y = x.copy()
        return onesum.softmax(y, out=y)

    on_each_count(in_place)


def test_same_bits_where_denormals_are_flushed():
    """The caller's floating-point environment is that of all who work for it."""
    program = """
import json, numpy, onesum, torch
x = numpy.tile(numpy.linspace(-100, 0, 100, dtype=numpy.float32), (2000, 1))
onesum.set_num_threads(4)
kept = onesum.softmax(x)  # the threads are there already
torch.set_flush_denormal(True)
flushed = [onesum.softmax(x) for _ in range(20)]
onesum.set_num_threads(1)
wanted = onesum.softmax(x).tobytes()
print(json.dumps([kept.tobytes() != wanted, all(f.tobytes() == wanted for f in flushed)]))
"""
    assert answer(program) == [True, True]


def test_small_work_is_not_shared():
    x = logits("spread 3", 300, 100, "float32")
    on_each_count(lambda: onesum.softmax(x), shared=False)


@linux
def test_threads_start_late_and_leave_signals_alone():
    program = """
import json, pathlib, signal, time, numpy, onesum

def workers():
    threads = pathlib.Path("/proc/self/task").iterdir()
    return [t for t in threads if (t / "comm").read_text().strip() == "onesum"]

onesum.softmax(numpy.zeros((100, 100)))
before = len(workers())
onesum.softmax(numpy.zeros((1000, 100)))
while len(workers()) < 2:
    time.sleep(0.01)
after = len(workers())
blocked = [
    int(line.split()[1], 16) >> signal.SIGINT - 1 & 1
    for worker in workers()
    for line in (worker / "status").read_text().splitlines()
    if line.startswith("SigBlk")
]
print(json.dumps([before, after, blocked]))
"""
    assert answer(program, ONESUM_NUM_THREADS="3") == [0, 2, [1, 1]]


def test_several_python_threads():
    onesum.set_num_threads(3)
    x = logits("spread 3", 1000, 100, "float32")
    wanted = onesum.softmax(x)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: onesum.softmax(x), range(200)):
            assert same_bits(got, wanted)


# What a process begins with that is to be forked or to start others.
USED = """
import json, multiprocessing, os, signal, threading, numpy, onesum
x = numpy.random.default_rng(0).normal(0, 3, (1000, 100))
wanted = onesum.softmax(x).tobytes()
assert onesum._core._jobs() == 1

def child():
    signal.alarm(60)  # a deadlock ends here
    before = onesum._core._jobs()
    right = all(onesum.softmax(x).tobytes() == wanted for _ in range(3))
    os._exit(0 if right and onesum._core._jobs() == before + 3 else 1)

def forked():
    pid = os.fork()
    if pid == 0:
        child()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


@pytest.mark.parametrize("meanwhile", ["", "threading.Thread(target=compute, daemon=True).start()"])
def test_fork(meanwhile):
    """Also while another thread computes, whose share in the pool the child does not inherit."""
    program = f"""
{USED}
def compute():
    while True:
        onesum.softmax(x)
{meanwhile}
print(json.dumps([forked() for _ in range(20)]))
"""
    assert answer(program, ONESUM_NUM_THREADS="3") == [0] * 20


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method):
    program = f"""
{USED}
with multiprocessing.get_context("{method}").Pool(2) as pool:
    print(json.dumps([p.tobytes() == wanted for p in pool.map(onesum.softmax, [x] * 6)]))
"""
    assert answer(program, ONESUM_NUM_THREADS="3") == [True] * 6


def test_joblib():
    program = f"""
{USED}
import joblib
results = joblib.Parallel(n_jobs=2)(joblib.delayed(onesum.softmax)(x) for _ in range(6))
print(json.dumps([p.tobytes() == wanted for p in results]))
"""
    assert answer(program, ONESUM_NUM_THREADS="3") == [True] * 6


@pytest.mark.parametrize("meanwhile", ["", "threading.Thread(target=compute, daemon=True).start()"])
def test_exit(meanwhile):
    """The interpreter leaves at once, whatever the threads are at."""
    program = f"""
{USED}
import time
def compute():
    while True:
        onesum.softmax(x)
{meanwhile}
time.sleep(0.05)
print(json.dumps(time.time()))
"""
    for _ in range(3):
        assert time.time() - answer(program, ONESUM_NUM_THREADS="3") < 30


def test_the_number_can_be_set():
    for n in [3, np.int64(2), 1, 100]:
        onesum.set_num_threads(n)
        assert onesum.get_num_threads() == n
        assert onesum.show_config(mode="dicts")["threads"] == n
    onesum.set_num_threads(10**30)
    assert onesum.get_num_threads() == 1024


@pytest.mark.parametrize(
    ("n", "error", "words"),
    [
        (0, ValueError, "n: expected an int >= 1, got 0"),
        (-2, ValueError, "n: expected an int >= 1, got -2"),
        (True, TypeError, "n: expected an int, got True"),
        (2.0, TypeError, r"n: expected an int, got 2\.0"),
        ("2", TypeError, "n: expected an int, got '2'"),
        (None, TypeError, "n: expected an int, got None"),
    ],
)
def test_numbers_that_make_no_sense(n, error, words):
    before = onesum.get_num_threads()
    with pytest.raises(error, match=words):
        onesum.set_num_threads(n)
    assert onesum.get_num_threads() == before


COUNT = "import json, onesum; print(json.dumps(onesum.get_num_threads()))"


@pytest.mark.parametrize(
    ("ours", "openmp", "threads"),
    [
        ("3", "", 3),
        ("3", "5", 3),
        (" 3 ", "5", 3),
        ("", "5", 5),
        ("", "6,2", 6),
        ("", "abc", None),
        ("", "0", None),
        ("", "", None),
        ("99999999999999999999", "", 1024),
    ],
)
def test_environment(ours, openmp, threads):
    told = answer(COUNT, ONESUM_NUM_THREADS=ours, OMP_NUM_THREADS=openmp)
    assert told == (threads or answer(COUNT, OMP_NUM_THREADS=""))


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "4,2"])
def test_environment_that_makes_no_sense(value):
    run = python("import onesum", ONESUM_NUM_THREADS=value)
    words = f"ImportError: ONESUM_NUM_THREADS: expected a whole number >= 1, got '{value}'"
    assert words in run.stderr


@linux
def test_affinity():
    program = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + COUNT
    assert answer(program, OMP_NUM_THREADS="") == 1


def test_without_the_core():
    program = """
import json, sys
sys.modules["onesum._core"] = None
import onesum
onesum.set_num_threads(7)
print(json.dumps([onesum.get_num_threads(), onesum.show_config(mode="dicts")["threads"]]))
"""
    assert answer(program) == [1, 1]


@pytest.mark.parametrize("known", ["import", "call", "call twice"])
def test_threadpoolctl(known):
    """It knows the threads where it is imported first; otherwise when it is told."""
    imports = "threadpoolctl, onesum" if known == "import" else "onesum, threadpoolctl"
    calls = ["import", "call", "call twice"].index(known)
    program = f"""
import json, {imports}
for _ in range({calls}):
    onesum.register_threadpoolctl()
def ours():
    return [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "onesum"]
(info,) = ours()
with threadpoolctl.threadpool_limits(1):
    limited = onesum.get_num_threads(), ours()[0]["num_threads"]
with threadpoolctl.threadpool_limits(limits={{"onesum": 2}}):
    chosen = onesum.get_num_threads()
with threadpoolctl.threadpool_limits(1, user_api="blas"):
    other = onesum.get_num_threads()
told = [info["num_threads"], info["version"] == onesum.__version__]
print(json.dumps([*told, *limited, chosen, other, onesum.get_num_threads()]))
"""
    assert answer(program, ONESUM_NUM_THREADS="5") == [5, True, 1, 1, 2, 5, 5]


@pytest.mark.parametrize("mode", ["alone", "many", "meet", "callers", "fork", "few", "split"])
def test_the_pool_itself(tmp_path_factory, mode):
    hammer(stress(tmp_path_factory), "pool", mode)


@pytest.mark.parametrize("mode", ["alone", "many", "meet", "callers", "split"])
@pytest.mark.parametrize(
    "sanitizers", ["thread", pytest.param("address,undefined", marks=pytest.mark.slow)]
)
def test_the_sanitizers_find_nothing(tmp_path_factory, sanitizers, mode):
    hammer(stress(tmp_path_factory, sanitizers), "pool", mode)


@linux
@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/", {}, math.inf),
        ("0::/a/b", {"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, 1),
        ("0::/not/here", {"cpu.max": "100000 100000"}, 1),  # in a container
        ("2:cpuset:/\n1:cpu,cpuacct:/a", {"cpu/a/cpu.cfs_": "100000 100000"}, 1),
        ("1:cpu,cpuacct:/not/here", {"cpu/cpu.cfs_": "50000 100000"}, 0.5),
        ("1:cpu:/", {"cpu/cpu.cfs_": "-1 100000"}, math.inf),
        ("2:cpuset:/\n0::/", {"cpu/cpu.cfs_": "50000 100000"}, math.inf),  # not ours
        ("what\nis::this", {"cpu.max": "no number"}, math.inf),
    ],
)
def test_quota(tmp_path_factory, tmp_path, cgroup, files, quota):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroup + "\n")
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("cfs_"):
            for part, number in zip(("quota", "period"), content.split(), strict=True):
                path.with_name(f"{path.name}{part}_us").write_text(number + "\n")
        else:
            path.write_text(content + "\n")
    cpus = len(os.sched_getaffinity(0))
    assert int(hammer(stress(tmp_path_factory), "pool", "cpus", tmp_path)) == min(
        cpus, math.ceil(min(quota, cpus))
    )
