"""What depends on the array library: its namespace, its types, how results are handed over."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Array = Any

FLOATING = ("float16", "bfloat16", "float32", "float64")
_INTEGRAL = re.compile(r"u?int\d+")
# Libraries whose arrays do not name their own namespace; array-api-compat knows it.
_COMPAT = frozenset({"cupy", "dask"})

_Function = TypeVar("_Function", bound=Callable[..., Any])


def quiet(function: _Function) -> _Function:
    """Infinities and underflow belong to the formulas: a caller gets values, not warnings."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if torch_compiles():  # which knows no errstate
            return function(*arguments, **options)
        with np.errstate(all="ignore"):
            return function(*arguments, **options)

    return call  # type: ignore[return-value]


# --- arrays and their libraries ---------------------------------------------------------------


def comes_from(kind: type, libraries: frozenset[str]) -> str | None:
    """Which of these libraries a type, or one that it derives from, is defined in."""
    for base in kind.__mro__:
        top = base.__module__.partition(".")[0]
        if top in libraries:
            return top
    return None


def as_array(name: str, value: Any) -> Any:
    """The value as it is if it is an array of some library, otherwise as a NumPy array."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if is_torch(value):
        from .torch_namespace import dense

        return dense(name, value)
    # torch.compile cannot look at what a list is derived from.
    library = None if isinstance(value, (list, tuple)) else comes_from(type(value), _COMPAT)
    if library == "dask":
        return _of_dask(name, value)
    if hasattr(value, "__array_namespace__") or library:
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        wanted = "an array or evenly nested numbers"
        raise ValueError(f"{name}: expected {wanted}, got {value!r:.60}: {error}") from error


def _of_dask(name: str, value: Any) -> Any:
    """A Dask array, of which nothing is masked."""
    if not is_dask(value):
        kind = type(value)
        got = f"{'.'.join(kind.__module__.split('.')[:2])}.{kind.__name__}"
        if hasattr(kind, "to_dask_array"):
            got += " (take .to_dask_array(lengths=True))"
        raise TypeError(f"{name}: expected an array, got {got}")
    if isinstance(value._meta, np.ma.MaskedArray):
        advice = "where=~da.ma.getmaskarray(a), with da.ma.getdata(a), says the same"
        raise TypeError(f"{name}: expected chunks without a mask, got masked ones ({advice})")
    return value


def is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_numpy(a: Any) -> Array:
    """An array of any library as NumPy's, without a copy where it can be."""
    if is_torch(a):
        a = a.detach().cpu()
        return (a.float() if dtype_name(a.dtype) == "bfloat16" else a).numpy()
    return np.asanyarray(a)


def is_dask(value: Any) -> bool:
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(value, dask_array.Array)


def torch_compiles() -> bool:
    """Whether torch.compile traces what is said here."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()


def namespace(x: Array) -> Any:
    """The module whose functions take x, by the array API standard."""
    if isinstance(x, (np.ndarray, np.generic)):
        return np
    if is_torch(x):
        from . import torch_namespace

        return torch_namespace
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    try:
        from array_api_compat import array_namespace

        if is_dask(x):
            if hasattr(x, "expr"):
                from . import dask_expressions

                return dask_expressions
            from . import dask_namespace

            return dask_namespace
    except ImportError as error:
        kind = f"{type(x).__module__}.{type(x).__qualname__}"
        advice = "pip install onesum[array-api]"
        raise ImportError(f"arrays of type {kind} need array-api-compat: {advice}") from error
    return array_namespace(x)


def library_name(xp: Any) -> str:
    """The library whose functions these are, not the one that lends them."""
    return str(getattr(xp, "library", xp.__name__)).removeprefix("array_api_compat.")


def device(x: Array) -> Any:
    return getattr(x, "device", None)


# --- types ------------------------------------------------------------------------------------


def dtype_name(dtype: Any) -> str:
    """The bare name of a dtype of any library: float32 for torch.float32 and for NumPy's >f4."""
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None)
    return name or str(dtype).rpartition(".")[2]


def is_integral(name: str) -> bool:
    """Whether a dtype of this name is one of integers."""
    return _INTEGRAL.fullmatch(name) is not None


def widest(xp: Any, x: Array) -> Any:
    """float64, or float32 where the library or the device of x has nothing wider."""
    return _widest(xp, x, "real floating", "float")


def widest_integer(xp: Any, x: Array) -> Any:
    """int64, or int32 likewise."""
    return _widest(xp, x, "signed integer", "int")


