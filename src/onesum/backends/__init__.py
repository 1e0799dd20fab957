"""Which backend serves which array. No array library is imported here but NumPy."""

import os
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from . import array_api

# Libraries whose arrays do not name their own namespace; array-api-compat knows it.
_COMPAT = frozenset({"cupy", "dask", "torch"})


def _choose_for_numpy() -> tuple[ModuleType, str]:
    """The backend of NumPy arrays, and why it is that one."""
    wish = os.environ.get("ONESUM_BACKEND", "")
    if wish not in ("", "native", "array_api"):
        raise ValueError(f"ONESUM_BACKEND: expected 'native' or 'array_api', got {wish!r}")
    if wish == "array_api":
        return array_api, "ONESUM_BACKEND=array_api"
    try:
        import_module("onesum._core")
    except ModuleNotFoundError as error:
        if wish or error.name != "onesum._core":
            raise
        return array_api, f"the compiled core was not built: {error}"
    from . import native

    return native, "the compiled core was built"


numpy_backend, numpy_reason = _choose_for_numpy()


def backend_of(xp: Any) -> ModuleType:
    """The backend for the arrays of a namespace."""
    return numpy_backend if xp is np else array_api


def as_array(name: str, value: Any) -> Any:
    """The value as it is if it is an array of some library, otherwise as a NumPy array."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if hasattr(value, "__array_namespace__"):
        return value
    if any(base.__module__.partition(".")[0] in _COMPAT for base in type(value).__mro__):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        wanted = "an array or evenly nested numbers"
        raise ValueError(f"{name}: expected {wanted}, got {value!r:.60}: {error}") from error
