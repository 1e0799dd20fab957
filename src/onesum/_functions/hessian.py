"""The Hessian of the cross entropy, times a vector."""

from __future__ import annotations

from typing import Any, SupportsIndex, Unpack, overload

from .._arguments import Call
from .._arguments.options import LossArguments, reduction_of
from .._arguments.targets import loss_arguments
from .._typing import (
    A,
    AnyArray,
    ArrayLike,
    Axis,
    DTypeLike,
    F,
    GradientOptions,
    NDArray,
    Number,
    NumPyLike,
    Reduction,
)
from .reductions import divisor_of, gradient_factor


@overload
def cross_entropy_hvp(
    x: NDArray[F],
    target: ArrayLike,
    v: NDArray[F],
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, None]],
) -> NDArray[F]: ...
@overload
def cross_entropy_hvp(
    x: NumPyLike,
    target: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, DTypeLike]],
) -> NDArray[Any]: ...
@overload
def cross_entropy_hvp(
    x: A,
    target: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, DTypeLike]],
) -> A: ...
@overload
def cross_entropy_hvp(
    x: ArrayLike,
    target: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, DTypeLike]],
) -> Any: ...
def cross_entropy_hvp(
    x: ArrayLike,
    target: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    *,
    weight: ArrayLike | None = None,
    label_smoothing: Number = 0.0,
    ignore_index: SupportsIndex | None = None,
    sample_weight: ArrayLike | None = None,
    z_loss: Number = 0.0,
    softcap: Number | None = None,
    temperature: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    dtype: DTypeLike = None,
    out: AnyArray | None = None,
) -> Any:
    r"""The Hessian of the cross entropy by the logits, times v.

    .. math:: H v = \frac{1}{T^2} \bigl(a\, (p \odot v - p\, (p \cdot v)) + b\, p\, (p \cdot v)
        \bigr), \quad a = Q + b \log \sum_j e^{x_j / T}, \quad b = 2 s z,

    in the words of `cross_entropy`. It is exact, not the Gauss-Newton approximation (with which it
    agrees where z is 0), and takes O(n). With a softcap c, by which x becomes y, this is the
    Hessian by y; the result is that by x,

    .. math:: s \odot H (s \odot v) - \frac{2}{c^2}\, s \odot y \odot \frac{\partial L}{\partial y}
        \odot v, \quad s = \operatorname{sech}^2 \frac{x}{c}.

    Parameters
    ----------
    x, target, axis
        As in `cross_entropy`.
    weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap
        As in `cross_entropy`.
    temperature, where, reduction, dtype
        As in `cross_entropy`.
    v : array_like
        A direction, of the shape of x. Not read where the probability, and with a softcap the
        gradient too, is 0.
    out : array, optional
        Where to put the result, as in `softmax`; perhaps x or v.

    Returns
    -------
    hv : array
        Of the shape of x; with reduction "none", of the losses' sum.

    Raises
    ------
    IndexError, TypeError, ValueError, numpy.exceptions.AxisError
        As in `cross_entropy`; if v or out do not fit x.

    Examples
    --------
    >>> import onesum
    >>> onesum.cross_entropy_hvp([[0.0, 0.0]], [0], [[1.0, 0.0]])
    array([[ 0.25, -0.25]])
    """
    call = Call("x", x, axis)
    v = call.same_shape("v", v)
    options = LossArguments(
        weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature, where
    )
    target, z_loss, softcap, where, temperature = loss_arguments(call, target, options)
    kind = reduction_of(reduction)
    dtype = call.dtype(dtype, v)
    output = call.out(out, dtype)
    x, v = call.rows(call.x), call.rows(v)
    by = gradient_factor(call, divisor_of(call, target, kind))
    hv = call.backend.cross_entropy_hvp(
        x, target, v, call.axis, z_loss, softcap, where, temperature, by, dtype, output.room
    )
    return call.result(hv, output)
