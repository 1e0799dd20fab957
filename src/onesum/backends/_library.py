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
    if xp is np or getattr(xp, "__array_api_version__", "") < "2023.12":  # it cannot be asked
        return xp.float64
    info = getattr(xp, "__array_namespace_info__", None)
    if info is None:
        return xp.float64
    return info().dtypes(device=device(x), kind="real floating").get("float64", xp.float32)


def widen(*arrays: Array) -> Any:
    """The namespace and the arrays in its widest type.

    NumPy's are copied: its exponential has other last bits where an array is read backwards.
    """
    xp = namespace(arrays[0])
    if xp is np:
        return xp, *(np.array(a, dtype=np.float64, order="C") for a in arrays)
    return xp, *(xp.astype(a, widest(xp, a), copy=False) for a in arrays)


def select(xp: Any, condition: Array, a: Any, b: Any) -> Array:
    """xp.where, where one of the values may be a number: the older standards want arrays."""
    if isinstance(a, (int, float)):
        a = xp.asarray(a, dtype=b.dtype, device=device(b))
    elif isinstance(b, (int, float)):
        b = xp.asarray(b, dtype=a.dtype, device=device(a))
    return xp.where(condition, a, b)


def finish(xp: Any, x: Array, dtype: Any, out: Array) -> Array:
    """Round to the type of the result, the only rounding that the narrow types see."""
    x = xp.astype(x, dtype, copy=False)
    if out is None:
        return x[()] if xp is np and x.ndim == 0 else x  # NumPy's own reductions give scalars
    out[...] = x
    return out
