"""The checks that read values. Where these are not known yet, as under jit, they are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._library import dtype_name, select, widest, widest_integer

if TYPE_CHECKING:
    from .call import Call

Array = Any

_TORCH_IGNORES = -100  # PyTorch's ignore_index, where none is given


def need_positive(call: Call, name: str, a: Array) -> None:
    positive = a > 0
    if call.backend.is_concrete(positive) and not bool(call.xp.all(positive)):
        bad = _first(call, a, ~positive)
        raise ValueError(f"{name}: expected numbers > 0, got {bad} among them")


def need_weights(call: Call, name: str, a: Array) -> None:
    good = (a >= 0) & call.xp.isfinite(a)
    if call.backend.is_concrete(good) and not bool(call.xp.all(good)):
        bad = _first(call, a, ~good)
        raise ValueError(f"{name}: expected finite numbers >= 0, got {bad} among them")


def class_indices(
    call: Call,
    name: str,
    index: Array,
    n: int | None,
    ignore_index: int | None = None,
    may_ignore: bool = False,
) -> Array:
    """int64, or the widest there is, with -1 for what is to be ignored; all else is a class, from
    0 to n - 1, or on if n is not known yet.
    """
    xp, integer = call.xp, widest_integer(call.xp, index)
    unsigned = dtype_name(index.dtype).startswith("u")
    # Other libraries compare little with uint64: there its upper half wraps to negative numbers.
    wide = index if xp is np else xp.astype(index, integer, copy=False)
    end = 2**64 if xp is np else 2**63 if dtype_name(integer) == "int64" else 2**31
    outside = wide < 0 if n is None else (wide < 0) | (wide >= n)
    if unsigned and n is None and xp is np:
        outside = wide >= 2**63
    ignored = None
    if ignore_index is not None:
        first = 0 if unsigned else -(2**63) if xp is np else -end
        ignored = wide == ignore_index if first <= ignore_index < end else outside & ~outside
        outside = outside & ~ignored
    if call.backend.is_concrete(outside) and bool(xp.any(outside)):
        position = tuple(int(i[0]) for i in xp.nonzero(outside)) if index.ndim else ()
        value = int(wide[position]) % 2**64 if unsigned else int(wide[position])
        at = f" at position {position[0] if len(position) == 1 else position}" if position else ""
        if value == _TORCH_IGNORES and may_ignore and ignore_index is None:
            at += f" (such rows are ignored with ignore_index={value})"
        to = "on" if n is None else f"to {n - 1}"
        raise IndexError(f"{name}: expected class indices from 0 {to}, got {value}{at}")
    wide = xp.astype(wide, integer, copy=False)
    return wide if ignored is None else select(xp, ignored, -1, wide)


def number(call: Call, a: Array) -> Any:
    """A number that was computed, as a float if it is known."""
    if call.backend.is_concrete(a):
        return float(a)
    return call.xp.astype(a, widest(call.xp, call.x), copy=False)


def _first(call: Call, a: Array, bad: Array) -> float:
    return float(call.xp.reshape(a[bad], (-1,))[0])
