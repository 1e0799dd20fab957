# mypy: allow-untyped-defs, allow-untyped-calls
"""The backend of JAX's arrays, traced or not, with derivative rules of its own.

    core.py         the compiled core, which XLA calls on CPUs (decision 0014)
    linear.py       operations that know their transposed, where it is the core that computes them
    numbers.py      exponentials, logarithms, quotients: right to the last digits in float32 too
    rows.py         a row's pivot and normalizer, and the Jacobian of softmax
    forward.py      softmax, log_softmax, logsumexp with their rules
    row_losses.py   -log p of a row's classes;   information.py   entropy and divergence
    functions.py    what a public function calls, each one compiled call;   losses.py   likewise
    blocks.py       large arrays on CPUs, in blocks, where there is no core

On CPUs the core computes what it has a kernel for, elsewhere formulas in `jax.numpy` do. All rules
are of forward mode, from which JAX derives the rest, to any order.
"""

import jax

from ..reference import normalizer, pivot_index, shifted_exp, shifted_logits
from . import functions, information, losses

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


def is_concrete(a):
    return not isinstance(a, jax.core.Tracer)


def _declined(*arguments):
    return NotImplemented


class direct:  # noqa: N801
    softmax = log_softmax = logsumexp = staticmethod(_declined)
    softmax_vjp = log_softmax_vjp = log_softmax_jvp = staticmethod(_declined)
    logsumexp_vjp = logsumexp_jvp = staticmethod(_declined)
    cross_entropy = staticmethod(_declined)


def softmax(x, axis, where, temperature, dtype, out):
    return functions.softmax(x, where, functions.words(temperature, dtype, x), axis, dtype)


def log_softmax(x, axis, where, temperature, dtype, out):
    return functions.log_softmax(x, where, functions.words(temperature, dtype, x), axis, dtype)


def logsumexp(x, axis, where, temperature, dtype, out):
    return functions.logsumexp(x, where, functions.words(temperature, dtype, x), axis, dtype)


def signed_logsumexp(x, b, axis, where, temperature, dtype):
    temperature = functions.words(temperature, dtype, x, b)
    return functions.signed_logsumexp(x, b, where, temperature, axis, dtype)


def softmax_vjp(p, g, axis, temperature, dtype, out):
    return functions.softmax_vjp(p, g, functions.words(temperature, dtype, p, g), axis, dtype)


def log_softmax_vjp(logp, g, axis, temperature, dtype, out):
    temperature = functions.words(temperature, dtype, logp, g)
    return functions.log_softmax_vjp(logp, g, temperature, axis, dtype)


def log_softmax_jvp(logp, v, axis, temperature, dtype, out):
    temperature = functions.words(temperature, dtype, logp, v)
    return functions.log_softmax_jvp(logp, v, temperature, axis, dtype)


def logsumexp_vjp(x, g, axis, where, temperature, dtype, out):
    temperature = functions.words(temperature, dtype, x, g)
    return functions.logsumexp_vjp(x, g, where, temperature, axis, dtype)


def logsumexp_jvp(x, v, axis, where, temperature, dtype, out):
    temperature = functions.words(temperature, dtype, x, v)
    return functions.logsumexp_jvp(x, v, where, temperature, axis, dtype)


def softmax_diagonal(p, axis, temperature, dtype):
    return functions.softmax_diagonal(p, functions.words(temperature, dtype, p), axis, dtype)


def log_softmax_diagonal(logp, axis, temperature, dtype):
    temperature = functions.words(temperature, dtype, logp)
    return functions.log_softmax_diagonal(logp, temperature, axis, dtype)


def cross_entropy(x, target, axis, z_loss, softcap, where, temperature, by, gradient, dtype, out):
    target = target._replace(smoothing=target.smoothing or None)
    temperature = functions.words(temperature, dtype, x)
    return losses.cross_entropy(
        x, target, z_loss or None, softcap, where, temperature, by, axis, gradient, dtype
    )


def cross_entropy_hvp(x, target, v, axis, z_loss, softcap, where, temperature, by, dtype, out):
    target = target._replace(smoothing=target.smoothing or None)
    temperature = functions.words(temperature, dtype, x, v)
    return losses.cross_entropy_hvp(
        x, target, v, z_loss or None, softcap, where, temperature, by, axis, dtype
    )


def entropy(x, axis, where, temperature, dtype):
    return information.entropy(x, where, functions.words(temperature, dtype, x), axis, dtype)


def kl_divergence(x, y, axis, where, temperature, by, gradient, dtype):
    temperature = functions.words(temperature, dtype, x, y)
    return information.kl_divergence(x, y, where, temperature, by, axis, gradient, dtype)


def total(losses):
    return losses.sum()
