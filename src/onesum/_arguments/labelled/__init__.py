"""Arrays with labels: pandas and xarray. Their values go to the call, and results get the labels.

An argument beside a labelled x has its elements where the labels say. Beside an array without
labels, and without labels itself, it goes by position.
"""

from __future__ import annotations

import sys
from typing import Any

from .labels import Labels, RowLabels, Span

__all__ = ["Labels", "RowLabels", "Span", "split_labels"]


def split_labels(name: str, x: Any) -> tuple[Any, Labels | None]:
    """The values and the labels of an array that has them; of all else, itself and None."""
    pandas: Any = sys.modules.get("pandas")
    if pandas and isinstance(x, (_type(pandas, "DataFrame"), _type(pandas, "Series"))):
        from .frames import Frame, values_of

        return values_of(name, x), Frame(name, x)
    xarray: Any = sys.modules.get("xarray")
    if xarray and isinstance(x, _type(xarray, "DataArray")):
        from .data_arrays import DataArray

        return x.data, DataArray(name, x)
    if xarray and isinstance(x, _type(xarray, "Dataset")):
        raise TypeError(f"{name}: expected a DataArray, got a Dataset; use Dataset.map for each")
    return x, None


def _type(module: Any, name: str) -> Any:
    """A class of a module, which has none while it is being imported."""
    return getattr(module, name, ())
