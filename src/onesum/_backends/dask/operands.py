# mypy: allow-untyped-defs, allow-untyped-calls
"""The arguments of a function as operands of a task, and back."""

from typing import Any, NamedTuple

import dask.array as da

from ..target import Target

FIELDS = len(Target._fields)


class Operand(NamedTuple):
    """An array beside x, with its axes by their numbers in x."""

    array: Any
    axes: tuple[int, ...]


class Numbered(NamedTuple):
    """An array of which each task takes the block with its number, whatever the sizes."""

    array: Any


def is_lazy(a):
    return isinstance(a, da.Array)


def operands_of(arguments, ndim, axis):
    """Arrays with the axes of x stay; a target comes in its parts, and its place is told."""
    operands: list[Any] = []
    place = None
    for a in arguments:
        if isinstance(a, Target):
            place = len(operands)
            operands += _parts(a, ndim, axis)
        else:
            operands.append(Operand(a, ()) if is_lazy(a) and a.ndim == 0 else a)
    return operands, place


def _parts(target, ndim, axis):
    rows = tuple(i for i in range(ndim) if i != axis)
    axes = {"classes": rows, "sample_weight": rows, "weight": (axis,)}
    for name, a in target._asdict().items():
        yield Operand(a, axes[name]) if is_lazy(a) and name in axes else a


def arguments_of(operands, place):
    """The arguments, in a task."""
    if place is None:
        return operands
    target = Target(*operands[place : place + FIELDS])
    return [*operands[:place], target, *operands[place + FIELDS :]]
