"""Four ways to write float32 softmax for a vector unit: speed, length, generated code.

Compiles every source beside this file for each instruction set of this CPU, checks the results,
times all of them in turn, and writes benchmarks/results/decisions-simd.json and the tables of
docs/decisions/0001-simd.md. Takes about a minute; the machine should be quiet.
"""

from __future__ import annotations

import ctypes
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles

import numpy as np

from onesum import _core
from onesum.bench import host

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.markdown import filled, table  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "decisions-simd.json"
PAGE = ROOT / "docs" / "decisions" / "0001-simd.md"

SHAPES = [(4096, 128), (16, 1000), (4096, 1000)]
LONGEST = 1000
ROUNDS = 40
COMPILER = os.environ.get("CXX", "g++")
# What CMakeLists.txt gives the kernels.
KERNEL_FLAGS = re.search(r"set\(KERNEL_FLAGS (.*)\)", (ROOT / "CMakeLists.txt").read_text())[1]
FLAGS = ["-std=gnu++20", "-O2", *KERNEL_FLAGS.split(), "-fPIC", "-fvisibility=hidden", "-DNDEBUG"]
FLAGS += [f"-I{ROOT / 'csrc'}"]
QUIET = ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]  # GCC's own AVX-512 header

BASE = "intrinsics"
VECTORISED, CONTRACTED = ("-O3", "-fopenmp-simd"), ("-ffp-contract=fast",)
VARIANTS = {
    BASE: ("intrinsics.cpp", ()),
    "operators": ("operators.cpp", ()),
    "std::simd": ("std_simd.cpp", ()),
    "plain": ("plain.cpp", VECTORISED),
}
# The same sources under other flags: what each flag is worth.
OTHERS = {
    "operators, contracted": ("operators.cpp", CONTRACTED),
    "std::simd, contracted": ("std_simd.cpp", CONTRACTED),
    "std::simd, its own fma": ("std_simd.cpp", ("-DSTDX_FMA",)),
    "std::simd, its own max": ("std_simd.cpp", ("-DSTDX_MAX",)),
    "plain, clamped later": ("plain.cpp", (*VECTORISED, "-DCLAMP_DIFFERENCE")),
    "plain, -O3 only": ("plain.cpp", ("-O3",)),
    "plain, -O3 -ffast-math": ("plain.cpp", ("-O3", "-ffast-math")),
}


@dataclass
class Build:
    name: str
    isa: str
    source: str
    flags: tuple[str, ...]
    lines: int = 0
    compile_seconds: float = 0.0
    text_bytes: int = 0
    loop: dict = field(default_factory=dict)  # the one with the exponential
    calls: list[str] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)
    weak_unoptimised: list[str] = field(default_factory=list)
    max_ulp: float = 0.0
    right: bool = False  # every length, far logits, -inf, nothing written behind the end
    keeps_nan: bool = False
    ns_per_element: dict = field(default_factory=dict)  # quartiles, by shape
    relative: dict = field(default_factory=dict)  # the same, to BASE on the same instruction set


