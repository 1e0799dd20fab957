"""The temperature at which the loss is least: Newton's method on its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from .._arguments.options import count_of
from .moments import Moments, moments
from .rows import Rows

Status = Literal["converged", "separable", "low", "high", "constant", "iterations"]
Derivatives = Callable[[float], Moments]

BOUNDS = (1e-4, 1e4)
ITERATIONS = 100
# Newton's steps square the error: after one of this size it is about 1e-14.
STEP = 1e-7
# The second derivative may be small far from the optimum: a factor of e^2 is enough for one step.
LONGEST = 2.0
# Elements of rows on which to begin, and how many times as many there must be for it to pay.
SAMPLE, WORTH = 2**20, 4

TELL = {
    "separable": "every label has the largest logit of its row, so that the loss falls as T -> 0",
    "low": "the loss falls as T falls to the lower bound",
    "high": "the loss falls as T grows to the upper bound, as it does where the labels' logits are "
    "on average no larger than the others",
    "constant": "the logits of every row are equal, so that T changes nothing",
    "iterations": "the iterations ended before the optimum was found",
}


class Past(NamedTuple):
    """Rows seen before: the derivatives of their summed loss by log T, at some temperature.

    slope : the first, which is 0 at the best temperature.
    information : the second.
    """

    log_temperature: float = 0.0
    slope: float = 0.0
    information: float = 0.0

    def slope_at(self, log_temperature: float) -> float:
        return self.slope + self.information * (log_temperature - self.log_temperature)


class Fit(NamedTuple):
    """The temperature found.

    information : the second derivative of the summed loss by log T; 0 where there is no optimum.
    iterations : how many times all rows were gone through.
    past : all that is kept of the rows, if they are.
    """

    temperature: float
    information: float
    iterations: int
    status: Status
    past: Past = Past()

    @property
    def stderr(self) -> float:
        """That of T: by the delta method T times that of log T, whose variance is the inverse of
        the observed information."""
        if self.information <= 0.0:
            return math.nan
        return self.temperature / math.sqrt(self.information)

    @property
    def reason(self) -> str:
        """Why there is no optimum."""
        return TELL[self.status]

    def problem(self, bounds: tuple[float, float]) -> str | None:
        """Why there is no optimum, and what the temperature is instead; None if there is one."""
        if self.status == "converged":
            return None
        return f"{self.reason}: T is {self.temperature:g}" + (
            f", the bound of {bounds[0]:g} to {bounds[1]:g}"
            if self.status in ("separable", "low", "high")
            else ""
        )


def limits_of(bounds: Any, max_iter: Any) -> tuple[tuple[float, float], int]:
    """What the search is limited by, checked."""
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError):
        raise TypeError(f"bounds: expected two numbers, got {bounds!r:.60}") from None
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"bounds: expected 0 < low < high, got {bounds}")
    return (low, high), count_of("max_iter", max_iter)


def fit(
    rows: Rows,
    bounds: tuple[float, float] = BOUNDS,
    max_iter: int = ITERATIONS,
    past: Past = Past(),  # noqa: B008
) -> Fit:
    """The temperature of some rows; of many, from where a sample of them has its own."""
    start = math.exp(past.log_temperature)
    if not past.information and rows.number * rows.classes > WORTH * SAMPLE:
        sample = rows.sample(SAMPLE)
        first = solve(lambda t: moments(rows, sample, t), bounds, max_iter)
        start = first.temperature if first.status == "converged" else start
    return solve(lambda t: moments(rows, rows.parts(), t), bounds, max_iter, start, past)


def solve(
    derivatives: Derivatives,
    bounds: tuple[float, float] = BOUNDS,
    max_iter: int = ITERATIONS,
    start: float = 1.0,
    past: Past = Past(),  # noqa: B008
) -> Fit:
    """The root of the slope, which changes its sign once: the loss is convex in 1/T.

    What lies on the wrong side of it is left out as it is found; a step that would lead there, or
    out of the bounds, ends halfway or at the bound.
    """
    edges = low, high = math.log(bounds[0]), math.log(bounds[1])
    u = min(max(math.log(start), low), high)
    so_far = Past()
    for iteration in range(1, max_iter + 1):
        of = derivatives(math.exp(u))
        if not past.information and of.separable:
            t, status = (1.0, "constant") if of.constant else (bounds[0], "separable")
            return Fit(min(max(t, bounds[0]), bounds[1]), 0.0, iteration, status)  # type: ignore[arg-type]
        slope = of.slope + past.slope_at(u)
        curvature = of.curvature + past.information
        if curvature <= 0.0:  # far from the optimum
            curvature = of.information + past.information
        so_far = Past(u, slope, curvature)
        if (u == edges[0] and slope > 0.0) or (u == edges[1] and slope < 0.0):
            status = "low" if slope > 0.0 else "high"
            return Fit(bounds[slope < 0.0], 0.0, iteration, status, so_far)  # type: ignore[arg-type]
        low, high = (low, u) if slope > 0.0 else (u, high)
        step = -slope / curvature if curvature > 0.0 else -math.copysign(LONGEST, slope)
        step = min(max(step, -LONGEST), LONGEST)
        if abs(step) <= STEP:
            best = Past(u + step, 0.0, curvature)
            return Fit(math.exp(u + step), curvature, iteration, "converged", best)
        following = u + step
        if not low < following < high:
            end = low if step < 0.0 else high
            following = end if end in edges else 0.5 * (low + high)
        u = following
    return Fit(math.exp(u), so_far.information, max_iter, "iterations", so_far)
