"""The losses, beside torch and the best other library."""

from collections.abc import Sequence
from typing import NamedTuple

from onesum.bench import figures
from onesum.bench.cases import LOSS, VALUE_AND_GRAD, shape_name
from onesum.bench.figures import best, duration, times
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Cell, Result, case_of

from ..markdown import table
from .measured import ALL, measured
from .speed import cell_name, listed, tables


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


def beside_the_best(result: Result) -> str:
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
    return "\n\n".join([table(["float32", *heads], rows), measured(result, ALL)])


def every(result: Result) -> str:
    """What was to be reached and what was not; then every cell."""
    faster = []
    for cell in result["cells"]:
        for mode in figures.modes(cell):
            ratio, name = best(cell, mode)
            if ratio is not None and ratio < 1:
                faster.append(f"{cell_name(cell, mode)}: {name} {times(ratio)}")
    reached, below = goals(result["cells"])
    lists = {"Below the goal": below, "Another library is faster": faster}
    return "\n\n".join([measured(result, ALL), reached, *listed(lists), *tables(result)])


def goals(cells: list[Cell]) -> tuple[str, list[str]]:
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
