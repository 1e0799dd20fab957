"""Which backend serves which array. No array library is imported here but NumPy."""

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from . import array_api

# Libraries whose arrays do not name their own namespace; array-api-compat knows it.
_COMPAT = frozenset({"cupy", "dask", "torch"})


# What the environment asks for, as it was at import.
_wish = os.environ.get("ONESUM_BACKEND", "")


def _choose_for_numpy() -> ModuleType:
    """The backend of NumPy arrays."""
    if _wish not in ("", "native", "array_api"):
        raise ImportError(f"ONESUM_BACKEND: expected 'native' or 'array_api', got {_wish!r}")
    if _wish == "array_api":
        return array_api
    try:
        import_module("onesum._core")
    except ModuleNotFoundError as error:
        if error.name != "onesum._core":
            raise
        if _wish:
            wanted = f"ONESUM_BACKEND: expected 'array_api', got 'native': {_why_no_core()}"
            raise ImportError(wanted) from error
        return array_api
    from . import native

    return native


def numpy_reason() -> str:
    """Why the backend of NumPy arrays is the one it is."""
    if _wish:
        return f"ONESUM_BACKEND={_wish}"
    return "the compiled core was built" if sys.modules.get("onesum._core") else _why_no_core()


def _why_no_core() -> str:
    try:
        reason = import_module("onesum._no_core").reason  # what tools/build_backend.py wrote
    except ModuleNotFoundError:
        reason = "no module onesum._core for this Python"
    return f"the compiled core was not built: {reason}"


numpy_backend = _choose_for_numpy()


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
