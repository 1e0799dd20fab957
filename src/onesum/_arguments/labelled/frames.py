"""Tables of pandas: the columns of a DataFrame are its classes, a Series is one row."""

from __future__ import annotations

from typing import Any

import numpy as np

from .labels import Span

Array = Any


def values_of(name: str, table: Any) -> Array:
    """The values as a NumPy array; what is missing in a nullable column is NaN."""
    import pandas as pd

    values = table.to_numpy()
    if values.dtype != object:
        return values
    columns = table.items() if table.ndim == 2 else [(table.name, table)]
    types = []
    for label, column in columns:
        if not pd.api.types.is_numeric_dtype(column.dtype):
            where = f" in column {label!r}" if table.ndim == 2 else ""
            raise TypeError(f"{name}: expected numbers, got dtype {column.dtype}{where}")
        types.append(getattr(column.dtype, "numpy_dtype", column.dtype))
    dtype = np.result_type(*types)
    if not table.isna().any(axis=None):
        return table.to_numpy(dtype=dtype)
    return table.to_numpy(dtype=dtype if dtype.kind == "f" else np.float64, na_value=np.nan)


class Frame:
    """The index and the columns of a DataFrame, or the index and the name of a Series."""

    def __init__(self, name: str, table: Any):
        self._name, self._table = name, table

    def axes(self, axis: Any) -> Any:
        return axis

    def aligned(self, name: str, value: Any, axes: tuple[int, ...], span: Span) -> Array:
        every = self._table.axes
        wanted = [i for i in range(len(every)) if span in ("all", "any") or self._is(i, axes, span)]
        # As NumPy broadcasts, an array with fewer axes has the last ones.
        for i, axis in zip(reversed(wanted), reversed(range(value.ndim)), strict=False):
            whose = f"{self._name} along its {('index', 'columns')[i]}"
            value = _reindexed(name, value, axis, every[i], whose)
        return values_of(name, value)

    @staticmethod
    def _is(axis: int, axes: tuple[int, ...], span: Span) -> bool:
        return (axis in axes) == (span == "classes")

    def wrap(self, result: Array) -> Any:
        import pandas as pd

        table = self._table
        if table.ndim == 1:
            wrapped: Any = pd.Series(result, index=table.index, name=table.name, copy=False)
        else:
            wrapped = pd.DataFrame(result, index=table.index, columns=table.columns, copy=False)
        wrapped.attrs = dict(table.attrs)
        return wrapped

    def wrap_rows(self, result: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
        import pandas as pd

        table = self._table
        if not keepdims:
            return self.of_rows(axes).wrap(result)
        kept = [None if i in axes else labels for i, labels in enumerate(table.axes)]
        if table.ndim == 1:
            return pd.Series(result, index=kept[0], name=table.name, copy=False)
        return pd.DataFrame(result, index=kept[0], columns=kept[1], copy=False)

    def of_rows(self, axes: tuple[int, ...]) -> FrameRows:
        return FrameRows([a for i, a in enumerate(self._table.axes) if i not in axes])


class FrameRows:
    """The index, or the columns, that the rows have."""

    library = "pandas"

    def __init__(self, indices: list[Any]):
        self._indices = indices

    def wrap(self, result: Array) -> Any:
        import pandas as pd

        if len(self._indices) != 1:
            return result
        return pd.Series(result, index=self._indices[0], copy=False)

    def need_same(self, name: str, other: FrameRows) -> None:
        for ours, theirs in zip(self._indices, other._indices, strict=True):
            if not ours.equals(theirs):
                wanted = f"rows with the labels {list(ours)!r:.60}, in this order"
                raise ValueError(f"{name}: expected {wanted}, got {list(theirs)!r:.60}")


def _reindexed(name: str, value: Any, axis: int, labels: Any, whose: str) -> Any:
    """A table with these labels along an axis, in their order."""
    theirs = value.axes[axis]
    if theirs.equals(labels) or len(theirs) == 1 != len(labels):
        return value
    if len(theirs) == len(labels) and theirs.is_unique and labels.is_unique:
        missing = labels.difference(theirs, sort=False)
        if len(missing) == 0:
            return value.reindex(labels, axis=axis)
        got = f"no {missing[0]!r}"
    elif len(theirs) != len(labels):
        got = f"{len(theirs)} labels"
    else:
        got = "others, of which some are the same"
    raise ValueError(f"{name}: expected the {len(labels)} labels of {whose}, got {got}")
