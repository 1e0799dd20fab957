"""Labels and the columns that they stand for; rows put together."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .._calibration.rows import Rows

Array = Any


def classes_of(y: Any, columns: int, classes: Any, known: Any, from_: str) -> Array:
    """The label of each class: as the parameter says, or as all that are known, or those of y tell.

    Logits may have one column less: those of all classes but the first, whose logit is then 0.
    """
    relative = from_ == "logits"
    if columns == 1 and not relative:
        wanted = "a column for each of two classes or more"
        raise ValueError(f"X: expected {wanted}, got 1 feature(s), which leave one class")
    if classes is not None:
        return _listed(np.asarray(classes), columns, relative)
    found = np.unique(np.asarray(y if known is None else known))
    n = max(columns, 2)
    if len(found) == n:
        return found
    numbers = found.dtype.kind in "biuf"
    if numbers and np.isin(found, np.arange(n)).all():
        return np.arange(n).astype(found.dtype if found.dtype.kind != "b" else int)
    # Of other numbers one may be a mistake, or stand for no class.
    in_order = not numbers or np.array_equal(found, np.arange(len(found)))
    if relative and len(found) == columns + 1 and in_order:
        if known is None:
            _tell(found, columns)
        return found
    wanted = f"{n} labels for X of {columns} feature(s), or integers from 0 to {n - 1}"
    got = f"{len(found)}: {found[:5].tolist()!s:.60}"
    raise ValueError(f"y: expected {wanted}, got {got} (name them all by classes=)")


def _tell(found: Array, columns: int) -> None:
    """That logits are taken for relative ones, which nobody has said."""
    text = f"y: {len(found)} labels for {columns} columns of X, which are taken for logits relative"
    text += f" to that of {_shown(found, 0)}; list all labels by classes= to say so"
    warnings.warn(text, stacklevel=5)


def _listed(classes: Array, columns: int, relative: bool) -> Array:
    sizes = [n for n in (columns, columns + relative) if n > 1]
    if classes.ndim != 1 or len(classes) not in sizes or len(set(classes.tolist())) != len(classes):
        wanted = f"{sizes[0]} different labels, one for each column of X"
        raise ValueError(f"classes: expected {wanted}, got {classes.tolist()!s:.60}")
    return classes


def with_first(x: Array, kept: Array | None) -> tuple[Array, Array | None]:
    """Logits relative to the first class, and what is not left out of them: with that class."""
    zero = np.zeros((len(x), 1), x.dtype)
    if kept is not None:
        kept = np.concatenate([zero == 0, kept], axis=1)
    return np.concatenate([zero, x], axis=1), kept


def need_two_classes(indices: Array, classes: Array) -> None:
    if len(indices) and np.all(indices == indices[0]):
        got = f"one class: {_shown(classes, indices[0])}"
        raise ValueError(f"y: expected labels of two classes or more, got {got}")


def indices_of(y: Array, classes: Array) -> Array:
    """The column of each label."""
    order = np.argsort(classes)
    try:
        places = np.searchsorted(classes, y, sorter=order)
        columns = order[np.minimum(places, len(classes) - 1)]
        wrong = classes[columns] != y
    except (TypeError, np.exceptions.DTypePromotionError):  # numbers among strings
        columns, wrong = np.zeros(len(y), int), np.ones(len(y), bool)
    if np.any(wrong):
        i = int(np.argmax(wrong))
        shown = ", ".join(repr(c) for c in classes[:5].tolist()) + ", ..." * (len(classes) > 5)
        raise ValueError(f"y: expected one of the classes {shown}, got {_shown(y, i)} in row {i}")
    return np.asarray(columns)


def _shown(labels: Array, i: int) -> str:
    """One of them as Python writes it, whatever the dtype, object too."""
    return repr(labels[i : i + 1].tolist()[0])


def joined(rows: Rows, others: Rows | None) -> Rows:
    """A copy of both, as logits; the first keep their numbers."""
    both = [rows] if others is None else [rows, others]
    return Rows(
        np.concatenate([part.x for each in both for part in each.parts()]),
        np.concatenate([each.labels[each.counted] for each in both]),
        sample_weight=np.concatenate(
            [np.ones(r.number) if r.weights is None else r.counted_weights for r in both]
        ),
        name=rows.given.name,
    )
