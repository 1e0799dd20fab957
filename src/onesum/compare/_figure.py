"""A comparison as a picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._comparison import Comparison


def _bins(rows: int) -> int:
    """So many that a bar has a dozen rows or more, where there are that many."""
    return min(60, max(12, 2 * math.isqrt(rows)))


def histograms(comparison: Comparison) -> Figure:
    """Beside one another: KL(base || other), and with labels the change of their probability.

    A matplotlib figure of its own, which no window shows.
    """
    from matplotlib.figure import Figure

    panels = 1 if comparison.delta_p is None else 2
    figure = Figure(figsize=(5.5 * panels, 3.8), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _divergences(axes[0], comparison)
    if comparison.delta_p is not None:
        _changes(axes[1], comparison.delta_p)
    return figure


def _divergences(axes: Any, comparison: Comparison) -> None:
    kl = comparison.kl
    shown = kl.values[(kl.values > 0.0) & np.isfinite(kl.values)]
    axes.set(xlabel="KL(base || other) of a row, nats", ylabel="rows")
    title = f"{comparison.rows:,} rows, same top class in {comparison.same_top:.2%}"
    left_out = [
        f"{count:,} rows with {what}"
        for what, count in (("KL = 0", int((kl.values == 0.0).sum())), ("KL = inf", kl.infinite))
        if count
    ]
    axes.set_title("\n".join([title, *([f"not shown: {', '.join(left_out)}"] if left_out else [])]))
    if not shown.size:
        return
    low, high = float(shown.min()), float(shown.max())
    axes.hist(
        shown,
        bins=np.geomspace(low, max(high, low * 1.1), _bins(comparison.rows) + 1),
        color="tab:blue",
    )
    axes.set_xscale("log")
    axes.yaxis.get_major_locator().set_params(integer=True)
    if np.isfinite(kl.mean):
        axes.axvline(kl.mean, color="black", linewidth=1, label=f"mean {kl.mean:.3g}")
    for q, style in ((50, "--"), (99, ":")):
        value = kl.percentile(q)
        if low <= value <= high:
            name = "median" if q == 50 else f"{q} %"
            label = f"{name} {value:.3g}"
            axes.axvline(value, color="black", linestyle=style, linewidth=1, label=label)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)


def _changes(axes: Any, delta_p: Any) -> None:
    reach = max(abs(delta_p.min), abs(delta_p.max), 1e-12)
    bins = np.linspace(-reach, reach, _bins(len(delta_p.values)) + 1)
    axes.hist(delta_p.values, bins=bins, color="tab:orange")
    axes.set_yscale("log")  # most rows hardly change
    axes.set_ylim(bottom=0.5)
    axes.axvline(0.0, color="black", linewidth=1)
    axes.set(
        title=f"mean {delta_p.mean:+.3g}, root mean square {delta_p.rms:.3g}",
        xlabel="change of the label's probability, other - base",
        ylabel="rows",
    )
