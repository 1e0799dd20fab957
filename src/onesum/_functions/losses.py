"""The cross entropy, and its gradient in the same pass."""

from __future__ import annotations

from typing import Any, SupportsIndex, Unpack, overload

from .._arguments import Call
from .._arguments.options import LossArguments, reduction_of
from .._arguments.targets import loss_arguments
from .._backends.one_operation import one_operation
from .._backends.registry import direct_of
from .._typing import (
    A,
    AnyArray,
    ArrayLike,
    Axis,
    DTypeLike,
    F,
    GradientOptions,
    LossOptions,
    NDArray,
    Number,
    NumPyLike,
    Reduction,
    Total,
)
from .reductions import divisor_of, gradient_factor, reduced


@overload
def cross_entropy(
    x: NDArray[F],
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[LossOptions[Total, None]],
) -> F: ...
@overload
def cross_entropy(
    x: NumPyLike,
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[LossOptions[Reduction, DTypeLike]],
) -> Any: ...
@overload
def cross_entropy(
    x: A,
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[LossOptions[Reduction, DTypeLike]],
) -> A: ...
@overload
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[LossOptions[Reduction, DTypeLike]],
) -> Any: ...
def cross_entropy(
    x: ArrayLike,
    target: ArrayLike,
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
) -> Any:
    r"""Cross entropy between targets and the softmax of logits.

    .. math:: L = -\sum_c q_c \log p_c + s z \Bigl(\log \sum_c e^{x_c / T}\Bigr)^2
                = Q \operatorname{log1p}(r) + \sum_c q_c \frac{m - x_c}{T} + \dots,

    with :math:`p = \operatorname{softmax}(x / T)`, m and r as in `softmax`, and the target masses
    q, which sum to Q: with C classes, the class weights w, the smoothing :math:`\epsilon` and the
    weight s of the row, :math:`q_c = s ((1 - \epsilon) w_y [c = y] + \epsilon w_c / C)` for the
    class y, :math:`q_c = s w_c ((1 - \epsilon) y_c + \epsilon / C)` for probabilities y.

    Parameters
    ----------
    x : array_like
        Logits, as in `softmax`.
    target : array_like
        Either class indices, integers of the shape of x without the class axes; or probabilities,
        floating numbers of the shape of x, which need not sum to one. With several class axes the
        index counts their classes in C order.
    axis : int, tuple of ints or None, optional
        The class axis, by default the last; of a k-dimensional x as PyTorch has it, 1.
    weight : array_like, optional
        Weights of the classes, one each, >= 0.
    label_smoothing : float, optional
        From 0 to 1: so much of the target is spread evenly over all classes.
    ignore_index : int, optional
        Rows with this class index have loss 0 and gradient 0, whatever they hold, and are not
        counted in the mean. Only for targets that are class indices. PyTorch's default is -100;
        here no index is ignored unasked.
    sample_weight : array_like, optional
        Weights of the rows, of the shape of x without the class axes, >= 0. They multiply the
        losses; the mean divides by the same with them and without.
    z_loss : float, optional
        Adds so many times the square of the row's logsumexp.
    softcap : float, optional
        c > 0: before anything else the logits become c tanh(x / c), which lies between -c and c.
        A logit of -inf or inf then is -c or c, a class like any other.
    temperature, where, dtype
        As in `softmax`. Classes outside `where` are no choice: no smoothing falls on them, their
        probabilities in target are not read, and a class index that names one has loss inf. What
        is masked in a `numpy.ma` array, of any argument, is outside too; a row that is masked, in
        an argument with one element per row or in all its classes, is one to ignore.
    reduction : {"mean", "sum", "none"}, optional
        One number: the sum of the rows' losses, or that divided by the sum of w_y over the rows
        that count (class indices), by the number of rows (probabilities). Or one number per row.

    Returns
    -------
    loss : scalar or array
        One number; with reduction "none" one for each row, of the shape of x without the class
        axes.

    Raises
    ------
    IndexError
        If a class index is out of range.
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `softmax`; if there is no class, or an argument is not as said above.

    Notes
    -----
    A product 0 log 0 counts 0. A row of nothing but -inf has loss NaN; the mean of no rows is NaN.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021, section 4, for log p. C. Szegedy et
    al., "Rethinking the Inception Architecture for Computer Vision", 2016, for the smoothing.
    Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024, for the
    softcap.

    Examples
    --------
    >>> import onesum
    >>> float(onesum.cross_entropy([[20.0, 0.0]], [0]))
    2.061153620314381e-09
    >>> onesum.cross_entropy([[0.0, 0.0], [0.0, 0.0]], [0, -1], ignore_index=-1, reduction="none")
    array([0.69314718, 0.        ])
    """
    options = LossArguments(
        weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature, where
    )
    return _cross_entropy(x, target, axis, options, reduction, dtype, False, None)[0]


