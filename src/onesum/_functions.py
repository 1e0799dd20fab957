"""The public functions: what they mean, and the way to the backend that computes them.

The plain case (NumPy arrays of one floating type, one class axis, one temperature) goes straight
to the compiled core, which recognises it; where it answers NotImplemented, the arguments pass
through `_arguments.Call`. In both cases all checks come before any writing.
"""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

import numpy as np

from . import backends
from ._arguments import Call
from ._typing import (
    A,
    AnyArray,
    ArrayLike,
    Axis,
    DTypeLike,
    F,
    ForwardOptions,
    KeepOptions,
    NDArray,
    NumPyLike,
    ProductOptions,
    SumOptions,
)
from .backends._library import quiet, select, widest

Array = Any


@overload
def softmax(
    x: NDArray[F], axis: Axis = -1, **options: Unpack[ForwardOptions[None]]
) -> NDArray[F]: ...
@overload
def softmax(
    x: NumPyLike, axis: Axis = -1, **options: Unpack[ForwardOptions[DTypeLike]]
) -> NDArray[Any]: ...
@overload
def softmax(x: A, axis: Axis = -1, **options: Unpack[ForwardOptions[DTypeLike]]) -> A: ...
@overload
def softmax(x: ArrayLike, axis: Axis = -1, **options: Unpack[ForwardOptions[DTypeLike]]) -> Any: ...
def softmax(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    dtype: DTypeLike = None,
    out: AnyArray | None = None,
) -> Any:
    r"""Probabilities proportional to the exponentials of the logits.

    .. math:: p_i = \frac{e^{x_i / T}}{\sum_j e^{x_j / T}}
                  = \frac{e^{(x_i - m) / T}}{1 + r}, \quad m = \max_j x_j,

    where r sums the exponentials of all classes but the first largest, the pivot.

    Parameters
    ----------
    x : array_like
        Logits. A NumPy array, or one of another library (PyTorch, JAX, any array API library),
        which is then answered in kind. Integers and bools are converted to float64 first.
    axis : int, tuple of ints or None, optional
        The class axis, by default the last. A tuple makes one set of classes of several axes,
        None of all. A 0-d array is a single class.
    where : array_like of bool, optional
        The classes to take part, broadcast to the shape of x. What lies outside is never read
        and gets p = 0.
    temperature : float or array_like, optional
        T > 0. An array has one value per row: it broadcasts to the shape of x without the class
        axes, or it has all dimensions of x with size 1 along the class axes.
    dtype : dtype, optional
        Type of the result: float16, bfloat16, float32 or float64. By default the type of x.
    out : array, optional
        Where to put the result: an array of exactly its shape and dtype, in any byte order. It may
        be x itself, or share memory with any argument: the result is the same.

    Returns
    -------
    p : array
        Probabilities, of the shape of x.

    Raises
    ------
    TypeError
        If x is not real, where not bool, temperature not a number, dtype none of those above, or
        the arrays are of different libraries.
    ValueError
        If temperature is not positive, or where, temperature or out do not fit x.
    numpy.exceptions.AxisError
        If axis is out of range.

    Notes
    -----
    A NaN makes its row NaN and no other. The limit is taken for one +inf, p = 1 there; several,
    or a row of nothing but -inf, give NaN.

    What a `numpy.ma.MaskedArray` masks takes no part, in any argument of any function: the class
    is outside `where`, or the row, of an argument with one element per row, is one to ignore, as
    is a row with nothing else. Results are masked there.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024, section 1.

    Examples
    --------
    >>> import onesum
    >>> onesum.softmax([0.0, 0.0, -float("inf")])
    array([0.5, 0.5, 0. ])
    >>> onesum.softmax([[1, 2], [3, 3]]).round(4)
    array([[0.2689, 0.7311],
           [0.5   , 0.5   ]])
    """
    if where is None and dtype is None:
        p = backends.numpy_backend.direct.softmax(x, axis, temperature, out)
        if p is not NotImplemented:
            return p
    return _forward("softmax", x, axis, where, temperature, dtype, out)


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
        logp = backends.numpy_backend.direct.log_softmax(x, axis, temperature, out)
        if logp is not NotImplemented:
            return logp
    return _forward("log_softmax", x, axis, where, temperature, dtype, out)


