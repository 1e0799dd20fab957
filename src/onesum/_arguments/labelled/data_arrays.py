"""DataArrays of xarray: axes may be named, and arguments are matched by the names."""

from __future__ import annotations

from typing import Any

from .labels import Span

Array = Any


class DataArray:
    """The dimensions, coordinates, attributes and the name of a DataArray."""

    def __init__(self, name: str, array: Any):
        self._name, self._array = name, array

    def axes(self, axis: Any) -> Any:
        if isinstance(axis, tuple):
            return tuple(map(self._number, axis))
        return self._number(axis)

    def _number(self, axis: Any) -> Any:
        if not isinstance(axis, str):
            return axis
        dims = self._array.dims
        if axis not in dims:
            raise ValueError(f"axis: expected one of the dimensions {dims}, got {axis!r}")
        return dims.index(axis)

    def aligned(self, name: str, value: Any, axes: tuple[int, ...], span: Span) -> Array:
        if not hasattr(value, "dims"):  # a table of pandas
            value = type(self._array)(value)
        every = self._array.dims
        classes = {every[i] for i in axes}
        if span == "all" or span == "any":
            wanted = every
        else:
            wanted = tuple(d for d in every if (d in classes) == (span == "classes"))
        strange = [d for d in value.dims if d not in wanted]
        missing = [d for d in wanted if d not in value.dims] if span != "any" else []
        if strange or missing:
            what = "some of the" if span == "any" else "the"
            raise ValueError(f"{name}: expected {what} dimensions {wanted}, got {value.dims}")
        self._need_same_labels(name, value)
        value = value.transpose(*(d for d in wanted if d in value.dims))
        data = value.data
        if span == "any":
            data = data[tuple(slice(None) if d in value.dims else None for d in wanted)]
        return data

    def _need_same_labels(self, name: str, value: Any) -> None:
        for d in value.dims:
            ours, theirs = self._array.indexes.get(d), value.indexes.get(d)
            if ours is not None and theirs is not None and not ours.equals(theirs):
                wanted = f"the labels of {self._name} along {d!r}, in their order"
                raise ValueError(f"{name}: expected {wanted}, got {list(theirs)!r:.60}")

    def wrap(self, result: Array) -> Any:
        return self._array.copy(data=result)

    def wrap_rows(self, result: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
        rows = self.of_rows(axes)
        return rows.wrap(result, self._array.dims if keepdims else None)

    def of_rows(self, axes: tuple[int, ...]) -> DataArrayRows:
        return DataArrayRows(self._array, {self._array.dims[i] for i in axes})


class DataArrayRows:
    """The dimensions and coordinates without those of the classes, attributes and the name."""

    library = "xarray"

    def __init__(self, array: Any, classes: set[Any]):
        self._type, self._name, self._attrs = type(array), array.name, dict(array.attrs)
        self._dims = tuple(d for d in array.dims if d not in classes)
        self._coords = {k: c for k, c in array.coords.items() if not classes.intersection(c.dims)}
        self._indexes = {d: array.indexes.get(d) for d in self._dims}

    def wrap(self, result: Array, dims: Any = None) -> Any:
        dims = self._dims if dims is None else dims
        return self._type(result, self._coords, dims, self._name, self._attrs)

    def need_same(self, name: str, other: DataArrayRows) -> None:
        if self._dims != other._dims:
            raise ValueError(f"{name}: expected rows along {self._dims}, got {other._dims}")
        for d, ours in self._indexes.items():
            theirs = other._indexes[d]
            if ours is not None and theirs is not None and not ours.equals(theirs):
                wanted = f"the labels {list(ours)!r:.60} along {d!r}, in this order"
                raise ValueError(f"{name}: expected {wanted}, got {list(theirs)!r:.60}")
