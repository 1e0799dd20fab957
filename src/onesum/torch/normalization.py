"""Softmax and its logarithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch

from .. import layers
from .._functions.log_softmax import log_softmax
from .._functions.softmax import softmax
from .._typing import Axis

Tensor = Any


def set_temperature(module: Any, temperature: Any) -> None:
    """A number, a parameter to be learned, or a tensor that goes where the module goes."""
    if isinstance(temperature, torch.Tensor) and not isinstance(temperature, torch.nn.Parameter):
        module.register_buffer("temperature", temperature)
    else:
        module.temperature = temperature


def shown(value: Any) -> str:
    """An option, as `extra_repr` has it: of a tensor, what it is."""
    if isinstance(value, torch.Tensor):
        return f"{type(value).__name__}(shape={tuple(value.shape)}, dtype={value.dtype})"
    return repr(value)


class _Normalization(torch.nn.Module):  # type: ignore[misc]
    _function: ClassVar[Callable[..., Tensor]]
    _layer: ClassVar[Callable[..., Any]]

    def __init__(self, dim: Axis = -1, temperature: Any = 1.0):
        super().__init__()
        self._layer(dim, temperature)  # which checks them
        self.dim = dim
        set_temperature(self, temperature)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """The function of the logits input, of its shape, type and device."""
        return self._function(input, self.dim, temperature=self.temperature)

    def extra_repr(self) -> str:
        """The options, for the representation of the module."""
        return f"dim={self.dim!r}, temperature={shown(self.temperature)}"


class Softmax(_Normalization):
    r"""Probabilities proportional to the exponentials of the logits.

    .. math:: p_i = \frac{e^{x_i / T}}{\sum_j e^{x_j / T}}

    Parameters
    ----------
    dim : int, tuple of ints or None, optional
        The class axis, as `axis` of `onesum.softmax`: several axes make one set of classes.
    temperature : float, tensor or Parameter, optional
        T > 0. A `torch.nn.Parameter` is learned, another tensor is a buffer.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `onesum.softmax`: at once where the options alone are wrong.

    See Also
    --------
    onesum.softmax

    Examples
    --------
    >>> import torch
    >>> from onesum.torch import Softmax
    >>> x = torch.tensor([[40.0, 0.0]], dtype=torch.float64, requires_grad=True)
    >>> p = Softmax()(x)
    >>> p[0, 0].backward()
    >>> x.grad
    tensor([[ 4.2484e-18, -4.2484e-18]], dtype=torch.float64)
    """

    _function = staticmethod(softmax)
    _layer = layers.Softmax


class LogSoftmax(_Normalization):
    r"""Logarithms of the softmax probabilities, right to the last digits also where p is near 1.

    .. math:: \log p_i = \frac{x_i - m}{T} - \operatorname{log1p}(r)

    with m and r as in `onesum.softmax`.

    Parameters
    ----------
    dim, temperature
        As in `Softmax`.

    Raises
    ------
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `Softmax`.

    See Also
    --------
    onesum.log_softmax

    Examples
    --------
    >>> import torch
    >>> from onesum.torch import LogSoftmax
    >>> LogSoftmax()(torch.tensor([40.0, 0.0], dtype=torch.float64))
    tensor([-4.2484e-18, -4.0000e+01], dtype=torch.float64)
    """

    _function = staticmethod(log_softmax)
    _layer = layers.LogSoftmax
