"""Which backend serves which array. A library's own backend is imported with its first array."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from .._library import comes_from, torch_compiles

if TYPE_CHECKING:
    from .protocol import Backend, Direct, NumPyBackend

# The libraries that have a backend of their own, by the module that defines the type of an array.
_OWN = frozenset({"dask", "jax", "jaxlib", "torch"})
_of_type: dict[type, Backend] = {}

# What the environment asks for, as it was at import.
_wish = os.environ.get("ONESUM_BACKEND", "")


def _reference() -> NumPyBackend:
    """Imported when it serves: where the core does, that is rare."""
    from . import reference

    return reference


def _choose_for_numpy() -> NumPyBackend:
    """The backend of NumPy arrays."""
    if _wish not in ("", "native", "reference"):
        raise ImportError(f"ONESUM_BACKEND: expected 'native' or 'reference', got {_wish!r}")
    if _wish == "reference":
        return _reference()
    try:
        import_module("onesum._core")
    except ModuleNotFoundError as error:
        if error.name != "onesum._core":
            raise
        if _wish:
            wanted = f"ONESUM_BACKEND: expected 'reference', got 'native': {_why_no_core()}"
            raise ImportError(wanted) from error
        return _reference()
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


def backend_of(x: Any) -> Backend:
    """The backend for an array."""
    if isinstance(x, np.ndarray):
        return numpy_backend
    if torch_compiles():  # it would compile once more when the table changes
        from . import torch as of_torch

        return of_torch
    return _of_type.get(type(x)) or _find(type(x))


def direct_of(x: Any) -> Direct:
    """What a public function asks first, for whatever it was given as its first array."""
    return numpy_backend.direct if type(x) is np.ndarray else backend_of(x).direct


def name_of(backend: Any) -> str:
    return str(backend.__name__).rpartition(".")[2]


def _find(kind: type) -> Backend:
    library = comes_from(kind, _OWN)
    if library is None:
        return _reference()
    backend: Any = import_module(f"onesum._backends.{library.removesuffix('lib')}")
    _of_type[kind] = backend
    return backend  # type: ignore[no-any-return]
