# mypy: allow-untyped-defs, allow-untyped-calls
"""The cross entropy of a linear layer's logits, for tensors.

First derivatives of CPU tensors are those of the walk over chunks of NumPy's arrays: it computes
them with the loss, which is why all logits need never be there. Whatever else is asked for (a
second derivative, another device, a transform, a graph) gets all logits, by torch's own product.

`walk` is the function for arrays, of (h, weight_matrix, target, bias, options, reduction, dtype,
chunk, gradient); `loss` and `loss_and_gradient` are those of logits, for tensors. The layer comes
checked.
"""

from typing import Any, NamedTuple

import torch

from . import host
from .direct import is_plain
from .kernels import PLAIN, is_differentiated


class Call(NamedTuple):
    """What there is beside the layer."""

    target: Any
    options: Any  # a NamedTuple, with weight, ignore_index, sample_weight, temperature and where
    reduction: str
    dtype: Any
    chunk: Any

    def tensors(self):
        return [a for a in (self.target, *self.options) if isinstance(a, torch.Tensor)]


def value(walk: Any, loss: Any, layer: Any, call: Call) -> Any:
    """The loss of a layer (h, weight_matrix, bias)."""
    if not _walks(layer, call):
        return _of_logits(loss, layer, call)
    if not (torch.is_grad_enabled() and any(a is not None and a.requires_grad for a in layer)):
        return _walked(walk, layer, call, False)[0]
    return _Loss.apply(*layer, (walk, loss, call))


def value_and_grad(walk: Any, loss_and_gradient: Any, layer: Any, call: Call) -> Any:
    """The loss, and its gradients by h, weight_matrix and bias."""
    if _walks(layer, call) and not any(map(is_differentiated, layer)):
        return _walked(walk, layer, call, True)
    value, g = _of_logits(loss_and_gradient, layer, call)
    return value, _backward(g, layer, call.dtype)


def _walks(layer, call):
    tensors = [a for a in layer if a is not None] + call.tensors()
    return (
        is_plain(tensors[0])
        and all(type(a) in PLAIN and a.is_cpu for a in tensors)
        and not any(map(is_differentiated, call.tensors()))
    )


def _walked(walk, layer, call, gradient):
    h, weight_matrix, bias = (host.array(host.widened(a)) for a in layer)
    options = type(call.options)(*(host.array(host.widened(a)) for a in call.options))
    target, dtype = host.array(host.widened(call.target)), host.NUMPY[call.dtype]
    others = options, call.reduction, dtype, call.chunk, gradient
    value, gradients = walk(h, weight_matrix, target, bias, *others)
    results = (host.tensor(a) for a in (value, *gradients))
    value, *gradients = (None if a is None else a.to(call.dtype) for a in results)
    return value, tuple(gradients)


def _logits(layer, call):
    h, weight_matrix, bias = layer
    wide = torch.float64 if torch.float64 in {call.dtype, *_types(layer)} else torch.float32
    h, weight_matrix = h.to(wide), weight_matrix.to(wide)
    ignored = call.options.ignore_index
    if ignored is not None and not call.target.is_floating_point():
        # What such a row holds is not to be multiplied, be it with 0.
        h = torch.where((call.target == ignored).unsqueeze(-1), 0.0, h)
    return torch.nn.functional.linear(h, weight_matrix, None if bias is None else bias.to(wide))


def _types(layer):
    return {a.dtype for a in layer if a is not None}


def _of_logits(function, layer, call):
    """A loss by way of all logits."""
    options = {name: getattr(call.options, name) for name in call.options._fields}
    others = {"reduction": call.reduction, "dtype": call.dtype}
    return function(_logits(layer, call), call.target, -1, **options, **others)


def _backward(g, layer, dtype):
    h, weight_matrix, bias = layer
    rows = g.reshape(-1, g.shape[-1])
    dh = (g @ weight_matrix.to(g.dtype)).to(dtype)
    dw = (rows.T @ h.to(g.dtype).reshape(-1, h.shape[-1])).to(dtype)
    return dh, dw, None if bias is None else rows.sum(0).to(dtype)


class _Loss(torch.autograd.Function):  # type: ignore[misc]
    """The gradients come with a total; with a loss for each row they wait for their cotangents."""

    @staticmethod
    def forward(ctx, h, weight_matrix, bias, call):
        walk, _, given = ctx.call = call
        layer = h, weight_matrix, bias
        value, ctx.gradients = _walked(walk, layer, given, given.reduction != "none")
        ctx.save_for_backward(*layer)
        return value

    @staticmethod
    def backward(ctx, by):
        walk, loss, call = ctx.call
        layer = ctx.saved_tensors
        batched = torch._C._functorch.is_legacy_batchedtensor(by)
        if torch.is_grad_enabled() or batched or not is_plain(by):
            wanted = [a for a, needed in zip(layer, ctx.needs_input_grad, strict=False) if needed]
            with torch.enable_grad():
                value = _of_logits(loss, layer, call)
            found = iter(torch.autograd.grad(value, wanted, by, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:3]), None
        if call.reduction == "none":
            return *_of_rows(walk, layer, call, by), None
        gradients, ctx.gradients = ctx.gradients, None  # they are the caller's now
        if gradients is None:
            _, gradients = _walked(walk, layer, call, True)
        if host.single(by) != 1.0:
            gradients = (None if a is None else a.mul_(by) for a in gradients)
        return *gradients, None


def _of_rows(walk, layer, call, by):
    """The gradients of a loss for each row: of their sums, weighted with the cotangents.

    Weights are not negative, so that there are two sums where the cotangents are of both signs.
    """
    total = [None] * 3
    for sign in (1.0, -1.0):
        part = (sign * by.double()).clamp(min=0.0)
        if not bool(part.any()):
            continue
        weights = call.options.sample_weight
        part = part if weights is None else part * weights
        options = call.options._replace(sample_weight=part)
        _, gradients = _walked(walk, layer, call._replace(options=options, reduction="sum"), True)
        for i, a in enumerate(gradients):
            if a is not None:
                total[i] = sign * a if total[i] is None else total[i] + sign * a
    return [
        torch.zeros_like(a) if found is None and a is not None else found
        for found, a in zip(total, layer, strict=True)
    ]
