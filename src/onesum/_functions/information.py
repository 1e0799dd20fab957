"""What a row of logits says of its classes, or of another row: information and divergence."""

from __future__ import annotations

from typing import Any, Unpack, overload

import numpy as np

from .._arguments import Call
from .._arguments.options import reduction_of
from .._arguments.targets import integers
from .._arguments.values import class_indices
from .._backends.target import Target
from .._library import quiet
from .._typing import (
    A,
    ArrayLike,
    Axis,
    DivergenceOptions,
    DTypeLike,
    F,
    NDArray,
    NumPyLike,
    Reduction,
    Total,
    TypedRowOptions,
)
from .reductions import gradient_factor, reduced, rows_divisor

Array = Any


@overload
def selective_log_softmax(
    x: NumPyLike, index: ArrayLike, axis: Axis = -1, **options: Unpack[TypedRowOptions[DTypeLike]]
) -> Any: ...
@overload
def selective_log_softmax(
    x: A, index: ArrayLike, axis: Axis = -1, **options: Unpack[TypedRowOptions[DTypeLike]]
) -> A: ...
@overload
def selective_log_softmax(
    x: ArrayLike, index: ArrayLike, axis: Axis = -1, **options: Unpack[TypedRowOptions[DTypeLike]]
) -> Any: ...
def selective_log_softmax(
    x: ArrayLike,
    index: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike = None,
) -> Any:
    r"""Log-probabilities of chosen classes, without the array of all.

    .. math:: \log p_y = \frac{x_y - m}{T} - \operatorname{log1p}(r),

    with m and r as in `softmax`.

    Parameters
    ----------
    x, axis, temperature, where, dtype
        As in `log_softmax`; of several class axes the index counts the classes in C order.
    index : array_like of int
        One class per row: the shape of x without the class axes. Or any number per row, along the
        class axis (there may be only one): otherwise of the shape of x.

    Returns
    -------
    logp : scalar or array
        Of the shape of index; masked where an index is, or the class that it names.

    Raises
    ------
    IndexError
        If a class index is out of range.
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; if index has not one of these shapes, or there is no class.

    Examples
    --------
    >>> import onesum
    >>> onesum.selective_log_softmax([[0.0, 0.0], [40.0, 0.0]], [1, 0])
    array([-6.93147181e-01, -4.24835426e-18])
    """
    call = Call("x", x, axis).with_classes()
    indices, hidden = integers(call, "index", index)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(dtype)
    logits = call.rows(call.x)
    chosen = tuple(indices.shape)
    if chosen != call.batch:
        fits = len(call.axes) == 1 and len(chosen) == len(call.shape)
        if not fits or chosen[: call.axis] + chosen[call.axis + 1 :] != call.batch:
            wanted = f"shape {call.batch}, or any number of classes along the class axis of x"
            raise ValueError(f"index: expected {wanted}, got {chosen}")
    classes, axis = class_indices(call, "index", indices, call.classes), call.axis
    mask = _masked_choices(call, classes, hidden)
    if chosen != call.batch:  # every row as often as it is asked, all in one place
        shape = (*call.shape[:axis], chosen[axis], *call.shape[axis:])

        def repeated(a: Array) -> Array:
            return call.xp.broadcast_to(call.xp.expand_dims(a, axis=axis), shape)

        logits, where = repeated(logits), where if where is None else repeated(where)
        if not isinstance(temperature, float):
            kept = (*call.kept[:axis], chosen[axis], *call.kept[axis:])
            temperature = call.xp.broadcast_to(call.xp.expand_dims(temperature, axis=axis), kept)
        axis += 1
    target = Target(call.class_numbers(classes))
    losses, _ = call.backend.cross_entropy(
        logits, target, axis, 0.0, None, where, temperature, 1.0, False, dtype, None
    )
    return quiet(call.as_given)(0.0 - losses, dtype, mask)


def _masked_choices(call: Call, chosen: Array, hidden: Any) -> Any:
    """Where a chosen class, or the choice itself, is masked; None without masked arrays."""
    if call.mask is None or call.xp is not np:
        return hidden
    mask = call.rows(np.broadcast_to(call.mask, call.shape))
    if chosen.shape == call.batch:
        chosen = np.expand_dims(chosen, call.axis)
        mask = np.squeeze(np.take_along_axis(mask, chosen, call.axis), axis=call.axis)
    else:
        mask = np.take_along_axis(mask, chosen, call.axis)
    return mask if hidden is None else mask | hidden


@overload
def entropy(
    x: NumPyLike, axis: Axis = -1, **options: Unpack[TypedRowOptions[DTypeLike]]
) -> Any: ...
@overload
def entropy(x: A, axis: Axis = -1, **options: Unpack[TypedRowOptions[DTypeLike]]) -> A: ...
@overload
def entropy(
    x: ArrayLike, axis: Axis = -1, **options: Unpack[TypedRowOptions[DTypeLike]]
) -> Any: ...
def entropy(
    x: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    dtype: DTypeLike = None,
) -> Any:
    r"""Entropy of the softmax of logits, in nats.

    .. math:: H = -\sum_i p_i \log p_i = \operatorname{log1p}(r) + \sum_i p_i \frac{m - x_i}{T},

    with p, m and r as in `softmax`. No term is negative: nothing cancels.

    Parameters
    ----------
    x, axis, temperature, where, dtype
        As in `softmax`.

    Returns
    -------
    value : scalar or array
        One number per row; 0 where `where` leaves nothing, NaN for a row of nothing but -inf.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; if there is no class.

    Examples
    --------
    >>> import onesum
    >>> onesum.entropy([[0.0, 0.0], [40.0, 0.0]])
    array([6.93147181e-01, 1.74182524e-16])
    """
    call = Call("x", x, axis).with_classes()
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(dtype)
    value = call.backend.entropy(call.rows(call.x), call.axis, where, temperature, dtype)
    return call.reduced(value, False)


