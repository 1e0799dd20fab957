# mypy: allow-untyped-defs, allow-untyped-calls
"""What depends on the array library: its namespace, its types, how results are handed over."""

from typing import Any

import numpy as np

Array = Any

# Infinities and underflow belong to the formulas: a caller gets values, not warnings.
quiet = np.errstate(all="ignore")


def namespace(x: Array) -> Any:
    """The module whose functions take x, by the array API standard."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    try:
        from array_api_compat import array_namespace
    except ImportError as error:
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        advice = "pip install onesum[array-api]"
        raise ImportError(f"arrays of type {kind} need array-api-compat: {advice}") from error
    return array_namespace(x)


def device(x: Array) -> Any:
    return getattr(x, "device", None)


def widest(xp: Any, x: Array) -> Any:
    """float64, or float32 where the library or the device of x has nothing wider."""
    info = getattr(xp, "__array_namespace_info__", None)
    if xp is np or info is None:
        return xp.float64
    return info().dtypes(device=device(x), kind="real floating").get("float64", xp.float32)


def widen(*arrays: Array) -> Any:
    xp = namespace(arrays[0])
    return xp, *(xp.astype(a, widest(xp, a), copy=False) for a in arrays)


def finish(xp: Any, x: Array, dtype: Any, out: Array) -> Array:
    """Round to the type of the result, the only rounding that the narrow types see."""
    x = xp.astype(x, dtype, copy=False)
    if out is None:
        return x[()] if xp is np and x.ndim == 0 else x  # NumPy's own reductions give scalars
    out[...] = x
    return out
