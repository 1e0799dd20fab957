"""Dask: graphs of tasks over chunks of NumPy's arrays, or of another library's.

Where all classes are in one chunk a task is a call of the function on a block of rows, by the
backend of the block. Where they come in several, each chunk gives a state of the size of its rows;
a tree of tasks merges these; and a third kind of task maps the chunks under the state of all. No
array is computed, or cut in another way, when a graph is made.
"""

from typing import Any

from ..reference import direct
from .functions import (
    log_softmax,
    log_softmax_diagonal,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp,
    logsumexp_jvp,
    logsumexp_vjp,
    normalizer,
    pivot_index,
    shifted_exp,
    shifted_logits,
    signed_logsumexp,
    softmax,
    softmax_diagonal,
    softmax_vjp,
)
from .losses import cross_entropy, cross_entropy_hvp, entropy, kl_divergence, total

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


def is_concrete(a: Any, /) -> bool:
    """Whether the values of an array can be looked at now: they are not there yet."""
    return False
