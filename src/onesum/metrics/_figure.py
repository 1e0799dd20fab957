"""Reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._reliability import Reliability


def diagrams(named: Mapping[str, Reliability]) -> Figure:
    """One beside another; beneath each, how many rows are in its bins.

    A matplotlib figure of its own, which no window shows.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(wspace=0.06)
    figure = Figure(figsize=(4.4 * len(named), 5.6), layout=layout)
    axes = figure.subplots(
        2, len(named), squeeze=False, sharex=True, sharey="row", height_ratios=(3, 1)
    )
    for column, (name, reliability) in zip(axes.T, named.items(), strict=True):
        _diagram(column[0], name, reliability)
        _rows(column[1], reliability)
    axes[0, 0].set_ylabel("part that is right")
    axes[1, 0].set_ylabel("rows")
    return figure


def _diagram(axes: Any, name: str, r: Reliability) -> None:
    title = f"calibration error {r.calibration_error:.3g}"
    axes.set_title(f"{name}: {title}" if name else title, fontsize=11)
    axes.plot([0, 1], [0, 1], "--", color="0.4", linewidth=1, label="calibrated")
    there = r.rows > 0
    x, y = r.confidence[there], r.accuracy[there]
    gap = {"color": "tab:red", "alpha": 0.35, "linewidth": 6, "label": "gap"}
    axes.vlines(x, np.minimum(x, y), np.maximum(x, y), **gap)
    reach = np.stack([y - r.low[there], r.high[there] - y])
    axes.errorbar(
        x,
        y,
        reach,
        fmt="o",
        color="tab:blue",
        markersize=4,
        linewidth=1,
        label="bin, with interval",
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, loc="upper left")


def _rows(axes: Any, r: Reliability) -> None:
    axes.bar(r.edges[:-1], r.rows, np.diff(r.edges), align="edge", color="tab:blue", alpha=0.6)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("confidence")
