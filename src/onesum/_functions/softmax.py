"""Softmax and its derivatives."""

from __future__ import annotations

from typing import Any, Unpack, overload

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
        p = direct_of(x).softmax(x, axis, temperature, out)
        if p is not NotImplemented:
            return p
    return forward("softmax", x, axis, where, temperature, dtype, out)


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
    dx = direct_of(p).softmax_vjp(p, g, axis, temperature, out)
    if dx is not NotImplemented:
        return dx
    return product("softmax_vjp", ("p", "g"), 0.0, p, g, axis, temperature, out)


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
    dp = direct_of(p).softmax_vjp(p, v, axis, temperature, out)
    if dp is not NotImplemented:
        return dp
    return product("softmax_vjp", ("p", "v"), 0.0, p, v, axis, temperature, out)
