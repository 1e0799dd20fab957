r"""The derivatives of the loss of some rows by the logarithm of the temperature.

With p = softmax(x / T), m the largest logit of a row, d = x - m, and u = log T, the loss of a row
with the label y, logsumexp(x / T) - x_y / T, has

    dL/du = -(E d - d_y) / T,    d^2L/du^2 = Var d / T^2 - dL/du,

with mean and variance under p: the derivatives of a logsumexp are the cumulants. d is at most 0,
and 0 at the likeliest class, so that neither the mean nor the square loses digits as p -> 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from .._functions.softmax import softmax
from .rows import Part, Rows

Array = Any

# A logit so far below the largest takes no part at any temperature allowed; its square is finite.
FAR = -1e150


class Moments(NamedTuple):
    """Sums over rows, with their weights.

    slope : of dL/du.
    information : of Var d / T^2, which is never negative.
    separable : whether the label has the largest logit in every row.
    constant : whether all logits of a row are equal, in every row.
    """

    slope: float
    information: float
    separable: bool
    constant: bool

    @property
    def curvature(self) -> float:
        """The sum of d^2L/du^2."""
        return self.information - self.slope


def moments(rows: Rows, parts: Iterable[Part], temperature: float) -> Moments:
    """Of all these parts of the rows.

    Raises
    ------
    ValueError
        If a label's logit is -inf.
    """
    slope = information = 0.0
    separable = constant = True
    room = np.empty((2, 0, rows.classes))
    for part in parts:
        if len(part.x) > room.shape[1]:
            room = np.empty((2, *part.x.shape))
        d, p = room[:, : len(part.x)]
        with np.errstate(over="ignore"):  # farther apart than float64 reaches: no part at all
            np.subtract(part.x, part.largest[:, np.newaxis], out=d)
        own = d[np.arange(len(d)), part.labels]
        weights = part.weights
        _need_finite(rows, part, own)
        separable = separable and not own.any()
        constant = constant and separable and not _spread(d)
        mean, square = _mean_and_square(d, temperature, p)
        variance = square - mean * mean
        slopes = own - mean
        slope += float(slopes.sum() if weights is None else weights @ slopes)
        information += float(variance.sum() if weights is None else weights @ variance)
    return Moments(slope / temperature, information / temperature**2, separable, constant)


def _mean_and_square(d: Array, temperature: float, room: Array) -> tuple[Array, Array]:
    """E d and E d^2 of each row."""
    p = softmax(d, temperature=temperature, out=room)
    with np.errstate(invalid="ignore", over="ignore"):
        p *= d
        mean, square = p.sum(axis=-1), np.vecdot(p, d)
    if np.isfinite(square).all():
        return mean, square
    return _mean_and_square(np.maximum(d, FAR), temperature, room)  # 0 times -inf


def _need_finite(rows: Rows, part: Part, own: Array) -> None:
    lost = own == -np.inf
    if lost.any():
        zero = "a probability of 0" if rows.from_ == "probabilities" else "-inf"
        row = rows.row_name(int(part.numbers[np.argmax(lost)]))
        wanted = "labels whose loss is finite"
        raise ValueError(f"{rows.given.name}: expected {wanted}, got {zero} in {row}")


def _spread(d: Array) -> bool:
    return bool(((d < 0.0) & (d > -np.inf)).any())
