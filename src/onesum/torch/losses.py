"""The cross entropy of logits, and of a linear layer's logits."""

from __future__ import annotations

from typing import Any

import torch

from .. import layers
from .._functions.linear import linear_cross_entropy
from .._functions.losses import cross_entropy
from .._typing import Axis, Number, Reduction
from .normalization import set_temperature, shown

Tensor = Any


class _Loss(torch.nn.Module):  # type: ignore[misc]
    """The options of a cross entropy, as torch names them and beyond."""

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: Number = 0.0,
        *,
        z_loss: Number = 0.0,
        softcap: Number | None = None,
        temperature: Any = 1.0,
    ):
        super().__init__()
        options: dict[str, Any] = {
            "ignore_index": ignore_index,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
            "z_loss": z_loss,
            "softcap": softcap,
        }
        if weight is not None and not isinstance(weight, torch.Tensor):
            raise TypeError(f"weight: expected a tensor or None, got {type(weight).__name__}")
        layers.CrossEntropyLoss(weight=weight, temperature=temperature, **options)  # it checks them
        self.register_buffer("weight", weight)
        set_temperature(self, temperature)
        for name, value in options.items():
            setattr(self, name, value)
        self._options = tuple(options)

    def options(self, target: Tensor) -> dict[str, Any]:
        """What a loss with this target is called with: probabilities have no class to ignore."""
        options = {name: getattr(self, name) for name in self._options}
        if not isinstance(target, torch.Tensor):
            wanted = "a tensor of class indices or probabilities"
            raise TypeError(f"target: expected {wanted}, got {type(target).__name__}")
        if target.is_floating_point():
            options["ignore_index"] = None
        return {**options, "weight": self.weight, "temperature": self.temperature}

    def extra_repr(self) -> str:
        """The options, for the representation of the module."""
        usual = {"weight": None, "ignore_index": -100, "reduction": "mean", "temperature": 1.0}
        usual |= {"label_smoothing": 0.0, "z_loss": 0.0, "softcap": None}
        given = {name: getattr(self, name) for name in usual}
        return ", ".join(
            f"{name}={shown(value)}"
            for name, value in given.items()
            if isinstance(value, torch.Tensor) or value != usual[name]
        )


def default_axis(x: Tensor, target: Any) -> int:
    """torch's axis of the classes: 1, or 0 where there is no other."""
    axis: int = min(1, x.ndim - 1)
    shape, batch = getattr(target, "shape", ()), (*x.shape[:1], *x.shape[2:])
    if x.ndim > 2 and tuple(shape) == tuple(x.shape[:-1]) != batch:
        wanted = f"class indices of shape {batch}, for the classes are along axis 1"
        raise ValueError(f"target: expected {wanted}, got {tuple(shape)} (dim=-1?)")
    return axis


class CrossEntropyLoss(_Loss):
    r"""The cross entropy of logits, in place of `torch.nn.CrossEntropyLoss`.

    .. math:: L = -\sum_c q_c \log p_c + z \Bigl(\log \sum_c e^{x_c / T}\Bigr)^2,
        \quad p = \operatorname{softmax}(x / T)

    with the target masses q of `onesum.cross_entropy`.

    Parameters
    ----------
    weight : tensor, optional
        Weights of the classes, >= 0: a buffer of the module.
    ignore_index : int, optional
        Rows of this class count for nothing. Without effect beside probabilities.
    reduction : {"mean", "sum", "none"}, optional
        As in `onesum.cross_entropy`, and in torch.
    label_smoothing : float, optional
        From 0 to 1: so much of the target is spread evenly over all classes.
    dim : int, tuple of ints or None, optional
        The class axis. With None that of torch: axis 1, or 0 where there is no other.
    z_loss : float, optional
        z, of which torch has none.
    softcap : float, optional
        c > 0: the logits become c tanh(x / c) first.
    temperature : float, tensor or Parameter, optional
        T > 0. A `torch.nn.Parameter` is learned, another tensor is a buffer.

    Raises
    ------
    IndexError, TypeError, ValueError, numpy.exceptions.AxisError
        As in `onesum.cross_entropy`: at once where the options alone are wrong.

    Notes
    -----
    The values are those of torch, but for what it loses: the gradient at [20, 0] for class 0 is
    not 0 in float32, and sums to 0. Where no row counts, the gradient of a mean is 0, not NaN.

    See Also
    --------
    onesum.cross_entropy

    Examples
    --------
    >>> import torch
    >>> from onesum.torch import CrossEntropyLoss
    >>> x = torch.tensor([[20.0, 0.0]], requires_grad=True)
    >>> CrossEntropyLoss()(x, torch.tensor([0])).backward()
    >>> x.grad
    tensor([[-2.0612e-09,  2.0612e-09]])
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: Number = 0.0,
        *,
        dim: Axis = None,
        z_loss: Number = 0.0,
        softcap: Number | None = None,
        temperature: Any = 1.0,
    ):
        super().__init__(
            weight,
            ignore_index,
            reduction,
            label_smoothing,
            z_loss=z_loss,
            softcap=softcap,
            temperature=temperature,
        )
        if dim is not None:
            layers.Softmax(dim)  # which checks it
        self.dim = dim

    def forward(
        self,
        input: Tensor,  # noqa: A002
        target: Tensor,
        *,
        sample_weight: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """The loss of logits.

        Parameters
        ----------
        input : tensor
            Logits.
        target, sample_weight, where
            As in `onesum.cross_entropy`.

        Returns
        -------
        loss : tensor
            In the type of input; with reduction "none" one for each row.
        """
        axis = default_axis(input, target) if self.dim is None else self.dim
        options = self.options(target) | {"sample_weight": sample_weight, "where": where}
        return cross_entropy(input, target, axis, **options)

    def extra_repr(self) -> str:
        """The options, for the representation of the module."""
        options = super().extra_repr()
        if self.dim is None:
            return options
        return f"{options}, dim={self.dim!r}" if options else f"dim={self.dim!r}"


class LinearCrossEntropyLoss(_Loss):
    r"""The cross entropy of a linear layer's logits, which are never there all at once.

    .. math:: L = \operatorname{cross\_entropy}(h W^\mathsf{T} + b, \text{target})

    Parameters
    ----------
    weight, ignore_index, reduction, label_smoothing, z_loss, softcap, temperature
        As in `CrossEntropyLoss`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As in `onesum.linear_cross_entropy`: at once where the options alone are wrong.

    See Also
    --------
    onesum.linear_cross_entropy

    Examples
    --------
    >>> import torch
    >>> from onesum.torch import LinearCrossEntropyLoss
    >>> layer = torch.nn.Linear(3, 5)
    >>> h, target = torch.ones(2, 3), torch.tensor([4, 0])
    >>> loss = LinearCrossEntropyLoss()(h, layer.weight, target, layer.bias)
    >>> loss.backward()
    >>> layer.weight.grad.shape
    torch.Size([5, 3])
    """

    def forward(
        self, h: Tensor, weight_matrix: Tensor, target: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """The loss of ``h @ weight_matrix.T + bias``.

        Parameters
        ----------
        h, weight_matrix, bias : tensor
            Of the shapes (..., d), (n, d) and (n,).
        target : tensor
            As in `onesum.linear_cross_entropy`.

        Returns
        -------
        loss : tensor
            As from `onesum.linear_cross_entropy`.
        """
        options = self.options(target)
        return linear_cross_entropy(h, weight_matrix, target, bias, **options)