def name_of(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


# Compiling, and looking at what came out


def sh(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def compiled(build: Build, folder: Path) -> ctypes.CDLL:
    stem = folder / re.sub(r"\W+", "-", f"{build.name} {build.isa}")
    source = HERE / build.source
    flags = [*FLAGS, *build.flags, f"-march={build.isa}", *QUIET]
    start = time.perf_counter()
    sh(COMPILER, *flags, "-c", source, "-o", f"{stem}.o")
    build.compile_seconds = round(time.perf_counter() - start, 2)
    build.lines = code_lines(source)
    build.calls = symbols(f"{stem}.o", "U")
    build.weak = symbols(f"{stem}.o", "VWu")
    sections = re.findall(r"^\.text\S*\s+(\d+)", sh("size", "-A", f"{stem}.o"), re.MULTILINE)
    build.text_bytes = sum(map(int, sections))
    build.loop = hot_loop(sh("objdump", "-d", "--no-show-raw-insn", f"{stem}.o"))
    if build.name in VARIANTS:
        sh(COMPILER, *flags, "-O0", "-c", source, "-o", f"{stem}-O0.o")
        build.weak_unoptimised = symbols(f"{stem}-O0.o", "VWu")
    sh(COMPILER, "-shared", f"{stem}.o", "-o", f"{stem}.so")
    return ctypes.CDLL(f"{stem}.so")


def code_lines(path: Path) -> int:
    lines = (line.strip() for line in path.read_text().splitlines())
    return sum(bool(line) and not line.startswith("//") for line in lines)


def symbols(object_file: str, kinds: str) -> list[str]:
    entries = (line.split() for line in sh("nm", "-P", object_file).splitlines())
    return sorted(name for name, kind, *_ in entries if kind in kinds)


def hot_loop(disassembly: str) -> dict:
    """The widest loop, of these the shortest, that shifts by 23: it makes 2^n of the bits of n."""
    lines = re.findall(r"^ +([0-9a-f]+):\t(.*)$", disassembly, re.MULTILINE)
    code = [(int(address, 16), text) for address, text in lines]
    index = {address: i for i, (address, _) in enumerate(code)}
    found = []
    for i, (address, text) in enumerate(code):
        jump = re.match(r"j\w+ +([0-9a-f]+)", text)
        target = int(jump[1], 16) if jump else None
        if target in index and target <= address:
            loop = [text for _, text in code[index[target] : i + 1]]
            if elements(loop):
                found.append((-lanes(loop), len(loop), loop))
    if not found:  # the exponential is a function of its own
        return {"lanes": lanes([text for _, text in code])}
    loop = min(found)[-1]
    return {
        "lanes": lanes(loop),
        "instructions": len(loop),
        "elements": elements(loop),
        "fma": sum("fmadd" in text or "fnmadd" in text for text in loop),
    }


def shifts(loop: list[str]) -> list[str]:
    return [text for text in loop if re.match(r"(v?pslld|shl) +\$0x17,", text)]


def lanes(loop: list[str]) -> int:
    width = re.search(r"%([xyz])mm", shifts(loop)[0])
    return {"x": 4, "y": 8, "z": 16}[width[1]] if width else 1


def elements(loop: list[str]) -> int:
    return len(shifts(loop)) and len(shifts(loop)) * lanes(loop)


# Running


def aligned(rows: int, n: int) -> np.ndarray:
    memory = np.zeros(rows * n * 4 + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + rows * n * 4].view(np.float32).reshape(rows, n)


SCRATCH = aligned(1, LONGEST + 16)


def arguments(x: np.ndarray, out: np.ndarray) -> tuple:
    pointers = (ctypes.c_void_p(a.ctypes.data) for a in (x, out, SCRATCH))
    return *pointers, *map(ctypes.c_long, x.shape)


def check(build: Build, library: ctypes.CDLL) -> None:
    rng = np.random.default_rng(1)
    build.right = True
    for n in [*range(1, 70), LONGEST]:
        x = rng.normal(0, 3, (9, n)).astype(np.float32)
        x[0, n // 2] = 90
        x[1, : n // 2] = -np.inf
        out = np.full((10, n), 7, np.float32)
        library.softmax(*arguments(x, out))
        e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        errors = np.abs(out[:9] - p) / np.spacing(p.astype(np.float32))
        errors = np.where(np.isnan(errors), np.inf, errors)
        build.max_ulp = max(build.max_ulp, min(float(errors[1:].max()), 1e9))
        # of logits 90 apart, rounding x - m alone costs 32 ulp
        build.right &= bool(errors.max() < 64 and (out[9] == 7).all())
    x = rng.normal(0, 3, (2, 100)).astype(np.float32)
    x[0, 5] = np.nan
    out = np.zeros_like(x)
    library.softmax(*arguments(x, out))
    build.keeps_nan = bool(np.isnan(out[0]).all() and not np.isnan(out[1]).any())


def torch_timer():
    try:
        import torch
    except ImportError:
        return None

    def elapsed(x: np.ndarray, out: np.ndarray, repeats: int) -> float:
        a, b = torch.from_numpy(x), torch.from_numpy(out)
        start = time.perf_counter_ns()
        for _ in range(repeats):
            torch.softmax(a, -1, out=b)
        return time.perf_counter_ns() - start

    return elapsed


def quartiles(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in quantiles(values, n=4)]


def measure(builds: list[Build], libraries: list[ctypes.CDLL], timer: ctypes.CDLL) -> dict:
    """A round times everything once, in an order of its own; ratios are of times of one round."""
    timer.elapsed.restype = ctypes.c_double
    torch, torch_times = torch_timer(), {}
    order = [*range(len(builds)), *([-1] if torch else [])]
    shuffle = random.Random(0).shuffle
    for shape in SHAPES:
        size = shape[0] * shape[1]
        repeats = max(1, 1_000_000 // size)
        x, out = aligned(*shape), aligned(*shape)
        x[:] = np.random.default_rng(2).normal(0, 3, shape)
        times: dict[int, list[float]] = {i: [] for i in order}
        for round_ in range(-2, ROUNDS):  # the first two warm up
            shuffle(order)
            for i in order:
                if i < 0:
                    ns = torch(x, out, repeats)
                else:
                    call = libraries[i].softmax, *arguments(x, out), ctypes.c_long(repeats)
                    ns = timer.elapsed(*call)
                if round_ >= 0:
                    times[i].append(ns / (size * repeats))
        base = {b.isa: times[i] for i, b in enumerate(builds) if b.name == BASE}

        def result(i: int, isa: str, times=times, base=base) -> tuple[list[float], list[float]]:
            ratios = [t / u for t, u in zip(times[i], base[isa], strict=True)]
            return quartiles(times[i]), quartiles(ratios)

        key = name_of(shape)
        for i, b in enumerate(builds):
            b.ns_per_element[key], b.relative[key] = result(i, b.isa)
        if torch:
            ns, ratio = result(-1, builds[-1].isa)
            torch_times[key] = {"ns_per_element": ns, "relative": ratio}
    return torch_times


# Reporting


def speed_table(builds: list[Build], torch: dict, torch_version: str) -> str:
    """One row per variant, a column for each shape and instruction set."""
    isas = list(dict.fromkeys(b.isa for b in builds))
    columns = [(name_of(shape), isa) for shape in SHAPES for isa in isas]
    rows = []
    for name in [*VARIANTS, *OTHERS]:
        by_isa = {b.isa: b for b in builds if b.name == name}
        if name == BASE:
            cells = [f"{by_isa[isa].ns_per_element[shape][1]:.3f} ns" for shape, isa in columns]
        else:
            cells = [f"{by_isa[isa].relative[shape][1]:.2f}" for shape, isa in columns]
        width = "/".join(str(b.loop["lanes"]) for b in by_isa.values())
        rows.append([name, *cells, width, verdict(by_isa)])
    if torch:
        cells = [f"{torch[s]['relative'][1]:.2f}" if isa == isas[-1] else "" for s, isa in columns]
        rows.append([f"torch {torch_version}", *cells, "", "yes"])
    heads = [f"{shape} {short(isa)}" for shape, isa in columns]
    return table(["variant", *heads, "lanes", "right"], rows)


def short(isa: str) -> str:
    return isa.removeprefix("x86-64-")


def verdict(by_isa: dict[str, Build]) -> str:
    wrong = [short(isa) for isa, b in by_isa.items() if not b.right]
    lossy = [short(isa) for isa, b in by_isa.items() if b.right and not b.keeps_nan]
    faults = [("wrong on", wrong), ("loses NaN on", lossy)]
    return "; ".join(f"**{fault} {', '.join(isas)}**" for fault, isas in faults if isas) or "yes"


def code_table(builds: list[Build]) -> str:
    rows = []
    for name in VARIANTS:
        group = [b for b in builds if b.name == name]
        loops = [f"{b.loop['instructions']}:{b.loop['elements']}" for b in group]
        calls = ["/".join(b.calls) or "-" for b in group]
        every = [symbol for b in group for symbol in b.weak_unoptimised]
        rows.append(
            [
                name,
                str(group[0].lines),
                f"{min(b.compile_seconds for b in group):.1f} s",
                " / ".join(str(b.text_bytes) for b in group),
                " / ".join(loops),
                " / ".join(calls),
                str(max(len(b.weak) for b in group)),
                " / ".join(str(len(b.weak_unoptimised)) for b in group),
                str(sum(every.count(symbol) > 1 for symbol in set(every))),
            ]
        )
    heads = ["variant", "lines", "compiling", "bytes", "hot loop", "calls", "weak", "weak at -O0"]
    return table([*heads, "of these shared"], rows)


def spread(builds: list[Build]) -> str:
    values = [(high - low) / middle for b in builds for low, middle, high in b.relative.values()]
    return f"{100 * float(np.median(values)):.0f}% (worst {100 * max(values):.0f}%)"


TEXT = """
Time relative to `{base}` compiled for the same instruction set, whose nanoseconds per element are
in the first row; torch is set against the last instruction set. Medians of {rounds} rounds; the
quartiles of a ratio typically lie {spread} apart. Lanes of the hot loop, for each instruction set;
and whether the results are right: every length, -inf, nothing written behind the end, a NaN in
its row and no other, {least:.0f} to {most:.0f} ulp off at most, which is what rounding x - m costs.

{speed}

Lines of code without blank ones and comments (`{base}` stands on csrc/simd, {shared} lines
which all kernels share); bytes of machine code; instructions in the hot loop : elements they serve;
functions called; weak symbols in the object, as compiled and at -O0, and how many of the latter
have the same name in the objects of two instruction sets.

{code}

<sub>{date}, {cpu}, one thread, load {load} before; {compiler};
`{flags}`</sub>
"""


def report(about: dict, torch: dict, builds: list[Build]) -> str:
    errors = [b.max_ulp for b in builds if b.right]
    return TEXT.format(
        base=BASE,
        rounds=ROUNDS,
        spread=spread(builds),
        least=min(errors),
        most=max(errors),
        speed=speed_table(builds, torch, about["versions"]["torch"]),
        shared=sum(code_lines(path) for path in (ROOT / "csrc" / "simd").glob("*.h")),
        code=code_table(builds),
        **about,
    )


def main() -> None:
    load = round(os.getloadavg()[0], 1)
    kinds = (VARIANTS | OTHERS).items()
    builds = [Build(name, isa, *kind) for isa in _core.isas for name, kind in kinds]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        libraries = list(pool.map(lambda build: compiled(build, folder), builds))
        sh(COMPILER, *FLAGS, "-shared", HERE / "timer.cpp", "-o", folder / "timer.so")
        for build, library in zip(builds, libraries, strict=True):
            check(build, library)
            if build.name in VARIANTS and not (build.right and build.keeps_nan):
                raise SystemExit(f"{build.name} for {build.isa}: wrong results")
        host.limit_threads(1)
        torch = measure(builds, libraries, ctypes.CDLL(str(folder / "timer.so")))
    about = host.describe()
    about |= {"compiler": sh(COMPILER, "--version").splitlines()[0], "flags": " ".join(FLAGS)}
    about |= {"load": load}
    host.save(RESULTS, {"host": about, "torch": torch, "builds": [asdict(b) for b in builds]})
    text = report(about, torch, builds)
    PAGE.write_text(filled(PAGE.read_text(), {"results": text}, PAGE.name))
    print(text)


if __name__ == "__main__":
    main()
