# mypy: allow-untyped-defs, allow-untyped-calls
"""Where all classes are in one chunk: each chunk is a call, to the backend of its own arrays."""

import functools

from ..._library import namespace
from ..registry import backend_of
from .graph import blocks, part, without
from .operands import arguments_of, operands_of


def call(name, x, *arguments, axis, dtype, per_row=False):
    """A function with one result, of the shape of x or with one element per row."""
    result = _blocks(name, x, axis, arguments, (axis,) if per_row else (), dtype, False)
    return without(result, axis) if per_row else result


def calls(name, x, *arguments, axis, per_row=(), like_x=()):
    """One with several: the types of those with one element per row, and of those like x."""
    held = _blocks(name, x, axis, arguments, (), None, True)
    rows = [without(part(held, i, dtype, axis), axis) for i, dtype in enumerate(per_row)]
    return [*rows, *(part(held, i, dtype) for i, dtype in enumerate(like_x, len(per_row)))]


def _blocks(name, x, axis, arguments, kept, dtype, held):
    operands, place = operands_of((x, *arguments), x.ndim, axis)
    function = functools.partial(_run, name, axis, place)
    return blocks(function, x, operands, name=name, axes=kept, dtype=dtype, held=held)


def _run(name, axis, place, *operands):
    x, *arguments = arguments_of(operands, place)
    result = getattr(backend_of(x), name)(x, *arguments)
    return _with_axis(namespace(x), axis, x.ndim, result)


def _with_axis(xp, axis, ndim, result):
    """What a function returns, flat, and each with the axis, perhaps with size 1."""
    if isinstance(result, tuple):
        every = (_with_axis(xp, axis, ndim, a) for a in result)
        return tuple(b for a in every for b in (a if isinstance(a, tuple) else (a,)))
    if result is None or result.ndim == ndim:
        return result
    return xp.expand_dims(xp.asarray(result), axis=axis)
