"""Confidences in bins, and how far they are from what came true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from .._arguments.options import count_of
from .._calibration.rows import Part, Rows
from .._functions.softmax import softmax
from .._typing import From
from ._bootstrap import RESAMPLES, Resampling, grouped

Array = Any
Strategy: TypeAlias = Literal["width", "mass"]

STRATEGIES = get_args(Strategy)
BINS = 15
# The sums of each bin are held for some hundred groups of rows.
MOST_BINS = 2**16


def calibration_error(
    x: Any,
    labels: Any,
    axis: int = -1,
    *,
    bins: int = BINS,
    strategy: Strategy = "width",
    per_class: bool = False,
    from_: From = "logits",
    sample_weight: Any = None,
    where: Any = None,
    confidence: float | None = None,
    n_resamples: int = RESAMPLES,
    rng: Any = None,
) -> Any:
    r"""The expected calibration error: how far confidence and accuracy are apart, in bins.

    .. math:: \sum_b \frac{n_b}{n} \, |\mathrm{accuracy}_b - \mathrm{confidence}_b|

    The confidence of a row is its largest probability, and it is right if that is the label's (the
    first of equal ones). Per class it is the probability of the class, and right if that is the
    label.

    Parameters
    ----------
    x, labels, axis, from_, sample_weight, where, confidence, n_resamples, rng
        As in `negative_log_likelihood`.
    bins : int, optional
        How many there are, up to 65 536. Each has its upper edge and not its lower one.
    strategy : {"width", "mass"}, optional
        Bins of equal width from 0 to 1, or of as equal a number (weight) of rows as ties allow.
    per_class : bool, optional
        One error for each class. Their mean is known as the classwise (static) calibration error.
        It holds all probabilities in memory.

    Returns
    -------
    float, ndarray of float64 or Estimate
        The error, or with per_class one for each class; with a confidence and its interval.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As from `negative_log_likelihood`; if bins or strategy is not as said above.

    Notes
    -----
    Of finite rows the error is above 0 even if all is calibrated, the more so the more bins there
    are. The interval says how the number varies from one sample of as many rows to another. Edges
    of equal mass stay where they are in all resamples.

    References
    ----------
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining Well Calibrated Probabilities Using
    Bayesian Binning", 2015. J. Nixon et al., "Measuring Calibration in Deep Learning", 2019, for
    equal mass and classes.

    Examples
    --------
    >>> from onesum.metrics import calibration_error
    >>> p = [[0.8, 0.2], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    >>> round(calibration_error(p, [0, 1, 1, 1], bins=5, from_="probabilities"), 6)
    0.175
    >>> calibration_error(p, [0, 1, 1, 1], per_class=True, from_="probabilities").round(6)
    array([0.325, 0.325])
    """
    bins, strategy = bins_of(bins, strategy)
    rows = Rows(x, labels, axis, from_, sample_weight, where)
    resampling = Resampling.of(confidence, n_resamples, rng)
    shares, right = probabilities(rows) if per_class else confidences(rows)
    return error(shares, right, rows.counted_weights, resampling, bins, strategy)


def error(
    shares: Array,
    right: Array,
    given: Array | None,
    resampling: Resampling,
    bins: int = BINS,
    strategy: Strategy = "width",
) -> Any:
    """Of rows of which the confidence is known, whether they are right, and the weights given; or
    of so many columns of these.
    """
    one = shares.ndim == 1
    if one:
        shares, right = shares[:, np.newaxis], right[:, np.newaxis]
    rows, number = shares.shape
    weights = np.ones(rows) if given is None else given
    groups = grouped(rows, number * bins + 1)
    n_groups = int(groups.max()) + 1
    sums = np.empty((n_groups, number * bins + 1))
    sums[:, -1] = np.bincount(groups, weights, n_groups)
    for c in range(number):
        inner = edges_of(shares[:, c], given, bins, strategy)[1:-1]
        gaps = weights * (right[:, c] - shares[:, c])
        place = groups * bins + np.searchsorted(inner, shares[:, c])
        total = np.bincount(place, gaps, n_groups * bins)
        sums[:, c * bins : (c + 1) * bins] = total.reshape(n_groups, bins)

    def errors(sums: Array) -> Array:
        errors = np.abs(sums[:-1]).reshape(number, bins).sum(axis=-1) / sums[-1]
        return errors[0] if one else errors

    return resampling.estimate(sums, errors, most=1.0)


def bins_of(bins: Any, strategy: Any) -> tuple[int, Strategy]:
    number = count_of("bins", bins, MOST_BINS)
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy: expected one of {', '.join(STRATEGIES)}, got {strategy!r}")
    return number, strategy


def edges_of(shares: Array, weights: Array | None, bins: int, strategy: Strategy) -> Array:
    """Those of the bins, from the lowest to the highest; equal ones have nothing between them."""
    if strategy == "width":
        return np.linspace(0.0, 1.0, bins + 1)
    order = np.argsort(shares)
    mass = np.cumsum(np.ones(len(shares)) if weights is None else weights[order])
    mass *= bins / mass[-1]
    # What the sum's rounding leaves a bin short of is no row.
    places = np.searchsorted(mass, np.arange(bins + 1) - 1e-9)
    return shares[order[np.minimum(places, len(shares) - 1)]]


def confidences(rows: Rows) -> tuple[Array, Array]:
    """The largest probability of each row, and whether it is that of the label."""
    return _gathered(confidence_of_part(part) for part in rows.parts())


def confidence_of_part(part: Part) -> tuple[Array, Array]:
    top = part.x.argmax(axis=-1)
    share = np.take_along_axis(shares_of(part), top[:, np.newaxis], axis=-1)[:, 0]
    return share, top == part.labels


def shares_of(part: Part) -> Array:
    """The probabilities: as they were given, so that one on the edge of a bin stays there."""
    return softmax(part.x) if part.p is None else part.p


def probabilities(rows: Rows, label: int | None = None) -> tuple[Array, Array]:
    """Those of all classes, or of one, and whether they are that of the label."""
    at = slice(None) if label is None else label
    classes = np.arange(rows.classes)[at]

    def of_part(part: Part) -> tuple[Array, Array]:
        return shares_of(part)[:, at], np.equal.outer(part.labels, classes)

    return _gathered(of_part(part) for part in rows.parts())


def _gathered(pairs: Iterable[tuple[Array, Array]]) -> tuple[Array, Array]:
    shares, right = zip(*pairs, strict=True)
    return np.concatenate(shares), np.concatenate(right)
