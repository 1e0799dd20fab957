# mypy: allow-untyped-defs, allow-untyped-calls
"""Tasks over chunks: one for each, one for all chunks of a block of rows, and a second reading.

Arrays beside x have size 1 along an axis, or the chunks of x there. A block may hold any object
(`Held`), as the states of the chunks: Dask asks only for its size, and never looks into it.
"""

import functools
import itertools
import sys
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array
from dask.layers import ArraySliceDep

from ..._library import quiet
from ..by_block import in_place_of, leaves
from .operands import Numbered, Operand, is_lazy

Array = Any

FAN_IN = 8  # how many states one task merges


class Held:
    """What is no array, in the place of a block."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return Held, (self.value,)

    def __sizeof__(self):
        return object.__sizeof__(self) + sum(map(_bytes, leaves(self.value)))


def _bytes(value):
    return getattr(value, "nbytes", None) or sys.getsizeof(value)


def blocks(function, x, operands, *, name, axes=(), dtype=None, held=False):
    """One task for each chunk of x: function(*operands).

    An operand is an array with the axes of x, one with fewer, as an `Operand`, one that is
    `Numbered`, the `slices` of the chunks, or whatever else, which goes to every task as it is. The
    results have size 1 along `axes`; they are arrays of this dtype, or `held`.
    """
    every = tuple(range(x.ndim))
    pairs = []
    for a in operands:
        if isinstance(a, ArraySliceDep):
            pairs += [a, every]
        elif isinstance(a, Numbered):
            pairs += [a.array, every]
        elif is_lazy(a) or isinstance(a, Operand):
            a, where = a if isinstance(a, Operand) else (a, every)
            pairs += [_following(a, where, x), where]
        else:
            pairs += [a, None]
    dtype = x.dtype if dtype is None else dtype
    return da.blockwise(
        functools.partial(_run, function, held),
        every,
        *pairs,
        dtype=dtype,
        meta=meta_from_array(x._meta, x.ndim, dtype),
        adjust_chunks={i: (1,) * len(c) if i in axes else c for i, c in enumerate(x.chunks)},
        align_arrays=False,
        token=f"onesum-{name}",
    )


@quiet
def _run(function, held, *operands):
    values = [a.value if isinstance(a, Held) else a for a in operands]
    result = function(*values)
    return Held(result) if held else result


def _following(a, axes, x):
    """An array in the chunks of x along the axes where it has the size of x."""
    same = [a.shape[i] == x.shape[j] for i, j in enumerate(axes)]
    wanted = tuple(x.chunks[j] if same[i] else a.chunks[i] for i, j in enumerate(axes))
    return a if a.chunks == wanted else a.rechunk(wanted)


def part(held, i, dtype, *axes):
    """One of the arrays that blocks hold; along these axes it has size 1."""
    return blocks(functools.partial(_part, i), held, [held], name="part", axes=axes, dtype=dtype)


def _part(i, values):
    return values[i]


def applied(function, arguments):
    """A function of arrays of one shape, and of what goes with them, as blocks say it."""
    given = list(leaves(arguments))
    form = in_place_of(arguments, itertools.repeat(None))
    like = map(_example, given)
    answer = function(*in_place_of(arguments, like))  # which arrays it gives, in which tuples
    x, run = next(filter(is_lazy, given)), functools.partial(_apply, function, form)
    held = blocks(run, x, given, name=function.__name__, held=True)
    parts = (part(held, i, a.dtype) for i, a in enumerate(leaves(answer)))
    return in_place_of(answer, parts)


def _example(a):
    return np.ones_like(a._meta, shape=(1,) * a.ndim, dtype=a.dtype) if is_lazy(a) else a


def _apply(function, form, *operands):
    return tuple(leaves(function(*in_place_of(form, iter(operands)))))


def merged(states, axis):
    """The states of all chunks along an axis as one: a tree, `FAN_IN` at a time."""
    return da.reduction(
        states,
        chunk=_same,
        combine=_merge,
        aggregate=_merge,
        axis=axis,
        keepdims=True,
        concatenate=False,
        split_every=FAN_IN,
        dtype=states.dtype,
        meta=states._meta,
        name="onesum-merged",
    )


def _same(state, axis, keepdims):
    return state


@quiet
def _merge(states, axis, keepdims):
    """Of a list of states, nested in as many lists as there are axes."""
    if not isinstance(states, list):  # one state; or what Dask asks for types with
        return states
    held = [_merge(state, axis, keepdims) for state in states]
    return Held(functools.reduce(_merged, (state.value for state in held)))


def _merged(a, b):
    return a.merged(b)


def without(a, axis):
    """An array of size 1 along an axis without it."""
    return a[(slice(None),) * axis + (0,)]


def slices(x):
    """Where each chunk lies in x: said to its task as it is, which takes no other task."""
    return ArraySliceDep(x.chunks)


def checked(check, a, dtype):
    """What a check makes of each block, in its task: check(block, start), where it lies in all."""
    return blocks(functools.partial(_check, check), a, [slices(a), a], name="checked", dtype=dtype)


def _check(check, slices, block):
    return check(block, tuple(s.start for s in slices))


def all_by(name, arrays, options):
    """Arrays, of which some may be none of Dask's, computed or persisted at once."""
    done = iter(getattr(dask, name)(*filter(is_lazy, arrays), **options))
    return [next(done) if is_lazy(a) else a for a in arrays]
