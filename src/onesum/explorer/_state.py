"""What the page shows, as the fragment of its address: x=1,2,3&g=1,0,0."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._library import to_numpy
from ..compare._logits import readable

# Those of source/state.js.
INITIAL = (1.0, 2.0, 3.0)
CLASSES = (2, 8)
LIMIT = 1000.0


def fragment_of(x: Any, g: Any) -> str:
    """Empty for what the page shows by itself."""
    logits = None if x is None else _numbers("x", x)
    n = len(INITIAL if logits is None else logits)
    if not CLASSES[0] <= n <= CLASSES[1]:
        raise ValueError(f"x: expected from {CLASSES[0]} to {CLASSES[1]} logits, got {n}")
    cotangent = None if g is None else _numbers("g", g)
    if cotangent is not None and len(cotangent) != n:
        raise ValueError(f"g: expected {n} numbers, one for each logit, got {len(cotangent)}")
    parts = [(name, values) for name, values in (("x", logits), ("g", cotangent)) if values]
    return "&".join(f"{name}={','.join(map(_text, values))}" for name, values in parts)


def _numbers(name: str, value: Any) -> list[float]:
    array = to_numpy(readable(name, value))
    if array.dtype.name == "bfloat16":
        array = array.astype(np.float64)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected one row, of shape (n,), got shape {array.shape}")
    numbers = [float(number) for number in array]
    for i, number in enumerate(numbers):
        if not abs(number) <= LIMIT:
            wanted = f"numbers from {-LIMIT:g} to {LIMIT:g}"
            raise ValueError(f"{name}: expected {wanted}, got {number} at {i}")
    return numbers


def _text(number: float) -> str:
    """The shortest that is read as this number; integers without a point."""
    return repr(int(number)) if number == int(number) else repr(number)
