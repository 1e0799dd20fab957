"""What a call costs: the gufunc of the core beside raw C entries to the same kernel.

Compiles raw.cpp, checks that its entries give the gufunc's bits, times all of them in turn, and
writes benchmarks/results/decisions-binding.json and the table of docs/decisions/0002-binding.md.
Takes about half a minute; the machine should be quiet.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from statistics import quantiles
from timeit import Timer
from types import ModuleType

import numpy as np

import onesum
from onesum import _core
from onesum.bench import host

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.markdown import filled, table  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "decisions-binding.json"
PAGE = ROOT / "docs" / "decisions" / "0002-binding.md"

SHAPES = [(1, 10), (64, 10), (16, 1000)]
ROUNDS = 200
TURN = 2e-4  # seconds; short, so that little else gets the processor meanwhile
COMPILER = os.environ.get("CXX", "g++")
KERNEL_FLAGS = re.search(r"set\(KERNEL_FLAGS (.*)\)", (ROOT / "CMakeLists.txt").read_text())[1]
FLAGS = ["-std=gnu++20", "-O2", *KERNEL_FLAGS.split(), "-fPIC", "-fvisibility=hidden", "-DNDEBUG"]
FLAGS += [f"-I{ROOT / 'csrc'}"]
QUIET = ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]

KERNEL, DIRECT, GENERAL, GUFUNC = "kernel alone", "raw, direct", "raw, general", "gufunc"
# The statement timed when the result goes to `out`, and when it is a new array. T is array(1.0).
CALLS: dict[str, tuple[str | None, str | None]] = {
    KERNEL: ("raw.kernel(x, out, 1)", None),
    DIRECT: ("raw.direct(x, out)", None),
    GENERAL: ("raw.general(x, out=out)", "raw.general(x)"),
    GUFUNC: ("core.softmax(x, T, out=out)", "core.softmax(x, T)"),
    "gufunc, T = 1.0": ("core.softmax(x, 1.0, out=out)", "core.softmax(x, 1.0)"),
    "gufunc, axis=-1": ("core.softmax(x, T, out=out, axis=-1)", "core.softmax(x, T, axis=-1)"),
    "onesum.softmax": ("onesum.softmax(x, out=out)", "onesum.softmax(x)"),
    "np.add": ("np.add(x, x, out=out)", "np.add(x, x)"),
    "np.exp": ("np.exp(x, out=out)", "np.exp(x)"),
    "torch.softmax": ("torch.softmax(t, -1, out=t_out)", "torch.softmax(t, -1)"),
    "scipy.special.softmax": (None, "scipy_softmax(x, axis=-1)"),
}


def raw_module(folder: Path) -> ModuleType:
    path = folder / f"raw{sysconfig.get_config_var('EXT_SUFFIX')}"
    includes = [sysconfig.get_path("include"), np.get_include()]
    command = [
        *(COMPILER, *FLAGS, *QUIET, f"-march={_core.isa}", "-shared"),
        *("-DNPY_TARGET_VERSION=NPY_1_25_API_VERSION", "-isystem", includes[0], "-isystem"),
        *(includes[1], HERE / "raw.cpp", HERE / "kernel.cpp", "-o", path),
    ]
    subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location("raw", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(raw: ModuleType) -> None:
    """The gufunc's bits, whatever the layout; an error where the arguments do not fit."""
    rng = np.random.default_rng(0)

    def same(given: np.ndarray, expected: np.ndarray) -> None:
        np.testing.assert_array_equal(given, expected, strict=True)

    for shape in [(1, 10), (10,), (5, 7), (3, 4, 5, 6), (2, 0, 3), (0, 4)]:
        x = rng.normal(0, 3, shape).astype(np.float32)
        same(raw.direct(x, np.empty_like(x)), _core.softmax(x, 1.0))
        t = rng.uniform(1, 2, (*shape[:-2], 1) if len(shape) > 1 else ())
        same(raw.general(x, temperature=t), _core.softmax(x, t))
        for axis in range(-x.ndim, x.ndim):
            for y in (x, x.T, x[::-1], x.astype(">f4")):
                same(raw.general(y, axis), _core.softmax(y, 1.0, axis=axis))
    memory = rng.normal(0, 3, 30).astype(np.float32)
    x, overlapping = memory[:24].reshape(4, 6), memory[1:25].reshape(4, 6)
    expected = _core.softmax(x.copy(), 1.0)
    same(raw.general(x, out=overlapping), expected)
    wrong = [(x.astype(np.float64),), (x, 2), (x, -1, 1.0, x[:2]), (x, -1, np.ones(3)), ("x",)]
    for arguments in wrong:
        try:
            raw.general(*arguments)
        except (TypeError, ValueError):
            continue
        raise AssertionError(f"general{arguments} passed")


