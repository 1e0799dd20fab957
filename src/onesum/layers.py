"""Layers: a forward call that remembers what its backward pass needs.

A layer object keeps the result of its last call. A second call before `backward` replaces it, and
one that fails leaves nothing; so use one object for each place in a network, and one for each
thread. What the options can be checked for without data, the constructors check.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, SupportsIndex, TypeVar, overload

import numpy as np

from ._arguments import Call
from ._arguments.call import class_axes
from ._arguments.labelled import split_labels
from ._arguments.options import number_of
from ._functions.arithmetic import scaled
from ._functions.jacobian import (
    LogSoftmaxJacobian,
    SoftmaxJacobian,
    log_softmax_jacobian,
    softmax_jacobian,
)
from ._functions.log_softmax import log_softmax, log_softmax_vjp
from ._functions.losses import cross_entropy, cross_entropy_value_and_grad
from ._functions.softmax import softmax, softmax_vjp
from ._library import as_array, device, finish, namespace, quiet, widen, widest_integer
from ._typing import A, ArrayLike, Axis, F, NDArray, Number, NumPyLike, Reduction

Array = Any
_Jacobian = TypeVar("_Jacobian", SoftmaxJacobian[Any], LogSoftmaxJacobian[Any])

_MOST_AXES = 64  # of NumPy's arrays, and of PyTorch's


class _Layer:
    """What all layers have in common: what the last call left, and the options of the rows."""

    _kept: Array = None

    def __init__(self, axis: Axis, temperature: ArrayLike):
        if axis is not None and not _names(axis):
            class_axes(axis, _MOST_AXES)
        t = as_array("temperature", split_labels("temperature", temperature)[0])
        x = namespace(t).zeros(tuple(t.shape), device=device(t))
        Call("x", x, ()).temperature(temperature)  # one number, or one per row of x
        self.axis = axis

    if not TYPE_CHECKING:  # the classes have it with the types of their forward

        def __call__(self, *arguments: Any, **options: Any) -> Array:
            """The same as `forward`."""
            return self.forward(*arguments, **options)

    def forward(self, *arguments: Any, **options: Any) -> Array:
        raise NotImplementedError

    def _last(self, what: str) -> Array:
        if self._kept is None:
            name = f"{type(self).__name__}.{what}"
            raise RuntimeError(f"{name} needs a forward call first; there was none, or it failed")
        return self._kept


class _Normalization(_Layer, Generic[_Jacobian]):
    """Softmax or its logarithm, of which the derivative is known from the output."""

    _function: ClassVar[Callable[..., Array]]
    _vjp: ClassVar[Callable[..., Array]]
    _jacobian: ClassVar[Callable[..., Any]]

    def __init__(self, axis: Axis = -1, temperature: ArrayLike = 1.0):
        super().__init__(axis, temperature)
        self.temperature = temperature

    def __repr__(self) -> str:
        return f"{type(self).__name__}(axis={self.axis!r}, temperature={self.temperature!r})"

    @overload
    def forward(self, x: NDArray[F]) -> NDArray[F]: ...
    @overload
    def forward(self, x: NumPyLike) -> NDArray[Any]: ...
    @overload
    def forward(self, x: A) -> A: ...
    @overload
    def forward(self, x: ArrayLike) -> Any: ...
    def forward(self, x: ArrayLike) -> Any:
        """The function of the logits, as an array that the layer keeps, too.

        Parameters
        ----------
        x : array_like
            Logits, as in `onesum.softmax`.

        Returns
        -------
        y : array
            Of the shape of x.
        """
        self._kept = None  # this call may fail
        self._kept = self._function(x, self.axis, temperature=self.temperature)
        return self._kept

    if TYPE_CHECKING:
        __call__ = forward

    @overload
    def backward(self, dy: NDArray[Any]) -> NDArray[Any]: ...
    @overload
    def backward(self, dy: A) -> A: ...
    @overload
    def backward(self, dy: ArrayLike) -> Any: ...
    def backward(self, dy: ArrayLike) -> Any:
        """Backward pass of the last call.

        Parameters
        ----------
        dy : array_like
            dL/dy, of the shape of y.

        Returns
        -------
        dx : array
            dL/dx, an array that is the caller's.

        Raises
        ------
        RuntimeError
            If there was no forward call, or the last one failed.
        """
        return self._vjp(self._last("backward"), dy, self.axis, temperature=self.temperature)

    def jacobian(self) -> _Jacobian:
        """Jacobian of the last call, a lazy operator.

        Returns
        -------
        J : SoftmaxJacobian or LogSoftmaxJacobian
            dy/dx.

        Raises
        ------
        RuntimeError
            If there was no forward call, or the last one failed.
        """
        y = self._last("jacobian")
        return self._jacobian(y, self.axis, temperature=self.temperature)  # type: ignore[no-any-return]


class Softmax(_Normalization[SoftmaxJacobian[Any]]):
    """The softmax layer.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The class axis, as in `onesum.softmax`.
    temperature : float or array_like, optional
        T > 0, as in `onesum.softmax`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `onesum.softmax`: at once where the options alone are wrong, in `forward` where they
        do not fit x. `backward` and `jacobian` raise RuntimeError if there was no call of
        `forward`, or the last one failed.

    Notes
    -----
    ``layer.forward(x)``, or ``layer(x)``, gives the probabilities; ``layer.backward(dy)`` and
    ``layer.jacobian()`` use them again. The layer keeps the very array that it returns, which is
    not to be written to before. A second call replaces it: use one object for each place in a
    network, and one for each thread.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> layer = onesum.Softmax()
    >>> layer.forward(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    >>> layer.backward(np.array([[1.0, 0.0]]))
    array([[ 0.25, -0.25]])
    """

    _function = staticmethod(softmax)
    _vjp = staticmethod(softmax_vjp)
    _jacobian = staticmethod(softmax_jacobian)


class LogSoftmax(_Normalization[LogSoftmaxJacobian[Any]]):
    """The log-softmax layer; errors and use as in `Softmax`.

    Parameters
    ----------
    axis, temperature
        As in `Softmax`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> layer = onesum.LogSoftmax()
    >>> layer.forward(np.zeros((1, 2))).round(4)
    array([[-0.6931, -0.6931]])
    >>> layer.backward(np.array([[1.0, 0.0]]))
    array([[ 0.5, -0.5]])
    """

    _function = staticmethod(log_softmax)
    _vjp = staticmethod(log_softmax_vjp)
    _jacobian = staticmethod(log_softmax_jacobian)


class CrossEntropyLoss(_Layer):
    """The cross entropy of a layer's logits: the last layer of a network in training.

    Parameters
    ----------
    axis, weight, label_smoothing, ignore_index, z_loss, softcap, temperature, reduction
        As in `onesum.cross_entropy`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `onesum.cross_entropy`: at once where the options alone are wrong, in `forward` where
        they do not fit x. `backward` raises RuntimeError if there was no call of `forward`, or the
        last one failed.

    Notes
    -----
    ``layer.forward(x, target)``, or ``layer(x, target)``, computes loss and gradient in one pass,
    and keeps the gradient for `backward`; where only the loss is wanted, call
    `onesum.cross_entropy`. A second call replaces it: use one object for each place in a network,
    and one for each thread.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> layer = onesum.CrossEntropyLoss()
    >>> float(layer.forward(np.zeros((2, 2)), [0, 1]).round(4))
    0.6931
    >>> layer.backward()
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """

    def __init__(
        self,
        axis: Axis = -1,
        *,
        weight: ArrayLike | None = None,
        label_smoothing: Number = 0.0,
        ignore_index: SupportsIndex | None = None,
        z_loss: Number = 0.0,
        softcap: Number | None = None,
        temperature: ArrayLike = 1.0,
        reduction: Reduction = "mean",
    ):
        super().__init__(axis, temperature)
        options = {
            "weight": weight,
            "label_smoothing": label_smoothing,
            "ignore_index": ignore_index,
            "z_loss": z_loss,
            "softcap": softcap,
        }
        _check_over_no_rows(options, reduction)
        self.options: dict[str, Any] = {
            **options,
            "temperature": temperature,
            "reduction": reduction,
        }

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"CrossEntropyLoss(axis={self.axis!r}, {options})"

    def forward(
        self,
        x: ArrayLike,
        target: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> Any:
        """The loss of logits, whose gradient is kept.

        Parameters
        ----------
        x, target, sample_weight, where
            As in `onesum.cross_entropy`.

        Returns
        -------
        loss : scalar or array
            As from `onesum.cross_entropy`.
        """
        self._kept = None  # this call may fail
        loss, self._kept = cross_entropy_value_and_grad(
            x, target, self.axis, sample_weight=sample_weight, where=where, **self.options
        )
        return loss

    if TYPE_CHECKING:
        __call__ = forward

    @quiet
    def backward(self, dy: ArrayLike = 1.0) -> Any:
        """Backward pass of the last call: dL/dx from dL/dloss.

        Parameters
        ----------
        dy : float or array_like, optional
            dL/dloss: a number, which with reduction "none" is that of all rows, or one per row.

        Returns
        -------
        dx : array
            Of the shape, type and mask of the gradient that the layer keeps; a copy of it where dy
            is 1. So it is the caller's, and what is asked for again is the same.

        Raises
        ------
        RuntimeError
            If there was no forward call, or the last one failed.
        TypeError, ValueError
            If dy is not such a number or such an array.
        """
        grad = self._last("backward")
        shape, reduction = tuple(as_array("dy", dy).shape), self.options["reduction"]
        if shape == ():
            return scaled(grad, number_of("dy", dy))
        if reduction != "none":
            wanted = f"a number, for the reduction is {reduction!r}"
            raise TypeError(f"dy: expected {wanted}, got an array of shape {shape}")
        call = Call("x", grad, self.axis)
        by = call.one_per_row("dy", dy, False)
        xp, rows = call.xp, call.rows(call.x)
        if by.dtype != rows.dtype:
            xp, rows, by = widen(rows, by)
        return call.result(finish(xp, rows * by, call.x.dtype, None))


def _names(axis: Axis) -> bool:
    """Whether an axis is given by a name, as only an array has one."""
    return any(isinstance(a, str) for a in (axis if isinstance(axis, tuple) else (axis,)))


def _check_over_no_rows(options: dict[str, Any], reduction: Reduction) -> None:
    """Let the loss itself check its options, over no rows of as many classes as weights."""
    weight = split_labels("weight", options["weight"])[0]
    w = np.ones(1) if weight is None else as_array("weight", weight)
    xp, here, classes = namespace(w), device(w), max(1, math.prod(w.shape))
    x = xp.zeros((0, classes), device=here)
    target = xp.zeros(0, dtype=widest_integer(xp, w), device=here)
    cross_entropy(x, target, reduction=reduction, **{**options, "weight": weight})
