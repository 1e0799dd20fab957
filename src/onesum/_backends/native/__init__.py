"""The compiled backend for NumPy."""

from ..._core import direct, direct_bfloat16
from .chunks import normalizer, pivot_index, shifted_exp, shifted_logits
from .comparison import divergences
from .functions import (
    log_softmax,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp,
    logsumexp_jvp,
    logsumexp_vjp,
    softmax,
    softmax_vjp,
)
from .losses import cross_entropy, cross_entropy_hvp, entropy, kl_divergence, total
from .rare import is_concrete, log_softmax_diagonal, signed_logsumexp, softmax_diagonal

__all__ = [
    "cross_entropy",
    "cross_entropy_hvp",
    "direct",
    "direct_bfloat16",
    "divergences",
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
