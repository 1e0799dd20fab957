"""What labels are for a call, whatever library they are from."""

from __future__ import annotations

from typing import Any, Literal, Protocol

Array = Any
# Which axes of x an argument has: all of them, those of the rows, those of the classes, or any.
Span = Literal["all", "rows", "classes", "any"]


class Labels(Protocol):
    """The labels of the first array of a call."""

    def axes(self, axis: Any) -> Any:
        """Its class axes, with numbers for names."""
        ...

    def aligned(self, name: str, value: Any, axes: tuple[int, ...], span: Span) -> Array:
        """The values of another array with labels, in the order of x; `axes` are the classes'."""
        ...

    def wrap(self, result: Array) -> Any:
        """A result of the shape of x, with its labels."""
        ...

    def wrap_rows(self, result: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
        """A result with one element per row, or what is left of the labels where that is one."""
        ...

    def of_rows(self, axes: tuple[int, ...]) -> RowLabels:
        """What is left of them without the class axes, and nothing of the array itself."""
        ...


class RowLabels(Protocol):
    """The labels of rows, whatever their classes."""

    library: str

    def wrap(self, result: Array) -> Any:
        """A result with one element per row."""
        ...

    def need_same(self, name: str, other: Any) -> None:
        """That others of this kind are the same, in the same order."""
        ...
