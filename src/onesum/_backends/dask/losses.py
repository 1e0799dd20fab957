# mypy: allow-untyped-defs, allow-untyped-calls
"""The losses, and what is made of them, in the manner of `functions.py`."""

from typing import Any, NamedTuple

import dask.array as da
import numpy as np

from ..._library import namespace, quiet, widen
from ..reference import chunk_classes, chunk_divergence, chunk_functions, chunk_targets, words
from ..reference.normalizer import exact
from .class_chunks import ClassChunks
from .functions import WIDE, are_split
from .graph import blocks, merged, part
from .whole_rows import call, calls


def cross_entropy(x, target, axis, z_loss, softcap, where, temperature, by, gradient, dtype, out):
    dtype = np.dtype(dtype)
    options = z_loss, softcap, where, temperature, by, gradient, dtype, None
    if not are_split(x, axis):
        types = (dtype,) if gradient else ()
        losses, *grads = calls(
            "cross_entropy", x, target, axis, *options, axis=axis, per_row=(WIDE,), like_x=types
        )
        return losses, grads[0] if gradient else None
    classes, choices = ClassChunks(x, axis), _choices(x, target, axis, where)
    # All the mass of a row on one class: that is left to the kernels.
    bare = target.probabilities is None and not target.smoothing and softcap is None
    if bare:
        state = classes.state(chunk_classes.aim, target, axis, where, temperature)
    else:
        aimed = softcap, where, temperature, choices
        state = classes.state(chunk_targets.aim, target, axis, *aimed)
    rows = [_column(a, axis) for a in (target.classes, target.sample_weight)]
    left = _left(where, axis)
    losses = classes.per_row(chunk_targets.losses, [state], *rows, left, z_loss, dtype=WIDE)
    if not gradient:
        return losses, None
    function = chunk_classes.gradient if bare else chunk_targets.gradient
    beside: tuple[Any, ...] = (z_loss, where) if bare else (z_loss, softcap, where, choices)
    return losses, classes.map(function, [state], target, axis, *beside, by, dtype, dtype=dtype)


def cross_entropy_hvp(x, target, v, axis, z_loss, softcap, where, temperature, by, dtype, out):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        options = z_loss, softcap, where, temperature, by, dtype, None
        return call("cross_entropy_hvp", x, target, v, axis, *options, axis=axis, dtype=dtype)
    classes, choices = ClassChunks(x, axis), _choices(x, target, axis, where)
    aimed = softcap, where, temperature, choices
    state = classes.state(chunk_targets.aim_and_mean, target, v, axis, *aimed)
    options = axis, z_loss, softcap, where, choices, by, dtype
    return classes.map(chunk_targets.hessian, [state], target, v, *options, dtype=dtype)


def entropy(x, axis, where, temperature, dtype):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        return call(
            "entropy", x, axis, where, temperature, dtype, axis=axis, dtype=dtype, per_row=True
        )
    classes = ClassChunks(x, axis)
    state = classes.state(chunk_functions.mean_logit, axis, where, temperature)
    left = _left(where, axis)
    return classes.per_row(chunk_functions.entropy, [state], left, dtype, dtype=dtype)


def kl_divergence(x, y, axis, where, temperature, by, gradient, dtype):
    dtype = np.dtype(dtype)
    if not are_split(x, axis):
        options = where, temperature, by, gradient, dtype
        types = (dtype, dtype) if gradient else ()
        values, *grads = calls(
            "kl_divergence", x, y, axis, *options, axis=axis, per_row=(WIDE,), like_x=types
        )
        return values, tuple(grads) if gradient else None
    classes, left = ClassChunks(x, axis), _left(where, axis)
    pair = classes.state(chunk_divergence.pair, y, axis, where, temperature)
    beside = y, axis, where, left
    first = classes.state(chunk_divergence.first_sums, *beside, after=[pair])
    second = classes.state(chunk_divergence.second_sums, *beside, after=[pair, first])
    values = classes.per_row(chunk_divergence.value, [first, second], dtype=WIDE)
    if not gradient:
        return values, None
    states, options = [pair, first, second], (y, where, left, by, dtype)
    grads = classes.map_several(chunk_divergence.gradients, states, *options)
    return values, tuple(part(grads, i, dtype) for i in range(2))


def _choices(x, target, axis, where):
    """How many classes smoothing is spread over: of each row, or of all."""
    if not target.smoothing:
        return None
    if where is None:
        return float(x.shape[axis])
    return da.sum(where, axis=axis, keepdims=True, dtype=WIDE)


def _left(where, axis):
    """Whether a row has any class; None if all do."""
    return None if where is None else da.any(where, axis=axis, keepdims=True)


def _column(a, axis):
    """What has one element per row, with size 1 along the axis."""
    return None if a is None else a[(slice(None),) * axis + (None,)]


# --- the sum over rows --------------------------------------------------------------------------


class Sum(NamedTuple):
    """A sum in two words."""

    hi: Any
    lo: Any

    def merged(self, other):
        return Sum(*words.add(self, other))


def total(losses):
    """The sum of all numbers, block by block, and then of the blocks."""
    axes = tuple(range(losses.ndim))
    sums = blocks(_sum, losses, [losses], name="sum", axes=axes, held=True)
    sums = merged(sums, axes) if axes else sums
    return blocks(_rounded, sums, [sums], name="total", dtype=WIDE)[(0,) * losses.ndim]


@quiet
def _sum(losses):
    xp, losses = widen(losses)
    flat = words.total(xp, exact(xp, xp.reshape(losses, (-1,))), 0)
    return Sum(*(xp.reshape(a, (1,) * losses.ndim) for a in flat))


def _rounded(value):
    return words.rounded(namespace(value.hi), value)
