"""Errors in ulps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from budget import LEAST_NORMAL, SUBNORMAL, budget
from oracle import Array, Reference

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64))

# Bits of the significand and exponent of the smallest normal number.
_FORMATS = {
    "float16": (11, -14),
    "bfloat16": (8, -126),
    "float32": (24, -126),
    "float64": (53, -1022),
}


def ulp(x: Any, dtype: Any) -> Array:
    """The spacing of the dtype at abs(x), a np.longdouble, once x is rounded to the dtype."""
    last_binade = np.ldexp(np.longdouble(1), 1 - _FORMATS[np.dtype(dtype).name][1])
    x = np.minimum(np.abs(np.asarray(x, dtype=np.longdouble)), last_binade)
    return np.spacing(x.astype(dtype)).astype(np.longdouble)


def smallest(dtype: Any) -> np.longdouble:
    """The smallest positive number of the dtype."""
    return np.longdouble(ulp(0, dtype)[()])


def smallest_normal(dtype: Any) -> np.longdouble:
    return np.ldexp(np.longdouble(1), _FORMATS[np.dtype(dtype).name][1])


def overflow(dtype: Any) -> np.longdouble:
    """From here on numbers round to infinity."""
    bits, lowest = _FORMATS[np.dtype(dtype).name]
    return np.ldexp(2 - np.ldexp(np.longdouble(1), -bits), 1 - lowest)


def excess(got: Any, reference: Reference, function: str) -> Array:
    """The error over what is allowed, elementwise; infinite where it should not be finite."""
    got = np.asarray(got)
    wanted, scale = reference
    if got.shape != wanted.shape:
        raise AssertionError(f"shape {got.shape}, expected {wanted.shape}")
    dtype = got.dtype
    wanted = np.where(np.abs(wanted) >= overflow(dtype), np.copysign(np.inf, wanted), wanted)
    finite = np.isfinite(wanted)
    in_result, in_scale = budget(function, dtype.name)
    result, scale = (np.where(finite, a, 0) for a in (wanted, scale))
    of_terms = in_scale * ulp(scale, dtype) if in_scale else np.zeros_like(scale)
    allowed = in_result * ulp(result, dtype) + of_terms if in_result else of_terms
    if function == "softmax":
        least = np.abs(wanted) < 256 * smallest_normal(dtype)
        allowed = allowed + np.where(least, LEAST_NORMAL * smallest(dtype), 0)
    # Only cancelling terms may be off by more than underflow makes them; and 0 from no terms is 0.
    underflown = np.maximum(of_terms, SUBNORMAL * smallest(dtype))
    allowed = np.where(np.abs(wanted) < smallest_normal(dtype), underflown, allowed)
    allowed = np.where((wanted == 0) & (scale == 0), 0, allowed)
    answer = got.astype(np.longdouble)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(answer - wanted)
        ratio = np.where(error == 0, 0, error / allowed)
    same = (answer == wanted) | (np.isnan(answer) & np.isnan(wanted))
    return np.where(finite & np.isfinite(answer), ratio, np.where(same, 0, np.inf)).astype(float)


def check(got: Any, reference: Reference, function: str, note: str = "") -> None:
    """Fail with the worst element unless every one is within the budget of the function."""
    over = excess(got, reference, function)
    if over.size == 0 or over.max() <= 1:
        return
    got = np.asarray(got)
    at = np.unravel_index(over.argmax(), over.shape)
    wanted, scale = reference.value[at], reference.scale[at]
    error = np.abs(got[at].astype(np.longdouble) - wanted)
    where = tuple(int(i) for i in at)
    raise AssertionError(
        f"{function} {got.dtype} {note}: at {where} of {got.shape} got {got[at]!r}, expected "
        f"{wanted!r}, off by {float(error / ulp(wanted, got.dtype)):.4g} ulp of it, "
        f"{float(error / ulp(scale, got.dtype)):.4g} of the scale {float(scale):.4g}; "
        f"{int((over > 1).sum())} of {over.size} are over {budget(function, got.dtype.name)}"
    )


def judge(reference: Reference, function: str) -> Callable[[Any, str], None]:
    """A `check` of several answers to one question; those of the same bits are checked once."""
    right: list[Array] = []

    def check_unless_known(got: Any, note: str) -> None:
        if not any(same_bits(got, answer) for answer in right):
            check(got, reference, function, note)
            right.append(np.asarray(got))

    return check_unless_known


def same_bits(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
