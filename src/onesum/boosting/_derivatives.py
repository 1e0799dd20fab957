"""Gradient, curvature and mean of the log loss, for scores of shape (n, K) and class labels.

For a row of weight s with scores x, p = softmax(x), the class y and the target masses q of
`onesum.cross_entropy`, the loss and its gradient are

    L = sum_c q_c (1 - p_c)^gamma (-log p_c)
    dL/dx_c = M p_c - q_c F(p_c),    M = sum_c q_c F(p_c),
    F(p) = (1 - p)^gamma (1 + gamma l / (e^l - 1)),    l = -log p.

So the focal loss has the gradient of a cross entropy with the masses q F, and with a single class
that of the plain one, times a number per row. F is 1 where gamma is 0.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np

from .._backends.target import Target
from .._functions.log_softmax import log_softmax
from .._functions.losses import cross_entropy, cross_entropy_value_and_grad
from .._functions.softmax import softmax
from .._typing import ArrayLike, Curvature, DTypeLike, NDArray, Number
from ._rows import blocks, checked, masses, need_finite, row_weights, rows_of_a_block

Array = Any

CURVATURES: tuple[Curvature, ...] = get_args(Curvature)
FLOOR = 1e-16  # XGBoost's: no leaf divides by 0; in each type its first number from there on


def gradient_and_curvature(
    x: ArrayLike,
    target: ArrayLike,
    *,
    curvature: Curvature = "diagonal",
    label_smoothing: Number = 0.0,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    gamma: Number = 0.0,
    dtype: DTypeLike = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    r"""First and second derivatives of the log loss by the scores, row by row.

    .. math:: g_c = M p_c - q_c F(p_c), \quad h_c = M \, k \, p_c (1 - p_c)
        \text{ or } \lvert g_c \rvert,

    with p the softmax of the row's scores, q the target masses of `onesum.cross_entropy`,
    :math:`F(p) = (1 - p)^\gamma (1 + \gamma \ell / (e^\ell - 1))`, :math:`\ell = -\log p`,
    and :math:`M = \sum_c q_c F(p_c)`. Without smoothing, weights and gamma g is p - y and M is 1.

    Parameters
    ----------
    x : array_like
        Raw scores, one row per example and one column for each of K >= 2 classes.
    target : array_like
        The classes, one per row: whole numbers from 0 to K - 1, of any real type.
    curvature : {"diagonal", "scaled", "upper_bound", "absolute"}, optional
        The factor k of p (1 - p): 1, the diagonal of the Hessian of the cross entropy; K / (K - 1),
        as LightGBM has it; 2, an upper bound of the Hessian, as XGBoost has it. Or abs(g).
    label_smoothing : float, optional
        From 0 to 1: so much of the target is spread evenly over all classes.
    weight : array_like, optional
        Weights of the classes, one each, >= 0.
    sample_weight : array_like, optional
        Weights of the rows, one each, >= 0.
    gamma : float, optional
        The exponent of the focal loss, >= 0. The gradient is exact. The curvature is that of the
        cross entropy with the masses q F, held fixed: the Hessian of the focal loss itself is
        negative in places.
    dtype : dtype, optional
        Type of the results; by default that of x.

    Returns
    -------
    gradient, curvature : array
        Of the shape and the memory order of x. The curvature is at least the type's smallest number
        from 1e-16 on: in float16 that is 2^-24, its smallest positive one.

    Raises
    ------
    IndexError
        If a class is out of range.
    TypeError, ValueError
        If an argument is not as said above, or has masked elements, or the loss of a row is not
        finite.

    Notes
    -----
    All is computed in float64, and rounded once. The curvature is right within 1e-15 k M: to the
    last digits of float32 where it is not as small as that.

    References
    ----------
    J. Friedman, T. Hastie, R. Tibshirani, "Additive logistic regression", 2000, for p (1 - p).
    T.-Y. Lin et al., "Focal Loss for Dense Object Detection", 2017.

    Examples
    --------
    >>> from onesum.boosting import gradient_and_curvature
    >>> g, h = gradient_and_curvature([[0.0, 0.0], [20.0, 0.0]], [1, 0])
    >>> g
    array([[ 5.00000000e-01, -5.00000000e-01],
           [-2.06115362e-09,  2.06115362e-09]])
    >>> h
    array([[2.50000000e-01, 2.50000000e-01],
           [2.06115361e-09, 2.06115361e-09]])
    """
    call, rows, gamma = checked(x, target, label_smoothing, weight, sample_weight, gamma)
    k = _factor(curvature, call.shape[1])
    gradient = np.empty_like(call.x, dtype=call.dtype(dtype))
    result = np.empty_like(gradient)
    some = gradient[: rows_of_a_block(call.x)]
    space = [np.empty_like(some, dtype=np.float64) for _ in range(3)]
    # NumPy compares two arrays faster than one with a number.
    floor = np.full_like(some, _floor(some.dtype))
    with np.errstate(all="ignore"):  # underflow is a value
        for at, scores, block in blocks(call.x, rows):
            g, h, other = (a[: len(scores)] for a in space)
            mass = _gradient(at, scores, block, gamma, g, h)
            if k is None:
                np.abs(g, out=h)
            else:
                np.multiply(h, np.subtract(1.0, h, out=other), out=h)
                if np.ndim(mass) or k * mass != 1.0:
                    h *= k * mass
            gradient[at] = g
            result[at] = h
            np.maximum(result[at], floor[: len(scores)], out=result[at])
    return gradient, result


def log_loss(
    x: ArrayLike,
    target: ArrayLike,
    *,
    label_smoothing: Number = 0.0,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    gamma: Number = 0.0,
) -> float:
    r"""The mean of the loss whose derivatives `gradient_and_curvature` gives.

    .. math:: L = \frac{\sum_i L_i}{\sum_i s_i w_{y_i}}, \quad
        L_i = -\sum_c q_c (1 - p_c)^\gamma \log p_c,

    over the rows i with the classes y, the row weights s and the class weights w.

    Parameters
    ----------
    x, target, label_smoothing, weight, sample_weight, gamma
        As in `gradient_and_curvature`.

    Returns
    -------
    loss : float
        NaN if there are no rows, or all their weights are 0.

    Raises
    ------
    IndexError, TypeError, ValueError
        As in `gradient_and_curvature`.

    Examples
    --------
    >>> from onesum.boosting import log_loss
    >>> round(log_loss([[0.0, 0.0], [20.0, 0.0]], [1, 0]), 6)
    0.346574
    """
    call, rows, gamma = checked(x, target, label_smoothing, weight, sample_weight, gamma)
    total = 0.0
    with np.errstate(all="ignore"):
        for at, scores, block in blocks(call.x, rows):
            total += float(np.sum(_losses(at, scores, block, gamma)))
    weights = row_weights(rows)
    count = len(call.x) * weights if isinstance(weights, float) else float(np.sum(weights))
    return total / count if count else math.nan


def _floor(dtype: Any) -> Any:
    """The least curvature in this type."""
    floor = dtype.type(FLOOR)
    return floor if float(floor) >= FLOOR else np.nextafter(floor, dtype.type(1))


def _factor(curvature: Any, n: int) -> float | None:
    """What p (1 - p) is multiplied by; None for abs(g)."""
    factors = dict(zip(CURVATURES, (1.0, n / (n - 1), 2.0, None), strict=True))
    if curvature not in CURVATURES:
        wanted = f"one of {', '.join(CURVATURES)}"
        raise ValueError(f"curvature: expected {wanted}, got {curvature!r}")
    return factors[curvature]


def _gradient(at: slice, x: Array, target: Target, gamma: float, g: Array, p: Array) -> Any:
    """Put the gradient in g, and p or 1 - p in p; return the masses, one per row or one for all."""
    if target.smoothing:
        q = masses(target, x.shape[1])
        if gamma:
            q *= _slope(-log_softmax(x), gamma)
        losses, _ = cross_entropy_value_and_grad(x, q, reduction="none", out=g)
        need_finite(at, x, losses)
        softmax(x, out=p)
        return np.sum(q, axis=1, keepdims=True)
    losses, _ = cross_entropy_value_and_grad(x, target.classes, reduction="none", out=g)
    need_finite(at, x, losses)
    np.abs(g, out=p)  # p, but 1 - p for the class of the row: p (1 - p) is the same
    mass = row_weights(target)
    if gamma:
        mass = mass * _slope(losses, gamma)
    if isinstance(mass, float):
        return mass
    mass = mass[:, None]
    g *= mass
    return mass


def _losses(at: slice, x: Array, target: Target, gamma: float) -> Array:
    """The losses of the rows."""
    if target.smoothing:
        losses = -log_softmax(x)
        q = masses(target, x.shape[1])
        losses = np.where(q == 0.0, 0.0, losses)
        losses = np.sum(q * losses * _away(losses) ** gamma, axis=1)
    else:
        losses = cross_entropy(x, target.classes, reduction="none")
        losses = losses * _away(losses) ** gamma * row_weights(target)
    need_finite(at, x, losses)
    return losses


def _slope(losses: Array, gamma: float) -> Array:
    """F, where -log p is given: by how much the focal loss changes with it."""
    within = np.clip(losses, 1e-300, 700.0)  # the limits of l / (e^l - 1) are 1 and 0
    return _away(losses) ** gamma * (1.0 + gamma * within / np.expm1(within))


def _away(losses: Array) -> Array:
    """1 - p, where -log p is given."""
    return -np.expm1(-losses)
