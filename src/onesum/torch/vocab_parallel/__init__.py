"""Cross entropies of a vocabulary that is sharded over the processes of a group.

agreement.py  what the ranks tell one another first      exchange.py  the states of their rows
options.py    the arguments, checked                     dtensors.py  DTensors as local ones
logits.py     the loss of logits                         linear.py    that of a linear layer
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex

import torch

from ..._typing import Number, Reduction
from .linear import Layer, loss_of_layer
from .logits import loss_of_logits
from .options import Options

__all__ = ["vocab_parallel_cross_entropy", "vocab_parallel_linear_cross_entropy"]

Tensor = Any


def vocab_parallel_cross_entropy(
    logits: Tensor,
    target: Tensor,
    group: Any = None,
    *,
    dim: int | None = None,
    vocab_start: SupportsIndex | None = None,
    vocab_size: SupportsIndex | None = None,
    weight: Tensor | None = None,
    label_smoothing: Number = 0.0,
    ignore_index: SupportsIndex | None = -100,
    z_loss: Number = 0.0,
    softcap: Number | None = None,
    temperature: Any = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""The cross entropy of logits of which each process of a group has those of its own classes.

    .. math:: L = -\sum_c q_c \log p_c + z \Bigl(\log \sum_c e^{x_c / T}\Bigr)^2,
        \quad p = \operatorname{softmax}(x / T),

    with the sums over the classes of all ranks, as in `onesum.torch.CrossEntropyLoss`. Every rank
    calls it, and gets the loss of all, of the same bits; backward gives each the gradient of its
    own logits.

    Parameters
    ----------
    logits : tensor
        Those of this rank's classes: the rows of all ranks, and any number of classes, also none.
        Or a DTensor, sharded along its class axis.
    target : tensor
        Class indices, counted over all ranks and the same on all of them; or the probabilities of
        this rank's classes, of the shape of logits.
    group : ProcessGroup, optional
        By default the default group. None beside a DTensor, whose mesh has it.
    dim : int, optional
        The class axis. With None that of torch: axis 1, or 0 where there is no other.
    vocab_start : int, optional
        The index of this rank's first class. By default the ranks have theirs one after the other.
    vocab_size : int, optional
        How many classes there are. Columns beyond, on whichever rank, are padding: nothing is read
        of them, and their gradient is exactly 0. By default all columns are classes.
    weight : tensor, optional
        Weights of this rank's columns, one each, >= 0: also of padding, where they play no part.
    label_smoothing, ignore_index, z_loss, softcap, temperature, reduction
        As in `onesum.torch.CrossEntropyLoss`, the same on all ranks. The smoothing is spread over
        the classes of all ranks. A temperature may be a number, or a tensor of one for each row.

    Returns
    -------
    loss : tensor
        In the type of the logits: of shape (), or with "none" one for each row. No DTensor.

    Raises
    ------
    IndexError
        If a class index is none of the classes there are: on every rank.
    TypeError, ValueError, numpy.exceptions.AxisError
        As in `onesum.cross_entropy`; if logits or options differ between the ranks where they may
        not, the ranges of the classes overlap, or several ranks have the same logits, as if these
        had been gathered. On every rank, though it be the fault of one.
    RuntimeError
        Of torch.distributed, if a rank ends, or does not come within the timeout of the group. If
        a second derivative is asked for, or what backward reads has been changed in place.

    Notes
    -----
    With N ranks and k rows, a call sends from each rank to each other 256 bytes, and then the state
    of its rows: 72 k bytes, or 104 k with label smoothing. Backward sends nothing. The state is
    that of `onesum.CrossEntropyState`, and so is the accuracy: that of the loss in one process.

    A second derivative is an error: that of backward, with ``create_graph=True``. Derivatives by
    target, weight and temperature are not computed: what requires them is refused, and so are the
    transforms of `torch.func`. `torch.compile` leaves the call as it is, between two graphs.

    See Also
    --------
    onesum.CrossEntropyState, onesum.torch.CrossEntropyLoss

    References
    ----------
    M. Shoeybi et al., "Megatron-LM: Training Multi-Billion Parameter Language Models Using Model
    Parallelism", 2019, section 3, for the loss without gathered logits.

    Examples
    --------
    A group of one process:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from onesum.torch import vocab_parallel_cross_entropy
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> x = torch.tensor([[20.0, 0.0, 7.0]], requires_grad=True)  # 7.0 is padding
    >>> vocab_parallel_cross_entropy(x, torch.tensor([0]), vocab_size=2).backward()
    >>> x.grad
    tensor([[-2.0612e-09,  2.0612e-09,  0.0000e+00]])
    >>> dist.destroy_process_group()
    """
    options = Options(
        vocab_start,
        vocab_size,
        weight,
        label_smoothing,
        ignore_index,
        z_loss,
        softcap,
        temperature,
        reduction,
    )
    return _eager(loss_of_logits)(logits, target, group, dim, options)


