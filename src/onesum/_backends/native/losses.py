# mypy: allow-untyped-calls
"""The losses, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from ..target import Target
from .functions import as_core, computed_in, from_core, rounded

if TYPE_CHECKING:
    from .functions import Array, Temperature

    Where = Array | None

_NO_TARGET = Target()


def cross_entropy(
    x: Array,
    target: Target,
    axis: int,
    z_loss: float,
    softcap: float | None,
    where: Where,
    temperature: Temperature,
    by: float,
    gradient: bool,
    dtype: np.dtype[Any],
    out: Array | None,
) -> tuple[Array, Array | None]:
    """The losses of the rows, as float64, and `by` times the gradient of their sum, or None."""
    return _losses(
        "cross_entropy",
        dtype,
        axis,
        where,
        temperature,
        x,
        target.probabilities,
        target=target,
        z_loss=z_loss,
        softcap=softcap,
        by=by,
        gradient=gradient,
        out=out,
    )


def entropy(
    x: Array, axis: int, where: Where, temperature: Temperature, dtype: np.dtype[Any]
) -> Array:
    """One number per row: drops the axis."""
    return rounded(_losses("entropy", dtype, axis, where, temperature, x)[0], dtype, None)


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

    def walk(wanted: int) -> tuple[Array, Any]:
        rows = axis, where, temperature
        return _losses("kl_divergence", dtype, *rows, x, y, by=by, gradient=wanted)

    if not gradient:
        return walk(0)[0], None
    values, dx = walk(1)
    return values, (dx, walk(2)[1])


def cross_entropy_hvp(
    x: Array,
    target: Target,
    v: Array,
    axis: int,
    z_loss: float,
    softcap: float | None,
    where: Where,
    temperature: Temperature,
    by: float,
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    """`by` times the Hessian of the sum of the losses, times v."""
    y = target.probabilities
    wide = dtype if y is None else computed_in(y, dtype)
    hv: Any = _losses(
        "cross_entropy_hvp",
        wide,
        axis,
        where,
        temperature,
        x,
        v,
        y if softcap else None,
        target=target,
        masses=_masses(x, target, where, axis, wide),
        z_loss=z_loss,
        softcap=softcap,
        by=by,
        gradient=True,
        out=out if wide == dtype else None,
    )[1]
    return hv if wide == dtype else rounded(hv, dtype, out)


def _masses(
    x: Array, target: Target, where: Where, axis: int, dtype: np.dtype[Any]
) -> Array | None:
    """The sums of the rows' target masses, where they are not 1."""
    y = target.probabilities
    weighted = target.weight is not None or target.sample_weight is not None
    if y is None and not weighted and not target.smoothing:
        return None
    return _losses("masses", dtype, axis, where, 1.0, x, y, target=target)[0]


def total(losses: Array) -> float:
    """The sum of numbers of float64, as good as if twice the digits had been kept."""
    return _core.total(np.require(losses, np.float64, ["C", "A"]))


def _losses(
    name: str,
    dtype: np.dtype[Any],
    axis: int,
    where: Where,
    temperature: Temperature,
    x: Array,
    second: Array | None = None,
    probabilities: Array | None = None,
    *,
    target: Target = _NO_TARGET,
    masses: Array | None = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
    by: float = 1.0,
    gradient: int = 0,
    out: Array | None = None,
) -> tuple[Array, Array | None]:
    """What the core's `losses` answers to arrays that are brought to one type.

    `probabilities` are those of the target where the second array is something else.
    """
    arrays = x, second, probabilities
    wide = dtype
    for a in arrays:
        wide = wide if a is None else computed_in(a, wide)
    wide = wide.newbyteorder("=")
    room = out if wide == dtype else None
    values, grad = _core.losses(
        name,
        *(None if a is None else as_core(_aligned(a, wide), wide) for a in arrays),
        where,
        _aligned(target.classes, np.int64),
        _aligned(target.weight, np.float64, "C"),
        _aligned(target.sample_weight, np.float64),
        masses,
        axis,
        temperature
        if isinstance(temperature, float)
        else _aligned(np.squeeze(temperature, axis), np.float64),
        target.smoothing,
        z_loss,
        softcap or 0.0,
        by,
        gradient,
        None if room is None else as_core(room, wide),
    )
    if not gradient:
        return values, None
    grad = from_core(grad, wide, room)
    return values, grad if wide == dtype else rounded(grad, dtype, out)


def _aligned(a: Any, dtype: Any, *more: Any) -> Any:
    """The array as kernels can walk it: copied only if it is not of this type, or unaligned."""
    return None if a is None else np.require(a, dtype, ["A", *more])