@overload
def kl_divergence(
    x: NDArray[F], y: NDArray[F], axis: Axis = -1, **options: Unpack[DivergenceOptions[Total, None]]
) -> F: ...
@overload
def kl_divergence(
    x: NumPyLike,
    y: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[DivergenceOptions[Reduction, DTypeLike]],
) -> Any: ...
@overload
def kl_divergence(
    x: A, y: ArrayLike, axis: Axis = -1, **options: Unpack[DivergenceOptions[Reduction, DTypeLike]]
) -> A: ...
@overload
def kl_divergence(
    x: ArrayLike,
    y: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[DivergenceOptions[Reduction, DTypeLike]],
) -> Any: ...
def kl_divergence(
    x: ArrayLike,
    y: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    dtype: DTypeLike = None,
) -> Any:
    r"""Kullback-Leibler divergence from the softmax of y to the softmax of x, both logits.

    .. math:: \mathrm{KL}(p \| q) = \sum_i p_i \log \frac{p_i}{q_i}, \quad
        p = \operatorname{softmax}(x / T),\ q = \operatorname{softmax}(y / T);

    for distillation, x are the teacher's logits and y the student's. Right to the last digits also
    where p and q are nearly the same.

    Parameters
    ----------
    x, y : array_like
        Logits, of one shape.
    axis, temperature, where, dtype
        As in `softmax`.
    reduction : {"mean", "sum", "none"}, optional
        The mean over the rows that are not masked, their sum, or one number per row. (A factor
        T^2, with which distillation often keeps gradients of one size, is left to the caller.)

    Returns
    -------
    value : scalar or array
        Never negative; inf where q is 0 and p is not.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; if x and y differ in shape, there is no class, or reduction is none of
        those.

    References
    ----------
    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.

    Examples
    --------
    >>> import onesum
    >>> float(onesum.kl_divergence([0.0, 0.0], [0.0, 1e-9]))
    1.25e-19
    """
    return _kl_divergence(x, y, axis, temperature, where, reduction, dtype, False)[0]


@overload
def kl_divergence_value_and_grad(
    x: NDArray[F], y: NDArray[F], axis: Axis = -1, **options: Unpack[DivergenceOptions[Total, None]]
) -> tuple[F, tuple[NDArray[F], NDArray[F]]]: ...
@overload
def kl_divergence_value_and_grad(
    x: NumPyLike,
    y: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[DivergenceOptions[Reduction, DTypeLike]],
) -> tuple[Any, tuple[NDArray[Any], NDArray[Any]]]: ...
@overload
def kl_divergence_value_and_grad(
    x: A, y: ArrayLike, axis: Axis = -1, **options: Unpack[DivergenceOptions[Reduction, DTypeLike]]
) -> tuple[A, tuple[A, A]]: ...
@overload
def kl_divergence_value_and_grad(
    x: ArrayLike,
    y: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[DivergenceOptions[Reduction, DTypeLike]],
) -> tuple[Any, tuple[Any, Any]]: ...
def kl_divergence_value_and_grad(
    x: ArrayLike,
    y: ArrayLike,
    axis: Axis = -1,
    *,
    temperature: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    reduction: Reduction = "mean",
    dtype: DTypeLike = None,
) -> tuple[Any, tuple[Any, Any]]:
    r"""`kl_divergence`, and its gradients by x and by y.

    .. math:: \frac{\partial}{\partial x_i} = \frac{p_i}{T} \Bigl(\log \frac{p_i}{q_i}
        - \mathrm{KL}\Bigr), \quad \frac{\partial}{\partial y_i} = \frac{q_i - p_i}{T}.

    Parameters
    ----------
    x, y, axis, temperature, where, reduction, dtype
        As in `kl_divergence`.

    Returns
    -------
    value : scalar or array
        As from `kl_divergence`.
    grads : tuple of two arrays
        By x and by y; with reduction "none", of the values' sum.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `kl_divergence`.

    Examples
    --------
    >>> import onesum
    >>> value, (dx, dy) = onesum.kl_divergence_value_and_grad([0.0, 0.0], [0.0, 1e-9])
    >>> dy
    array([-2.5e-10,  2.5e-10])
    """
    return _kl_divergence(x, y, axis, temperature, where, reduction, dtype, True)


def _kl_divergence(
    x: Any,
    y: Any,
    axis: Any,
    temperature: Any,
    where: Any,
    reduction: Any,
    dtype: Any,
    gradient: bool,
) -> tuple[Any, Any]:
    call = Call("x", x, axis).with_classes()
    y = call.same_shape("y", y)
    reduction = reduction_of(reduction)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(dtype, y, role="loss")
    rows, divisor = (call.rows(call.x), call.rows(y)), rows_divisor(call, reduction)
    by = gradient_factor(call, divisor)
    values, grads = call.backend.kl_divergence(
        *rows, call.axis, where, temperature, by, gradient, dtype
    )
    value = reduced(call, values, reduction, divisor, dtype)
    return value, tuple(map(call.result, grads)) if grads is not None else None