def vocab_parallel_linear_cross_entropy(
    h: Tensor,
    weight_matrix: Tensor,
    target: Tensor,
    group: Any = None,
    *,
    bias: Tensor | None = None,
    vocab_start: SupportsIndex | None = None,
    vocab_size: SupportsIndex | None = None,
    weight: Tensor | None = None,
    label_smoothing: Number = 0.0,
    ignore_index: SupportsIndex | None = -100,
    z_loss: Number = 0.0,
    softcap: Number | None = None,
    temperature: Any = 1.0,
    reduction: Reduction = "mean",
    reduce_dh: bool = True,
) -> Tensor:
    r"""The cross entropy of a linear layer whose classes are sharded, without all of its logits.

    .. math:: L = \operatorname{cross\_entropy}(h W^\mathsf{T} + b, \text{target}),

    where each process of a group has the rows of W, and the elements of b, for its own classes.
    A chunk of their logits is there at a time.

    Parameters
    ----------
    h : tensor
        What goes into the layer, of shape (..., d), the same on all ranks. Or a DTensor that is
        replicated.
    weight_matrix : tensor
        The rows of W for this rank's classes, of shape (n, d). Or a DTensor, sharded along axis 0.
    target : tensor
        Class indices of the shape of h without its last axis, the same on all ranks; or the
        probabilities of this rank's classes, of shape (..., n).
    group : ProcessGroup, optional
        By default the default group. None beside a DTensor, whose mesh has it.
    bias : tensor, optional
        Of shape (n,), that of this rank's classes.
    vocab_start, vocab_size, ignore_index
        As in `vocab_parallel_cross_entropy`; a padded row of W has a gradient of exactly 0. Rows
        of h to ignore are left out of the products, and may hold anything.
    weight, label_smoothing, z_loss, softcap, temperature, reduction
        As in `vocab_parallel_cross_entropy`.
    reduce_dh : bool, optional
        Whether the gradient of h is summed over the ranks here. False where the layer in front
        does it, as that of Megatron (`copy_to_tensor_model_parallel_region`): then each rank has
        what comes from its own classes.

    Returns
    -------
    loss : tensor
        In the type that h, weight_matrix and bias promote to. 16-bit products are computed in
        float32 and rounded once.

    Raises
    ------
    IndexError, TypeError, ValueError, RuntimeError
        As in `vocab_parallel_cross_entropy` and `onesum.linear_cross_entropy`.

    Notes
    -----
    Sent are, by each rank to each other, the 256 bytes and 72 k (104 k) bytes of
    `vocab_parallel_cross_entropy`. In backward the sum of dh goes over all ranks, k d numbers of
    float32 or float64, unless reduce_dh is False. The logits are computed twice, once for the loss
    and once for the gradient; chunks are chosen as in `onesum.linear_cross_entropy`, of which no
    more than 64 MiB are there.

    See Also
    --------
    onesum.linear_cross_entropy, onesum.torch.LinearCrossEntropyLoss

    References
    ----------
    As for `vocab_parallel_cross_entropy`, and E. Wijmans et al., "Cut Your Losses in
    Large-Vocabulary Language Models", 2024.

    Examples
    --------
    A group of one process:

    >>> import torch
    >>> import torch.distributed as dist
    >>> from onesum.torch import vocab_parallel_linear_cross_entropy
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> layer, h = torch.nn.Linear(3, 5), torch.ones(2, 3)
    >>> loss = vocab_parallel_linear_cross_entropy(
    ...     h, layer.weight, torch.tensor([4, 0]), bias=layer.bias
    ... )
    >>> loss.backward()
    >>> layer.weight.grad.shape
    torch.Size([5, 3])
    >>> dist.destroy_process_group()
    """
    options = Options(
        vocab_start,
        vocab_size,
        weight,
        label_smoothing,
        ignore_index,
        z_loss,
        softcap,
        temperature,
        reduction,
    )
    layer = Layer(h, weight_matrix, bias)
    return _eager(loss_of_layer)(layer, target, group, reduce_dh, options)


def _eager(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """What torch.compile leaves as it is, with a graph before it and one after."""
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function)  # type: ignore[no-any-return]
    return function
