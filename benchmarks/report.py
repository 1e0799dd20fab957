"""Tables of the documents, made from the results: nobody edits what lies between the markers."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import ROOT, host
from .cases import shape_name

README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"

ONESUM, COPY = "onesum", "copy"
# Names of libraries and of their packages.
BESIDE = {"SciPy": "scipy", "torch": "torch", "JAX": "jax"}
ALL = {**BESIDE, "ONNX Runtime": "onnxruntime"}
PEERS = ("NumPy", *ALL)
NONE = "-"

Result = dict[str, Any]
Cell = dict[str, Any]


def run(results: Path, show: bool, check: bool) -> int:
    """Fill the blocks of the pages; or only show them; or only say whether they are up to date."""
    stale = 0
    for page, blocks in pages(results).items():
        if show:
            print("\n\n".join(blocks.values()))
            continue
        before = page.read_text()
        after = filled(before, blocks, page.name)
        if after == before:
            continue
        if check:
            print(f"{page.relative_to(ROOT)} is not what `python -m benchmarks report` makes of it")
            stale = 1
        else:
            page.write_text(after)
    return stale


def pages(results: Path) -> dict[Path, dict[str, str]]:
    files = sorted(results.glob("speed*.json"), key=lambda path: path.stem)
    speeds = [host.load(path) for path in files]
    return {
        README: {
            "accuracy": accuracy(host.load(results / "accuracy.json")),
            "speed": speed(host.load(results / "speed.json")),
            "import": importing(host.load(results / "import.json")),
        },
        PERFORMANCE: {"speed": "\n\n".join(map(every_speed, speeds))},
    }


def filled(text: str, blocks: dict[str, str], name: str) -> str:
    """The text with each block between its markers."""
    for block, content in blocks.items():
        begin, end = f"<!-- begin: {block} -->", f"<!-- end: {block} -->"
        pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{name}: expected one block {begin} ... {end}")
        new = f"\n{content}\n"
        text = pattern.sub(lambda _, new=new: new, text)
    return text


# Accuracy


def accuracy(result: Result) -> str:
    """The worst over all inputs, by operation and dtype."""
    columns = [ONESUM, *BESIDE]
    worst: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for entry in result["errors"]:
        row = worst.setdefault((entry["operation"], entry["dtype"]), {})
        for name, error in entry["errors"].items():
            row.setdefault(name.partition(" ")[0], []).append(error)
    rows = [
        [f"{operation}, {dtype}", *(_worst(row.get(name, [])) for name in columns)]
        for (operation, dtype), row in sorted(worst.items(), key=lambda item: _order(*item[0]))
    ]
    return "\n\n".join([table(["ulps", *columns], rows), _measured(result, BESIDE)])


def _order(operation: str, dtype: str) -> tuple[int, int]:
    operations = ["softmax", "log_softmax", "logsumexp", "softmax_vjp"]
    return operations.index(operation), ["float32", "float64", "float16", "bfloat16"].index(dtype)


def _worst(errors: list[float | None]) -> str:
    """The largest, rounded up."""
    if not errors:
        return NONE
    finite = [error for error in errors if error is not None]
    if len(finite) < len(errors):
        return "not finite"
    error = max(finite)
    if error < 100:
        return f"{math.ceil(error * 100) / 100:.2f}"
    return re.sub(r"e\+0*", "e", f"{error:.1e}") if error >= 1e4 else f"{math.ceil(error)}"


# Speed


def speed(result: Result) -> str:
    """Softmax and its derivative in float32, into `out` by those that can."""
    parts = []
    for operation in ("softmax", "softmax_vjp"):
        cells = [
            cell
            for cell in result["cells"]
            if (cell["operation"], cell["dtype"]) == (operation, "float32")
        ]
        peers = [name for name in PEERS if any(name in cell["times"] for cell in cells)]
        rows = [
            [
                shape_name(cell["shape"], cell["axis"]),
                duration(median(cell, ONESUM, "out")),
                *(times(ratio(cell, name, "out", or_fresh=True)) for name in peers),
            ]
            for cell in cells
        ]
        means = [
            times(mean(ratio(cell, name, "out", or_fresh=True) for cell in cells)) for name in peers
        ]
        rows.append(["geometric mean", "", *means])
        parts.append(table([f"{operation}, float32", ONESUM, *peers], rows))
    return "\n\n".join([*parts, _measured(result, ALL)])


def every_speed(result: Result) -> str:
    """Every cell, with the copy of as many bytes and the spread."""
    head = f"### {_threads(result['threads'])}, {result['host']['isa']}"
    parts = [head, _measured(result, ALL)]
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in result["cells"]:
        groups.setdefault((cell["operation"], cell["dtype"]), []).append(cell)
    for (operation, dtype), cells in groups.items():
        peers = [name for name in PEERS if any(name in cell["times"] for cell in cells)]
        heads = [f"{operation}, {dtype}", "result", ONESUM, COPY, *peers, "best of these", "spread"]
        rows = [_full_row(cell, mode, peers) for mode in ("fresh", "out") for cell in cells]
        parts.append(table(heads, rows))
    return "\n\n".join(parts)


def _full_row(cell: Cell, mode: str, peers: list[str]) -> list[str]:
    ratios = [ratio(cell, name, mode) for name in peers]
    quartiles = [modes[mode] for modes in cell["times"].values() if mode in modes]
    spread = max((high - low) / middle for low, middle, high in quartiles)
    return [
        shape_name(cell["shape"], cell["axis"]),
        mode,
        duration(median(cell, ONESUM, mode)),
        *map(times, [ratio(cell, COPY, mode), *ratios]),
        times(min((r for r in ratios if r is not None), default=None)),
        f"{100 * spread:.0f}%",
    ]


def median(cell: Cell, name: str, mode: str) -> float:
    middle: float = cell["times"][name][mode][1]
    return middle


def ratio(cell: Cell, name: str, mode: str, or_fresh: bool = False) -> float | None:
    """The time of another over that of onesum."""
    modes = cell["times"].get(name, {})
    own = median(cell, ONESUM, mode)
    if or_fresh and mode not in modes:
        mode = "fresh"
    return median(cell, name, mode) / own if mode in modes else None


def mean(ratios: Iterable[float | None]) -> float | None:
    """Geometric; None unless there is a ratio in every cell."""
    ratios = list(ratios)
    if None in ratios:
        return None
    return math.exp(sum(math.log(r) for r in ratios if r is not None) / len(ratios))


def times(ratio: float | None) -> str:
    if ratio is None:
        return NONE
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def duration(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3g} {unit}"
    return f"{microseconds:.3g} µs"


# Import


def importing(result: Result) -> str:
    numpy, own = (result["times"][module][1] for module in ("numpy", "onesum"))
    text = (
        f"`import onesum` takes {result['ratio'][1]:.2f} times as long as `import numpy`, which it "
        f"contains: {own:.3g} ms and {numpy:.3g} ms."
    )
    if result["wheel"]:
        text += f" The wheel is {result['wheel']['bytes'] / 1e6:.2f} MB."
    return f"{text}\n\n{_measured(result, {})}"


# Both


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _measured(result: Result, libraries: dict[str, str]) -> str:
    """On what, by what and when."""
    machine, missing = result["host"], result.get("missing")
    how = []
    if "threads" in result:
        how = [_threads(result["threads"]), machine["isa"]]
    versions = [
        f"{name} {machine['versions'][package]}"
        for name, package in {ONESUM: "onesum", "NumPy": "numpy", **libraries}.items()
        if machine["versions"][package]
    ]
    without = [f"without {', '.join(missing)}"] if missing else []
    return f"<sub>{', '.join([machine['date'], machine['cpu'], *how, *versions, *without])}</sub>"


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"