def names(shape: tuple[int, int], raw: ModuleType) -> dict:
    x = np.random.default_rng(1).normal(0, 3, shape).astype(np.float32)
    out = np.empty_like(x)
    found = {"x": x, "out": out, "T": np.asarray(1.0), "np": np, "onesum": onesum, "raw": raw}
    found["core"] = _core
    try:
        import torch

        found |= {"torch": torch, "t": torch.from_numpy(x), "t_out": torch.from_numpy(out)}
    except ImportError:
        pass
    try:
        from scipy.special import softmax

        found["scipy_softmax"] = softmax
    except ImportError:
        pass
    return found


def measure(raw: ModuleType) -> dict:
    """Quartiles in nanoseconds by call, shape, and "out" or "fresh"; everything takes turns."""
    times: dict = {}
    for shape in SHAPES:
        scope = names(shape, raw)
        turns = {}
        for name, statements in CALLS.items():
            for mode, statement in zip(("out", "fresh"), statements, strict=True):
                if statement and statement.split(".")[0].split("(")[0] in scope:
                    timer = Timer(statement, globals=scope)
                    timer.timeit(100)
                    turns[name, mode] = timer, max(10, round(TURN * 100 / timer.timeit(100)))
        samples: dict = {key: [] for key in turns}
        order = list(turns)
        shuffle = random.Random(0).shuffle
        for _ in range(ROUNDS):
            shuffle(order)
            for key in order:
                timer, number = turns[key]
                samples[key].append(1e9 * timer.timeit(number) / number)
        for (name, mode), values in samples.items():
            entry = times.setdefault(name, {}).setdefault("x".join(map(str, shape)), {})
            entry[mode] = [float(f"{value:.4g}") for value in quantiles(values, n=4)]
    return times


TEXT = """
Nanoseconds a call for float32, given `out` / making a new array: medians of {rounds} rounds,
quartiles typically {spread:.0f}% apart.

{table}

For one row of ten, `out` given, the gufunc costs **{gufunc:.0f} ns** more than the direct entry and
{general:.0f} ns more than the general one; its kernel is {share:.0f}% of its time. A Python float
instead of an array as the temperature costs {number:.0f} ns, `axis=` costs {axis:.0f} ns, and the
Python function before the gufunc {function:.0f} ns.

<sub>{date}, {cpu}, {isa}, one thread, load {load} before; Python {python}, NumPy {versions[numpy]},
torch {versions[torch]}, SciPy {versions[scipy]}; {compiler}</sub>
"""


def report(about: dict, times: dict) -> str:
    shapes = ["x".join(map(str, shape)) for shape in SHAPES]

    def median(name: str, mode: str = "out", shape: str = shapes[0]) -> float:
        return times[name][shape][mode][1]

    def cell(name: str, shape: str) -> str:
        modes = [times[name][shape].get(mode) for mode in ("out", "fresh")]
        return " / ".join(f"{values[1]:.0f}" if values else "-" for values in modes)

    every = [q for by_shape in times.values() for by in by_shape.values() for q in by.values()]
    gufunc = median(GUFUNC)
    return TEXT.format(
        rounds=ROUNDS,
        spread=100 * float(np.median([(high - low) / middle for low, middle, high in every])),
        table=table(["call", *shapes], [[n, *(cell(n, shape) for shape in shapes)] for n in times]),
        gufunc=gufunc - median(DIRECT),
        general=gufunc - median(GENERAL),
        share=100 * median(KERNEL) / gufunc,
        number=median("gufunc, T = 1.0") - gufunc,
        axis=median("gufunc, axis=-1") - gufunc,
        function=median("onesum.softmax") - gufunc,
        **about,
    )


def main() -> None:
    load = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory() as name:
        raw = raw_module(Path(name))
        check(raw)
        host.limit_threads(1)
        times = measure(raw)
    version = subprocess.run([COMPILER, "--version"], check=True, capture_output=True, text=True)
    about = host.describe()
    about |= {"compiler": version.stdout.splitlines()[0], "flags": " ".join(FLAGS), "load": load}
    host.save(RESULTS, {"host": about, "unit": "nanoseconds: quartiles", "times": times})
    text = report(about, times)
    PAGE.write_text(filled(PAGE.read_text(), {"results": text}, PAGE.name))
    print(text)


if __name__ == "__main__":
    main()
