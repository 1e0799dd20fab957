"""From the losses of the rows to what the caller wants of them, and what that does to gradients."""

import math
from typing import Any, get_args

from ._arguments import Call
from ._typing import Reduction
from .backends._library import quiet, select
from .backends._target import Target

Array = Any

REDUCTIONS = get_args(Reduction)


def reduction_of(value: Any) -> str:
    if not isinstance(value, str) or value not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {value!r}")
    return str(value)


@quiet
def divisor_of(call: Call, target: Target, reduction: str) -> float:
    """What the sum is divided by: in a mean the weights of the rows' classes, or their number."""
    xp = call.xp
    if reduction != "mean" or target.classes is None:
        return rows_divisor(call, reduction)
    rows = target.classes >= 0
    if target.weight is None:
        return float(xp.sum(xp.astype(rows, xp.int64)))
    index = xp.reshape(select(xp, rows, target.classes, 0), (-1,))
    weights = xp.take(target.weight, index, axis=0)
    return float(call.backend.total(select(xp, xp.reshape(rows, (-1,)), weights, 0.0)))


def rows_divisor(call: Call, reduction: str) -> float:
    """The same where all rows count alike, but those that are masked."""
    return float(call.counted) if reduction == "mean" else 1.0


def gradient_factor(divisor: float) -> float:
    """What the gradient of the sum is multiplied by. The mean of nothing has none."""
    return 1.0 / divisor if divisor else math.nan


@quiet
def reduced(call: Call, losses: Array, reduction: str, divisor: float, dtype: Any) -> Any:
    """The losses of the rows as the caller wants them, rounded only here."""
    if reduction == "none":
        return call.reduced(call.xp.astype(losses, dtype), False)
    loss = call.backend.total(losses)
    return call.as_given(loss / divisor if divisor else loss * math.nan, dtype)
