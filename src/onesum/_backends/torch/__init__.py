# mypy: allow-untyped-defs, allow-untyped-calls
"""The backend of torch's tensors, differentiable in every way that torch can ask for.

    host.py          the operations on CPU tensors: NumPy's backend on views
    formulas*.py     the same in torch operations (numbers.py: their parts), for other devices
    kernels.py       which of the two computes; operators.py: what stands for them in a graph
    rules*.py        the derivatives; differentiable.py: autograd, torch.func and forward mode
    graph.py         the operations for torch.compile
    chunks.py        chunks of the class axis
    direct.py        what is plain, with no more Python than that takes

An operation has a rule for its operands. Where a temperature, a weight or a probability has a
derivative, the formulas are called instead, of which torch derives anything.
"""

import torch

from ..reference import pivot_index
from . import direct, host, rules, rules_losses
from .chunks import normalizer, shifted_exp, shifted_logits
from .kernels import is_concrete, is_here

__all__ = [
    "cross_entropy",
    "cross_entropy_hvp",
    "direct",
    "entropy",
    "is_concrete",
    "kl_divergence",
    "log_softmax",
    "log_softmax_diagonal",
    "log_softmax_jvp",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_jvp",
    "logsumexp_vjp",
    "normalizer",
    "pivot_index",
    "shifted_exp",
    "shifted_logits",
    "signed_logsumexp",
    "softmax",
    "softmax_diagonal",
    "softmax_vjp",
    "total",
]


def softmax(x, axis, where, temperature, dtype, out):
    return rules.softmax(x, where, temperature, axis, dtype)


def log_softmax(x, axis, where, temperature, dtype, out):
    return rules.log_softmax(x, where, temperature, axis, dtype)


def logsumexp(x, axis, where, temperature, dtype, out):
    return rules.logsumexp(x, where, temperature, axis, dtype)


def signed_logsumexp(x, b, axis, where, temperature, dtype):
    return rules_losses.signed_logsumexp(x, b, where, temperature, axis, dtype)


def softmax_vjp(p, g, axis, temperature, dtype, out):
    return rules.softmax_vjp(p, g, temperature, axis, dtype)


def log_softmax_vjp(logp, g, axis, temperature, dtype, out):
    return rules.log_softmax_vjp(logp, g, temperature, axis, dtype)


def log_softmax_jvp(logp, v, axis, temperature, dtype, out):
    return rules.log_softmax_jvp(logp, v, temperature, axis, dtype)


def logsumexp_vjp(x, g, axis, where, temperature, dtype, out):
    return rules.logsumexp_vjp(x, g, where, temperature, axis, dtype)


def logsumexp_jvp(x, v, axis, where, temperature, dtype, out):
    return rules.logsumexp_jvp(x, v, where, temperature, axis, dtype)


def softmax_diagonal(p, axis, temperature, dtype):
    return rules_losses.softmax_diagonal(p, temperature, axis, dtype)


def log_softmax_diagonal(logp, axis, temperature, dtype):
    return rules_losses.log_softmax_diagonal(logp, temperature, axis, dtype)


# --- losses ----------------------------------------------------------------------------------


def cross_entropy(x, target, axis, z_loss, softcap, where, temperature, by, gradient, dtype, out):
    others = _of_target(target, axis, z_loss, softcap, where, temperature, dtype)
    operation = rules_losses.cross_entropy
    if gradient and operation.is_bare(x, *others) and is_here(x):
        return host.cross_entropy_and_gradient(x, by, *others)
    losses = operation(x, *others)
    if not gradient:
        return losses, None
    by = _one_per_row(by, losses)
    return losses, rules_losses.cross_entropy_gradient(x, by, *others)


def cross_entropy_hvp(x, target, v, axis, z_loss, softcap, where, temperature, by, dtype, out):
    others = _of_target(target, axis, z_loss, softcap, where, temperature, dtype)
    by = _one_per_row(by, x.select(axis, 0))
    return rules_losses.cross_entropy_hvp(x, v, by, *others)


def entropy(x, axis, where, temperature, dtype):
    return rules_losses.entropy(x, where, temperature, axis, dtype)


def kl_divergence(x, y, axis, where, temperature, by, gradient, dtype):
    operation, options = rules_losses.kl_divergence, (where, temperature, axis, dtype)
    if gradient and operation.is_bare(x, y, *options) and is_here(x):
        return host.kl_divergence_and_gradients(x, y, by, *options)
    values = operation(x, y, *options)
    if not gradient:
        return values, None
    by = _one_per_row(by, values)
    return values, rules_losses.kl_divergence_gradient(x, y, by, *options)


def total(losses):
    return rules_losses.total(losses)


def _of_target(target, axis, z_loss, softcap, where, temperature, dtype):
    """What an operation takes after its operands."""
    classes, probabilities, weight, smoothing, sample_weight = target
    constants = classes, probabilities, weight, sample_weight, where, temperature
    return *constants, axis, smoothing, z_loss, softcap, dtype


def _one_per_row(by, rows):
    if not isinstance(by, torch.Tensor):
        by = torch.full((), by, dtype=torch.float64, device=rows.device)
    return by.expand(rows.shape)
