# mypy: allow-untyped-calls
"""The losses for NumPy, compiled: continues `native.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ._target import Target
from .native_functions import (
    computed_in,
    logsumexp,
    logsumexp_jvp,
    logsumexp_vjp,
    rounded,
    softmax,
    softmax_vjp,
)

if TYPE_CHECKING:
    from .native_functions import Array, Temperature

    Where = Array | None


def cross_entropy(
    x: Array,
    target: Target,
    axis: int,
    z_loss: float,
    where: Where,
    temperature: Temperature,
    by: float,
    gradient: bool,
    dtype: np.dtype[Any],
    out: Array | None,
) -> tuple[Array, Array | None]:
    """The losses of the rows, as float64, and `by` times the gradient of their sum, or None."""
    wide = _computed_in(x, dtype)
    y = target.probabilities
    if y is not None:
        wide = _computed_in(y, wide)
        y = _plain(y, wide)
    x = _plain(x, wide)
    room = out if wide == dtype and _may_write(out, x, y) else None
    losses, grad = _core.losses(
        "cross_entropy",
        x,
        y,
        where,
        *_aims(target),
        axis,
        _row_temperature(temperature, axis),
        target.smoothing,
        z_loss,
        by,
        gradient,
        room,
    )
    if gradient and (wide != dtype or room is not out):
        grad = rounded(grad, dtype, out)
    return losses, grad


def entropy(
    x: Array, axis: int, where: Where, temperature: Temperature, dtype: np.dtype[Any]
) -> Array:
    """One number per row: drops the axis."""
    x = _plain(x, _computed_in(x, dtype))
    t = _row_temperature(temperature, axis)
    values, _ = _core.losses(
        "entropy", x, None, where, None, None, None, axis, t, 0.0, 0.0, 1.0, False, None
    )
    return rounded(values, dtype, None)


def kl_divergence(
    x: Array,
    y: Array,
    axis: int,
    where: Where,
    temperature: Temperature,
    by: float,
    gradient: bool,
    dtype: np.dtype[Any],
) -> tuple[Array, tuple[Array, Array] | None]:
    """The divergences of the rows, as float64, and `by` times the gradients of their sum."""
    wide = _computed_in(x, _computed_in(y, dtype))
    x, y = _plain(x, wide), _plain(y, wide)
    t = _row_temperature(temperature, axis)

    def walk(wanted: int) -> tuple[Array, Array]:
        return _core.losses(
            "kl_divergence", x, y, where, None, None, None, axis, t, 0.0, 0.0, by, wanted, None
        )

    if not gradient:
        return walk(0)[0], None
    values, dx = walk(1)
    return values, (rounded(dx, dtype, None), rounded(walk(2)[1], dtype, None))


def cross_entropy_hvp(
    x: Array,
    target: Target,
    v: Array,
    axis: int,
    z_loss: float,
    where: Where,
    temperature: Temperature,
    by: float,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    """As the sum of two parts, a p (v - p.v) / T^2 and 2 z s (p.v) p / T^2, by the kernels of p."""
    wide = np.promote_types(_computed_in(x, _computed_in(v, dtype)), np.float32)
    x, v, y = _plain(x, wide), _plain(v, wide), target.probabilities
    y = None if y is None else _plain(y, wide)
    room = out if wide == dtype and _may_write(out) and _apart(out, x, v, y) else None
    result: Array = softmax(x, axis, where, temperature, wide, room)
    with np.errstate(all="ignore"):
        softmax_vjp(result, v, axis, temperature, wide, result)
        t = np.squeeze(temperature, axis) if isinstance(temperature, np.ndarray) else temperature
        batch = x.shape[:axis] + x.shape[axis + 1 :]
        ignored = np.zeros(batch, bool) if target.classes is None else target.classes < 0
        s = 1.0 if target.sample_weight is None else target.sample_weight
        factor, _ = _core.losses(
            "masses",
            x,
            y,
            where,
            *_aims(target),
            axis,
            1.0,
            target.smoothing,
            0.0,
            1.0,
            False,
            None,
        )
        if z_loss:
            log_sum = logsumexp(x, axis, where, temperature, wide, None)
            rising = np.where(ignored | (log_sum == -np.inf), 0.0, 2.0 * z_loss * s)
            factor = factor + np.where(np.isinf(log_sum), 0.0, rising * log_sum)  # J is 0 there
            mean = logsumexp_jvp(x, v, axis, where, temperature, wide, None)
            slope = np.expand_dims((rising * mean * by).astype(wide), axis)
        factor = np.expand_dims(np.broadcast_to(factor * by / t, batch).astype(wide), axis)
        result *= factor
        if z_loss:
            result += logsumexp_vjp(x, slope, axis, where, temperature, wide, None)
        lost = np.isnan(np.sum(result, axis=axis))
        rows = np.moveaxis(result, axis, -1)
        rows[ignored] = 0
        if lost.any():  # where x is -inf the derivative is 0 all the same
            rows[lost] = np.where(np.moveaxis(x, axis, -1)[lost] == -np.inf, 0, rows[lost])
    return result if result is out else rounded(result, dtype, out)


def _aims(target: Target) -> tuple[Array | None, Array | None, Array | None]:
    """Classes and weights as the core takes them."""
    classes, weight, sample = target.classes, target.weight, target.sample_weight
    return (
        None if classes is None else np.require(classes, np.int64, "A"),
        None if weight is None else np.require(weight, np.float64, ["C", "A"]),
        None if sample is None else np.require(sample, np.float64, "A"),
    )


def _computed_in(x: Array, dtype: np.dtype[Any]) -> np.dtype[Any]:
    return computed_in(x, dtype).newbyteorder("=")


def _plain(x: Array, dtype: np.dtype[Any]) -> Array:
    """The array as kernels can walk it: of this type, aligned; copied only if it is not."""
    return np.require(x, dtype, "A")


def _row_temperature(temperature: Temperature, axis: int) -> Any:
    if isinstance(temperature, float):
        return temperature
    return np.require(np.squeeze(temperature, axis), np.float64, "A")


def _may_write(out: Array | None, *inputs: Array | None) -> bool:
    """Whether a kernel may write there: each element over that it is computed from, or apart."""
    if out is None:
        return True
    return out.flags.aligned and all(
        a is None
        or not np.may_share_memory(a, out)
        or (
            (a.__array_interface__["data"] == out.__array_interface__["data"])
            and a.strides == out.strides
        )
        for a in inputs
    )


def _apart(out: Array | None, *inputs: Array | None) -> bool:
    return out is None or not any(a is not None and np.may_share_memory(a, out) for a in inputs)
