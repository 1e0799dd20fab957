"""Pictures of growth: nanoseconds an element, for every library and for the floor."""

import math
from pathlib import Path
from typing import Any

import matplotlib

from onesum.bench.figures import PEERS, floor, median
from onesum.bench.peers import ONESUM

matplotlib.use("svg")

import matplotlib.pyplot as plt

# The same colours for the same library wherever it stands.
COLOURS = dict(zip((ONESUM, *PEERS), ("C3", "C0", "C1", "C2", "C4", "C5"), strict=True))
FIXED = {"svg.hashsalt": "onesum", "svg.fonttype": "none", "font.size": 9}


def draw(result: dict[str, Any], directory: Path) -> None:
    """One picture for each operation, one panel for each curve."""
    directory.mkdir(exist_ok=True)
    for operation in dict.fromkeys(cell["operation"] for cell in result["cells"]):
        cells = [cell for cell in result["cells"] if cell["operation"] == operation]
        curves = list(dict.fromkeys(cell["curve"] for cell in cells))
        with plt.rc_context(FIXED):
            figure, panels = plt.subplots(2, 2, figsize=(9, 7), sharey=True, layout="constrained")
            for curve, panel in zip(curves, panels.flat, strict=False):  # a trial has fewer
                _panel(panel, curve, [cell for cell in cells if cell["curve"] == curve])
            for panel in panels[:, 0]:
                panel.set_ylabel("ns an element")
            threads = f"{result['threads']} thread{'s' * (result['threads'] > 1)}"
            figure.suptitle(f"{operation}, float32, {threads}, {result['host']['isa']}")
            handles = {}
            for panel in panels.flat:
                handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=7)
            path = directory / f"growth-{operation}.svg"
            figure.savefig(path, metadata={"Date": None})
            plt.close(figure)
            # Matplotlib leaves blanks at the ends of lines.
            path.write_text("\n".join(map(str.rstrip, path.read_text().splitlines())) + "\n")


def _panel(panel: Any, curve: str, cells: list[dict[str, Any]]) -> None:
    def line(name: str, times: list[float | None], **style: Any) -> None:
        points = [
            (cell["x"], 1e3 * time / math.prod(cell["shape"]))
            for cell, time in zip(cells, times, strict=True)
            if time is not None
        ]
        if points:
            panel.plot(*zip(*points, strict=True), label=name, **style)

    for name, colour in COLOURS.items():
        width = 2.2 if name == ONESUM else 1.1
        line(name, [_time(cell, name) for cell in cells], color=colour, linewidth=width)
    line("floor", [floor(cell, "out") for cell in cells], color="0.5", linestyle="--")
    panel.set(xscale="log", yscale="log", title=curve, xlabel="k" if curve[0] == "k" else "n")
    panel.grid(alpha=0.3)


def _time(cell: dict[str, Any], name: str) -> float | None:
    """Into `out` where the library can."""
    modes = cell["times"].get(name)
    return modes and median(cell, name, "out" if "out" in modes else "fresh")
