"""Types and libraries by their names, and numbers as floats."""

import re
from typing import Any

from .backends._library import widest

Array = Any

FLOATING = ("float16", "bfloat16", "float32", "float64")
_INTEGRAL = re.compile(r"u?int\d+")


def dtype_name(dtype: Any) -> str:
    """The bare name of a dtype of any library: float32 for torch.float32 and for NumPy's >f4."""
    return getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]


def is_integral(name: str) -> bool:
    """Whether a dtype of this name is one of integers."""
    return _INTEGRAL.fullmatch(name) is not None


def library_name(xp: Any) -> str:
    """The library whose functions these are, not the one that lends them."""
    return str(xp.__name__).removeprefix("array_api_compat.")


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


def as_float(name: str, value: Any) -> float:
    """A number as a float. Too large an int is no inf."""
    try:
        return float(value)
    except OverflowError:
        got = f"an integer of {value.bit_length()} bits"
        raise ValueError(f"{name}: expected a number that fits float64, got {got}") from None
