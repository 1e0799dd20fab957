"""An explanation as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._steps import FULL
from ._text import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._explanation import Explanation

BLUE, RED = "tab:blue", "tab:red"
ROUTES = {
    "Quotient rule": (
        r"$\dfrac{\partial p_i}{\partial x_j} = "
        r"\dfrac{\delta_{ij} e^{x_i}}{E} - \dfrac{e^{x_i} e^{x_j}}{E^2}$"
    ),
    "Logarithm in base b": (
        r"$\dfrac{\partial p_j}{\partial x_i} = "
        r"\dfrac{\partial \log_b p_j}{\partial x_i}\, p_j \ln b$"
    ),
    "Kronecker delta": (
        r"$\dfrac{\partial p_i}{\partial x_j} = "
        r"p_i \dfrac{\partial \ln p_i}{\partial x_j} = p_i (\delta_{ij} - p_j)$"
    ),
}


def drawn(result: Explanation) -> Figure:
    """p, J as a heat map, the gradients, and the three routes. No window shows it."""
    from matplotlib.figure import Figure

    exact = result.exact
    loss = r"$\partial\ell/\partial x$ of $\ell = -\ln p_t$"
    panels: list[Any] = [
        (exact.gradient, r"$\partial L/\partial x$"),
        (exact.target_gradient, loss),
    ]
    gradients = [(values, name) for values, name in panels if values is not None]
    columns = 2 + len(gradients)
    figure = Figure(figsize=(4.2 * columns, 5.6), layout="constrained")
    grid = figure.add_gridspec(2, columns, height_ratios=(3.4, 1))
    figure.suptitle(title(result))
    _bars(figure.add_subplot(grid[0, 0]), exact.p, "$p$", BLUE)
    _heat_map(figure, figure.add_subplot(grid[0, 1]), exact.jacobian)
    for place, (values, name) in enumerate(gradients, 2):
        _bars(figure.add_subplot(grid[0, place]), values, name, None)
    _routes(figure.add_subplot(grid[1, :]))
    return figure


def _bars(axes: Any, exact: Any, name: str, color: str | None) -> None:
    values = np.array(list(map(float, exact)))
    finite = np.where(np.isfinite(values), values, 0.0)
    colors = [color or (RED if v < 0 else BLUE) for v in finite]
    axes.bar(np.arange(len(values)), finite, color=colors)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.set(title=name, xlabel="class")
    axes.margins(y=0.15)
    if not finite.any():
        axes.set_ylim(-1, 1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(values) <= FULL:
        axes.set_xticks(np.arange(len(values)))
        for i, value in enumerate(values):
            above = not finite[i] < 0
            axes.annotate(
                f"{value:.3g}".replace("-", "−"),
                (i, finite[i]),
                xytext=(0, 3 if above else -3),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=8,
            )


def _heat_map(figure: Any, axes: Any, exact: Any) -> None:
    values = np.array([list(map(float, row)) for row in exact])
    finite = values[np.isfinite(values)]
    reach = float(np.max(np.abs(finite), initial=0.0)) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-reach, vmax=reach)
    axes.set(title=r"$J_{ij} = \partial p_i / \partial x_j$", xlabel="j", ylabel="i")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=axes, shrink=0.75)
    if len(values) <= FULL:
        axes.set_xticks(np.arange(len(values)))
        axes.set_yticks(np.arange(len(values)))
        for (i, j), value in np.ndenumerate(values):
            dark = abs(value) > 0.6 * reach
            text, color = f"{value:.2g}".replace("-", "−"), "white" if dark else "black"
            size = 9 if len(values) <= 4 else 6
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=size)


def _routes(axes: Any) -> None:
    axes.axis("off")
    for place, (name, formula) in enumerate(ROUTES.items()):
        center = (place + 0.5) / len(ROUTES)
        axes.text(center, 0.8, name, ha="center", weight="bold", transform=axes.transAxes)
        axes.text(center, 0.2, formula, ha="center", fontsize=14, transform=axes.transAxes)
