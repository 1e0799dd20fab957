"""The masks of numpy.ma, taken from arguments. No array has one before numpy.ma is imported."""

import sys
from typing import Any

import numpy as np


def split_mask(x: Any, hidden: Any = None) -> tuple[Any, Any]:
    """The data and the mask of a masked array; of all else, itself and None.

    With `hidden`, that is in the place of what is masked, so that no check meets it.
    """
    ma = sys.modules.get("numpy.ma")
    if ma is None or not isinstance(x, ma.MaskedArray):
        return x, None
    data, mask = x.data, ma.getmaskarray(x).copy()
    if hidden is not None and mask.any():
        data = data.copy()
        data[mask] = hidden
    return data, mask


def unmasked(name: str, x: Any) -> Any:
    """The data of an argument that may be a masked array, but may not lack an element."""
    data, mask = split_mask(x)
    if mask is not None and mask.any():
        place = tuple(int(i[0]) for i in np.nonzero(np.atleast_1d(mask)))
        at = f" at position {place[0] if mask.ndim == 1 else place}" if mask.ndim else ""
        raise ValueError(f"{name}: expected no masked elements, got one{at}")
    return data
