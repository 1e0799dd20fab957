"""The definition of onesum, in plain array formulas.

These files are meant to be read beside the papers. They serve every array library that speaks the
Python array API standard, and NumPy itself where the compiled core was not built.

For one row of logits x and the temperature T:

    m        the largest x
    pivot    the first index where x is m
    e_i      exp((x_i - m) / T), so that the pivot has e = 1
    r        the sum of e over all classes but the pivot
    p_i      e_i / (1 + r)
    log p_i  (x_i - m) / T - log1p(r)
    log sum  m / T + log1p(r)

Leaving the pivot's 1 out of the sum keeps what the others add to it, however little that is. The
derivatives leave the pivot out likewise: 1 - p of the largest class is the sum of the other p.

Half and single precision are computed in double precision and rounded once. Double precision needs
more: there each number that matters is kept in two words, its value and what rounding took from it
(`words.py`). Everything acts along one axis, and sums keep that axis with size 1 until the end.
"""

from typing import Any

from .chunks import normalizer, pivot_index, shifted_exp, shifted_logits
from .comparison import divergences
from .derivatives import (
    log_softmax_diagonal,
    log_softmax_jvp,
    log_softmax_vjp,
    logsumexp_jvp,
    logsumexp_vjp,
    softmax_diagonal,
    softmax_vjp,
)
from .divergence import kl_divergence
from .forward import log_softmax, logsumexp, signed_logsumexp, softmax
from .losses import cross_entropy, cross_entropy_hvp, entropy, total

__all__ = [
    "cross_entropy",
    "cross_entropy_hvp",
    "direct",
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


def is_concrete(a: Any, /) -> bool:
    """Whether the values of an array can be looked at now: those of Dask are not there yet."""
    return not hasattr(a, "__dask_graph__")


def _declined(*arguments: Any) -> Any:
    return NotImplemented


class direct:  # noqa: N801
    """Nothing is computed before the checks."""

    softmax = log_softmax = logsumexp = staticmethod(_declined)
    softmax_vjp = log_softmax_vjp = log_softmax_jvp = staticmethod(_declined)
    logsumexp_vjp = logsumexp_jvp = cross_entropy = staticmethod(_declined)
