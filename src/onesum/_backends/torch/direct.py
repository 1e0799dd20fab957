# mypy: allow-untyped-defs, allow-untyped-calls
"""What is plain, with no more Python than that takes.

Plain are CPU tensors, where no transform of torch.func, no forward mode and no mode that watches is
at work. NumPy's own direct calls compute, and decline what is not plain for them. Where gradients
are wanted, a result becomes that of the operation, which does not compute it once more.
"""

import torch
from torch.autograd import forward_ad

from .. import registry
from . import host, rules, rules_losses
from .kernels import PLAIN, is_watched


def is_plain(x):
    """Whether nothing is to be done to a tensor but to compute with its values."""
    return type(x) in PLAIN and not (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or is_watched()
        or forward_ad._current_level >= 0
        or x.is_neg()
    )


def _derived(x):
    return x.requires_grad and torch.is_grad_enabled()


def _derived_anyhow(*tensors):
    return any(x is not None and _derived(x) for x in tensors)


# --- softmax and what belongs to it -----------------------------------------------------------


def softmax(x, axis, temperature, out):
    return _of_logits("softmax", x, axis, temperature, out)


def log_softmax(x, axis, temperature, out):
    return _of_logits("log_softmax", x, axis, temperature, out)


def logsumexp(x, axis, temperature, out, keepdims):
    if keepdims is not False:
        return NotImplemented
    return _of_logits("logsumexp", x, axis, temperature, out, False)


def _of_logits(name, x, axis, temperature, out, *keepdims):
    if out is not None:
        return _into(out, name, (x,), axis, temperature, *keepdims)
    if not is_plain(x):
        return NotImplemented
    result = host.direct(name, (x,), axis, temperature, *keepdims)
    if result is NotImplemented or not _derived(x):
        return result
    return _attached(x, (result,), name, axis, temperature)


class _OfLogits(torch.autograd.Function):  # type: ignore[misc]
    """softmax, log_softmax or logsumexp of x, computed before."""

    @staticmethod
    def forward(ctx, x, answer, name, axis, temperature):
        (result,) = answer  # of a tuple: what torch sees as an input it returns as a view
        ctx.save_for_backward(x if name == "logsumexp" else result)
        ctx.options = name, axis, temperature
        return result

    @staticmethod
    def backward(ctx, g):
        (kept,) = ctx.saved_tensors
        name, axis, temperature = ctx.options
        keepdims = (False,) if name == "logsumexp" else ()
        gradient = NotImplemented
        if not torch.is_grad_enabled() and is_plain(g):
            gradient = host.direct(name + "_vjp", (kept, g), axis, temperature, *keepdims)
        if gradient is NotImplemented:
            axis %= kept.ndim
            options = temperature, axis, kept.dtype
            if name == "logsumexp":
                gradient = rules.logsumexp_vjp(kept, g.unsqueeze(axis), None, *options)
            else:
                gradient = getattr(rules, name + "_vjp")(kept, g, *options)
        return gradient, None, None, None, None


# Without what Function.apply looks for: is_plain has seen to that.
_attached = super(torch.autograd.Function, _OfLogits).apply


def softmax_vjp(p, g, axis, temperature, out):
    return _of_two("softmax_vjp", p, g, axis, temperature, out)


def log_softmax_vjp(logp, g, axis, temperature, out):
    return _of_two("log_softmax_vjp", logp, g, axis, temperature, out)


def log_softmax_jvp(logp, v, axis, temperature, out):
    return _of_two("log_softmax_jvp", logp, v, axis, temperature, out)


def logsumexp_vjp(x, g, axis, temperature, out, keepdims):
    return _of_two("logsumexp_vjp", x, g, axis, temperature, out, keepdims)


def logsumexp_jvp(x, v, axis, temperature, out, keepdims):
    return _of_two("logsumexp_jvp", x, v, axis, temperature, out, keepdims)


def _of_two(name, p, g, axis, temperature, out, *keepdims):
    if out is not None:
        return _into(out, name, (p, g), axis, temperature, *keepdims)
    if not (is_plain(p) and is_plain(g)) or _derived_anyhow(p, g):
        return NotImplemented
    return host.direct(name, (p, g), axis, temperature, *keepdims)


def _into(out, name, operands, axis, temperature, *keepdims):
    """The result in `out`, which has no derivative."""
    if not all(map(is_plain, (out, *operands))) or out.requires_grad or _derived_anyhow(*operands):
        return NotImplemented
    function, room = getattr(registry.numpy_backend.direct, name), host.memory(out)
    if room is None:
        return NotImplemented
    if host.call(function, operands, axis, temperature, room, *keepdims) is NotImplemented:
        return NotImplemented
    torch.autograd.graph.increment_version(out)
    return out


