"""The logarithm of a sum of exponentials and its derivatives."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

from .._arguments import Call
from .._arguments.call import enlarged
from .._arguments.output import Output
from .._backends.registry import direct_of
from .._library import quiet, select, widest
from .._typing import (
    A,
    AnyArray,
    ArrayLike,
    Axis,
    DTypeLike,
    F,
    KeepOptions,
    NDArray,
    NumPyLike,
    SumOptions,
)


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
        Real factors. They and x are broadcast together, `axis` is one of the shape that they have
        then, and the result has the type that they promote to. Where b is 0, x is not read.
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
        value = direct_of(x).logsumexp(x, axis, temperature, out, keepdims)
        if value is not NotImplemented:
            return value
    call = Call("x", x if b is None else enlarged("x", x, "b", b), axis)
    typed = b is not None and type(b) not in (bool, int, float)  # these have no type to promote
    b = None if b is None else call.factors("b", b)
    temperature = call.temperature(temperature)
    where = call.where(where)
    others = (b,) if typed else ()
    dtype = call.dtype(dtype, *others, role="softmax")
    output = call.reduced_out(out, dtype, keepdims)
    if b is not None:
        output = Output(output.given)
        value, sign = call.backend.signed_logsumexp(
            call.rows(call.x), b, call.axis, where, temperature, dtype
        )
        if not return_sign:
            value = select(call.xp, sign == -1.0, call.xp.nan, value)
    else:
        wide = call.dtype(widest(call.xp, call.x)) if return_sign else dtype
        if wide != dtype:
            output = Output(output.given)
        value = call.backend.logsumexp(
            call.rows(call.x), call.axis, where, temperature, wide, output.room
        )
        # exp(value) > 0: its sign is 1, or 0 for -inf that is not rounded, or NaN for NaN.
        sign = select(call.xp, value == value, 1.0, value)
        sign = select(call.xp, value == -call.xp.inf, 0.0, sign)
        if wide != dtype:
            value, sign = (quiet(call.xp.astype)(call.xp.asarray(a), dtype) for a in (value, sign))
    value = call.reduced(value, keepdims, output)
    return (value, call.reduced(sign, keepdims)) if return_sign else value


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
        dx = direct_of(x).logsumexp_vjp(x, g, axis, temperature, out, keepdims)
        if dx is not NotImplemented:
            return dx
    call = Call("x", x, axis)
    g = call.one_per_row("g", g, keepdims)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(None, g)
    output = call.out(out, dtype)
    rows = call.backend.logsumexp_vjp(
        call.rows(call.x), g, call.axis, where, temperature, dtype, output.room
    )
    return call.result(rows, output)


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
        value = direct_of(x).logsumexp_jvp(x, v, axis, temperature, out, keepdims)
        if value is not NotImplemented:
            return value
    call = Call("x", x, axis)
    v = call.same_shape("v", v)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(None, v)
    output = call.reduced_out(out, dtype, keepdims)
    value = call.backend.logsumexp_jvp(
        call.rows(call.x), call.rows(v), call.axis, where, temperature, dtype, output.room
    )
    return call.reduced(value, keepdims, output)
