"""Labels of rows, checked, and how a row is named to the user."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .._library import dtype_name, is_integral

Array = Any


def row_name(place: Iterable[int]) -> str:
    """A row, counted from 0, by its place along the axes that are no class axes."""
    at = tuple(place) or (0,)
    return f"row {at[0] if len(at) == 1 else at}"


def need_labels(name: str, labels: Any, batch: tuple[int, ...]) -> None:
    """Refuse what is not an integer for each row."""
    if not is_integral(dtype_name(labels.dtype)):
        raise TypeError(f"{name}: expected integers, got dtype {labels.dtype}")
    if tuple(labels.shape) != batch:
        wanted = f"shape {batch}, one per row"
        raise ValueError(f"{name}: expected {wanted}, got {tuple(labels.shape)}")


def need_classes(
    name: str, labels: Array, classes: int, counted: Array = True, first: Sequence[int] = ()
) -> None:
    """Refuse labels that are no classes.

    counted : which of them matter.
    first : the place of the first of these rows among all.
    """
    wrong = np.asarray(((labels < 0) | (labels >= classes)) & counted)
    if wrong.any():
        at = np.argwhere(wrong)[0]
        row = row_name(int(i) + j for i, j in zip(at, first or (0,) * len(at), strict=True))
        got = f"{int(labels[tuple(at)])} in {row}"
        raise IndexError(f"{name}: expected class indices from 0 to {classes - 1}, got {got}")
