"""The public cross entropy of a linear layer's logits, and the walk over their chunks.

The parts of it: the call with its checks (`call.py`), the rows (`rows.py`), the
matrix products (`products.py`), and the classes in blocks (`blocks.py`).
"""

from __future__ import annotations

from typing import Any, SupportsIndex, Unpack, overload

import numpy as np

from ..._arguments.options import LossArguments, reduction_of
from ..._arguments.targets import loss_arguments
from ..._library import is_torch, quiet, widest
from ..._typing import (
    A,
    ArrayLike,
    DTypeLike,
    F,
    LinearOptions,
    NDArray,
    Number,
    NumPyLike,
    Reduction,
    Total,
)
from ..losses import cross_entropy, cross_entropy_value_and_grad
from ..reductions import divisor_of, gradient_factor, reduced
from .blocks import Blocks
from .call import LinearCall
from .products import NewProducts, Products, spans
from .rows import Part, Rows

Array = Any


@overload
def linear_cross_entropy(
    h: NDArray[F],
    weight_matrix: NDArray[F],
    target: ArrayLike,
    bias: NDArray[F] | None = None,
    **options: Unpack[LinearOptions[Total, None]],
) -> F: ...
@overload
def linear_cross_entropy(
    h: NumPyLike,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    **options: Unpack[LinearOptions[Reduction, DTypeLike]],
) -> Any: ...
@overload
def linear_cross_entropy(
    h: A,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    **options: Unpack[LinearOptions[Reduction, DTypeLike]],
) -> A: ...
@overload
def linear_cross_entropy(
    h: ArrayLike,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    **options: Unpack[LinearOptions[Reduction, DTypeLike]],
) -> Any: ...
def linear_cross_entropy(
    h: ArrayLike,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
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
    chunk: tuple[SupportsIndex, SupportsIndex] | None = None,
) -> Any:
    r"""Cross entropy of the logits of a linear layer, which are never there all at once.

    .. math:: L = \operatorname{cross\_entropy}(x, \text{target}), \quad x = h W^\top + b,

    with W the matrix of the layer. For a language model x is by far the largest array of a step;
    here only a chunk of it is held at a time.

    Parameters
    ----------
    h : array_like
        What goes into the layer, of shape (..., d): any number of rows of d features. A NumPy
        array, or one of another library.
    weight_matrix : array_like
        W, of shape (n, d) for n classes, as PyTorch has it.
    target : array_like
        Class indices of the shape of h without its last axis; or probabilities, of shape (..., n).
    bias : array_like, optional
        b, of shape (n,).
    weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap
        As in `cross_entropy`, for x of shape (..., n); `weight` is that of the classes. Rows to
        ignore are left out of the products, so that they cost nothing and may hold anything.
    temperature, where, reduction
        As in `cross_entropy`, for x of shape (..., n).
    dtype : dtype, optional
        Type of the results: float16, bfloat16, float32 or float64. By default what h,
        weight_matrix and bias promote to. Products of 16-bit types are computed in float32 and
        rounded once.
    chunk : tuple of two ints, optional
        How many rows and how many classes of logits are held at a time. With fewer than n classes
        the logits are computed once more for the gradient. By default all classes and as many
        rows as are a fourteenth of all logits, though 4 MiB at least and 64 MiB at most; and where
        that is fewer than 64 rows, 512 rows of as many classes as are a quarter of these bytes.
        Arrays of other libraries than NumPy are held with all classes.

    Returns
    -------
    loss : scalar or array
        As from `cross_entropy`.

    Raises
    ------
    IndexError
        If a class index is out of range.
    TypeError, ValueError
        If h, weight_matrix, bias and target do not fit one another, one of the first three has
        masked elements, or an argument is not as said above or in `cross_entropy`. Nothing has been
        computed then.

    Notes
    -----
    Another chunk, or another number of threads, may change the last digits: the products are those
    of the BLAS that NumPy uses. The rows of weight_matrix for classes outside `where` take part in
    them, with a factor of 0, and must be finite.

    References
    ----------
    E. Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> h = np.array([[1.0, 2.0], [3.0, -1.0]])
    >>> weight_matrix = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]])
    >>> float(onesum.linear_cross_entropy(h, weight_matrix, [1, 0]).round(4))
    0.2136
    >>> float(onesum.cross_entropy(h @ weight_matrix.T, [1, 0]).round(4))
    0.2136
    """
    options = LossArguments(
        weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature, where
    )
    return _linear_cross_entropy(
        h, weight_matrix, target, bias, options, reduction, dtype, chunk, False
    )[0]


