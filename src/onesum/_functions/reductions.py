"""From the losses of the rows to what the caller wants of them, and what that does to gradients."""

import math
from typing import Any

from .._arguments import Call
from .._arguments.values import number
from .._backends.target import Target
from .._library import device, look_up, quiet, select, widest, widest_integer

Array = Any


@quiet
def divisor_of(call: Call, target: Target, reduction: str) -> Any:
    """What the sum is divided by: in a mean the weights of the rows' classes, or their number."""
    xp = call.xp
    if reduction != "mean" or target.classes is None:
        return rows_divisor(call, reduction)
    if target.weight is None and not call.ignores:
        return rows_divisor(call, reduction)
    rows = target.classes >= 0
    if target.weight is None:
        return number(call, xp.sum(xp.astype(rows, widest_integer(xp, target.classes))))
    weights = look_up(xp, target.weight, select(xp, rows, target.classes, 0))
    return number(call, call.backend.total(select(xp, rows, weights, 0.0)))


def rows_divisor(call: Call, reduction: str) -> Any:
    """The same where all rows count alike, but those that are masked."""
    if reduction != "mean":
        return 1.0
    rows, xp = call.counted, call.xp
    if isinstance(rows, int):
        return float(rows)
    # Of torch.compile a symbol: as a float it would be a constant of the graph.
    return xp.full((), rows, dtype=widest(xp, call.x), device=device(call.x))


def gradient_factor(call: Call, divisor: Any) -> Any:
    """What the gradient of the sum is multiplied by. The mean of nothing has none."""
    if isinstance(divisor, float):
        return 1.0 / divisor if divisor else math.nan
    xp, nothing = call.xp, divisor == 0.0
    return select(xp, nothing, math.nan, 1.0 / select(xp, nothing, 1.0, divisor))


@quiet
def reduced(call: Call, losses: Array, reduction: str, divisor: Any, dtype: Any) -> Any:
    """The losses of the rows as the caller wants them, rounded only here."""
    if reduction == "none":
        return call.reduced(call.xp.astype(losses, dtype), False)
    loss = call.backend.total(losses)
    if not isinstance(divisor, float):
        return call.as_given(loss * gradient_factor(call, divisor), dtype)
    return call.as_given(loss / divisor if divisor else loss * math.nan, dtype)
