"""Every operation, beside every other library and the floor that memory sets."""

from collections.abc import Iterator

from onesum.bench import figures, host
from onesum.bench.cases import VALUE_AND_GRAD, Case, shape_name
from onesum.bench.figures import MODES, PEERS, best, duration, of_floor, part, times
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Cell, Result, case_of

from ..markdown import table
from .measured import ALL, measured, title

# What was to be reached, with two threads: times as fast as the best other, and parts of the floor.
GOAL = 1.2
KIND_GOALS = {"tiny rows": 4.0, "strided": 2.0}
ROW_GOAL = 2.0  # of the array that is one row
MEAN_GOAL = 2.5
FLOOR_GOAL = 0.9  # where memory is the limit: arrays that no cache holds

# For the README: calls, short rows, rows in cache, long rows, forward and backward.
BRIEF = [
    ("softmax", "1x10"),
    ("softmax", "65536x10"),
    ("softmax", "4096x1000"),
    ("softmax", "512x32000"),
    ("softmax_vjp", "4096x128"),
    ("softmax_vjp", "512x32000"),
    (VALUE_AND_GRAD, "65536x10"),
    (VALUE_AND_GRAD, "512x32000"),
]


def beside_the_best(result: Result) -> str:
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
    return "\n\n".join([*parts, measured(result, ALL)])


def in_brief(speeds: Result, losses: Result) -> str:
    """A few cells with all libraries, in bold where one of them is faster."""
    cells = {
        (case.operation, shape_name(case.shape, case.axis)): cell
        for result in (speeds, losses)
        for cell in result["cells"]
        if (case := case_of(cell)).dtype == "float32"
    }
    rows = []
    for operation, shape in BRIEF:
        cell = cells[operation, shape]
        ratios = [figures.ratio(cell, name, "fresh") for name in PEERS]
        marks = ["**" if ratio is not None and ratio < 1 else "" for ratio in ratios]
        rows.append(
            [
                f"`{operation}`, {shape.replace('x', ' x ')}",
                duration(figures.median(cell, ONESUM, "fresh")),
                *(f"{mark}{times(ratio)}{mark}" for mark, ratio in zip(marks, ratios, strict=True)),
            ]
        )
    about = dict.fromkeys(measured(result, ALL) for result in (speeds, losses))
    return "\n\n".join([table(["float32", ONESUM, *PEERS], rows), *about])


def means(results: list[Result]) -> str:
    """Geometric means over all cells of a file, and over those of each kind; where we lose."""
    rows = []
    for result in results:
        for kind, cells in figures.by_kind(result["cells"]).items():
            found = {
                mode: [(*best(cell, mode), cell_name(cell, mode)) for cell in cells]
                for mode in MODES
            }
            averages = [figures.mean(ratio for ratio, *_ in found[mode]) for mode in MODES]
            known = [each for mode in MODES for each in found[mode] if each[0] is not None]
            ratio, whose, where = min(known)
            rows.append(
                [
                    title(result) if kind == "all" else "",
                    kind,
                    str(len(cells)),
                    *map(times, averages),
                    f"{sum(each[0] < 1 for each in known)} of {len(known)}",
                    f"{where}: {whose} {times(ratio)}",
                ]
            )
    heads = ["", "cells", "how many", "fresh", "`out=`", "another is faster", "the worst"]
    return table(heads, rows)


def lost(result: Result) -> str:
    """Where another library is faster; with two threads also where a goal was not reached."""
    faster, below, slower_than_memory = [], [], []
    uncached = 2 * host.cache(result["host"], 3)
    for cell in result["cells"]:
        case = case_of(cell)
        for mode in MODES:
            ratio, name = best(cell, mode)
            fraction = of_floor(cell, mode, at_least=True)
            named = cell_name(cell, mode)
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
    return "\n\n".join([f"### {title(result)}", *listed(lists)])


def cell_name(cell: Cell, mode: str) -> str:
    return f"{case_of(cell)} ({mode})"


def listed(lists: dict[str, list[str]]) -> Iterator[str]:
    for head, lines in lists.items():
        yield f"{head}: {len(lines) or 'nowhere'}."
        if lines:
            yield "\n".join(f"- {line}" for line in lines)


def goal(case: Case) -> float:
    return ROW_GOAL if len(case.shape) == 1 else KIND_GOALS.get(case.kind, GOAL)


def every(result: Result) -> str:
    """Every cell."""
    return "\n\n".join([f"### {title(result)}", measured(result, ALL), *tables(result)])


def tables(result: Result) -> Iterator[str]:
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
