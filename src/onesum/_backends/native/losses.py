# mypy: allow-untyped-calls
"""The losses, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from ..protocol import Target
from .functions import computed_in, rounded

if TYPE_CHECKING:
    from .functions import Array, Temperature

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
    room = out if wide == dtype else None
    losses, grad = _core.losses(
        "cross_entropy",
        x,
        y,
        where,
        *_aims(target),
        None,
        axis,
        _row_temperature(temperature, axis),
        target.smoothing,
        z_loss,
        by,
        gradient,
        room,
    )
    if gradient and wide != dtype:
        grad = rounded(grad, dtype, out)
    return losses, grad


def entropy(
    x: Array, axis: int, where: Where, temperature: Temperature, dtype: np.dtype[Any]
) -> Array:
    """One number per row: drops the axis."""
    x = _plain(x, _computed_in(x, dtype))
    t = _row_temperature(temperature, axis)
    values, _ = _core.losses(
        "entropy", x, None, where, None, None, None, None, axis, t, 0.0, 0.0, 1.0, False, None
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
        rows = where, None, None, None, None
        return _core.losses("kl_divergence", x, y, *rows, axis, t, 0.0, 0.0, by, wanted, None)

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
    """`by` times the Hessian of the sum of the losses, times v."""
    wide = _computed_in(x, _computed_in(v, dtype))
    x, v = _plain(x, wide), _plain(v, wide)
    room = out if wide == dtype else None
    aims = _aims(target)
    hv: Array = _core.losses(
        "cross_entropy_hvp",
        x,
        v,
        where,
        *aims,
        _masses(x, target, where, axis),
        axis,
        _row_temperature(temperature, axis),
        0.0,
        z_loss,
        by,
        True,
        room,
    )[1]
    return hv if wide == dtype else rounded(hv, dtype, out)


def _masses(x: Array, target: Target, where: Where, axis: int) -> Array | None:
    """The sums of the rows' target masses, where they are not 1."""
    y = target.probabilities
    weighted = target.weight is not None or target.sample_weight is not None
    if y is None and not weighted and not target.smoothing:
        return None
    wide = x.dtype if y is None else _computed_in(y, x.dtype)
    x, y = _plain(x, wide), None if y is None else _plain(y, wide)
    options = axis, 1.0, target.smoothing, 0.0, 1.0, False, None
    sums: Array = _core.losses("masses", x, y, where, *_aims(target), None, *options)[0]
    return sums


def total(losses: Array) -> float:
    """The sum of numbers of float64, as good as if twice the digits had been kept."""
    return _core.total(np.require(losses, np.float64, ["C", "A"]))


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
