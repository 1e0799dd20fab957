# mypy: allow-untyped-calls
"""The checks that read values: at once where these are known; by Dask in the tasks that have them;
and not at all where nobody can, as under jit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .._backends.registry import backend_of
from .._library import (
    dtype_name,
    is_dask,
    namespace,
    quiet,
    select,
    widest,
    widest_integer,
)

if TYPE_CHECKING:
    from .call import Call

Array = Any

_TORCH_IGNORES = -100  # PyTorch's ignore_index, where none is given


def need_positive(call: Call, name: str, a: Array) -> Array:
    return _checked(call, name, a, partial(_positive, name), a.dtype)


def need_weights(call: Call, name: str, a: Array) -> Array:
    return _checked(call, name, a, partial(_weights, name), a.dtype)


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
    check = partial(_class_indices, name, n, ignore_index, may_ignore)
    return _checked(call, name, index, check, np.dtype(np.int64))


def _checked(
    call: Call, name: str, a: Array, check: Callable[..., Array], lazy_dtype: Any
) -> Array:
    """What a check makes of an argument when it has seen its values."""
    if not is_dask(a):
        return check(a)
    if name in call.known:
        return call.ours(check(call.known[name]))
    from .._backends.dask.graph import checked

    return checked(check, a, lazy_dtype)


# --- of values, or of a block of them, which starts at some place of the argument ----------------


@quiet
def _positive(name: str, a: Array, start: tuple[int, ...] = ()) -> Array:
    _need(f"{name}: expected numbers > 0", a, a > 0)
    return a


@quiet
def _weights(name: str, a: Array, start: tuple[int, ...] = ()) -> Array:
    _need(f"{name}: expected finite numbers >= 0", a, (a >= 0) & namespace(a).isfinite(a))
    return a


def _need(wanted: str, a: Array, good: Array) -> None:
    xp = namespace(a)
    if backend_of(good).is_concrete(good) and not bool(xp.all(good)):
        bad = float(xp.reshape(a[~good], (-1,))[0])
        raise ValueError(f"{wanted}, got {bad} among them")


def _class_indices(
    name: str,
    n: int | None,
    ignore_index: int | None,
    may_ignore: bool,
    index: Array,
    start: tuple[int, ...] = (),
) -> Array:
    xp = namespace(index)
    integer = widest_integer(xp, index)
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
    if backend_of(outside).is_concrete(outside) and bool(xp.any(outside)):
        position = tuple(int(i[0]) for i in xp.nonzero(outside)) if index.ndim else ()
        value = int(wide[position]) % 2**64 if unsigned else int(wide[position])
        if start:
            position = tuple(i + first for i, first in zip(position, start, strict=True))
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
