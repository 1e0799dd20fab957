"""Rows of a million classes, of which the exact result needs no more than the different values."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _exact
from ._audit import Audit

Array = Any

VALUES = 250  # different ones in a long row, so that its exact result costs so many exponentials
LONG = 1_000_000


def long_row(dtype: str) -> tuple[Array, Array, Array]:
    """The different logits, the one of each class, and how many classes have it. The first classes
    are the different ones in order."""
    rng = np.random.default_rng(4)
    few = rng.normal(0, 2, (1, VALUES)).astype(dtype)
    places = rng.integers(0, VALUES, LONG)
    places[:VALUES] = np.arange(VALUES)
    return few, places, np.bincount(places)


def long_rows(audit: Audit) -> None:
    kind = audit.subject.kind
    for dtype in ("float32", "float64"):
        few, places, counts = long_row(dtype)
        arrays: tuple[Array, ...] = (few,)
        if kind.endswith("_vjp"):
            first = _exact.forward(kind.removesuffix("_vjp"), few, counts=counts)
            g = np.random.default_rng(5).integers(-8, 9, few.shape).astype(dtype)
            arrays = _exact.rounded(first, few.dtype), g
        case = f"{dtype}, {LONG:,} classes"
        got = audit.ask("long rows", case, *(a[:, places] for a in arrays))
        if got is None:
            continue
        sample = got if kind == "logsumexp" else got[:, :VALUES]
        wanted = audit.exact(*arrays, counts=counts)
        audit.compare("long rows", case, sample, wanted, few.dtype)
