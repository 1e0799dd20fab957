"""Layers: a forward call that remembers what its backward pass needs.

A layer object keeps the result of its last call. A second call before `backward` replaces it, so
use one object for each place in a network; and it is not to be shared by threads. The result is
kept, not copied: do not write to it before `backward`.
"""

from typing import Any

from ._arguments import Call
from ._functions import log_softmax, log_softmax_vjp, softmax, softmax_vjp
from ._jacobian import (
    LogSoftmaxJacobian,
    SoftmaxJacobian,
    log_softmax_jacobian,
    softmax_jacobian,
)
from ._losses import cross_entropy_value_and_grad
from ._targets import number_of
from .backends._library import quiet

Array = Any


class _Layer:
    _output: Array = None

    def __init__(self, axis: Any = -1, temperature: Any = 1.0):
        self.axis = axis
        self.temperature = temperature

    def __repr__(self) -> str:
        return f"{type(self).__name__}(axis={self.axis!r}, temperature={self.temperature!r})"

    def _last_output(self, what: str) -> Array:
        if self._output is None:
            name = type(self).__name__
            raise RuntimeError(f"{name}.{what} needs a forward call first: y = layer(x)")
        return self._output


class Softmax(_Layer):
    """The softmax layer.

    Parameters
    ----------
    axis : int, tuple of ints or None, optional
        The class axis, as in `onesum.softmax`.
    temperature : float or array_like, optional
        T > 0, as in `onesum.softmax`.

    Notes
    -----
    The layer keeps its last output for `backward` and `jacobian`. A second call replaces it: use
    one object for each place in a network, and one for each thread.

    References
    ----------
    V. Rangarajan, "SimplePyML Softmax Layer", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> layer = onesum.Softmax()
    >>> layer(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    >>> layer.backward(np.array([[1.0, 0.0]]))
    array([[ 0.25, -0.25]])
    """

    def __call__(self, x: Any) -> Array:
        """The probabilities of the logits x."""
        self._output = softmax(x, self.axis, temperature=self.temperature)
        return self._output

    def backward(self, dy: Any) -> Array:
        """dL/dx from dL/dy, for the last call."""
        p = self._last_output("backward")
        return softmax_vjp(p, dy, self.axis, temperature=self.temperature)

    def jacobian(self) -> SoftmaxJacobian:
        """dy/dx as a lazy operator, for the last call."""
        p = self._last_output("jacobian")
        return softmax_jacobian(p, self.axis, temperature=self.temperature)


class LogSoftmax(_Layer):
    """The log-softmax layer; parameters and use as in `Softmax`.

    References
    ----------
    J. Purcell, "Derivative of the Softmax Function", 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> layer = onesum.LogSoftmax()
    >>> layer(np.zeros((1, 2))).round(4)
    array([[-0.6931, -0.6931]])
    >>> layer.backward(np.array([[1.0, 0.0]]))
    array([[ 0.5, -0.5]])
    """

    def __call__(self, x: Any) -> Array:
        """The log-probabilities of the logits x."""
        self._output = log_softmax(x, self.axis, temperature=self.temperature)
        return self._output

    def backward(self, dy: Any) -> Array:
        """dL/dx from dL/dy, for the last call."""
        logp = self._last_output("backward")
        return log_softmax_vjp(logp, dy, self.axis, temperature=self.temperature)

    def jacobian(self) -> LogSoftmaxJacobian:
        """dy/dx as a lazy operator, for the last call."""
        logp = self._last_output("jacobian")
        return log_softmax_jacobian(logp, self.axis, temperature=self.temperature)


class CrossEntropyLoss:
    """The cross entropy of a layer's logits: the last layer of a network in training.

    Parameters
    ----------
    axis, weight, label_smoothing, ignore_index, z_loss, temperature, reduction
        As in `onesum.cross_entropy`.

    Notes
    -----
    A call computes loss and gradient in one pass, and keeps the gradient for `backward`; where only
    the loss is wanted, call `onesum.cross_entropy`. A second call replaces it: use one object for
    each place in a network, and one for each thread.

    Examples
    --------
    >>> import numpy as np
    >>> import onesum
    >>> layer = onesum.CrossEntropyLoss()
    >>> float(layer(np.zeros((2, 2)), [0, 1]).round(4))
    0.6931
    >>> layer.backward()
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """

    _grad: Array = None

    def __init__(
        self,
        axis: Any = -1,
        *,
        weight: Any = None,
        label_smoothing: float = 0.0,
        ignore_index: int | None = None,
        z_loss: float = 0.0,
        temperature: Any = 1.0,
        reduction: str = "mean",
    ):
        self.axis = axis
        self.options = {
            "weight": weight,
            "label_smoothing": label_smoothing,
            "ignore_index": ignore_index,
            "z_loss": z_loss,
            "temperature": temperature,
            "reduction": reduction,
        }

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"CrossEntropyLoss(axis={self.axis!r}, {options})"

    def __call__(
        self, x: Any, target: Any, *, sample_weight: Any = None, where: Any = None
    ) -> Array:
        """The loss of the logits x, as from `onesum.cross_entropy`."""
        loss, self._grad = cross_entropy_value_and_grad(
            x, target, self.axis, sample_weight=sample_weight, where=where, **self.options
        )
        return loss

    def backward(self, dy: Any = 1.0) -> Array:
        """dL/dx for the last call, from dL/dloss: a number, or one per row for reduction "none".

        Where dL/dloss is 1, it is the gradient that the layer keeps, not a copy.
        """
        if self._grad is None:
            raise RuntimeError("CrossEntropyLoss.backward needs a call first: loss = layer(x, y)")
        if self.options["reduction"] != "none" or isinstance(dy, (int, float)):
            dy = number_of("dy", dy)
            if dy == 1.0:
                return self._grad
            call = Call("x", self._grad, self.axis)
            return quiet(call.as_given)(self._grad * dy, self._grad.dtype)
        call = Call("x", self._grad, self.axis)
        dy = call.one_per_row("dy", dy, False)
        return call.result(call.xp.astype(call.rows(call.x) * dy, call.x.dtype))
