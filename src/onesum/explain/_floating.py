"""What floating point makes of the formulas: as they are printed, and as onesum computes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from .._functions.jacobian import softmax_jacobian
from .._functions.losses import cross_entropy_value_and_grad
from .._functions.softmax import softmax, softmax_vjp
from ._exact import ARITHMETIC

Array = Any


@dataclass(frozen=True)
class Results:
    """Arrays of the dtype of the logits; None where there is no cotangent, or no target."""

    p: Array
    jacobian: Array
    gradient: Array | None
    loss: Array | None
    target_gradient: Array | None


def naive(x: Array, g: Array | None, target: int | None) -> Results:
    """The formulas as they are printed, with every result rounded to the dtype of x."""
    with np.errstate(all="ignore"):
        e = np.exp(x)
        p = e / e.sum()
        one = x.dtype.type(1)
        unit = np.eye(len(x), dtype=x.dtype)
        jacobian = p[:, None] * (unit - p[None, :])
        gradient = None if g is None else p * (g - (p * g).sum())
        if target is None:
            return Results(p, jacobian, gradient, None, None)
        target_gradient = p.copy()
        target_gradient[target] -= one
        return Results(p, jacobian, gradient, -np.log(p[target]), target_gradient)


def ours(x: Array, g: Array | None, target: int | None) -> Results:
    """onesum's functions."""
    p = softmax(x)
    jacobian = softmax_jacobian(p).to_dense()
    gradient = None if g is None else softmax_vjp(p, g)
    if target is None:
        return Results(p, jacobian, gradient, None, None)
    return Results(p, jacobian, gradient, *cross_entropy_value_and_grad(x, target))


def ulps(value: float, exact: Decimal, dtype: Any) -> float:
    """How far a floating-point number is from the exact one, in units in the last place of that.

    Zero has none: whatever else stands in its place is inf off.
    """
    if math.isnan(value) or exact.is_nan():
        return 0.0 if math.isnan(value) and exact.is_nan() else math.nan
    if math.isinf(value) or exact.is_infinite() or not exact:
        return 0.0 if Decimal(value) == exact else math.inf
    with np.errstate(all="ignore"), localcontext(ARITHMETIC):
        rounded = min(np.abs(np.asarray(float(exact)).astype(dtype)), np.finfo(dtype).max)
        unit = Decimal(float(np.spacing(rounded)))
        return float(abs(Decimal(value) - exact) / unit)