# --- the cross entropy ------------------------------------------------------------------------

# Bytes: a gradient of so many is kept for the backward pass, which is little memory, and saves a
# call. A larger one is computed there, from x: torch's own loss keeps log p, as large as x.
KEPT = 64 << 10


def cross_entropy(x, target, axis, weight, label_smoothing, ignore_index, sample_weight, z_loss,
                  softcap, temperature, where, reduction, gradient, out):  # fmt: skip
    if where is not None or not is_plain(x) or type(target) not in PLAIN:
        return NotImplemented
    tensors = x, target, weight, sample_weight
    if weight is not None or sample_weight is not None:
        weights = [w for w in (weight, sample_weight) if w is not None]
        if any(type(w) not in PLAIN for w in weights) or _derived_anyhow(*weights):
            return NotImplemented
    derived = x.requires_grad and torch.is_grad_enabled()
    if target.requires_grad or (derived and gradient):
        return NotImplemented
    options = axis, label_smoothing, ignore_index, z_loss, softcap, temperature, reduction
    if out is not None:
        return _gradient_into(out, tensors, options)
    kept = derived and reduction != "none" and x.nbytes <= KEPT
    answer = _answer(tensors, options, gradient or kept)
    if answer is NotImplemented or not derived:
        return answer
    return _attached_loss(x, answer, tensors, options), None


def _gradient_into(out, tensors, options):
    """The loss, and its gradient in `out`."""
    if type(out) not in PLAIN or out.requires_grad:
        return NotImplemented
    room = host.memory(out)
    if room is None:
        return NotImplemented
    answer = _answer(tensors, options, True, room)
    if answer is NotImplemented:
        return answer
    torch.autograd.graph.increment_version(out)
    return answer[0], out


def _answer(tensors, options, gradient, room=None):
    """What NumPy's direct call has to say."""
    x, target, weight, sample_weight = tensors
    axis, smoothing, ignore_index, z_loss, softcap, temperature, reduction = options
    if weight is not None and (weight := host.memory(weight, torch.float64)) is None:
        return NotImplemented
    if sample_weight is not None:
        sample_weight = host.memory(sample_weight, torch.float64)
        if sample_weight is None:
            return NotImplemented
    if gradient and room is None:
        room = host.array(host.room_for(x, x.dtype))
    function = registry.numpy_backend.direct.cross_entropy
    return host.call(function, (x, target), axis, weight, smoothing, ignore_index, sample_weight,
                     z_loss, softcap, temperature, None, reduction, gradient, room)  # fmt: skip


class _CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """A loss of x that has been computed, and perhaps its gradient."""

    @staticmethod
    def forward(ctx, x, answer, tensors, options):
        loss, ctx.gradient = answer
        ctx.options = options
        ctx.save_for_backward(*tensors)
        return loss

    @staticmethod
    def backward(ctx, by):
        batched = torch._C._functorch.is_legacy_batchedtensor(by)
        if torch.is_grad_enabled() or batched or not is_plain(by):
            return _gradient(ctx.saved_tensors, ctx.options, by), None, None, None
        gradient, ctx.gradient = ctx.gradient, None  # it is the caller's now
        if gradient is None:
            gradient = _answer(ctx.saved_tensors, ctx.options, True)[1]
        if host.single(by) != 1.0:
            host.times(gradient, by, ctx.options[0] if by.ndim else 0)
        return gradient, None, None, None


_attached_loss = super(torch.autograd.Function, _CrossEntropy).apply


def _gradient(tensors, options, by):
    """The gradient, with its own derivatives."""
    x, target, weight, sample_weight = tensors
    axis, smoothing, ignore_index, z_loss, softcap, temperature, reduction = options
    axis %= x.ndim
    weight, sample_weight = (None if w is None else w.double() for w in (weight, sample_weight))
    classes, probabilities, count = None, target, x.numel() // x.shape[axis]
    if not target.is_floating_point():
        classes, probabilities = target.long(), None
        if ignore_index is not None:
            classes = torch.where(classes == ignore_index, -1, classes)
        counted = classes >= 0
        count = (counted if weight is None else weight[classes.clamp(min=0)] * counted).sum()
    by = by.double() / count if reduction == "mean" else by
    by = by.expand(x.select(axis, 0).shape)
    constants = classes, probabilities, weight, sample_weight, None, temperature
    return rules_losses.cross_entropy_gradient(
        x, by, *constants, axis, smoothing, z_loss, softcap, x.dtype
    )
