"""The logarithm of softmax and its derivatives."""

from __future__ import annotations

from typing import Any, Unpack, overload

import numpy as np

from .._backends.registry import direct_of
from .._typing import (
    A,
    AnyArray,
    ArrayLike,
    Axis,
    DTypeLike,
    F,
    ForwardOptions,
    NDArray,
    NumPyLike,
    ProductOptions,
)
from .general import forward, product


@overload
def log_softmax(
    x: NDArray[F], axis: Axis = -1, **options: Unpack[ForwardOptions[None]]
) -> NDArray[F]: ...
@overload
def log_softmax(
    x: NumPyLike, axis: Axis = -1, **options: Unpack[ForwardOptions[DTypeLike]]
) -> NDArray[Any]: ...
@overload
def log_softmax(x: A, axis: Axis = -1, **options: Unpack[ForwardOptions[DTypeLike]]) -> A: ...
@overload
def log_softmax(
    x: ArrayLike, axis: Axis = -1, **options: Unpack[ForwardOptions[DTypeLike]]
) -> Any: ...
def log_softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    dtype: DTypeLike = None,
    out: AnyArray | None = None,
) -> Any:
    r"""Logarithms of the softmax probabilities, right to the last digits also where p is near 1.

    .. math:: \log p_i = \frac{x_i - m}{T} - \operatorname{log1p}(r),

    with m and r as in `softmax`. Both terms have one sign: nothing cancels.

    Parameters
    ----------
    x, axis, where, temperature, dtype, out
        As in `softmax`. What `where` leaves out gets -inf.

    Returns
    -------
    logp : array
        Log-probabilities, of the shape of x.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4.

    Examples
    --------
    >>> import onesum
    >>> onesum.log_softmax([40.0, 0.0]).tolist()[0]
    -4.248354255291589e-18
    """
    if where is None and dtype is None:
        logp = direct_of(x).log_softmax(x, axis, temperature, out)
        if logp is not NotImplemented:
            return logp
    return forward("log_softmax", x, axis, where, temperature, dtype, out)


@overload
def log_softmax_vjp(
    logp: NDArray[F], g: NDArray[F], axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[F]: ...
@overload
def log_softmax_vjp(
    logp: NumPyLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[Any]: ...
@overload
def log_softmax_vjp(
    logp: A, g: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> A: ...
@overload
def log_softmax_vjp(
    logp: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> Any: ...
def log_softmax_vjp(
    logp: ArrayLike,
    g: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    out: AnyArray | None = None,
) -> Any:
    r"""The backward pass of log_softmax: g times its Jacobian, in O(n).

    .. math:: \frac{\partial L}{\partial x_i} = \frac{g_i - p_i \sum_j g_j}{T}

    At the pivot, the largest p, 1 - p is summed from the other p and never subtracted.

    Parameters
    ----------
    logp : array_like
        Log-probabilities, the result of `log_softmax`.
    g : array_like
        Cotangent dL/dlogp, of the shape of logp. Not read where logp is -inf: 0 comes out there.
    axis, temperature, out
        As in `softmax_vjp`.

    Returns
    -------
    dx : array
        dL/dx.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax_vjp`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4.

    Examples
    --------
    >>> import onesum
    >>> logp = onesum.log_softmax([40.0, 0.0])
    >>> onesum.log_softmax_vjp(logp, [1.0, 0.0])
    array([ 4.24835426e-18, -4.24835426e-18])
    """
    dx = direct_of(logp).log_softmax_vjp(logp, g, axis, temperature, out)
    if dx is not NotImplemented:
        return dx
    return product("log_softmax_vjp", ("logp", "g"), -np.inf, logp, g, axis, temperature, out)


@overload
def log_softmax_jvp(
    logp: NDArray[F], v: NDArray[F], axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[F]: ...
@overload
def log_softmax_jvp(
    logp: NumPyLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[Any]: ...
@overload
def log_softmax_jvp(
    logp: A, v: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> A: ...
@overload
def log_softmax_jvp(
    logp: ArrayLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> Any: ...
def log_softmax_jvp(
    logp: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    out: AnyArray | None = None,
) -> Any:
    r"""The change of log_softmax along v: its Jacobian times v, in O(n).

    .. math:: \frac{\mathrm d}{\mathrm dt} \log p_i = \frac{v_i - \sum_j p_j v_j}{T}

    Parameters
    ----------
    logp, axis, temperature, out
        As in `log_softmax_vjp`.
    v : array_like
        Tangent, of the shape of logp. Not read where logp is -inf: 0 comes out there.

    Returns
    -------
    dlogp : array
        The directional derivative of logp.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax_vjp`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4.

    Examples
    --------
    >>> import onesum
    >>> logp = onesum.log_softmax([0.0, 0.0])
    >>> onesum.log_softmax_jvp(logp, [1.0, 0.0])
    array([ 0.5, -0.5])
    """
    dlogp = direct_of(logp).log_softmax_jvp(logp, v, axis, temperature, out)
    if dlogp is not NotImplemented:
        return dlogp
    return product("log_softmax_jvp", ("logp", "v"), -np.inf, logp, v, axis, temperature, out)
