"""Tables of the documents, made from the results: nobody edits what lies between the markers."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from onesum.bench import figures, host
from onesum.bench.cases import LOSS, VALUE_AND_GRAD, Case, shape_name
from onesum.bench.figures import MODES, NONE, PEERS, best, duration, of_floor, part, times
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Cell, Result, case_of

from . import IMAGES, ROOT, scale_tables
from .arrays import LANES, OPERATIONS
from .cuda.tables import on_a_gpu
from .markdown import table

README = ROOT / "README.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
BOOSTING = ROOT / "docs" / "boosting.md"
LINEAR = ROOT / "docs" / "linear.md"
ARRAYS = ROOT / "docs" / "arrays.md"
SCALE = ROOT / "docs" / "scale.md"

# What was to be reached, with two threads: times as fast as the best other, and parts of the floor.
GOAL = 1.2
KIND_GOALS = {"tiny rows": 4.0, "strided": 2.0}
ROW_GOAL = 2.0  # of the array that is one row
MEAN_GOAL = 2.5
FLOOR_GOAL = 0.9  # where memory is the limit: arrays that no cache holds


class LossGoal(NamedTuple):
    """How many times as fast as one other library, in float32."""

    operation: str
    mode: str
    beside: str
    times: float
    shapes: Sequence[str]


_LARGE = ("65536x10", "4096x1000", "512x32000", "128x128256")
LOSS_GOALS = [
    LossGoal(VALUE_AND_GRAD, "fresh", "torch", 3.0, _LARGE),
    LossGoal(VALUE_AND_GRAD, "fresh", "JAX", 2.0, _LARGE),
    LossGoal(VALUE_AND_GRAD, "out", "torch", 4.0, _LARGE),
    LossGoal(LOSS, "fresh", "torch", 3.0, _LARGE),
    LossGoal(VALUE_AND_GRAD, "fresh", "torch", 1 / 0.3, ("1x10",)),
]

# Names of libraries and of their packages.
BESIDE = {"SciPy": "scipy", "torch": "torch", "JAX": "jax"}
ALL = {**BESIDE, "ONNX Runtime": "onnxruntime"}
CALL = "1x10"  # the shape at which the cost of a call is measured


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
    if not show and not check:
        from . import plots

        plots.draw(host.load(results / "growth.json"), IMAGES)
    return stale


def pages(results: Path) -> dict[Path, dict[str, str]]:
    gpu = results / "cuda.json"
    files = sorted(results.glob("speed*.json"), key=lambda path: path.stem)
    speeds = [host.load(path) for path in files]
    return {
        BOOSTING: {"boosting": boosting(host.load(results / "boosting.json"))},
        ARRAYS: {
            "speed": arrays(host.load(results / "arrays.json")),
            "gpu": on_a_gpu(host.load(gpu) if gpu.exists() else None),
        },
        SCALE: {
            name: getattr(scale_tables, name)(host.load(results / f"{name}.json"))
            for name in ("dask", "vocab_parallel", "files")
        },
        LINEAR: {"linear": linear(host.load(results / "linear.json"))},
        README: {
            "accuracy": accuracy(host.load(results / "accuracy.json")),
            "speed": speed(host.load(results / "speed-2-threads.json")),
            "losses": losses(host.load(results / "losses-2-threads.json")),
            "import": importing(host.load(results / "import.json")),
        },
        PERFORMANCE: {
            "means": means(speeds),
            "lost": "\n\n".join(map(lost, speeds)),
            "losses": every_loss(host.load(results / "losses-2-threads.json")),
            "memory": memory(host.load(results / "memory.json")),
            "speed": "\n\n".join(map(every_speed, speeds)),
        },
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
    lanes = [name for name in result["errors"][0]["errors"] if name.endswith(f" by {ONESUM}")]
    columns = [ONESUM, *lanes, *BESIDE]
    worst: dict[tuple[str, str], dict[str, list[float | None]]] = {}
    for entry in result["errors"]:
        row = worst.setdefault((entry["operation"], entry["dtype"]), {})
        for name, error in entry["errors"].items():
            # The implementations of onesum for NumPy, the worst of them.
            whose = name if name in columns else name.partition(" ")[0]
            row.setdefault(whose, []).append(error)
    rows = [
        [f"{operation}, {dtype}", *(_worst(row.get(name, [])) for name in columns)]
        for (operation, dtype), row in sorted(worst.items(), key=lambda item: _order(*item[0]))
    ]
    return "\n\n".join([table(["ulps", *columns], rows), _measured(result, BESIDE)])


def _order(operation: str, dtype: str) -> tuple[int, int]:
    operations = ["softmax", "log_softmax", "logsumexp", "softmax_vjp", LOSS, f"gradient of {LOSS}"]
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
    """Softmax and its derivative in float32, beside the best other library and the floor."""
    parts = []
    for operation in ("softmax", "softmax_vjp"):
        cells = [
            cell
            for cell in result["cells"]
            if (cell["operation"], cell["dtype"]) == (operation, "float32")
        ]
        rows = []
        for cell in cells:
            row = [shape_name(cell["shape"], cell["axis"])]
            for mode in MODES:
                ratio, name = best(cell, mode)
                row.append(duration(figures.median(cell, ONESUM, mode)))
                row.append(f"{name} {times(ratio)}".strip())
                row.append(part(of_floor(cell, mode, at_least=True)))
            rows.append(row)
        means = [times(figures.mean(best(cell, mode)[0] for cell in cells)) for mode in MODES]
        rows.append(["geometric mean", "", means[0], "", "", means[1], ""])
        heads = [f"{operation}, float32", "fresh", "best other", "of floor"]
        parts.append(table([*heads, "`out=`", "best other", "of floor"], rows))
    return "\n\n".join([*parts, _measured(result, ALL)])


def means(results: list[Result]) -> str:
    """Geometric means over all cells of a file, and over those of each kind."""
    rows = []
    for result in results:
        for kind, cells in figures.by_kind(result["cells"]).items():
            ratios = {mode: [best(cell, mode)[0] for cell in cells] for mode in MODES}
            known = [ratio for mode in MODES for ratio in ratios[mode] if ratio is not None]
            rows.append(
                [
                    _title(result) if kind == "all" else "",
                    kind,
                    str(len(cells)),
                    *(times(figures.mean(ratios[mode])) for mode in MODES),
                    times(min(known, default=None)),
                ]
            )
    return table(["", "cells", "how many", "fresh", "`out=`", "lowest"], rows)


def lost(result: Result) -> str:
    """Where another library is faster; with two threads also where a goal was not reached."""
    faster, below, slower_than_memory = [], [], []
    uncached = 2 * host.cache(result["host"], 3)
    for cell in result["cells"]:
        case = case_of(cell)
        for mode in MODES:
            ratio, name = best(cell, mode)
            fraction = of_floor(cell, mode, at_least=True)
            named = f"{case} ({mode})"
            if ratio is not None and ratio < 1:
                faster.append(f"{named}: {name} {times(ratio)}")
            elif ratio is not None and ratio < goal(case):
                below.append(f"{named}: {name} {times(ratio)} of {goal(case)}")
            if fraction is not None and fraction < FLOOR_GOAL and cell["bytes"] > uncached:
                slower_than_memory.append(f"{named}: {part(fraction)}")
    lists = {"Another library is faster": faster}
    if result["threads"] > 1:
        mean = figures.mean(best(cell, mode)[0] for cell in result["cells"] for mode in MODES)
        if mean is not None and mean < MEAN_GOAL:
            below.insert(0, f"the geometric mean of all: {times(mean)} of {MEAN_GOAL}")
        lists["Faster than all, but below the goal"] = below
        lists[f"Below {part(FLOOR_GOAL)} of the floor, beyond the caches"] = slower_than_memory
    return "\n\n".join([f"### {_title(result)}", *_listed(lists)])


def _listed(lists: dict[str, list[str]]) -> Iterator[str]:
    for title, lines in lists.items():
        yield f"{title}: {len(lines) or 'nowhere'}."
        if lines:
            yield "\n".join(f"- {line}" for line in lines)


def goal(case: Case) -> float:
    return ROW_GOAL if len(case.shape) == 1 else KIND_GOALS.get(case.kind, GOAL)


def every_speed(result: Result) -> str:
    """Every cell."""
    return "\n\n".join([f"### {_title(result)}", _measured(result, ALL), *_tables(result)])


def _tables(result: Result) -> Iterator[str]:
    """One for each operation and dtype."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in result["cells"]:
        groups.setdefault((cell["operation"], cell["dtype"]), []).append(cell)
    for (operation, dtype), cells in groups.items():
        names = [name for name in PEERS if any(name in cell["times"] for cell in cells)]
        rows = [
            [shape_name(cell["shape"], cell["axis"]), *figures.row(cell, mode, names)]
            for mode in MODES
            for cell in cells
            if mode in figures.modes(cell)
        ]
        yield table([f"{operation}, {dtype}", *figures.heads(names)], rows)
        yield from _failures(cells)


