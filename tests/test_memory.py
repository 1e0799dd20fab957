"""The memory of large results: used again, never by two arrays at once, and given back."""

from __future__ import annotations

import ctypes
import gc
import random
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from implementations import REQUIRE_CORE, core, using
from measure import same_bits
from stress import hammer, stress
from test_core import answer, python

import onesum

pytestmark = [
    pytest.mark.skipif(core() is None and not REQUIRE_CORE, reason="the core is not built"),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux only"),
]

MB = 1 << 20
HUGE_PAGE = 2 * MB
KEPT_BLOCKS = 8
CONTENT = np.random.default_rng(0).normal(0, 3, 24 * MB // 4).astype("float32")


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    gc.collect()
    onesum.release_memory()
    yield
    onesum.release_memory()


def logits(size: int) -> np.ndarray:
    """Of so many bytes, in rows of 1 KB."""
    return CONTENT[: size // 4].reshape(-1, 256)


def result(size: int) -> np.ndarray:
    return onesum.softmax(logits(size))


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def handler(a: np.ndarray) -> str | None:
    """What NumPy calls the memory of an array."""
    return np._core.multiarray.get_handler_name(a)


def test_large_results_only():
    assert handler(result(16 * MB)) == "onesum"
    assert handler(result(16 * MB - 1024)) == "default_allocator"
    assert handler(result(16 * MB) + 1) == "default_allocator"
    assert handler(np.empty(16 * MB)) == "default_allocator"
    out = np.empty_like(logits(16 * MB))
    assert handler(onesum.softmax(logits(16 * MB), out=out)) == "default_allocator"
    del out
    assert onesum.release_memory() == 16 * MB


def test_used_again():
    first = result(16 * MB)
    where = address(first)
    assert where % HUGE_PAGE == 0
    del first
    for size in [16 * MB, 15 * MB, 16 * MB]:  # what is small leaves it alone
        p = result(size)
        assert (address(p) == where) == (size == 16 * MB)
        assert p.flags.owndata
        assert p.flags.writeable
        assert p.base is None
        del p
    assert onesum.release_memory() == 16 * MB
    assert onesum.release_memory() == 0


@pytest.mark.parametrize(
    ("kept", "wanted", "fits"),
    [(20, 20, True), (20, 17, True), (20, 16, True), (24, 17, False), (18, 20, False)],
)
def test_what_fits(kept, wanted, fits):
    """A block as large as what is wanted, rounded to huge pages, or a quarter larger."""
    p = result(kept * MB)
    where = address(p)
    del p
    q = result(wanted * MB)
    assert (address(q) == where) == fits


def test_the_best_fit():
    blocks = {address(p): p.nbytes for p in [result(size * MB) for size in (20, 16, 18)]}
    p = result(16 * MB)
    assert blocks[address(p)] == 16 * MB
    q = result(16 * MB)
    assert blocks[address(q)] == 18 * MB


def test_the_last_one_first():
    """Which is the likeliest to be in the caches."""
    results = [result(16 * MB) for _ in range(3)]
    places = []
    while results:
        places.append(address(results[0]))
        del results[0]
    again = [result(16 * MB) for _ in range(3)]
    assert [address(p) for p in again] == places[::-1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_right_in_used_memory(dtype):
    """Every element is written, whatever lies there, by every form of result."""
    x = np.resize(CONTENT, 18 * MB // np.dtype(dtype).itemsize).astype(dtype).reshape(-1, 512)
    calls = [
        lambda a: onesum.softmax(a),
        lambda a: onesum.log_softmax(a, axis=0),
        lambda a: onesum.softmax(np.asfortranarray(a)),
        lambda a: onesum.softmax(a.reshape(2, -1, 32, 16), axis=1),
        lambda a: onesum.softmax_vjp(a, a[::-1]),
        lambda a: onesum.logsumexp(a.reshape(-1, 1), axis=-1),
        lambda a: onesum.logsumexp_vjp(a, a[:, 0]),
    ]
    for call in calls:
        wanted = call(x)
        assert handler(wanted) == "onesum"
        rubbish = call(x)
        rubbish.fill(np.nan)
        where = address(rubbish)
        del rubbish
        got = call(x)
        assert address(got) == where
        assert same_bits(got, wanted)
        assert got.strides == wanted.strides
        del got, wanted


def test_no_two_arrays_share_memory():
    """Whatever is made, resized and given up, in any order: what an array holds stays there."""
    choose = random.Random(0)
    alive: list[tuple[np.ndarray, int]] = []
    for step in range(1, 150):
        if len(alive) < 7 and choose.random() < 0.55:
            p = result(choose.choice([15, 16, 17, 18, 20, 23]) * MB - 1024 * choose.randrange(2))
            p.fill(step)
            alive.append((p, step))
        elif alive:
            p, number = alive.pop(choose.randrange(len(alive)))
            assert (p == number).all()
            if choose.random() < 0.3:
                p.resize(choose.choice([10, 4, 5, 6]) * MB, refcheck=False)
                p.fill(step)
                alive.append((p, step))
            del p
        if choose.random() < 0.05:
            onesum.release_memory()
        spans = sorted((address(p), address(p) + p.nbytes) for p, _ in alive)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
    for p, number in alive:
        assert (p == number).all()


def test_bounded_by_number():
    several = [result(16 * MB) for _ in range(KEPT_BLOCKS + 2)]
    assert len({address(p) for p in several}) == KEPT_BLOCKS + 2
    del several
    assert onesum.release_memory() <= KEPT_BLOCKS * 16 * MB


IN_A_PROCESS = """
import json, numpy, onesum
def result(mb):
    return onesum.softmax(numpy.zeros((mb, 1 << 18), dtype="float32"))
def place(p):
    return p.__array_interface__["data"][0]
def handler(p):
    return numpy._core.multiarray.get_handler_name(p)
"""


@pytest.mark.parametrize(
    ("most", "kept"), [(40 * MB, 36), (16 * MB, 16), (16 * MB - 1, 0), (10**30, 128), ("", None)]
)
def test_bounded_by_size(most, kept):
    """The oldest goes first; without a word from the user a sixteenth of the memory is kept."""
    program = f"""
{IN_A_PROCESS}
blocks = [result(mb) for mb in (16, 20, 16, 16, 16, 16, 16, 16, 20, 16)]
while blocks:
    del blocks[0]
print(json.dumps(onesum.release_memory()))
"""
    given_back = answer(program, ONESUM_KEEP_MEMORY=str(most))
    if kept is None:
        with open("/proc/meminfo") as file:
            total = int(file.readline().split()[1]) * 1024
        assert given_back <= total / 16
    else:
        assert given_back == (kept + 4 * (kept == 128)) * MB


def test_turned_off():
    program = f"""
{IN_A_PROCESS}
p = result(20)
name = handler(p)
del p
print(json.dumps([name, onesum.release_memory(), result(16).sum().item()]))
"""
    assert answer(program, ONESUM_KEEP_MEMORY="0") == ["default_allocator", 0, 16]
    assert answer(program, ONESUM_KEEP_MEMORY=" 99999999 ") == ["onesum", 20 * MB, 16]


@pytest.mark.parametrize("value", ["-1", "2.5", "64MB", " "])
def test_environment_that_makes_no_sense(value):
    run = python("import onesum", ONESUM_KEEP_MEMORY=value)
    expected = f"expected a whole number of bytes >= 0, got '{value}'"
    assert f"ImportError: ONESUM_KEEP_MEMORY: {expected}" in run.stderr


def test_resize():
    """Larger, smaller, and away from here and back: the content moves along."""
    for sizes in [(17, 30, 16), (16, 15, 1, 0, 40), (24, 17, 12, 11, 24)]:
        p = result(20 * MB)
        wanted = np.array(p.ravel())
        for mb in sizes:
            p.resize(mb * MB // 4, refcheck=False)
            assert handler(p) == "onesum"
            assert p.size == mb * MB // 4
            wanted.resize(p.shape, refcheck=False)
            assert same_bits(p, wanted)
        del p


def test_arrays_outlive_their_threads():
    wanted = np.array(result(16 * MB))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: result(16 * MB), range(12)))
        assert all(same_bits(p, wanted) for p in made)
        assert len({address(p) for p in made}) == 12
        places = {address(p) for p in made}

        def last_owner(_: Any) -> None:
            p = made.pop()
            assert same_bits(p, wanted)

        list(pool.map(last_owner, range(12)))
    del pool
    gc.collect()
    assert address(result(16 * MB)) in places


def test_views_keep_it():
    p = result(16 * MB)
    view = p[100:, ::2].T
    wanted, where = np.array(view), address(p)
    del p
    q = result(16 * MB)
    assert address(q) != where
    assert same_bits(view, wanted)
    del view
    assert address(result(16 * MB)) == where


@pytest.mark.parametrize("meanwhile", ["", "threading.Thread(target=compute, daemon=True).start()"])
def test_fork(meanwhile):
    """A child has the arrays of its parent, and nothing that the parent kept; both go on."""
    program = f"""
{IN_A_PROCESS}
import os, signal, threading
wanted = result(16).tobytes()
def compute():
    while True:
        result(17)
def right(p):
    return p.tobytes() == wanted
def forked():
    live, kept = result(16), result(18)
    del kept
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # a deadlock ends here
        ok = onesum.release_memory() == 0 and right(live)
        live.fill(3)
        del live
        ok &= onesum.release_memory() == 0  # it had been the parent's as well
        ok &= all(right(result(16)) for _ in range(3)) and onesum.release_memory() == 16 << 20
        os._exit(0 if ok else 1)
    others = {bool(meanwhile)}
    ok = others or onesum.release_memory() == 0
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ok &= right(live)
    del live
    ok &= others or onesum.release_memory() == 0
    return [code, bool(ok)]
{meanwhile}
print(json.dumps([forked() for _ in range(8)]))
"""
    assert answer(program, ONESUM_KEEP_MEMORY=str(1 << 30)) == [[0, True]] * 8


def test_tracemalloc_sees_it():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2):
            p = result(16 * MB)
            assert 16 * MB <= tracemalloc.get_traced_memory()[0] - before < 16 * MB + 100_000
            p.resize(5 * MB, refcheck=False)
            assert 20 * MB <= tracemalloc.get_traced_memory()[0] - before < 20 * MB + 100_000
            del p
            assert abs(tracemalloc.get_traced_memory()[0] - before) < 100_000
    finally:
        tracemalloc.stop()


def kilobytes(field: str) -> int:
    """What this process holds, after the system's own book."""
    with open("/proc/self/smaps") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(f"{field}:"))


def test_the_system_may_take_what_is_kept():
    lazy = kilobytes("LazyFree")
    p = result(20 * MB)
    assert kilobytes("LazyFree") - lazy < 1024
    del p
    assert kilobytes("LazyFree") - lazy > 19 * 1024  # a few pages are counted late
    p = result(20 * MB)
    assert kilobytes("LazyFree") - lazy < 1024
    del p
    assert onesum.release_memory() == 20 * MB
    assert kilobytes("LazyFree") - lazy < 1024


def test_what_the_system_took_is_got_again():
    p = result(20 * MB)
    wanted, where = np.array(p), address(p)
    held = kilobytes("Rss")
    del p
    page_out = 21
    libc = ctypes.CDLL(None)
    assert libc.madvise(ctypes.c_void_p(where), ctypes.c_size_t(20 * MB), page_out) == 0
    assert held - kilobytes("Rss") > 15 * 1024
    p = result(20 * MB)
    assert address(p) == where
    assert same_bits(p, wanted)


def test_more_than_there_is():
    """NumPy's own words, and nothing is left behind."""
    x = np.broadcast_to(np.float32(0), (1 << 24, 1 << 24))
    for _ in range(2):
        with pytest.raises(MemoryError, match="Unable to allocate"):
            onesum.softmax(x)
        assert handler(np.empty(3)) == "default_allocator"
    assert handler(result(16 * MB)) == "onesum"


def test_a_limit_to_the_address_space():
    """What is kept goes before a result is refused."""
    program = f"""
{IN_A_PROCESS}
import resource
onesum.set_num_threads(1)
x = numpy.zeros((30, 1 << 18), dtype="float32")
a, b = result(16), result(20)
del a, b
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (8 << 20),) * 2)
p = onesum.softmax(x)
print(json.dumps([handler(p), p.sum().item()]))
"""
    assert answer(program, ONESUM_KEEP_MEMORY=str(1 << 30)) == ["onesum", 30]


def test_a_handler_of_the_program_s_own():
    """Who has told NumPy where arrays shall lie has told us too."""
    api = ctypes.py_object(np._core._multiarray_umath._ARRAY_API)
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = ctypes.pythonapi.PyCapsule_New
    capsule.restype = ctypes.py_object
    capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    table = ctypes.cast(pointer(api, None), ctypes.POINTER(ctypes.c_void_p))
    take = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)
    set_handler = take(table[304])
    usual = ctypes.cast(table[306], ctypes.POINTER(ctypes.py_object))[0]
    theirs = ctypes.create_string_buffer(ctypes.string_at(pointer(usual, b"mem_handler"), 168))
    theirs[:7] = b"theirs\0"
    set_handler(capsule(ctypes.addressof(theirs), b"mem_handler", None))
    try:
        names = [handler(result(16 * MB)), handler(np.empty(3))]
    finally:
        set_handler(usual)
    assert names == ["theirs", "theirs"]
    assert handler(result(16 * MB)) == "onesum"


