# mypy: allow-untyped-defs, allow-untyped-calls
"""The cross entropy of classes in chunks where all the mass of a row is on one class: what needs no
array of masses, as `chunk_targets.py` has it, and so is left to the kernels.
"""

from typing import NamedTuple

from ..._library import look_up, namespace, quiet
from . import chunk_gradient, chunk_losses, words
from .chunk_functions import normalizer
from .chunk_gradient import Row
from .chunk_losses import Relative, z_terms_of
from .chunk_sums import Normalizer
from .chunk_targets import weights_of
from .normalizer import either, exact, over


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
    index, here = chunk_losses.place(xp, target.classes, start, x, axis)
    w = s = xp.ones_like(of.m)
    if target.weight is not None and x.shape[axis]:
        w = look_up(xp, target.weight, index)
    if target.sample_weight is not None:
        s = xp.expand_dims(target.sample_weight, axis=axis)
    mass = either(xp, here, words.multiply(xp, exact(xp, w), exact(xp, s)), (0.0, 0.0))
    x_y = chunk_losses.logit(xp, x, index, axis, where)
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
    by = over(xp, exact(xp, by * xp.ones_like(m)), t)
    row = Row(m, r, mass, z_slope, by, counted)
    index, here = chunk_losses.place(xp, target.classes, start, x, axis)
    return chunk_gradient.of_class(x, axis, where, t, row, index, here, None, dtype, None)
