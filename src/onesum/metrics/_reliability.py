"""The bins of a calibration error, for a person to look at."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._arguments.options import index_of
from .._calibration.rows import Rows
from .._typing import From
from ._bootstrap import confidence_of
from ._calibration import BINS, Strategy, bins_of, confidences, edges_of, probabilities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Bins of confidence, and how many rows were right in each. NaN where a bin is empty.

    Attributes
    ----------
    edges : ndarray of shape (bins + 1,)
    rows : ndarray of int, of shape (bins,)
        How many rows a bin has.
    share : ndarray of shape (bins,)
        Its part of all weight.
    confidence, accuracy : ndarray of shape (bins,)
        The mean confidence of its rows, and the part of them that is right.
    low, high : ndarray of shape (bins,)
        Wilson's interval of the accuracy; weighted rows count as (sum s)^2 / sum s^2.

    Examples
    --------
    >>> from onesum.metrics import reliability
    >>> r = reliability([[0.8, 0.2], [0.3, 0.7]], [0, 1], bins=2, from_="probabilities")
    >>> round(r.calibration_error, 6), r.share
    (0.25, array([0., 1.]))
    """

    edges: Array
    rows: NDArray[np.int64]
    share: Array
    confidence: Array
    accuracy: Array
    low: Array
    high: Array

    @property
    def calibration_error(self) -> float:
        """As from the function `calibration_error`."""
        return float(np.nansum(self.share * np.abs(self.accuracy - self.confidence)))

    @property
    def max_calibration_error(self) -> float:
        """That of the bin in which it is largest."""
        return float(np.nanmax(np.abs(self.accuracy - self.confidence)))

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it: None for NaN."""
        arrays = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "calibration_error": self.calibration_error,
            "max_calibration_error": self.max_calibration_error,
            **{
                name: [None if v != v else v for v in values.tolist()]
                for name, values in arrays.items()
            },
        }

    def figure(self) -> Figure:
        """A matplotlib figure: the reliability diagram, and beneath it where the rows are."""
        from ._figure import diagrams

        return diagrams({"": self})


def reliability(
    x: Any,
    labels: Any,
    axis: int = -1,
    *,
    bins: int = BINS,
    strategy: Strategy = "width",
    label: int | None = None,
    from_: From = "logits",
    sample_weight: Any = None,
    where: Any = None,
    confidence: float = 0.95,
) -> Reliability:
    """How often the classifier was right, by how sure it was.

    Parameters
    ----------
    x, labels, axis, from_, sample_weight, where
        As in `negative_log_likelihood`.
    bins, strategy
        As in `calibration_error`.
    label : int, optional
        A class whose probability is looked at, in the place of the largest one.
    confidence : float, optional
        That of the intervals.

    Returns
    -------
    Reliability
        The bins, which `Reliability.figure` draws.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As from `calibration_error`; if label is no class.

    References
    ----------
    M. H. DeGroot, S. E. Fienberg, "The Comparison and Evaluation of Forecasters", 1983. E. B.
    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.

    Examples
    --------
    >>> from onesum.metrics import reliability
    >>> p = [[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    >>> r = reliability(p, [0, 1, 1, 1], bins=2, from_="probabilities")
    >>> r.rows, r.confidence.round(3), r.accuracy
    (array([0, 4]), array([  nan, 0.725]), array([ nan, 0.75]))
    """
    bins, strategy = bins_of(bins, strategy)
    z = normal_quantile(confidence_of(confidence))
    rows = Rows(x, labels, axis, from_, sample_weight, where)
    number = _class_of(label, rows.classes)
    shares, right = confidences(rows) if number is None else probabilities(rows, number)
    return binned(shares, right, rows.counted_weights, bins, strategy, z)


def binned(
    shares: Array,
    right: Array,
    weights: Array | None,
    bins: int = BINS,
    strategy: Strategy = "width",
    z: float = 1.96,
) -> Reliability:
    """Rows, of which the confidence is known and whether they are right."""
    edges = edges_of(shares, weights, bins, strategy)
    place = np.searchsorted(edges[1:-1], shares)
    s = np.ones(len(shares)) if weights is None else weights

    def total(values: Array) -> Array:
        return np.bincount(place, values, bins).astype(np.float64, copy=False)

    weight, squares = total(s), total(s * s)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = total(s * right) / weight
        low, high = _wilson(accuracy, weight * weight / squares, z)
        return Reliability(
            edges=edges,
            rows=np.bincount(place, minlength=bins),
            share=weight / weight.sum(),
            confidence=total(s * shares) / weight,
            accuracy=accuracy,
            low=low,
            high=high,
        )


def normal_quantile(confidence: float) -> float:
    """How many standard errors an interval reaches."""
    return NormalDist().inv_cdf(0.5 * (1.0 + confidence))


def _wilson(p: Array, n: Array, z: float) -> tuple[Array, Array]:
    """Where a true share may be of which p was seen in n."""
    centre = p + z * z / (2.0 * n)
    half = z * np.sqrt(p * (1.0 - p) / n + (z / (2.0 * n)) ** 2)
    scale = 1.0 + z * z / n
    return np.maximum((centre - half) / scale, 0.0), np.minimum((centre + half) / scale, 1.0)


def _class_of(label: Any, classes: int) -> int | None:
    number = index_of("label", label)
    if number is not None and not 0 <= number < classes:
        raise IndexError(f"label: expected a class from 0 to {classes - 1}, got {number}")
    return number