@overload
def linear_cross_entropy_value_and_grad(
    h: NDArray[F],
    weight_matrix: NDArray[F],
    target: ArrayLike,
    bias: NDArray[F] | None = None,
    **options: Unpack[LinearOptions[Total, None]],
) -> tuple[F, tuple[NDArray[F], NDArray[F], NDArray[F] | None]]: ...
@overload
def linear_cross_entropy_value_and_grad(
    h: NumPyLike,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    **options: Unpack[LinearOptions[Reduction, DTypeLike]],
) -> tuple[Any, tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]]: ...
@overload
def linear_cross_entropy_value_and_grad(
    h: A,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    **options: Unpack[LinearOptions[Reduction, DTypeLike]],
) -> tuple[A, tuple[A, A, A | None]]: ...
@overload
def linear_cross_entropy_value_and_grad(
    h: ArrayLike,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    **options: Unpack[LinearOptions[Reduction, DTypeLike]],
) -> tuple[Any, tuple[Any, Any, Any]]: ...
def linear_cross_entropy_value_and_grad(
    h: ArrayLike,
    weight_matrix: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
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
    chunk: tuple[SupportsIndex, SupportsIndex] | None = None,
) -> tuple[Any, tuple[Any, Any, Any]]:
    r"""`linear_cross_entropy`, and its gradients by h, weight_matrix and bias.

    .. math:: \frac{\partial L}{\partial h} = G W, \quad \frac{\partial L}{\partial W} = G^\top h,
        \quad \frac{\partial L}{\partial b_c} = \sum_i G_{ic},

    with G the gradient of the cross entropy by the logits, as in `cross_entropy_value_and_grad`.
    A chunk of logits becomes the same chunk of G, in place, and goes into the products at once.

    Parameters
    ----------
    h, weight_matrix, target, bias
        As in `linear_cross_entropy`.
    weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap
        As in `linear_cross_entropy`.
    temperature, where, reduction, dtype, chunk
        As in `linear_cross_entropy`.

    Returns
    -------
    loss : scalar or array
        As from `linear_cross_entropy`.
    grads : tuple of three
        The derivatives of the loss by h, weight_matrix and bias, each of its shape; None for a bias
        of None. With reduction "none", of the losses' sum. Exactly 0 for ignored rows of h.

    Raises
    ------
    IndexError, TypeError, ValueError
        As in `linear_cross_entropy`.

    Notes
    -----
    Beyond the results, a call takes the chunk and a quarter more. With fewer than n classes
    in it, targets that are spread over all classes take up to three times as much, and a softcap
    once more. 16-bit gradients add up in float32, which is twice their size.

    References
    ----------
    As for `linear_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> h, weight_matrix = np.array([[1.0, 2.0]]), np.zeros((2, 2))
    >>> loss, (dh, dw, db) = onesum.linear_cross_entropy_value_and_grad(h, weight_matrix, [0])
    >>> dw
    array([[-0.5, -1. ],
           [ 0.5,  1. ]])
    >>> db is None
    True
    """
    options = LossArguments(
        weight, label_smoothing, ignore_index, sample_weight, z_loss, softcap, temperature, where
    )
    return _linear_cross_entropy(
        h, weight_matrix, target, bias, options, reduction, dtype, chunk, True
    )


