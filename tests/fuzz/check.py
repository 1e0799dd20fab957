"""One call made and judged: against the exact answer, and against itself made differently."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from measure import excess, overflow, smallest_normal, ulp
from oracle import EXACT, WIDE, Reference

import onesum

from .answers import Wanted
from .call import SAME_AS, Call, answer, make
from .rows import LINEAR, Rows, narrowed
from .wanted import wanted

Array = np.ndarray[Any, Any]

SHARED_BY_THREADS = 40_000  # elements: from here on the threads have a part each
COPIES = "contiguous copies"
SEVERAL_TERMS = ("cross_entropy_hvp", "kl_divergence", "kl_divergence_grad")
REDUCING = ("cross_entropy", "kl_divergence")  # rows to one number, if not told otherwise
MOST_EXACT = 3000  # elements for which a miss is judged again with 60 digits


@dataclass(frozen=True)
class Miss:
    """What is wrong with a call: `kind` in words that are the same for all misses of one sort."""

    call: Call
    kind: str
    detail: str

    @property
    def key(self) -> tuple[str, str]:
        return self.call.function, self.kind


def misses(call: Call) -> list[Miss]:
    """Everything that is wrong with the call."""
    return [Miss(call, kind, detail) for kind, detail in _judged(call)]


def _judged(call: Call) -> Iterator[tuple[str, str]]:
    names = make(call)
    values = _values(call, names)
    watched = _Watched(call, names)
    try:
        got = _made(call, names)
    except Exception as error:
        yield f"raises {_sort(error)}", f"{type(error).__name__}: {error}"
        return
    yield from watched.written(got)
    different = list(_made_differently(call, values, got))
    sharing = call.out is not None and (call.out.over or call.out.place != "new")
    suffix = " in shared memory" if sharing and any(COPIES in kind for kind, _ in different) else ""
    for kind, detail in [*compared(call, values, got), *different]:
        yield kind + suffix, detail


def _values(call: Call, names: dict[str, Any]) -> dict[str, Array]:
    """The arrays as they lie in memory, copied, in the byte order of the machine."""
    copies = {}
    for name in call.arrays:
        a = names[name]
        a = np.array(a.data if isinstance(a, np.ma.MaskedArray) else a)
        copies[name] = a.astype(a.dtype.newbyteorder("="))
    return copies


def _made(call: Call, names: dict[str, Any] | None = None) -> list[Array]:
    """All arrays that the call returns; NumPy's warnings are errors."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        return list(_flat(answer(call, make(call) if names is None else names)))


def _flat(result: Any) -> Iterator[Array]:
    if isinstance(result, tuple):
        for part in result:
            yield from _flat(part)
    elif result is not None:
        yield result if isinstance(result, np.ndarray) else np.asarray(result)


class _Watched:
    """The inputs and the memory around `out`, as they were before the call."""

    def __init__(self, call: Call, names: dict[str, Any]) -> None:
        self.out = names.get("out")
        arrays = {n: names[n] for n in call.arrays if isinstance(names[n], np.ndarray)}
        shares = [n for n, a in arrays.items() if _shares(a, self.out)]
        self.inputs = {n: a for n, a in arrays.items() if n not in shares}
        self.before = {n: _data(a).tobytes() for n, a in self.inputs.items()}
        if self.out is not None:
            self.root = self.out
            while isinstance(self.root.base, np.ndarray):
                self.root = self.root.base
            self.old, self.around = np.array(self.out), self.root.tobytes()

    def written(self, got: list[Array]) -> Iterator[tuple[str, str]]:
        for name, a in self.inputs.items():
            if _data(a).tobytes() != self.before[name]:
                yield f"writes to {name}", f"{name} was changed"
        if self.out is None:
            return
        if got[-1] is not self.out:
            yield "does not return out", f"got {got[-1]!r:.60}"
            return
        new = np.array(self.out)
        self.out[...] = self.old
        if self.root.tobytes() != self.around:
            yield "writes beside out", "the memory around out was changed"
        self.out[...] = new


def _shares(a: Array, out: Any) -> bool:
    return out is not None and np.may_share_memory(a, out)


# --- against the exact answer


def compared(call: Call, values: dict[str, Array], got: list[Array]) -> Iterator[tuple[str, str]]:
    if call.function in SAME_AS:
        with np.errstate(all="ignore"):
            same = list(_flat(answer(call, make(call), SAME_AS)))
        yield from _different("the functions", got, same)
        return
    exact = wanted(call, values, WIDE)
    if len(exact) != len(got):
        yield "number of results", f"{len(got)}, expected {len(exact)}"
        return
    again = None
    for i, (part, array) in enumerate(zip(exact, got, strict=True)):
        miss = compared_part(part, array)
        if miss is None:
            continue
        size = sum(a.size for a in values.values())
        if miss[0].startswith("value") and size <= MOST_EXACT:
            again = again or wanted(call, values, EXACT)
            miss = compared_part(again[i], array)
        if miss is not None:
            kind, detail = miss
            yield f"{part.name}: {kind}", detail


