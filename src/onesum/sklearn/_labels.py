"""Labels and the columns that they stand for; rows put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._calibration.rows import Rows

Array = Any


def classes_of(labels: Any, columns: int, classes: Any) -> Array:
    """The label of each column: as it was said, or as the labels that there are tell."""
    if columns < 2:
        wanted = "a column for each of two classes or more"
        raise ValueError(f"X: expected {wanted}, got 1 feature(s), which leave one class")
    if classes is not None:
        classes = np.asarray(classes)
        if classes.shape != (columns,) or len(np.unique(classes)) != columns:
            wanted = f"{columns} different labels, one for each column of X"
            raise ValueError(f"classes: expected {wanted}, got {classes.tolist()!s:.60}")
        return classes
    found = np.unique(np.asarray(labels))
    if len(found) == columns:
        return found
    if found.dtype.kind in "biuf" and np.isin(found, np.arange(columns)).all():
        return np.arange(columns).astype(found.dtype if found.dtype.kind != "b" else int)
    wanted = f"{columns} labels, one for each column of X, or integers from 0 to {columns - 1}"
    got = f"{len(found)}: {found[:5].tolist()!s:.60}"
    raise ValueError(f"y: expected {wanted}, got {got} (name them all by classes=)")


def need_two_classes(indices: Array, classes: Array) -> None:
    if len(indices) and np.all(indices == indices[0]):
        got = f"one class: {classes[indices[0]].item()!r}"
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
        raise ValueError(f"y: expected one of the classes {shown}, got {y[i].item()!r} in row {i}")
    return np.asarray(columns)


def joined(rows: Rows, others: Rows | None) -> Rows:
    """A copy of both, as logits; the first keep their numbers."""
    both = [rows] if others is None else [rows, others]
    return Rows(
        np.concatenate([part.x for each in both for part in each.parts()]),
        np.concatenate([each.labels for each in both]),
        sample_weight=np.concatenate(
            [np.ones(r.number) if r.weights is None else r.weights for r in both]
        ),
        name=rows.given.name,
    )