def _failures(cells: list[Cell]) -> Iterator[str]:
    """A footnote for each library that could not do a cell of the table."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        for name, reason in cell["failed"].items():
            where = shape_name(cell["shape"], cell["axis"])
            reasons.setdefault((name, reason), []).append(where)
    for (name, reason), where in reasons.items():
        yield f"<sub>Without {name} for {'; '.join(where)}: `{reason}`</sub>"


# Losses


def losses(result: Result) -> str:
    """The losses in float32, each beside torch and the best other library."""
    columns = {
        "loss": (LOSS, "fresh"),
        "loss and gradient": (VALUE_AND_GRAD, "fresh"),
        "in place": (VALUE_AND_GRAD, "out"),
    }
    cells = {case_of(cell): cell for cell in result["cells"]}
    rows = []
    for case in cells:
        if (case.operation, case.dtype) != (LOSS, "float32"):
            continue
        row = [shape_name(case.shape, case.axis)]
        for operation, mode in columns.values():
            cell = cells[case._replace(operation=operation)]
            ratio, name = best(cell, mode)
            row.append(duration(figures.median(cell, ONESUM, mode)))
            row.append(times(figures.ratio(cell, "torch", mode)))
            row.append(f"{name} {times(ratio)}".strip())
        rows.append(row)
    heads = [head for column in columns for head in (column, "torch", "best other")]
    return "\n\n".join([table(["float32", *heads], rows), _measured(result, ALL)])


def every_loss(result: Result) -> str:
    """What was to be reached and what was not; then every cell."""
    faster = []
    for cell in result["cells"]:
        for mode in figures.modes(cell):
            ratio, name = best(cell, mode)
            if ratio is not None and ratio < 1:
                faster.append(f"{case_of(cell)} ({mode}): {name} {times(ratio)}")
    goals, below = loss_goals(result["cells"])
    lists = {"Below the goal": below, "Another library is faster": faster}
    return "\n\n".join([_measured(result, ALL), goals, *_listed(lists), *_tables(result)])


def loss_goals(cells: list[Cell]) -> tuple[str, list[str]]:
    """A table of the ratios that goals were set for, and a line for each that is below."""
    found = {
        (cell["operation"], shape_name(cell["shape"], cell["axis"])): cell
        for cell in cells
        if cell["dtype"] == "float32"
    }
    shapes = list(dict.fromkeys(shape for goal in LOSS_GOALS for shape in goal.shapes))
    rows, below = [], []
    for operation, mode, beside, least, some in LOSS_GOALS:
        row = {}
        for shape in some:
            cell = found.get((operation, shape))
            ratio = cell and figures.ratio(cell, beside, mode)
            row[shape] = times(ratio)
            if ratio is not None and ratio < least:
                named = f"{operation} float32 {shape} ({mode})"
                below.append(f"{named}: {beside} {times(ratio)} of {times(least)}")
        title = f"{operation} ({mode}), {beside}"
        rows.append([title, times(least), *(row.get(shape, "") for shape in shapes)])
    return table(["times as long as onesum, float32", "goal", *shapes], rows), below


# Memory


def memory(result: Result) -> str:
    names = list(result["rows"][0]["extra"])
    rows = []
    for row in result["rows"]:
        extras = [
            _bytes(row["extra"].get(name, {}).get(mode))
            for name in names
            for mode in (MODES if name == ONESUM else MODES[:1])
        ]
        case = f"{row['operation']} {shape_name(row['shape'], row['axis'])}"
        rows.append([case, _bytes(row["array"]), _bytes(row["result"]), *extras])
    heads = ["float32", "one operand", "result", f"{ONESUM} adds", "with `out=`"]
    others = [f"{name} adds" for name in names if name != ONESUM]
    return "\n\n".join([table([*heads, *others], rows), _measured(result, ALL)])


def _bytes(size: int | None) -> str:
    if size is None:
        return NONE
    return f"{max(0, size) / 1e6:.1f} MB" if size < 1e8 else f"{size / 1e6:.0f} MB"


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


# Boosting


def boosting(result: Result) -> str:
    """The objective alone, and whole rounds with the part of it that the objective takes."""
    calls, rounds = [], []
    for cell in result["cells"]:
        named = f"{cell['library']}, {cell['classes']} classes"
        alone, whole, within = (
            {name: middle for name, (_, middle, _) in cell[what].items()}
            for what in ("alone", "round", "within")
        )
        others = ("NumPy", "loops")
        ratios = [times(alone[name] / alone[ONESUM]) for name in others]
        calls.append([named, *map(duration, map(alone.get, (ONESUM, *others))), *ratios])
        shown = [
            f"{duration(whole[name])} ({part(within[name] / whole[name])})"
            for name in (ONESUM, "NumPy")
        ]
        ratio = times(whole["NumPy"] / whole[ONESUM])
        rounds.append([named, *shown, duration(whole["built-in"]), ratio])
    size = f"{result['rows']} rows, {result['features']} features"
    heads = [size, ONESUM, "NumPy", "loops", "NumPy / onesum", "loops / onesum"]
    return "\n\n".join(
        [
            "The objective alone:",
            table(heads, calls),
            "A whole round, and the part of it that is the objective:",
            table([size, ONESUM, "NumPy", "built-in", "NumPy / onesum"], rounds),
            _measured(result, {"LightGBM": "lightgbm", "XGBoost": "xgboost"}),
        ]
    )


def linear(result: Result) -> str:
    """Time and memory of a linear layer's loss and gradients, and of the bare products."""
    parts = []
    for row in result["rows"]:
        middles = {name: middle for name, (_, middle, _) in row["times"].items()}
        lines = [
            [
                name,
                duration(middle),
                times(middle / middles["torch"]),
                f"{row['extra'][name] / 1e6:.0f} MB" if name in row["extra"] else "",
            ]
            for name, middle in middles.items()
        ]
        size = f"{row['rows']} rows, {row['features']} features, {row['classes']} classes"
        heads = [size, "time", "of torch's", "memory beyond the results"]
        text = f"The logits would take {row['logits'] / 1e6:.0f} MB."
        parts += [table(heads, lines), text]
    return "\n\n".join([*parts, _measured(result, {"NumPy": "numpy", "torch": "torch"})])


# Arrays of other libraries


def arrays(result: Result) -> str:
    """How many times as fast as the array's own library, and the mean over all but calls."""
    heads, lines = ["", *OPERATIONS], []
    for lane in LANES:
        ratios: dict[tuple[str, str], float] = {
            (shape_name(tuple(row["shape"]), -1), row["operation"]): row["times"][lane][1]
            / row["times"][ONESUM][1]
            for row in result["rows"]
            if row["lane"] == lane
        }
        shapes = list(dict.fromkeys(shape for shape, _ in ratios))
        for shape in shapes:
            lines.append([f"{lane}, {shape}", *(times(ratios[shape, o]) for o in OPERATIONS)])
        large = [[ratios[shape, o] for shape in shapes if shape != CALL] for o in OPERATIONS]
        means = [times(math.prod(column) ** (1 / len(column))) for column in large if column]
        lines.append([f"**{lane}, mean without {CALL}**", *means])
    return "\n\n".join([table(heads, lines), _measured(result, {"torch": "torch", "JAX": "jax"})])


# Both


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


def _title(result: Result) -> str:
    return f"{_threads(result['threads'])}, {result['host']['isa']}"


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"
