"""Rows that are to be told of: how many there are, and where the first is."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._storage.region import Box
from ..compare._labels import row_name


class Rows(NamedTuple):
    """A number of rows, and the place of the first along the axes that are no class axes."""

    number: int = 0
    first: list[int] | None = None

    def __or__(self, other: Any) -> Rows:
        return Rows(self.number + other.number, self.first or other.first)

    def text(self, what: str) -> str:
        have = "1 row has" if self.number == 1 else f"{self.number} rows have"
        first = "" if self.first is None else f", the first is {row_name(self.first)}"
        return f"{have} {what}{first}"


NONE = Rows()


def rows_where(mask: NDArray[Any], rows: Box) -> Rows:
    """Those of a block of rows for which a mask is true."""
    if not mask.any():
        return NONE
    first = np.argwhere(mask)[0]
    place = [int(i) + s.start for i, s in zip(first, rows, strict=True)]
    return Rows(int(np.count_nonzero(mask)), place)
