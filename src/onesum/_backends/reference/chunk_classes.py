# mypy: allow-untyped-defs, allow-untyped-calls
"""The cross entropy of classes in chunks where all the mass of a row is on one class: what needs no
array of masses, as `chunk_targets.py` has it, and so is left to the kernels.
"""

from typing import NamedTuple

from ..._library import look_up, namespace, pick, put, quiet, select, widen
from ..registry import backend_of
from . import chunk_losses, chunks, words
from .chunk_functions import normalizer
from .chunk_losses import Relative, z_terms_of
from .chunk_sums import Normalizer
from .chunk_targets import weights_of
from .losses import scaled
from .normalizer import either, exact, fill


class ClassAim(NamedTuple):
    """The normalizer, and the loss relative to it."""

    of: Normalizer
    loss: Relative

    @quiet
    def merged(self, other):
        of = self.of.merged(other.of)
        ours, theirs, both = ((part.m, part.r) for part in (self.of, other.of, of))
        loss = chunk_losses.merged(self.loss, ours, other.loss, theirs, both, of.temperature)
        return ClassAim(of, loss)


@quiet
def aim(start, x, target, axis, where, temperature):
    xp, of = namespace(x), normalizer(start, x, axis, where, temperature)
    index, here = _place(xp, target, start, x, axis)
    w = s = xp.ones_like(of.m)
    if target.weight is not None and x.shape[axis]:
        w = look_up(xp, target.weight, index)
    if target.sample_weight is not None:
        s = xp.expand_dims(target.sample_weight, axis=axis)
    mass = either(xp, here, words.multiply(xp, exact(xp, w), exact(xp, s)), (0.0, 0.0))
    x_y = _logit(xp, x, index, axis, where)
    return ClassAim(of, chunk_losses.of_class(x_y, mass, of.m, of.r, temperature))


@quiet
def gradient(state, start, x, target, axis, z_loss, where, by, dtype):
    """by / T times (Q + z_slope) p, less Q at the class."""
    (m, r, _, t), mass, xp = state.of, state.loss.mass, namespace(x)
    rows = (
        None if a is None else xp.expand_dims(a, axis=axis)
        for a in (target.classes, target.sample_weight)
    )
    s, counted = weights_of(xp, m, *rows)
    _, z_slope = z_terms_of(m, r, s, z_loss, t)
    scale = words.multiply(xp, scaled(xp, words.add(mass, z_slope), by, t), chunks.share(r))
    scale = either(xp, counted, scale, (0.0, 0.0))
    grad = backend_of(x).shifted_exp(x, axis, where, t, m, scale, dtype, None)

    index, here = _place(xp, target, start, x, axis)
    x_y = _logit(xp, x, index, axis, where)
    value = chunk_losses.at_target(x_y, mass, z_slope, m, r, t)
    value = words.rounded(xp, scaled(xp, value, by, t))
    grad = put(xp, grad, index, here & counted & (x_y != -xp.inf), value, axis)
    dead = ~counted | (m == -xp.inf)
    if bool(xp.any(xp.isnan(m + r[0]))):
        dead = dead | (fill(xp, where, x, -xp.inf) == -xp.inf)
    return select(xp, dead, 0.0, grad) if bool(xp.any(dead)) else grad


def _place(xp, target, start, x, axis):
    """Where the class of each row is in the chunk, 0 if it is not, and whether it is."""
    y = xp.expand_dims(target.classes, axis=axis)
    here = (y >= start) & (y < start + x.shape[axis])
    return select(xp, here, y - start, 0), here


def _logit(xp, x, index, axis, where):
    """The logit there, -inf if the mask leaves it out."""
    if x.shape[axis] == 0:
        return xp.sum(widen(x)[1], axis=axis, keepdims=True) - xp.inf
    chosen = widen(pick(xp, x, index, axis))[1]
    if where is None:
        return chosen
    return select(xp, pick(xp, where, index, axis), chosen, -xp.inf)
