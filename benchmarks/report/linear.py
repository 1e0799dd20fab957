"""docs/linear.md: the loss of a linear layer, in time and memory."""

from onesum.bench.figures import duration, times
from onesum.bench.timing import Result

from ..markdown import table
from .measured import measured


def tables(result: Result) -> str:
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
    return "\n\n".join([*parts, measured(result, {"NumPy": "numpy", "torch": "torch"})])
