"""What two rows of logits say of one another and of a label, one number a row, in float64.

Not public: for what goes through many rows a block at a time (`onesum.compare`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._backends import registry
from .._backends.target import Target
from .._library import promoted

Array = Any


def divergences(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """KL(p || q), KL(q || p) and Jensen-Shannon's, in nats, of p = softmax(x) and q = softmax(y).

    x and y are NumPy arrays of one shape, floating, with the classes along the last axis.
    """
    dtype = promoted(np, x.dtype, y.dtype)
    return registry.numpy_backend.divergences(x, y, x.ndim - 1, np.dtype(dtype))


def log_likelihoods(x: Array, labels: Array) -> Array:
    """log p of each row's label, an int64.

    From 16- and 32-bit logits as good as `cross_entropy` has it of these, before it rounds: their
    exponentials are summed in float64, and are float32 themselves.
    """
    losses, _ = registry.numpy_backend.cross_entropy(
        x, Target(labels), x.ndim - 1, 0.0, None, None, 1.0, 1.0, False, x.dtype, None
    )
    return -losses


def log_sums(x: Array) -> Array:
    """log sum exp of the rows."""
    axis = x.ndim - 1
    return registry.numpy_backend.logsumexp(x, axis, None, 1.0, np.dtype(np.float64), None)
