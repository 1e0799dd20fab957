"""What a backend is told of the target of a loss."""

from __future__ import annotations

from typing import Any, NamedTuple

Array = Any


class Target(NamedTuple):
    """What a loss wants of each row: class indices or probabilities, and how much they count.

    A row's target masses q follow from it: with C classes to choose from,
    q_c = s ((1 - smoothing) w_y [c = y] + smoothing w_c / C) for the class y, and
    q_c = s w_c ((1 - smoothing) y_c + smoothing / C) for probabilities y.
    """

    classes: Array = None  # the widest integers, one per row, less the axis; -1: to ignore
    probabilities: Array = None  # or these: floating, of the shape of x
    weight: Array = None  # w, one per class
    smoothing: float = 0.0
    sample_weight: Array = None  # s, one per row
