"""How many classes come before a label. Not public: for `onesum.metrics` and the command `loss`."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def before(rows: Array, classes: Array, own: Array, labels: Array) -> Array:
    """How many of some classes come before the label: larger, or equal with a lower index."""
    larger = np.count_nonzero(rows > own, axis=-1)
    return np.asarray(larger + np.count_nonzero((rows == own) & (classes < labels), axis=-1))
