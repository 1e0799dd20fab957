"""docs/arrays.md: gradients of the arrays of other libraries, beside these libraries' own."""

import math

from onesum.bench.cases import shape_name
from onesum.bench.figures import times
from onesum.bench.peers import ONESUM
from onesum.bench.timing import Result

from ..arrays import LANES, OPERATIONS
from ..markdown import table
from .measured import measured

CALL = "1x10"  # the shape at which the cost of a call is measured


def tables(result: Result) -> str:
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
    return "\n\n".join([table(heads, lines), measured(result, {"torch": "torch", "JAX": "jax"})])
