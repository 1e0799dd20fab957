"""One number a row, and what is asked of all of them."""

from __future__ import annotations

import math
import numbers
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0)


class Distribution:
    """One number a row: every one is kept, so that all below is exact.

    Parameters
    ----------
    values : array_like
        One float64 a row, at least one.

    Attributes
    ----------
    values : ndarray of float64
        The rows' numbers, in the order of the rows.
    mean : float
    stderr : float
        The standard error of the mean, s / sqrt(n), with the sample's standard deviation s, which
        divides by n - 1; NaN of one row, or where a number is infinite.
    min, max : float
    rms : float
        The root of the mean square.
    infinite : int
        How many rows have an infinite number.

    Examples
    --------
    >>> from onesum.compare import Distribution
    >>> d = Distribution([1.0, 2.0, 3.0, 6.0])
    >>> d.mean, d.percentile(50), d.max
    (3.0, 2.5, 6.0)
    """

    def __init__(self, values: Any) -> None:
        self.values: NDArray[np.float64] = np.asarray(values, dtype=np.float64).reshape(-1)
        if not self.values.size:
            raise ValueError("values: expected at least one number, got none")

    @cached_property
    def mean(self) -> float:
        with np.errstate(invalid="ignore", over="ignore"):  # of inf and -inf together: NaN
            return float(self.values.mean())

    @cached_property
    def stderr(self) -> float:
        return standard_error(self.values)

    @cached_property
    def min(self) -> float:
        return float(self.values.min())

    @cached_property
    def max(self) -> float:
        return float(self.values.max())

    @cached_property
    def rms(self) -> float:
        with np.errstate(over="ignore"):
            return math.sqrt(float(np.square(self.values).mean()))

    @cached_property
    def infinite(self) -> int:
        return int(np.isinf(self.values).sum())

    @cached_property
    def _sorted(self) -> NDArray[np.float64]:
        return np.sort(self.values)

    def percentile(self, q: float) -> float:
        """The number that q percent of the rows are not above.

        Parameters
        ----------
        q : float
            From 0 to 100. Between two rows it is interpolated linearly, as by `numpy.percentile`.

        Raises
        ------
        TypeError, ValueError
            If q is no number from 0 to 100.
        """
        wanted = f"q: expected a number from 0 to 100, got {q!r:.60}"
        if not isinstance(q, numbers.Real):
            raise TypeError(wanted)
        if not 0.0 <= q <= 100.0:
            raise ValueError(wanted)
        place = (len(self._sorted) - 1) * (q / 100.0)
        below = math.floor(place)
        low, high = (float(self._sorted[i]) for i in (below, math.ceil(place)))
        part = place - below
        return low if low == high or not part else low * (1.0 - part) + high * part

    def to_dict(self) -> dict[str, Any]:
        """The mean, its standard error, the extremes and percentiles, as JSON can hold them: None
        for what is not finite, of which `infinite` counts the rows.
        """
        return {
            "mean": finite(self.mean),
            "stderr": finite(self.stderr),
            "rms": finite(self.rms),
            "min": finite(self.min),
            "max": finite(self.max),
            "infinite": self.infinite,
            "percentiles": {f"{q:g}": finite(self.percentile(q)) for q in PERCENTILES},
        }

    def __repr__(self) -> str:
        return f"Distribution(rows={len(self.values)}, mean={self.mean:.6g} ± {self.stderr:.2g})"


def standard_error(values: NDArray[np.float64]) -> float:
    """That of the mean; NaN where there is none."""
    n = len(values)
    if n < 2 or not np.isfinite(values).all():
        return math.nan
    return float(values.std(ddof=1)) / math.sqrt(n)


def share_error(share: float, n: int) -> float:
    """The standard error of a mean of n zeros and ones; NaN of one."""
    return math.sqrt(share * (1.0 - share) / (n - 1)) if n > 1 else math.nan


def perplexity_of(loss: float, stderr: float) -> tuple[float, float]:
    """exp of a mean loss, and its standard error, by the delta method."""
    with np.errstate(over="ignore"):
        value = float(np.exp(loss))
    return value, value * stderr


def finite(value: float) -> float | None:
    """The number, or None if JSON has none for it."""
    return value if math.isfinite(value) else None
