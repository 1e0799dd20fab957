# mypy: allow-untyped-calls
"""The loss of logits that are there, and its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from ..._arguments import Call
from ..._functions.cross_entropy_state import CrossEntropyState
from .agreement import Fact, Prepared, Shards, agree
from .exchange import of_all_ranks
from .options import Loss, Options, need_classes, prepared

Tensor = Any


def loss_of_logits(
    logits: Tensor, target: Any, group: Any, dim: int | None, options: Options
) -> Tensor:
    """The loss of the logits of this rank's classes, and of those of all other ranks."""

    def prepare() -> tuple[tuple[Call, Loss], Prepared]:
        need_tensor("logits", logits)
        call = Call("logits", logits, min(1, logits.ndim - 1) if dim is None else dim)
        facts = [
            Fact("logits", "one dtype", logits.dtype),
            Fact("dim", "the same axis", call.axis),
            Fact("logits", "the same need of a gradient", needs_gradient(logits)),
        ]
        name = "vocab_parallel_cross_entropy"
        loss, said = prepared(name, call, logits, target, options, facts)
        return (call, loss), said

    (call, loss), shards = agree(group, device_of(logits, group), prepare)
    need_classes(call, loss, shards)
    loss = loss.of_rank(shards, call.axis)
    if needs_gradient(logits):
        return _Loss.apply(logits, call.axis, loss, shards)
    return _state(logits, call.axis, loss, shards).loss(loss.reduction)


def _own(logits: Tensor, axis: int, shards: Shards) -> Tensor:
    """Those of classes, without padding."""
    return logits.detach().narrow(axis, 0, shards.size)


def _state(logits: Tensor, axis: int, loss: Loss, shards: Shards) -> CrossEntropyState:
    """That of all classes."""
    x = _own(logits, axis, shards)
    state = CrossEntropyState.of(
        x, loss.target, axis, start=shards.start, weight=loss.weight, **loss.of_all
    )
    return of_all_ranks(state, shards)


class _Loss(torch.autograd.Function):  # type: ignore[misc]
    """The gradient is computed from the logits and the state, with nothing more to exchange."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, axis: int, loss: Loss, shards: Shards) -> Tensor:
        state = _state(logits, axis, loss, shards)
        ctx.save_for_backward(logits)
        ctx.of_backward = axis, loss, shards, state
        return state.loss(loss.reduction)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (logits,) = ctx.saved_tensors
        axis, loss, shards, state = ctx.of_backward
        x = _own(logits, axis, shards)
        grad = state.gradient(
            x,
            loss.target,
            start=shards.start,
            weight=loss.weight,
            reduction=loss.reduction,
            g=g,
        )
        if x.shape != logits.shape:  # padding has a gradient of 0
            whole = torch.zeros_like(logits)
            whole.narrow(axis, 0, shards.size).copy_(grad)
            grad = whole
        return grad.to(logits.dtype), None, None, None


def needs_gradient(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in tensors)


def need_tensor(name: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")


def device_of(value: Any, group: Any) -> torch.device:
    """Where the ranks exchange what they have: also of a rank that was given no tensor."""
    if isinstance(value, torch.Tensor):
        return value.device
    nccl = torch.distributed.get_backend(group) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
