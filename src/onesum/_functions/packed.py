# mypy: allow-untyped-calls
"""A state as an array of numbers, for processes that share the rows and send no objects."""

from __future__ import annotations

import copy
from typing import Any

from .._backends.reference.chunk_losses import Relative
from .._library import widest_integer
from .cross_entropy_state import CrossEntropyState

Array = Any

# Of each row: m, r in two words, count, whether the class of the row was found; R and Q of the
# target, in two words each; where there is smoothing, likewise those of all classes.
_OF_TARGET, _OF_ALL = 9, 13


def numbers_of(state: CrossEntropyState) -> Array:
    """The numbers of each row, in the widest type, along a last axis. The pivot is not in them."""
    n = state.normalizer
    arrays = [n._m, *n._r, n._counted, state._found]
    for relative in filter(None, (state._target, state._even)):
        arrays += [*relative.loss, *relative.mass]
    xp = n._xp
    return xp.concat([xp.astype(a, n._m.dtype, copy=False) for a in arrays], axis=-1)


def state_of(numbers: Array, like: CrossEntropyState, classes: int) -> CrossEntropyState:
    """The state of these numbers, of so many classes; all else is as in another of its rows.

    The numbers may have more axes before these: then it is several states at once, to be merged
    with as many.
    """
    width = _OF_TARGET if like._even is None else _OF_ALL
    shape = (*like.normalizer.shape, width)
    if tuple(numbers.shape)[-len(shape) :] != shape:
        raise ValueError(f"numbers: expected shape {shape}, got {tuple(numbers.shape)}")
    m, r, r_lo, count, found, *relative = (numbers[..., i : i + 1] for i in range(width))
    made, n = copy.copy(like), copy.copy(like.normalizer)
    n._m, n._r, n._pivot, n.classes = m, (r, r_lo), None, classes
    n._count = n._xp.astype(count, widest_integer(n._xp, numbers))
    made.normalizer, made._found = n, found != 0.0
    made._target = Relative((relative[0], relative[1]), (relative[2], relative[3]))
    made._mass = made._target.mass[0]
    if like._even is not None:
        made._even = Relative((relative[4], relative[5]), (relative[6], relative[7]))
    return made