def compared_part(part: Wanted, got: Array) -> tuple[str, str] | None:
    """What is wrong with one of the results, if anything is."""
    if isinstance(got, np.ma.MaskedArray):
        got = got.data
    if got.dtype != part.dtype:
        return "dtype", f"{got.dtype}, expected {part.dtype}"
    if got.shape != part.shape:
        return "shape", f"{got.shape}, expected {part.shape}"
    if got.size == 0:
        return None
    if part.name == "curvature" and not np.all(got > 0):
        return "not above 0", f"{got!s:.300}"
    with np.errstate(all="ignore"):
        value, scale, free = (
            part.unrow(np.asarray(a))
            for a in (part.answer.value, part.answer.scale, part.answer.free)
        )
        end = overflow(got.dtype)
        # There is no ulp in this type for such terms; and where none is wider, what is made of
        # several that overflow may be NaN ("What remains").
        several = got.dtype.itemsize == 8 and part.budget in SEVERAL_TERMS
        free = free | ((scale >= end) & ((np.abs(value) < end) | several))
        value = np.where(free, got.astype(np.longdouble), value)
        over = excess(got, Reference(value, scale), part.budget)
    if over.max() <= 1:
        return None
    at = np.unravel_index(over.argmax(), over.shape)
    error = np.abs(got[at].astype(np.longdouble) - value[at])
    kind = "value" if np.isfinite(value[at]) and np.isfinite(got[at]) else "special value"
    if kind == "value" and 0 < np.abs(value[at]) < smallest_normal(got.dtype):
        kind = "value, subnormal"
    with np.errstate(all="ignore"):
        ulps = float(error / ulp(value[at], got.dtype))
        of_scale = float(error / ulp(scale[at], got.dtype))
    place = tuple(int(i) for i in at)
    return kind, (
        f"at {place} got {got[at]!s}, wanted {np.longdouble(value[at])!s}: {ulps:.4g} ulps, "
        f"{of_scale:.4g} of its terms, {over.max():.3g} times what is allowed"
    )


# --- against itself


def _made_differently(
    call: Call, values: dict[str, Array], got: list[Array]
) -> Iterator[tuple[str, str]]:
    if call.function in LINEAR:  # the products are BLAS's, and so are their bits
        return
    plain = call.plain(values)
    try:
        yield from _different(COPIES, got, _made(plain))
        if sum(a.size for a in values.values()) >= SHARED_BY_THREADS:
            yield from _threads(plain, got)
        if call.function not in SAME_AS:
            yield from _rows_alone(call, values, got)
    except Exception as error:
        yield f"a copy raises {_sort(error)}", f"{type(error).__name__}: {error}"


def _sort(error: Exception) -> str:
    """The exception and the argument it names."""
    return f"{type(error).__name__} {str(error).partition(':')[0]:.40}"


def _threads(call: Call, got: list[Array]) -> Iterator[tuple[str, str]]:
    before = onesum.get_num_threads()
    for number in (1, 2):
        onesum.set_num_threads(number)
        try:
            yield from _different(f"{number} threads", got, _made(call))
        finally:
            onesum.set_num_threads(before)


def _rows_alone(
    call: Call, values: dict[str, Array], got: list[Array]
) -> Iterator[tuple[str, str]]:
    """As rows with axis -1, and then one row without the others."""
    rows = Rows(call, values)
    if rows.k == 0 or rows.n == 0:
        return
    canonical = rows.canonical()
    whole = _made(canonical)
    exact = wanted(call, values, WIDE)
    reduced = call.function.startswith(REDUCING) and call.options.get("reduction") != "none"
    for part, a, b in zip(exact, got, whole, strict=True):
        if part.shape or not reduced:
            yield from _different("axis -1", [a], [part.unrow(np.asarray(b))])
    if reduced:
        canonical = replace(canonical, options=canonical.options | {"reduction": "none"})
        whole = _made(canonical)
    row = len(whole[0]) // 2 if whole[0].ndim else 0
    alone = _made(narrowed(canonical, 0, np.array([row])))
    yield from _different("the row alone", [a[row : row + 1] for a in whole], alone)


def _different(what: str, got: list[Array], wanted: list[Array]) -> Iterator[tuple[str, str]]:
    for i, (a, b) in enumerate(zip(got, wanted, strict=True)):
        if not same_bits(a, b):
            sign = " (sign of zero)" if np.array_equal(_data(a), _data(b), equal_nan=True) else ""
            kind = f"result {i}: not the bits of {what}{sign}"
            yield kind, f"got {_data(a)!s:.300}, from {what} {_data(b)!s:.300}"


def _data(a: Array) -> Array:
    return np.asarray(a.data if isinstance(a, np.ma.MaskedArray) else a)


def same_bits(a: Array, b: Array) -> bool:
    """One NaN is as good as another; zeros have signs."""
    a, b = _data(a), _data(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.tobytes() == b.tobytes():
        return True
    nan = np.isnan(a)
    return bool(np.array_equal(nan, np.isnan(b)) and a[~nan].tobytes() == b[~nan].tobytes())
