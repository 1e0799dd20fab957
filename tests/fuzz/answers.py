"""The form of an exact answer: rows, their scale, and how they become an array."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from oracle import Arithmetic, Reference

from . import limits
from .call import Call
from .limits import PLAIN, Answer
from .rows import Rows

Array = np.ndarray[Any, Any]
NAN = np.nan
SUMS_END = np.longdouble(np.finfo(np.float64).max)


class Wanted(NamedTuple):
    """One of the arrays that a call returns."""

    name: str
    budget: str  # the function in budget.py
    answer: Answer
    shape: tuple[int, ...]
    unrow: Callable[[Array], Array]  # from rows to this shape
    dtype: np.dtype[Any]


def result_dtype(rows: Rows) -> np.dtype[Any]:
    """What the arrays promote to, or the dtype asked for."""
    asked = rows.call.options.get("dtype")
    if asked is not None:
        return np.dtype(asked)
    result = None
    for name in DECIDING.get(rows.call.function, ("x", "p", "logp", "g", "v", "b", "y")):
        if name in rows.values:
            dtype = rows.values[name].dtype.newbyteorder("=")
            dtype = np.dtype(np.float64) if dtype.kind in "biu" else dtype
            result = dtype if result is None else promoted(result, dtype)
    assert result is not None
    return result


DECIDING = {
    "logsumexp": ("x",),
    "linear_cross_entropy": ("h", "weight_matrix", "bias"),
    "linear_cross_entropy_value_and_grad": ("h", "weight_matrix", "bias"),
}


def promoted(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    if {a.name, b.name} == {"float16", "bfloat16"}:
        return np.dtype(np.float32)
    return np.promote_types(a, b)


class Answers:
    """The rows of a call and how their answers become arrays."""

    def __init__(self, call: Call, values: dict[str, Array], arithmetic: Arithmetic) -> None:
        self.rows = Rows(call, values)
        self.call, self.arithmetic = call, arithmetic
        self.dtype = result_dtype(self.rows)
        self.t = self.rows.temperature
        self.inside = self.rows.inside

    def array(self, name: str) -> Array:
        """As rows, in a type no narrower than that of the result: the oracles judge by it."""
        a = self.rows[name]
        return a if a.dtype.kind in "biu" else a.astype(promoted(a.dtype, self.dtype))

    @cached_property
    def x(self) -> Array:
        """The logits."""
        return self.array("x")

    @cached_property
    def kind(self) -> Array:
        """The kinds of the rows, as `limits` has them."""
        return limits.kinds(self.x, self.inside)

    @property
    def plain(self) -> Array:
        return self.kind == PLAIN

    def full(self, name: str, budget: str, answer: Answer, dtype: Any = None) -> Wanted:
        layout = self.rows.layout
        return Wanted(name, budget, answer, layout.shape, layout.unrow, dtype or self.dtype)

    def reduced(self, name: str, budget: str, answer: Answer) -> Wanted:
        layout, keepdims = self.rows.layout, self.call.options.get("keepdims", False)

        def unrow(column: Array) -> Array:
            column = layout.reduce(column)
            return np.expand_dims(column, layout.axes) if keepdims else column

        batch = tuple(layout.shape[i] for i in layout.rest)
        kept = tuple(1 if i in layout.axes else n for i, n in enumerate(layout.shape))
        return Wanted(name, budget, answer, kept if keepdims else batch, unrow, self.dtype)

    def loss(self, name: str, budget: str, answer: Answer, divisor: Any) -> Wanted:
        """One number per row, or as the reduction has it."""
        reduction = self.call.options.get("reduction", "mean")
        if reduction == "none":
            return self.reduced(name, budget, answer)
        with np.errstate(all="ignore"):
            value = answer.value.sum() / divisor if divisor else np.longdouble(NAN)
            scale = answer.scale.sum() / divisor if divisor else np.longdouble(0)
        # The losses of the rows are summed as float64.
        free = np.any(answer.free) or (reduction == "mean" and answer.scale.sum() >= SUMS_END)
        return Wanted(
            name, budget, Answer(value, scale, free), (), lambda a: np.reshape(a, ()), self.dtype
        )

    def join(self, special: Array, make: Callable[[Array], Reference], free: Any = False) -> Answer:
        """The special values, and in plain rows what `make` answers to their selection."""
        value, scale = special.copy(), np.abs(special)
        if self.plain.any():
            value[self.plain], scale[self.plain] = make(self.plain)
        return Answer(value, scale, np.broadcast_to(free, value.shape))

    def options(self, some: Array) -> dict[str, Any]:
        """Of some rows, for an oracle."""
        return {
            "where": self.inside[some],
            "temperature": self.t[some],
            "arithmetic": self.arithmetic,
        }
