# mypy: allow-untyped-defs, allow-untyped-calls
"""The gradient of a cross entropy by the logits of a chunk of its classes:

    by / T times ((Q + z_slope) p - q),

where the kernel of `shifted_exp` makes the first term of the chunk, and what is next to 1 - p is
put in its place. Arrays with one element per row have size 1 along the axis.
"""

from typing import Any, NamedTuple

import numpy as np

from ..._library import namespace, pick, put, quiet, select, widen
from ..registry import backend_of
from . import chunk_losses, chunks, words
from .normalizer import either, exact, fill

Array = Any
Words = tuple[Array, Array]


class Row(NamedTuple):
    """What all classes together say of a row; all but m and counted in two words."""

    m: Array
    r: Words
    mass: Words  # Q
    z_slope: Words
    by: Words  # and over T
    counted: Array


class Masses(NamedTuple):
    """The masses of the classes of a chunk, w s ((1 - smoothing) y + smoothing / choices)."""

    y: Array
    weight: Array  # w, that broadcasts to y; or None
    s: Array
    smoothing: float
    choices: Array


@quiet
def of_class(x, axis, where, temperature, row, index, here, slope, dtype, out):
    """Where all the mass of a row is on one class, which is at an index, if it is here.

    The slope is that of a softcap, or None. x itself may be `out`.
    """
    xp, scale = namespace(row.m), _scale(row)
    dead = _dead(xp, x, where, row, scale, False)
    x_y = chunk_losses.logit(xp, x, index, axis, where)
    at_target = chunk_losses.at_target(x_y, row.mass, row.z_slope, row.m, row.r, temperature)
    at_target = words.rounded(xp, words.multiply(xp, at_target, row.by))
    shifted = backend_of(x).shifted_exp
    grad = shifted(x, axis, where, temperature, row.m, scale, dtype, out)
    here = here & row.counted & (x_y != -xp.inf)
    return _finished(xp, put(xp, grad, index, here, at_target, axis), slope, dead)


@quiet
def of_masses(x, axis, where, temperature, row, masses, slope, narrow, dtype):
    """Where every class may have mass. If the result is to be narrow, one word is enough for what
    is of the size of x.
    """
    xp, scale = namespace(row.m), _scale(row)
    dead = _dead(xp, x, where, row, scale, True)
    shifted = backend_of(x).shifted_exp
    grad = shifted(x, axis, where, temperature, row.m, scale, dtype, None)
    if x.shape[axis]:
        grad = _less_masses(xp, grad, x, axis, where, row, masses, narrow)
    return _finished(xp, grad, slope, dead)


def _scale(row):
    """What exp((x - m) / T) is multiplied by."""
    xp = namespace(row.m)
    scale = words.multiply(xp, words.add(row.mass, row.z_slope), row.by)
    scale = words.multiply(xp, scale, chunks.share(row.r))
    return either(xp, row.counted, scale, (0.0, 0.0))


def _dead(xp, x, where, row, scale, every):
    """Where the gradient is 0 whatever the row holds: in all of it, or where x is -inf.

    There the kernel has 0 already, unless the scale is NaN.
    """
    known, dead = backend_of(row.m).is_concrete, []
    rows, lost = ~row.counted | (row.m == -xp.inf), xp.isnan(scale[0])
    if not known(rows) or bool(xp.any(rows)):
        dead.append(rows)
    if every or not known(lost) or bool(xp.any(lost)):
        dead.append(fill(xp, where, x, -xp.inf) == -xp.inf)
    return dead


def _less_masses(xp, grad, x, axis, where, row, masses, narrow):
    """by (Q + z_slope) p less by q; at the pivot by what the other classes have."""
    one, (y, w, s, smoothing, choices) = xp.ones_like(row.m), masses
    spread = words.divide(xp, exact(xp, smoothing * one), exact(xp, choices))
    kept = words.two_sum(one, -smoothing * one)
    by = words.multiply(xp, row.by, exact(xp, s))

    def q_of(y, w):
        q = words.add(words.multiply(xp, exact(xp, y), kept), spread)
        q = q if w is None else words.multiply(xp, q, exact(xp, w))
        return words.multiply(xp, q, by)

    if narrow:
        q = y * words.rounded(xp, kept) + words.rounded(xp, spread)
        q = (q if w is None else q * w) * words.rounded(xp, by)
    else:
        q = words.rounded(xp, q_of(y, w))
    grad = grad - fill(xp, where, q, 0.0)

    # The pivot, where it is here and no other class has its logit.
    x = fill(xp, where, x, -xp.inf)
    index = xp.argmax(x, axis=axis, keepdims=True)
    here = (widen(pick(xp, x, index, axis))[1] == row.m) & (row.r[0] < 1.0)
    w = None if w is None else pick(xp, xp.broadcast_to(w, x.shape), index, axis)
    q = q_of(pick(xp, y, index, axis), w)
    others = words.add(words.multiply(xp, row.mass, row.by), words.negative(q))
    lost = words.multiply(xp, words.multiply(xp, row.mass, row.r), chunks.share(row.r))
    steep = chunk_losses.product(xp, row.z_slope, chunks.share(row.r))
    rest = words.multiply(xp, words.add(steep, words.negative(lost)), row.by)
    at_pivot = words.rounded(xp, words.add(others, rest))
    return put(xp, grad, index, here, at_pivot, axis)


def _finished(xp, grad, slope, dead):
    """By the logits, where a softcap has a slope; 0 where it is dead. The array may be used up."""
    if slope is not None:
        grad = select(xp, slope == 0.0, 0.0, grad * slope)
    for places in dead:
        if xp is np:
            np.copyto(grad, 0.0, where=places)
        else:
            grad = select(xp, places, 0.0, grad)
    return grad