@overload
def logsumexp(
    x: NumPyLike,
    axis: Axis = -1,
    *,
    return_sign: Literal[False] = False,
    **options: Unpack[SumOptions],
) -> Any: ...
@overload
def logsumexp(
    x: A, axis: Axis = -1, *, return_sign: Literal[False] = False, **options: Unpack[SumOptions]
) -> A: ...
@overload
def logsumexp(
    x: ArrayLike, axis: Axis = -1, *, return_sign: Literal[True], **options: Unpack[SumOptions]
) -> tuple[Any, Any]: ...
@overload
def logsumexp(
    x: ArrayLike, axis: Axis = -1, *, return_sign: bool = False, **options: Unpack[SumOptions]
) -> Any: ...
def logsumexp(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    b: ArrayLike | None = None,
    where: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    keepdims: bool = False,
    return_sign: bool = False,
    dtype: DTypeLike = None,
    out: AnyArray | None = None,
) -> Any:
    r"""Logarithm of a sum of exponentials.

    .. math:: \log \sum_i b_i e^{x_i / T} = \frac{m}{T} + \operatorname{log1p}(r)
        \quad (\text{for } b = 1, \text{ with } m, r \text{ as in softmax}).

    Parameters
    ----------
    x, axis, where, temperature, dtype
        As in `softmax`.
    b : array_like, optional
        Real factors, broadcast to the shape of x. Where b is 0, x is not read.
    keepdims : bool, optional
        Keep the class axes with size 1.
    return_sign : bool, optional
        Return the sign of the sum too, and the logarithm of its absolute value.
    out : array, optional
        Where to put the result, as in `softmax`.

    Returns
    -------
    value : array or scalar
        One number per row: -inf for an empty sum, NaN for a negative one unless `return_sign`.
    sign : array or scalar
        With `return_sign` only: -1, 0 or 1, in the type of the result; NaN where value is, as for
        inf - inf, the sum of infinite terms of both signs.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; b is checked like x and where.

    Examples
    --------
    >>> import onesum
    >>> float(onesum.logsumexp([1000.0, 1000.0]) - 1000.0)
    0.693147180559...
    >>> value, sign = onesum.logsumexp([0.0, 0.0], b=[1, -3], return_sign=True)
    >>> round(float(value), 6), float(sign)
    (0.693147, -1.0)
    """
    if b is None and where is None and dtype is None and not return_sign:
        value = backends.numpy_backend.direct.logsumexp(x, axis, temperature, out, keepdims)
        if value is not NotImplemented:
            return value
    call = Call("x", x, axis)
    b = None if b is None else call.factors("b", b)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(dtype)
    target = call.reduced_out(out, dtype, keepdims)
    if b is not None:
        target = None
        value, sign = call.backend.signed_logsumexp(
            call.rows(call.x), b, call.axis, where, temperature, dtype
        )
        if not return_sign:
            value = select(call.xp, sign == -1.0, call.xp.nan, value)
    else:
        wide = call.dtype(widest(call.xp, call.x)) if return_sign else dtype
        target = target if wide == dtype else None
        value = call.backend.logsumexp(
            call.rows(call.x), call.axis, where, temperature, wide, target
        )
        # exp(value) > 0: its sign is 1, or 0 for -inf that is not rounded, or NaN for NaN.
        sign = select(call.xp, value == value, 1.0, value)
        sign = select(call.xp, value == -call.xp.inf, 0.0, sign)
        if wide != dtype:
            value, sign = (quiet(call.xp.astype)(call.xp.asarray(a), dtype) for a in (value, sign))
    value = call.reduced(value, keepdims, out, written=target is not None)
    return (value, call.reduced(sign, keepdims)) if return_sign else value