@quiet
def _linear_cross_entropy(
    h: Any,
    weight_matrix: Any,
    target: Any,
    bias: Any,
    options: LossArguments,
    reduction: Any,
    dtype: Any,
    chunk: Any,
    gradient: bool,
) -> tuple[Any, tuple[Any, Any, Any]]:
    """The loss, and the gradients or None."""
    call = LinearCall(h, weight_matrix, bias)
    if is_torch(call.x):
        return _of_tensors(call, target, options, reduction, dtype, chunk, gradient)
    target, z_loss, softcap, where, temperature = loss_arguments(call, target, options)
    reduction = reduction_of(reduction)
    dtype = call.dtype(dtype, *call.parameters())
    rows = Rows(call, target, where, temperature, call.computed_in(dtype))
    chunk = call.chunk(chunk, rows.number, rows.wide)
    divisor = divisor_of(call, target, reduction)
    by = gradient_factor(call, divisor)
    parts, dh_parts, dw, db = _by_chunks(call, rows, chunk, z_loss, softcap, by, gradient)
    xp = call.xp
    losses = xp.reshape(rows.whole(parts, widest(xp, call.x)), call.batch)
    loss = reduced(call, losses, reduction, divisor, dtype)
    if not gradient:
        return loss, (None, None, None)
    dh = xp.reshape(rows.whole(dh_parts, rows.wide, call.x.shape[-1]), call.x.shape)
    dh, dw, db = (None if g is None else xp.astype(g, dtype, copy=False) for g in (dh, dw, db))
    return loss, (dh, dw, db)


def _of_tensors(
    call: LinearCall,
    target: Any,
    options: LossArguments,
    reduction: Any,
    dtype: Any,
    chunk: Any,
    gradient: bool,
) -> tuple[Any, tuple[Any, Any, Any]]:
    """The same for torch, whose backend knows when to come back here with NumPy's arrays."""
    from ..._backends.torch import linear

    layer = call.x, call.weight_matrix, call.bias
    dtype = call.dtype(dtype, *call.parameters(), role="loss")
    target = call.converted("target", target)
    beside = linear.Call(target, options, reduction_of(reduction), dtype, chunk)
    walk = _linear_cross_entropy
    if not gradient:
        return linear.value(walk, cross_entropy, layer, beside), (None, None, None)
    loss, gradients = linear.value_and_grad(walk, cross_entropy_value_and_grad, layer, beside)
    return loss, gradients


def _by_chunks(
    call: LinearCall,
    rows: Rows,
    chunk: tuple[int, int],
    z_loss: float,
    softcap: float | None,
    by: float,
    gradient: bool,
) -> tuple[list[Array], list[Array], Array, Array]:
    """The losses of the rows and dh, in parts, and dW and db: gradients of `by` times the sum."""
    height, width = chunk
    in_blocks = width < call.shape[-1]
    kind = Products if call.xp is np else NewProducts
    room = height * (width + in_blocks)
    products = kind(call.xp, call.weight_matrix, call.bias, rows.wide, room, gradient)
    losses, dh = [], []
    for span in spans(slice(0, rows.number), height):
        part = Part(rows, span)
        if in_blocks:
            blocks = Blocks(call.backend, products, part, width, softcap)
            losses.append(blocks.losses(z_loss))
            if gradient:
                dh.append(blocks.gradient(by))
        else:
            some, g = _all_classes(call.backend, products, part, z_loss, softcap, by, gradient)
            losses.append(some)
            if gradient:
                dh.append(products.backward(g, part.h, products.classes))
    return losses, dh, products.dw, products.db


def _all_classes(
    backend: Any,
    products: Any,
    part: Part,
    z_loss: float,
    softcap: float | None,
    by: float,
    gradient: bool,
) -> tuple[Array, Array]:
    """The losses of some rows and their gradient by the logits; NumPy's in the logits' place."""
    every = products.classes
    x = products.logits(part.h, every)
    target = part.target._replace(probabilities=part.probabilities(every))
    where, t = part.where(every), part.temperature
    out = x if gradient and isinstance(x, np.ndarray) else None
    answer: tuple[Array, Array] = backend.cross_entropy(
        x, target, 1, z_loss, softcap, where, t, by, gradient, x.dtype, out
    )
    return answer
