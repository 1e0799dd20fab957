# mypy: allow-untyped-calls
"""The loss of a linear layer's logits, of which a chunk is there at a time.

Each rank has the rows of the matrix for its own classes. The chunks make the state of these, row by
row; after the exchange the logits are computed once more for the gradient. CPU tensors go the way
of NumPy's arrays, as in `linear_cross_entropy`: with the same products and the same chunks.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from ..._backends.target import Target
from ..._backends.torch import host, kernels
from ..._functions.cross_entropy_state import CrossEntropyState
from ..._functions.linear.call import LinearCall
from ..._functions.linear.products import NewProducts, Products, spans
from ..._functions.linear.rows import Part, Rows
from ..._functions.packed import numbers_of, state_of
from ..._library import device, quiet
from .agreement import Fact, Prepared, Shards, agree
from .dtensors import group_of, sharding_of
from .exchange import of_all_ranks
from .logits import device_of, need_no_second, need_tensor, needs_gradient
from .options import Loss, Options, need_classes, prepared

Tensor = Any
Array = Any


class Layer(NamedTuple):
    h: Tensor
    weight_matrix: Tensor
    bias: Tensor | None

    def of_rank(self, shards: Shards) -> Layer:
        """That of the classes, without padding."""
        n, bias = shards.size, self.bias
        bias = None if bias is None else bias.detach()[:n]
        return Layer(self.h.detach(), self.weight_matrix.detach()[:n], bias)


class Given(NamedTuple):
    """What there is beside the layer."""

    loss: Loss
    shards: Shards
    dtype: Any
    reduce_dh: bool


def loss_of_layer(
    layer: Layer, target: Any, group: Any, reduce_dh: Any, options: Options
) -> Tensor:
    """The loss of h W^T + b, of the rows of W and b that this rank has, and those of all others."""

    def prepare() -> tuple[tuple[Layer, LinearCall, Loss], Prepared]:
        for name, a in zip(Layer._fields, layer, strict=True):
            if name != "bias" or a is not None:
                need_tensor(name, a)
        if not isinstance(reduce_dh, bool):
            raise TypeError(f"reduce_dh: expected True or False, got {reduce_dh!r:.60}")
        sharding = sharding_of("weight_matrix", layer.weight_matrix, 0, group)
        h = sharding.local_input("h", layer.h, reduce_dh)
        weight_matrix = sharding.local("weight_matrix", layer.weight_matrix, 0)
        bias = sharding.local("bias", layer.bias, 0)
        here = Layer(h, weight_matrix, bias)
        call = LinearCall(*here)
        call.name = "weight_matrix"
        facts = [
            Fact("h", "one dtype", h.dtype),
            Fact("weight_matrix", "one dtype", weight_matrix.dtype),
            Fact("bias", "one dtype, or None", None if bias is None else bias.dtype),
            Fact("reduce_dh", "the same", reduce_dh),
            Fact("h", "the same need of a gradient", needs_gradient(h)),
        ]
        name = "vocab_parallel_linear_cross_entropy"
        loss, said = prepared(name, call, weight_matrix, sharding, target, options, facts)
        return (here, call, loss), said

    ranks = group_of(layer.weight_matrix, group)
    (here, call, loss), shards = agree(ranks, device_of(layer.h, ranks), prepare)
    need_classes(call, loss, shards)
    dtype = call.dtype(None, *call.parameters(), role="loss")
    given = Given(loss.of_rank(shards, -1), shards, dtype, reduce_dh)
    with _no_autocast(here):
        if needs_gradient(*here):
            return _VocabParallelLinearLoss.apply(*here, given)
        walk = _Walk(here.of_rank(shards), given, gradient=False)
        return walk.loss(walk.state())


def _no_autocast(layer: Layer) -> torch.autocast:
    """torch.autocast chooses the type of the loss, but not those of the products on the way: the
    logits are to be the same in backward, wherever that is called.
    """
    return torch.autocast(layer.h.device.type, enabled=False)


class _Walk:
    """The chunks of the logits of this rank's classes."""

    def __init__(self, layer: Layer, given: Given, gradient: bool):
        self._given, loss = given, given.loss
        call = self._call = LinearCall(*map(_array, layer))
        xp = self._xp = call.xp
        self._dtype = host.NUMPY[given.dtype] if xp is np else given.dtype
        target, self._weight = _array(loss.target), _array(loss.weight)
        aim = Target(probabilities=target)
        if loss.has_classes:
            y, ignored = xp.astype(target, xp.int64), loss.of_all["ignore_index"]
            aim = Target(y if ignored is None else xp.where(y == ignored, -1, y))
        temperature, wide = _array(loss.of_all["temperature"]), call.computed_in(self._dtype)
        rows = self._rows = Rows(call, aim, None, temperature, wide)
        height, width = max(rows.number, 1), 0
        if call.classes:
            height, width = call.chunk(None, height, wide)
            height = min(height, loss.height(height, width))
        self._spans = spans(slice(0, rows.number), height)
        products = Products if xp is np else NewProducts
        matrices = call.weight_matrix, call.bias
        self._products = products(xp, *matrices, wide, height * width, gradient)
        self._blocks = spans(self._products.classes, max(width, 1))

    # --- forward ---

    @quiet
    def state(self) -> CrossEntropyState:
        """That of all classes of all ranks."""
        found = []
        for span in self._spans:
            part, state = Part(self._rows, span), self._nothing(span)
            for block in self._blocks:
                x = self._products.logits(part.h, block)
                state |= CrossEntropyState.of(x, **self._target(span, block), **self._of_all(span))
            found.append(numbers_of(state))
        every = self._nothing(slice(0, self._rows.number))
        if found:
            every = state_of(self._xp.concat(found, axis=0), every, self._given.shards.size)
        return of_all_ranks(every, self._given.shards)

    def loss(self, state: CrossEntropyState) -> Tensor:
        reduction = self._given.loss.reduction
        loss = state.loss(reduction)
        if reduction == "none":
            whole = self._rows.whole([loss], loss.dtype)
            loss = self._xp.reshape(whole, self._call.batch)
        return host.tensor(loss).to(self._given.dtype)

    # --- backward ---

    @quiet
    def gradients(self, numbers: Array, g: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """g times the derivatives, of the state whose numbers are these: dh of this rank only."""
        rows, xp, given = self._rows, self._xp, self._given
        every = slice(0, rows.number)
        state = state_of(numbers, self._nothing(every), given.shards.vocab_size)
        by = state.factor(given.loss.reduction)
        g = _array(g.detach().double())
        g = xp.reshape(g, (-1,)) if given.loss.reduction == "none" else g
        dh_parts = []
        for span in self._spans:
            part = Part(rows, span)
            of_rows = by * (rows.pick(g, span) if g.ndim else g)
            state = state_of(numbers[span], self._nothing(span), given.shards.vocab_size)
            dh = xp.zeros_like(part.h)
            for block in self._blocks:
                x = self._products.logits(part.h, block)
                out = x if xp is np else None
                chunk = self._target(span, block)
                grad = state.gradient(x, **chunk, reduction="sum", g=of_rows, out=out)
                dh = dh + self._products.backward(grad, part.h, block)
            dh_parts.append(dh)
        dh = xp.reshape(rows.whole(dh_parts, rows.wide, self._call.x.shape[-1]), self._call.x.shape)
        return host.tensor(dh), host.tensor(self._products.dw), host.tensor(self._products.db)

    # --- some rows of some classes ---

    def _target(self, span: slice, block: slice) -> dict[str, Any]:
        """What a state takes for them."""
        y = self._rows.target
        if y.classes is None:
            target = self._rows.pick(y.probabilities, span, block)
        else:
            target = self._rows.pick(y.classes, span)
        weight = None if self._weight is None else self._weight[block]
        start = self._given.shards.start + block.start
        return {"target": target, "weight": weight, "start": start}

    def _of_all(self, span: slice) -> dict[str, Any]:
        of_all = dict(self._given.loss.of_all)
        of_all["temperature"] = self._rows.pick(self._rows.temperature, span)
        if self._given.loss.has_classes:
            of_all["ignore_index"] = -1  # as `Target` has it
        return of_all

    def _nothing(self, span: slice) -> CrossEntropyState:
        """The state of no class of these rows: what others are merged with, or made like."""
        shape = (span.stop - span.start, 0)
        x = self._xp.zeros(shape, dtype=self._dtype, device=device(self._call.x))
        return CrossEntropyState.of(x, **self._target(span, slice(0, 0)), **self._of_all(span))


class _VocabParallelLinearLoss(torch.autograd.Function):  # type: ignore[misc]
    """Nothing is kept but the layer and the state, and only the sum of dh is exchanged."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight_matrix: Tensor, bias: Any, given: Given) -> Tensor:
        layer = Layer(h, weight_matrix, bias)
        walk = _Walk(layer.of_rank(given.shards), given, gradient=False)
        state = walk.state()
        ctx.save_for_backward(*layer, *given.loss.tensors())
        ctx.given, ctx.numbers = given, numbers_of(state)
        return walk.loss(state)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        need_no_second("vocab_parallel_linear_cross_entropy")
        layer, given = Layer(*ctx.saved_tensors[:3]), ctx.given
        with _no_autocast(layer):
            walk = _Walk(layer.of_rank(given.shards), given, gradient=True)
            dh, dw, db = walk.gradients(ctx.numbers, g)
        if ctx.needs_input_grad[0] and given.reduce_dh:
            dh = dh.contiguous()
            dist.all_reduce(dh, group=given.shards.group)
        dw, db = _padded(dw, layer.weight_matrix), _padded(db, layer.bias)
        return dh.to(layer.h.dtype), dw, db, None


def _padded(grad: Tensor | None, like: Tensor | None) -> Tensor | None:
    """The gradient of a parameter, 0 for the padding."""
    if grad is None or like is None or grad.shape == like.shape:
        return None if grad is None or like is None else grad.to(like.dtype)
    whole = torch.zeros_like(like)
    whole[: len(grad)] = grad
    return whole


def _array(a: Any) -> Any:
    """NumPy's view of a tensor in memory that it can see; all else as it is."""
    if isinstance(a, torch.Tensor) and kernels.is_on_host(a):
        return host.array(host.widened(a))
    return a
