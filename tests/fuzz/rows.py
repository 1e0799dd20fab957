"""A call's arrays brought to rows, classes last: the form that references take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from oracle import Layout

from .call import FIRST, Call, Operand

Array = np.ndarray[Any, Any]

PER_ROW = ("temperature", "sample_weight")
OF_THE_LAYER = ("h", "weight_matrix", "bias")
LINEAR = ("linear_cross_entropy", "linear_cross_entropy_value_and_grad")
OF_MATRICES = (
    "softmax_jacobian @ matrix",
    "matrix @ softmax_jacobian",
    "log_softmax_jacobian @ matrix",
    "matrix @ log_softmax_jacobian",
)
BOOSTING = "boosting.gradient_and_curvature"


def role(call: Call, name: str) -> str:
    """Whether an array has one number per element ("full"), per row, or per class."""
    values = call.arrays[name].values
    if name in PER_ROW or (name == "g" and call.function == "logsumexp_vjp"):
        return "row"
    if name == "weight":
        return "class"
    if name in OF_THE_LAYER:
        return "layer"
    if call.function in OF_MATRICES and name in ("g", "v"):
        return "matrix"
    if name == "target":
        return "row" if values.dtype.kind in "iu" or call.function == BOOSTING else "full"
    if name == "index":
        return "several" if values.ndim == call.arrays["x"].values.ndim > 0 else "row"
    return "full"


@dataclass(frozen=True)
class Rows:
    """The arrays of a call as rows, by name: (k, n), (k,) or (n,) as their roles are.

    Integers and bools are float64, as the package has them before anything is subtracted.
    `inside` is what takes part: `where`, and no mask.
    """

    call: Call
    values: dict[str, Array]  # as the arrays are once they lie in memory

    @cached_property
    def layout(self) -> Layout:
        shape = self.shape
        return Layout(shape, self.call.options.get("axis", -1) if shape else None)

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the logits or probabilities."""
        if self.call.function in LINEAR:
            return (*self.values["h"].shape[:-1], len(self.values["weight_matrix"]))
        return next(self.values[name] for name in FIRST if name in self.values).shape

    @property
    def k(self) -> int:
        return int(np.prod([self.layout.shape[i] for i in self.layout.rest], dtype=int))

    @property
    def n(self) -> int:
        return self.layout.n

    def __getitem__(self, name: str) -> Array:
        values = self._rows_of(name)
        if values.dtype.kind in "biu" and name not in ("target", "index", "where"):
            return values.astype(np.float64)
        return values

    def _rows_of(self, name: str) -> Array:
        values, kind = self.values[name], role(self.call, name)
        if kind == "class" or name in ("weight_matrix", "bias"):
            return values
        if kind == "full":
            return self.rows(values)
        if name == "h":
            return values.reshape(self.k, values.shape[-1])
        if kind == "matrix":
            return values.reshape(self.k, *values.shape[-2:])
        if kind == "several":  # along the class axis, of another length
            moved = np.moveaxis(values, self.layout.axes[0], -1)
            return moved.reshape(self.k, moved.shape[-1])
        if name == "temperature":
            return self.temperature[:, 0].astype(values.dtype)
        return values.reshape(self.k)

    def rows(self, a: Array) -> Array:
        """As the layout has them, also where there are none."""
        full = np.broadcast_to(a, self.layout.shape)
        return full.transpose(self.layout.rest + self.layout.axes).reshape(self.k, self.n)

    def get(self, name: str) -> Array | None:
        return self[name] if name in self.values else None

    @cached_property
    def inside(self) -> Array:
        inside = np.full((self.k, self.n), True)
        if "where" in self.values:
            inside &= self.rows(self.values["where"])
        return inside & ~self.masked

    @cached_property
    def masked(self) -> Array:
        """What numpy.ma masks, in any argument."""
        masked = np.full((self.k, self.n), False)
        for name in ("x", "y"):
            if name in self.values and self.call.arrays[name].mask is not None:
                masked |= self.rows(self.call.arrays[name].mask)
        return masked

    @property
    def counted(self) -> int:
        """The rows that a mean counts: not those of which all is masked."""
        return int(np.count_nonzero(~self.masked.all(axis=-1)))

    @cached_property
    def temperature(self) -> Array:
        """One per row, as a column."""
        t = self.values.get("temperature", self.call.options.get("temperature", 1.0))
        t = np.asarray(t, np.float64)
        if t.ndim < len(self.layout.shape) or not self.layout.axes:
            t = np.broadcast_to(t, [self.layout.shape[i] for i in self.layout.rest])
            t = np.expand_dims(t, self.layout.axes)
        kept = [1 if i in self.layout.axes else s for i, s in enumerate(self.layout.shape)]
        t = np.broadcast_to(t, kept)
        return t.transpose(self.layout.rest + self.layout.axes).reshape(self.k, 1)

    def canonical(self) -> Call:
        """The same call of these rows, axis -1, contiguous."""
        arrays = {}
        for name, operand in self.call.arrays.items():
            mask = None if operand.mask is None else self.rows(operand.mask)
            arrays[name] = Operand(np.array(self._rows_of(name), order="C"), mask=mask)
        options = {k: v for k, v in self.call.options.items() if k not in ("axis", "keepdims")}
        return Call(self.call.function, arrays, options)


def narrowed(call: Call, axis: int, part: Array) -> Call | None:
    """A call of a part of one axis of its arrays; class indices keep to the classes that are left.

    None where several class axes make that no simple matter.
    """
    shape = call.arrays[_first(call)].values.shape
    layout = Layout(shape, call.options.get("axis", -1))
    of_classes = axis in layout.axes
    if of_classes and _first(call) != "x":  # probabilities of fewer classes are none
        return None
    arrays = {}
    for name, operand in call.arrays.items():
        kind, a, mask = role(call, name), operand.values, operand.mask
        named = name in ("target", "index") and kind != "full"
        if of_classes and (named or kind == "class") and len(layout.axes) > 1:
            return None
        if kind == "class":
            a = a[part] if of_classes else a
        elif kind == "matrix":
            if of_classes:
                return None
            a = np.take(a, part, layout.rest.index(axis))
        elif a.ndim == len(shape) and not (kind == "several" and of_classes):
            a = np.take(a, part, axis) if a.shape[axis] == shape[axis] else a
            mask = None if mask is None else np.take(mask, part, axis)
        elif a.ndim == len(layout.rest) and not of_classes:
            a = np.take(a, part, layout.rest.index(axis))
        if named and of_classes:
            a = _renamed(a, part, call.options.get("ignore_index"))
        arrays[name] = replace(operand, values=np.array(a, order="C"), mask=mask)
    out = call.out
    if out is not None:
        size = list(out.shape)
        if len(size) == len(shape):
            size[axis] = len(part) if size[axis] == shape[axis] else size[axis]
        elif not of_classes:
            size[layout.rest.index(axis)] = len(part)
        out = replace(out, shape=tuple(size), over=dict.fromkeys(out.over, (0, 0)))
    return replace(call, arrays=arrays, out=out)


def _first(call: Call) -> str:
    return next(name for name in FIRST if name in call.arrays)


def _renamed(values: Array, classes: Array, ignored: Any) -> Array:
    """Class indices once only these classes are left; those of no class left become the first."""
    wanted = values if ignored is None else np.where(values == ignored, 0, values)
    place = np.clip(np.searchsorted(classes, wanted), 0, len(classes) - 1)
    place = np.where(classes[place] == wanted, place, 0)
    return (place if ignored is None else np.where(values == ignored, ignored, place)).astype(
        values.dtype
    )