@overload
def cross_entropy_value_and_grad(
    x: NDArray[F],
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Total, None]],
) -> tuple[F, NDArray[F]]: ...
@overload
def cross_entropy_value_and_grad(
    x: NumPyLike,
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, DTypeLike]],
) -> tuple[Any, NDArray[Any]]: ...
@overload
def cross_entropy_value_and_grad(
    x: A,
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, DTypeLike]],
) -> tuple[A, A]: ...
@overload
def cross_entropy_value_and_grad(
    x: ArrayLike,
    target: ArrayLike,
    axis: Axis = -1,
    **options: Unpack[GradientOptions[Reduction, DTypeLike]],
) -> tuple[Any, Any]: ...
def cross_entropy_value_and_grad(
    x: ArrayLike,
    target: ArrayLike,
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
) -> tuple[Any, Any]:
    r"""Cross entropy and its gradient by the logits, in one pass.

    .. math:: \frac{\partial L}{\partial x_c}
        = \frac{1}{T} \Bigl(\bigl(Q + 2 s z \log \sum_j e^{x_j / T}\bigr) p_c - q_c\Bigr),

    in the words of `cross_entropy`; so computed that no digits are lost where p is near 1. With a
    softcap c this is the derivative by the capped logits, and that by x is
    :math:`\operatorname{sech}^2(x_c / c)` times as much.

    Parameters
    ----------
    x, target, axis
        As in `cross_entropy`.
    weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap
        As in `cross_entropy`.
    temperature, where, reduction, dtype
        As in `cross_entropy`.
    out : array, optional
        Where to put the gradient, as in `softmax`; perhaps x itself.

    Returns
    -------
    loss : scalar or array
        As from `cross_entropy`.
    grad : array
        The derivative of the loss by x, of its shape; with reduction "none", of the losses' sum.
        Exactly 0 for ignored rows, and where x is -inf or left out, or inf with a softcap.

    Raises
    ------
    IndexError, TypeError, ValueError, numpy.exceptions.AxisError
        As in `cross_entropy`; if out does not fit x. Then nothing has been written.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024, section 2, composed with the derivative of the
    logarithm.

    Examples
    --------
    >>> import onesum
    >>> loss, grad = onesum.cross_entropy_value_and_grad([[20.0, 0.0]], [0])
    >>> grad
    array([[-2.06115362e-09,  2.06115362e-09]])
    """
    options = LossArguments(
        weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature, where
    )
    return _cross_entropy(x, target, axis, options, reduction, dtype, True, out)


def _cross_entropy(
    x: Any,
    target: Any,
    axis: Any,
    options: LossArguments,
    reduction: Any,
    dtype: Any,
    gradient: bool,
    out: Any,
) -> tuple[Any, Any]:
    """The loss, and the gradient or None."""
    if dtype is None:
        direct = direct_of(x).cross_entropy
        answer = direct(x, target, axis, *options, reduction, gradient, out)
        if answer is not NotImplemented:
            return answer  # type: ignore[no-any-return]
    return _checked(x, target, axis, reduction, dtype, gradient, out, *options)


@one_operation
def _checked(
    x: Any,
    target: Any,
    axis: Any,
    reduction: Any,
    dtype: Any,
    gradient: bool,
    out: Any,
    *given: Any,
) -> tuple[Any, Any]:
    """The same by the general way."""
    options = LossArguments(*given)
    call = Call("x", x, axis)
    target, z_loss, softcap, where, temperature = loss_arguments(call, target, options)
    reduction = reduction_of(reduction)
    dtype = call.dtype(dtype, role="loss")
    output = call.out(out, dtype)
    divisor = divisor_of(call, target, reduction)
    by = gradient_factor(call, divisor)
    rows = call.rows(call.x)
    losses, grad = call.backend.cross_entropy(
        rows,
        target,
        call.axis,
        z_loss,
        softcap,
        where,
        temperature,
        by,
        gradient,
        dtype,
        output.room,
    )
    loss = reduced(call, losses, reduction, divisor, dtype)
    return loss, call.result(grad, output) if gradient else None