@overload
def softmax_vjp(
    p: NDArray[F], g: NDArray[F], axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[F]: ...
@overload
def softmax_vjp(
    p: NumPyLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[Any]: ...
@overload
def softmax_vjp(p: A, g: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]) -> A: ...
@overload
def softmax_vjp(
    p: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> Any: ...
def softmax_vjp(
    p: ArrayLike,
    g: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    out: AnyArray | None = None,
) -> Any:
    r"""The backward pass of softmax: g times its Jacobian, in O(n).

    .. math:: \frac{\partial L}{\partial x_i} = \frac{g_i p_i - p_i \sum_j g_j p_j}{T}
                  = \frac{p_i (w_i - S)}{T}, \quad w_i = g_i - g_{j^*}, \quad S = \sum_j p_j w_j,

    where j* is the pivot, the first index of the largest p: what it adds to S is exactly 0.

    Parameters
    ----------
    p : array_like
        Probabilities, the result of `softmax`. That they are is not checked, see the notes.
    g : array_like
        Cotangent dL/dp, of the shape of p.
    axis, temperature
        As given to `softmax`.
    out : array, optional
        As in `softmax`; perhaps g or p itself.

    Returns
    -------
    dx : array
        dL/dx, of the shape of p and the type that p and g promote to. Where p is 0 it is exactly
        0, and g is not read there; a NaN in p makes its row NaN.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; also if p and g differ in shape.

    Notes
    -----
    To look whether p is between 0 and 1 and sums to 1 would take as long as the product. For any
    other numbers the last of the formulas is computed, with the largest as the pivot; the first
    is another number where the sum of p is not 1.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024, the last formula.

    Examples
    --------
    >>> import onesum
    >>> p = onesum.softmax([40.0, 0.0])
    >>> onesum.softmax_vjp(p, [1.0, 0.0])
    array([ 4.24835426e-18, -4.24835426e-18])
    """
    dx = backends.numpy_backend.direct.softmax_vjp(p, g, axis, temperature, out)
    if dx is not NotImplemented:
        return dx
    return _product("softmax_vjp", ("p", "g"), 0.0, p, g, axis, temperature, out)


@overload
def softmax_jvp(
    p: NDArray[F], v: NDArray[F], axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[F]: ...
@overload
def softmax_jvp(
    p: NumPyLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> NDArray[Any]: ...
@overload
def softmax_jvp(p: A, v: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]) -> A: ...
@overload
def softmax_jvp(
    p: ArrayLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[ProductOptions]
) -> Any: ...
def softmax_jvp(
    p: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    out: AnyArray | None = None,
) -> Any:
    r"""The change of softmax along v: its Jacobian times v, in O(n).

    .. math:: \dot p_i = \frac{p_i (v_i - \sum_j p_j v_j)}{T}

    The Jacobian is symmetric, so this is `softmax_vjp` with a tangent in the place of g.

    Parameters
    ----------
    p, axis, temperature, out
        As in `softmax_vjp`.
    v : array_like
        Tangent, the direction in which x changes, of the shape of p.

    Returns
    -------
    dp : array
        The directional derivative of p.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax_vjp`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, equation (5).

    Examples
    --------
    >>> import onesum
    >>> onesum.softmax_jvp([0.5, 0.5], [1.0, 0.0])
    array([ 0.25, -0.25])
    """
    dp = backends.numpy_backend.direct.softmax_vjp(p, v, axis, temperature, out)
    if dp is not NotImplemented:
        return dp
    return _product("softmax_vjp", ("p", "v"), 0.0, p, v, axis, temperature, out)


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
    dx = backends.numpy_backend.direct.log_softmax_vjp(logp, g, axis, temperature, out)
    if dx is not NotImplemented:
        return dx
    return _product("log_softmax_vjp", ("logp", "g"), -np.inf, logp, g, axis, temperature, out)


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
    dlogp = backends.numpy_backend.direct.log_softmax_jvp(logp, v, axis, temperature, out)
    if dlogp is not NotImplemented:
        return dlogp
    return _product("log_softmax_jvp", ("logp", "v"), -np.inf, logp, v, axis, temperature, out)


@overload
def logsumexp_vjp(
    x: NDArray[F], g: NDArray[F] | F, axis: Axis = -1, **options: Unpack[KeepOptions]
) -> NDArray[F]: ...
@overload
def logsumexp_vjp(
    x: NumPyLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[KeepOptions]
) -> NDArray[Any]: ...
@overload
def logsumexp_vjp(x: A, g: ArrayLike, axis: Axis = -1, **options: Unpack[KeepOptions]) -> A: ...
@overload
def logsumexp_vjp(
    x: ArrayLike, g: ArrayLike, axis: Axis = -1, **options: Unpack[KeepOptions]
) -> Any: ...
def logsumexp_vjp(
    x: ArrayLike,
    g: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    keepdims: bool = False,
    out: AnyArray | None = None,
) -> Any:
    r"""The backward pass of logsumexp: its gradient is softmax.

    .. math:: \frac{\partial L}{\partial x_i} = \frac{g\, p_i}{T},
        \quad p = \operatorname{softmax}(x / T)

    Parameters
    ----------
    x, axis, where, temperature, keepdims
        As given to `logsumexp`.
    g : array_like
        Cotangent, of the shape of the result of `logsumexp`.
    out : array, optional
        As in `softmax`; perhaps x itself.

    Returns
    -------
    dx : array
        dL/dx, of the shape of x: exactly 0 where p is 0, and in a row of nothing but -inf.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; also if g does not have one element per row.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4.

    Examples
    --------
    >>> import onesum
    >>> onesum.logsumexp_vjp([[1.0, 1.0], [2.0, -float("inf")]], [1.0, 3.0])
    array([[0.5, 0.5],
           [3. , 0. ]])
    """
    if where is None:
        dx = backends.numpy_backend.direct.logsumexp_vjp(x, g, axis, temperature, out, keepdims)
        if dx is not NotImplemented:
            return dx
    call = Call("x", x, axis)
    g = call.one_per_row("g", g, keepdims)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(None, g)
    target = call.out(out, dtype)
    rows = call.backend.logsumexp_vjp(
        call.rows(call.x), g, call.axis, where, temperature, dtype, target
    )
    return call.result(rows, out, written=target is not None)


@overload
def logsumexp_jvp(
    x: NumPyLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[KeepOptions]
) -> Any: ...
@overload
def logsumexp_jvp(x: A, v: ArrayLike, axis: Axis = -1, **options: Unpack[KeepOptions]) -> A: ...
@overload
def logsumexp_jvp(
    x: ArrayLike, v: ArrayLike, axis: Axis = -1, **options: Unpack[KeepOptions]
) -> Any: ...
def logsumexp_jvp(
    x: ArrayLike,
    v: ArrayLike,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    temperature: ArrayLike = 1.0,
    keepdims: bool = False,
    out: AnyArray | None = None,
) -> Any:
    r"""The change of logsumexp along v, the mean of v under p.

    .. math:: \frac{1}{T} \sum_i p_i v_i, \quad p = \operatorname{softmax}(x / T)

    Parameters
    ----------
    x, axis, where, temperature, keepdims
        As given to `logsumexp`.
    v : array_like
        Tangent, of the shape of x. Not read where x is -inf or left out.
    out : array, optional
        Where to put the result, as in `softmax`.

    Returns
    -------
    value : array or scalar
        One number per row, 0 for a row of nothing but -inf.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; also if x and v differ in shape.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4.

    Examples
    --------
    >>> import onesum
    >>> onesum.logsumexp_jvp([[0.0, 0.0]], [[1.0, 2.0]])
    array([1.5])
    """
    if where is None:
        value = backends.numpy_backend.direct.logsumexp_jvp(x, v, axis, temperature, out, keepdims)
        if value is not NotImplemented:
            return value
    call = Call("x", x, axis)
    v = call.same_shape("v", v)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(None, v)
    target = call.reduced_out(out, dtype, keepdims)
    value = call.backend.logsumexp_jvp(
        call.rows(call.x), call.rows(v), call.axis, where, temperature, dtype, target
    )
    return call.reduced(value, keepdims, out, written=target is not None)


def _forward(
    name: str, x: Any, axis: Any, where: Any, temperature: Any, dtype: Any, out: Any
) -> Array:
    """The general way of softmax and log_softmax."""
    call = Call("x", x, axis)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(dtype)
    target = call.out(out, dtype)
    function = getattr(call.backend, name)
    rows = function(call.rows(call.x), call.axis, where, temperature, dtype, target)
    return call.result(rows, out, written=target is not None)


def _product(
    name: str,
    names: tuple[str, str],
    nothing: float,
    p: Any,
    g: Any,
    axis: Any,
    temperature: Any,
    out: Any,
) -> Array:
    """The general way of a Jacobian times g; `nothing` in p means a class without probability."""
    call = Call(names[0], p, axis)
    g = call.same_shape(names[1], g)
    temperature = call.temperature(temperature)
    dtype = call.dtype(None, g)
    target = call.out(out, dtype)
    function = getattr(call.backend, name)
    p = call.rows(call.filled(nothing))
    rows = function(p, call.rows(g), call.axis, temperature, dtype, target)
    return call.result(rows, out, written=target is not None)
