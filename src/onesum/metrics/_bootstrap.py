"""Intervals of what is a function of sums over rows, by resampling the rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._arguments.options import count_of, number_of

Array = Any

RESAMPLES = 1000
# Rows are resampled in groups where there are more of them: as many as have so many sums together.
MOST = 2**21
GROUPS = 256, 2**14


class Estimate(NamedTuple):
    """A number, or an array of them, and the interval of each.

    Attributes
    ----------
    value : float or ndarray
    low, high : float or ndarray
        The ends of the interval.

    Examples
    --------
    >>> from onesum.metrics import brier_score
    >>> x = [[0.8, 0.2], [0.3, 0.7]]
    >>> value, low, high = brier_score(x, [0, 1], from_="probabilities", confidence=0.9, rng=0)
    >>> round(value, 6), low <= value <= high
    (0.13, True)
    """

    value: Any
    low: Any
    high: Any


class Resampling(NamedTuple):
    """What was asked of an interval, checked. Without a confidence there is none."""

    confidence: float | None
    n_resamples: int
    rng: np.random.Generator

    @classmethod
    def of(cls, confidence: Any, n_resamples: Any, rng: Any) -> Resampling:
        if confidence is not None:
            confidence = confidence_of(confidence)
        number = count_of("n_resamples", n_resamples)
        try:
            return cls(confidence, number, np.random.default_rng(rng))
        except (TypeError, ValueError):
            wanted = "None, a seed or a numpy.random.Generator"
            raise TypeError(f"rng: expected {wanted}, got {rng!r:.60}") from None

    def estimate(
        self,
        sums: Array,
        function: Callable[[Array], Array],
        least: float = 0.0,
        most: float = math.inf,
    ) -> Any:
        """A function of the sums of columns: a float, or an array; an `Estimate` with a confidence.

        The function takes sums of shape (..., columns). The interval is that of the percentiles,
        moved by how far the resamples' mean is off: what is never negative is biased upwards among
        them, and in the value already. Where a resample's is infinite, they stay where they are.
        """
        value = function(sums.sum(axis=0))
        if self.confidence is None:
            return _plain(value)
        drawn = np.stack([function(s) for s in self._resampled(sums)])
        tail = 0.5 * (1.0 - self.confidence)
        finite = bool(np.isfinite(drawn).all())
        ends = np.quantile(
            drawn,
            [tail, 1.0 - tail],
            axis=0,
            method="linear" if finite else "nearest",  # between inf and inf there is no number
        )
        if finite:
            ends += value - drawn.mean(axis=0)
        low, high = np.clip(ends, least, most)
        return Estimate(*map(_plain, (value, low, high)))

    def _resampled(self, sums: Array) -> Array:
        """The sums of so many resamples."""
        n, finite = len(sums), bool(np.isfinite(sums).all())
        for _ in range(self.n_resamples):
            counts = np.bincount(self.rng.integers(n, size=n), minlength=n).astype(np.float64)
            drawn = slice(None) if finite else counts > 0.0  # 0 times inf
            yield counts[drawn] @ sums[drawn]


def confidence_of(value: Any) -> float:
    confidence = number_of("confidence", value)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    return confidence


def grouped(rows: int, columns: int) -> Array:
    """The group that each row is in: itself, or one of many where there are more rows.

    A group's rows lie far apart, so that groups are as much alike as rows drawn at random.
    """
    fewest, most = GROUPS
    return np.arange(rows) % min(rows, max(fewest, min(most, MOST // columns)))


def group_sums(columns: Array, groups: Array) -> Array:
    """Numbers of rows, of shape (rows, columns), summed within groups."""
    number = int(groups.max()) + 1
    if number == len(groups):
        return columns
    return np.stack([np.bincount(groups, c, number) for c in columns.T], axis=-1)


def _plain(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else value
