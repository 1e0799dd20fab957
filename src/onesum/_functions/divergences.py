"""What two rows of logits say of one another and of a label, one number a row, in float64.

Not public: for what goes through many rows a block at a time (`onesum.compare`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._backends import registry
from .._backends.compared import Compared
from .._library import promoted

Array = Any


def divergences(x: Array, y: Array) -> Compared:
    """The divergences, in nats, of p = softmax(x) and q = softmax(y), and the normalizers.

    x and y are NumPy arrays of one shape, floating, with the classes along the last axis.
    """
    dtype = promoted(np, x.dtype, y.dtype)
    return registry.numpy_backend.divergences(x, y, x.ndim - 1, np.dtype(dtype))


def log_likelihoods(x: Array, labels: Array, top: Array, rest: Array) -> Array:
    """log p of each row's label, an int64, from the normalizer of the row."""
    chosen = np.take_along_axis(x, labels[..., np.newaxis], axis=-1)[..., 0]
    with np.errstate(invalid="ignore", over="ignore"):  # of several +inf there is none
        below = np.where(chosen == top, 0.0, chosen.astype(np.float64) - top)
    return below - rest