def _widest(xp: Any, x: Array, kind: str, name: str) -> Any:
    usual = getattr(xp, f"{name}64")
    if xp is np or getattr(xp, "__array_api_version__", "") < "2023.12":  # it cannot be asked
        return usual
    info = getattr(xp, "__array_namespace_info__", None)
    if info is None:
        return usual
    types = info().dtypes(device=device(x), kind=kind)
    return types[f"{name}64" if f"{name}64" in types else f"{name}32"]


def widen(*arrays: Array) -> Any:
    """The namespace and the arrays in its widest type.

    NumPy's are copied: its exponential has other last bits where an array is read backwards.
    """
    xp = namespace(arrays[0])
    if xp is np:
        return xp, *(np.array(a, dtype=np.float64, order="C") for a in arrays)
    return xp, *(xp.astype(a, widest(xp, a), copy=False) for a in arrays)


def as_floating(xp: Any, name: str, a: Array) -> Array:
    """Integers and bools become the widest type before anything is subtracted."""
    kind = dtype_name(a.dtype)
    if kind in FLOATING:
        return a
    if kind == "bool" or is_integral(kind):
        return xp.astype(a, widest(xp, a))
    wanted = f"{', '.join(FLOATING)}, integer or bool"
    raise TypeError(f"{name}: expected {wanted}, got dtype {a.dtype}")


def promoted(xp: Any, a: Any, b: Any) -> Any:
    """The type of a result of two arrays."""
    if a == b:
        return a
    if {dtype_name(a), dtype_name(b)} == {"float16", "bfloat16"}:
        return xp.float32
    return xp.result_type(a, b)


# --- values -----------------------------------------------------------------------------------


def select(xp: Any, condition: Array, a: Any, b: Any) -> Array:
    """xp.where, where one of the values may be a number: the older standards want arrays."""
    if isinstance(a, (int, float)):
        a = xp.asarray(a, dtype=b.dtype, device=device(b))
    elif isinstance(b, (int, float)):
        b = xp.asarray(b, dtype=a.dtype, device=device(a))
    return xp.where(condition, a, b)


def matmul(xp: Any, a: Array, b: Array) -> Array:
    """a @ b with all digits: by default JAX takes fewer of float32 where a device is faster so."""
    jax = sys.modules.get("jax")
    if jax is None or xp is not jax.numpy or jax.config.jax_default_matmul_precision is not None:
        return xp.matmul(a, b)
    return xp.matmul(a, b, precision="highest")


def pick(xp: Any, a: Array, index: Array, axis: int) -> Array:
    """The element of each row at an index, which has size 1 along the axis, as the result has."""
    if xp is np or is_torch(a) or hasattr(xp, "put_along_axis"):
        return xp.take_along_axis(a, index, axis=axis)
    if dtype_name(a.dtype) == "bool":
        return xp.any(a & _is_at(xp, a, index, axis), axis=axis, keepdims=True)
    return xp.sum(select(xp, _is_at(xp, a, index, axis), a, 0.0), axis=axis, keepdims=True)


def look_up(xp: Any, values: Array, index: Array) -> Array:
    """The elements of a vector at the indices, of whatever shape."""
    if is_dask(index):
        return xp.look_up(values, index)
    return xp.reshape(xp.take(values, xp.reshape(index, (-1,)), axis=0), index.shape)


def places(xp: Any, a: Array, axis: int, dtype: Any = None) -> Array:
    """The numbers of the elements along an axis; of Dask in its chunks."""
    if is_dask(a):
        return xp.arange(a.shape[axis], dtype=dtype, chunks=(a.chunks[axis],))
    return xp.arange(a.shape[axis], dtype=dtype, device=device(a))


def put(xp: Any, a: Array, index: Array, rows: Array, values: Array, axis: int) -> Array:
    """A new array `a` with these values at an index, in some of the rows: all with size 1 along the
    axis. The array may be used up.
    """
    if a.shape[axis] == 0:
        return a
    if xp is np or is_torch(a):
        values = xp.where(rows, xp.astype(values, a.dtype), xp.take_along_axis(a, index, axis=axis))
        xp.put_along_axis(a, index, values, axis=axis)
        return a
    return xp.where(_is_at(xp, a, index, axis) & rows, xp.astype(values, a.dtype), a)


def _is_at(xp: Any, a: Array, index: Array, axis: int) -> Array:
    classes = places(xp, a, axis, index.dtype)
    return xp.reshape(classes, (-1,) + (1,) * (a.ndim - 1 - axis)) == index


def finish(xp: Any, x: Array, dtype: Any, out: Array) -> Array:
    """Round to the type of the result, the only rounding that the narrow types see."""
    x = xp.astype(x, dtype, copy=False)
    if out is None:
        return x[()] if xp is np and x.ndim == 0 else x  # NumPy's own reductions give scalars
    out[...] = x
    return out