def test_the_reference_backend_has_none():
    with using("reference"):
        assert handler(result(16 * MB)) == "default_allocator"


def test_without_the_core():
    program = """
import json, sys
sys.modules["onesum._core"] = None
import onesum
print(json.dumps(onesum.release_memory()))
"""
    assert answer(program, ONESUM_KEEP_MEMORY="abc") == 0


@pytest.mark.parametrize("mode", [("threads", "400"), ("fork",)])
def test_under_stress(tmp_path_factory, mode):
    hammer(stress(tmp_path_factory), "memory", *mode)


@pytest.mark.parametrize(
    "sanitizers", ["thread", pytest.param("address,undefined", marks=pytest.mark.slow)]
)
def test_the_sanitizers_find_nothing(tmp_path_factory, sanitizers):
    hammer(stress(tmp_path_factory, sanitizers), "memory", "threads", "40")


@pytest.mark.parametrize(
    ("cgroup", "files", "limit"),
    [
        ("0::/", {"memory.max": "1000000"}, 1000000),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/", {}, None),
        ("0::/a/b", {"a/memory.max": "1000000", "a/b/memory.max": "2000000"}, 1000000),
        ("0::/not/here", {"memory.max": "1000000"}, 1000000),  # in a container
        ("2:cpu:/\n1:memory:/a", {"memory/a/memory.limit_in_bytes": "1000000"}, 1000000),
        ("1:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("1:cpu:/", {"memory/memory.limit_in_bytes": "1000000"}, None),  # not ours
        ("what\nis::this", {"memory.max": "no number"}, None),
    ],
)
def test_usable_memory(tmp_path_factory, tmp_path, cgroup, files, limit):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(cgroup + "\n")
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    with open("/proc/meminfo") as file:
        machine = int(file.readline().split()[1]) * 1024
    got = int(hammer(stress(tmp_path_factory), "memory", "limit", tmp_path))
    assert got == limit if limit else abs(got - machine) < machine / 100
