"""Answers compared where a mistake makes a difference that rounding cannot."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _exact
from ._audit import Audit

Array = Any


def close(a: Array | None, b: Array, tolerance: float = 1e-6) -> bool:
    if a is None or a.shape != b.shape:
        return False
    return bool(np.allclose(a, b, rtol=tolerance, atol=1e-12, equal_nan=True))


def right(audit: Audit, x: Array, got: Array | None, tolerance: float = 1e-4) -> bool:
    return close(got, _exact.rounded(audit.exact(x)), tolerance)


def shown(a: Array) -> str:
    values = np.asarray(a, np.float64).reshape(-1)
    return np.array2string(values, precision=4, threshold=8, separator=", ")
