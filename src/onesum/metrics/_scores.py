"""Scores that are means over rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._arguments.options import count_of
from .._calibration.rows import Part, Rows
from .._functions.losses import cross_entropy, cross_entropy_value_and_grad
from .._functions.ranks import before
from .._typing import From
from ._bootstrap import RESAMPLES, Resampling, group_sums, grouped

Array = Any


def negative_log_likelihood(
    x: Any,
    labels: Any,
    axis: int = -1,
    *,
    from_: From = "logits",
    sample_weight: Any = None,
    where: Any = None,
    confidence: float | None = None,
    n_resamples: int = RESAMPLES,
    rng: Any = None,
) -> Any:
    r"""The mean of -log p of the labels, which is the mean cross entropy.

    .. math:: -\frac{\sum_i s_i \log p_{i, y_i}}{\sum_i s_i}

    Parameters
    ----------
    x : array_like
        What `from_` says: an array of any library, or anything with shape, dtype and slicing, as
        `numpy.memmap`; read a block at a time, and computed with in float64.
    labels : array_like of int
        The class that came true, one per row: of the shape of x without the class axis.
    axis : int, optional
        The class axis, by default the last.
    from_ : {"logits", "log_probabilities", "probabilities"}, optional
        What x holds; it is never guessed. Rows of probabilities sum to 1 within 0.001, and are
        divided by their sum but where they are put into bins.
    sample_weight : array_like, optional
        Weights of the rows: 0, or from 1e-100 to 1e100. What a row without weight holds does not
        matter.
    where : array_like of bool, optional
        The classes that there are, broadcast to the shape of x. The mask of a masked array says
        the same; a logit of -inf, too.
    confidence : float, optional
        Between 0 and 1, as 0.95: an interval is wanted.
    n_resamples : int, optional
        How many times the rows are drawn anew for it. More than some thousand are drawn in groups.
    rng : None, int or numpy.random.Generator, optional
        What draws them: with a seed, the same every time.

    Returns
    -------
    float, or with a confidence Estimate
        With `value`, `low` and `high`, by the bootstrap: the percentiles of the resamples' scores,
        moved by how far their mean is from the value.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        If x is not what `from_` says, a row has no softmax, a label is no class, or an argument is
        not as said above.

    References
    ----------
    B. Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979, for the intervals.

    Examples
    --------
    >>> from onesum.metrics import negative_log_likelihood
    >>> p = [[0.5, 0.5], [0.25, 0.75]]
    >>> round(negative_log_likelihood(p, [0, 1], from_="probabilities"), 6)
    0.490415
    """
    rows = Rows(x, labels, axis, from_, sample_weight, where)
    resampling = Resampling.of(confidence, n_resamples, rng)
    return _mean(rows, losses, resampling)


def perplexity(
    x: Any,
    labels: Any,
    axis: int = -1,
    *,
    from_: From = "logits",
    sample_weight: Any = None,
    where: Any = None,
    confidence: float | None = None,
    n_resamples: int = RESAMPLES,
    rng: Any = None,
) -> Any:
    """The exponential of `negative_log_likelihood`; inf where that is beyond float64.

    Parameters
    ----------
    x, labels, axis, from_, sample_weight, where, confidence, n_resamples, rng
        As in `negative_log_likelihood`.

    Returns
    -------
    float or Estimate
        The score; with a confidence and its interval.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As from `negative_log_likelihood`.

    References
    ----------
    F. Jelinek et al., "Perplexity: a measure of the difficulty of speech recognition tasks", 1977.

    Examples
    --------
    >>> from onesum.metrics import perplexity
    >>> round(perplexity([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [0, 2]), 6)
    3.0
    """
    rows = Rows(x, labels, axis, from_, sample_weight, where)
    resampling = Resampling.of(confidence, n_resamples, rng)

    def exponential(loss: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.exp(loss)

    return _mean(rows, losses, resampling, exponential, least=1.0)


def brier_score(
    x: Any,
    labels: Any,
    axis: int = -1,
    *,
    from_: From = "logits",
    sample_weight: Any = None,
    where: Any = None,
    confidence: float | None = None,
    n_resamples: int = RESAMPLES,
    rng: Any = None,
) -> Any:
    r"""The mean squared distance of the probabilities from the label's.

    .. math:: \frac{\sum_i s_i \sum_c (p_{ic} - [c = y_i])^2}{\sum_i s_i}

    From 0 to 2. Of two classes it is twice what is often called so, which counts one of them.

    Parameters
    ----------
    x, labels, axis, from_, sample_weight, where, confidence, n_resamples, rng
        As in `negative_log_likelihood`.

    Returns
    -------
    float or Estimate
        The score; with a confidence and its interval.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As from `negative_log_likelihood`.

    References
    ----------
    G. W. Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950.

    Examples
    --------
    >>> from onesum.metrics import brier_score
    >>> brier_score([[0.5, 0.5], [0.25, 0.75]], [0, 1], from_="probabilities")
    0.3125
    """
    rows = Rows(x, labels, axis, from_, sample_weight, where)
    return _mean(rows, squares, Resampling.of(confidence, n_resamples, rng), most=2.0)


def top_k_accuracy(
    x: Any,
    labels: Any,
    axis: int = -1,
    *,
    k: int = 5,
    from_: From = "logits",
    sample_weight: Any = None,
    where: Any = None,
    confidence: float | None = None,
    n_resamples: int = RESAMPLES,
    rng: Any = None,
) -> Any:
    """The part of the rows whose label is among the k likeliest classes.

    Parameters
    ----------
    x, labels, axis, from_, sample_weight, where, confidence, n_resamples, rng
        As in `negative_log_likelihood`.
    k : int, optional
        How many classes are looked at. Of equal ones the first comes before the others; what is
        left out comes last.

    Returns
    -------
    float or Estimate
        The score; with a confidence and its interval.

    Raises
    ------
    TypeError, ValueError, IndexError, numpy.exceptions.AxisError
        As from `negative_log_likelihood`; if k is below 1.

    Examples
    --------
    >>> from onesum.metrics import top_k_accuracy
    >>> x = [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]
    >>> top_k_accuracy(x, [1, 2], k=1), top_k_accuracy(x, [1, 2], k=2)
    (0.0, 0.5)
    """
    number = count_of("k", k)
    rows = Rows(x, labels, axis, from_, sample_weight, where)

    def within(part: Part) -> Array:
        own = np.take_along_axis(part.x, part.labels[:, np.newaxis], axis=-1)
        return before(part.x, np.arange(rows.classes), own, part.labels[:, np.newaxis]) < number

    return _mean(rows, within, Resampling.of(confidence, n_resamples, rng), most=1.0)


# --- what the rows are asked, a part of them at a time ---


def losses(part: Part) -> Array:
    """-log p of the labels."""
    return cross_entropy(part.x, part.labels, reduction="none")


def squares(part: Part) -> Array:
    """The squared distances: the gradient of the loss is p less the label's, with all digits.

    A logit of -inf has no gradient; where it is the label's, that is 1 away.
    """
    difference = cross_entropy_value_and_grad(part.x, part.labels, reduction="sum")[1]
    own = np.take_along_axis(part.x, part.labels[:, np.newaxis], axis=-1)[:, 0]
    return np.vecdot(difference, difference) + (own == -np.inf)


def _mean(
    rows: Rows,
    of: Callable[[Part], Array],
    resampling: Resampling,
    function: Callable[[Array], Array] = lambda mean: mean,
    least: float = 0.0,
    most: float = math.inf,
) -> Any:
    """A function of the weighted mean of one number a row."""
    values = np.concatenate([of(part) for part in rows.parts()]).astype(np.float64)
    return mean(values, rows.counted_weights, resampling, function, least, most)


def mean(
    values: Array,
    weights: Array | None,
    resampling: Resampling,
    function: Callable[[Array], Array] = lambda mean: mean,
    least: float = 0.0,
    most: float = math.inf,
) -> Any:
    """The same of the numbers themselves. No weight is 0."""
    weights = np.ones(len(values)) if weights is None else weights
    columns = np.stack([weights * values, weights], axis=-1)
    sums = group_sums(columns, grouped(len(values), 2))

    def of_mean(sums: Array) -> Array:
        return function(sums[..., 0] / sums[..., 1])

    return resampling.estimate(sums, of_mean, least, most)
