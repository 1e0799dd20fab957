# mypy: allow-untyped-calls
"""The loss of logits that are there, and its gradient."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch

from ..._arguments import Call
from ..._backends.torch import kernels
from ..._functions.cross_entropy_state import CrossEntropyState
from ..._functions.linear.products import spans
from ..._functions.packed import numbers_of, state_of
from ..losses import default_axis
from .agreement import Fact, Prepared, Shards, agree
from .dtensors import group_of, sharding_of
from .exchange import of_all_ranks
from .options import Loss, Options, need_classes, prepared

Tensor = Any


def loss_of_logits(
    logits: Tensor, target: Any, group: Any, dim: int | None, options: Options
) -> Tensor:
    """The loss of the logits of this rank's classes, and of those of all other ranks."""

    def prepare() -> tuple[tuple[Tensor, Call, Loss], Prepared]:
        need_tensor("logits", logits)
        axis = _class_axis(logits, target, dim)
        sharding = sharding_of("logits", logits, axis, group)
        x = sharding.local("logits", logits, axis)
        call = Call("logits", x, axis)
        facts = [
            Fact("logits", "one dtype", x.dtype),
            Fact("dim", "the same axis", axis),
            Fact("logits", "the same need of a gradient", needs_gradient(x)),
        ]
        name = "vocab_parallel_cross_entropy"
        loss, said = prepared(name, call, x, sharding, target, options, facts)
        return (x, call, loss), said

    ranks = group_of(logits, group)
    (x, call, loss), shards = agree(ranks, device_of(logits, ranks), prepare)
    need_classes(call, loss, shards)
    loss = loss.of_rank(shards, call.axis)
    if needs_gradient(x):
        return _VocabParallelLoss.apply(x, call.axis, loss, shards)
    return _Walk(x, call.axis, loss, shards).state().loss(loss.reduction)


class _Walk:
    """The logits of this rank's classes, without padding: of all rows, or of some at a time."""

    def __init__(self, logits: Tensor, axis: int, loss: Loss, shards: Shards):
        self._x, self._axis = logits.detach().narrow(axis, 0, shards.size), axis
        self._loss, self._shards = loss, shards
        self._along = 1 if axis == 0 else 0  # an axis of rows
        rows = 1 if logits.ndim == 1 else logits.shape[self._along]
        self._all = slice(0, rows)
        self._spans = spans(self._all, loss.height(rows, self._x.numel() // max(rows, 1)))

    def state(self) -> CrossEntropyState:
        """That of all classes of all ranks."""
        if len(self._spans) == 1:
            state = CrossEntropyState.of(**self._logits(self._all), **self._of_all(self._all))
            return of_all_ranks(state, self._shards)
        states = (
            CrossEntropyState.of(**self._logits(span), **self._of_all(span)) for span in self._spans
        )
        numbers = [numbers_of(state) for state in states]
        every = self._nothing(self._all)
        if numbers:
            every = state_of(torch.cat(numbers), every, self._shards.size)
        return of_all_ranks(every, self._shards)

    def gradient(self, state: CrossEntropyState, g: Tensor) -> Tensor:
        """g times the derivative by these logits."""
        reduction = self._loss.reduction
        if len(self._spans) == 1:
            chunk = self._logits(self._all)
            del chunk["axis"]
            return state.gradient(**chunk, reduction=reduction, g=g)
        grad, numbers = torch.empty_like(self._x), numbers_of(state)
        g = g.double() * state.factor(reduction)
        for span in self._spans:
            chunk = self._logits(span)
            del chunk["axis"]
            part = state_of(numbers[span], self._nothing(span), self._shards.vocab_size)
            some = part.gradient(**chunk, reduction="sum", g=g[span] if g.ndim else g)
            self._rows(grad, span).copy_(some)
        return grad

    # --- some of the rows ---

    def _rows(self, a: Tensor, span: slice) -> Tensor:
        """These of an array that has the class axis."""
        if span == self._all:
            return a
        return a.narrow(self._along, span.start, span.stop - span.start)

    def _logits(self, span: slice) -> dict[str, Any]:
        """What a state takes for them."""
        loss = self._loss
        if loss.has_classes:
            target = loss.target if span == self._all else loss.target[span]
        else:
            target = self._rows(loss.target, span)
        return {
            "x": self._rows(self._x, span),
            "target": target,
            "axis": self._axis,
            "start": self._shards.start,
            "weight": loss.weight,
        }

    def _of_all(self, span: slice) -> dict[str, Any]:
        of_all = dict(self._loss.of_all)
        if isinstance(of_all["temperature"], torch.Tensor):
            of_all["temperature"] = self._rows(of_all["temperature"], span)
        return of_all

    def _nothing(self, span: slice) -> CrossEntropyState:
        """The state of no class of these rows: what others are made like."""
        chunk = self._logits(span)
        chunk["x"] = chunk["x"].narrow(self._axis, 0, 0)
        if not self._loss.has_classes:
            chunk["target"] = chunk["target"].narrow(self._axis, 0, 0)
        chunk["weight"] = None if chunk["weight"] is None else chunk["weight"][:0]
        return CrossEntropyState.of(**chunk, **self._of_all(span))


class _VocabParallelLoss(torch.autograd.Function):  # type: ignore[misc]
    """The gradient is computed from the logits and the state, with nothing more to exchange."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, axis: int, loss: Loss, shards: Shards) -> Tensor:
        state = _Walk(logits, axis, loss, shards).state()
        ctx.save_for_backward(logits, *loss.tensors())
        ctx.of_backward = axis, loss, shards, state
        return state.loss(loss.reduction)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        need_no_second("vocab_parallel_cross_entropy")
        logits, *_ = ctx.saved_tensors
        axis, loss, shards, state = ctx.of_backward
        grad = _Walk(logits, axis, loss, shards).gradient(state, g)
        if grad.shape != logits.shape:  # padding has a gradient of 0
            whole = torch.zeros_like(logits)
            whole.narrow(axis, 0, shards.size).copy_(grad)
            grad = whole
        return grad.to(logits.dtype), None, None, None


def _class_axis(logits: Tensor, target: Any, dim: Any) -> int:
    """Counted from the front."""
    if not logits.ndim:
        raise ValueError("logits: expected at least one axis, that of the classes, got shape ()")
    try:
        axis: int = default_axis(logits, target) if dim is None else operator.index(dim)
    except TypeError:
        raise TypeError(f"dim: expected an int or None, got {dim!r:.60}") from None
    if not -logits.ndim <= axis < logits.ndim:
        raise np.exceptions.AxisError(axis, logits.ndim, "dim")
    return int(axis % logits.ndim)


def needs_gradient(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in tensors)


def need_no_second(name: str) -> None:
    """That no graph of the gradient is wanted: it would lack what is computed here.

    torch's `once_differentiable` says so only where the derivative of the loss has a graph itself.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"{name}: it has no second derivative: leave out create_graph=True")


def need_tensor(name: str, value: Any) -> None:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    with torch.no_grad():  # where a requirement of a gradient does not count
        derived = kernels.is_differentiated(value)
    if derived or torch._C._functorch.is_functorch_wrapped_tensor(value):
        got = "one under a transform of torch.func, or with a forward derivative"
        raise TypeError(f"{name}: expected a tensor that only backward() derives by, got {got}")


def device_of(value: Any, group: Any) -> torch.device:
    """Where the ranks exchange what they have: also of a rank that was given no tensor."""
    if isinstance(value, torch.Tensor):
        return value.device
    nccl = torch.distributed.get_backend(group) == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
