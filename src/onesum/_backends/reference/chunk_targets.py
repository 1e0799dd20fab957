# mypy: allow-untyped-defs, allow-untyped-calls
"""The cross entropy of classes in chunks, with the masses of all of them: beside `chunk_losses.py`,
which has the sums, what a chunk gives to these, and its gradient and Hessian under those of all.

The words are those of `chunk_functions.py` and `losses.py`. `choices` is the number of classes
that smoothing is spread over, None where there is none.
"""

from typing import Any, NamedTuple

from ..._library import finish, namespace, quiet, select, widen
from . import chunk_losses, chunks, words
from .chunk_functions import is_at, pivoted
from .chunk_losses import Relative, z_terms_of
from .chunk_sums import Mean, Normalizer, by_pivot, mean
from .losses import capped, dead_of, finite_times, masses, scaled, sloped
from .normalizer import either, exact, fill, over

Array = Any


class Aim(NamedTuple):
    """The normalizer, the loss relative to it, and the mass on all classes but the pivot."""

    of: Normalizer
    loss: Relative
    q_others: words.Words

    @quiet
    def merged(self, other):
        of, t = self.of.merged(other.of), self.of.temperature
        ours, theirs, both = ((part.m, part.r) for part in (self.of, other.of, of))
        loss = chunk_losses.merged(self.loss, ours, other.loss, theirs, both, t)
        a, b = by_pivot(self.of.m, other.of.m, self, other)
        return Aim(of, loss, words.add(a.q_others, b.loss.mass))


class AimAndMean(NamedTuple):
    """The mean of v, multiplied by the slope of the softcap, beside it."""

    aim: Aim
    mean: Mean

    def merged(self, other):
        return AimAndMean(self.aim.merged(other.aim), self.mean.merged(other.mean))


# --- the states of a chunk ---------------------------------------------------------------------


@quiet
def aim(start, x, target, axis, softcap, where, temperature, choices):
    xp, x = widen(x)
    x, _ = capped(xp, x, softcap)
    of = pivoted(start, x, axis, where, temperature)
    return _aim(xp, of, start, x, target, axis, where, choices)


@quiet
def aim_and_mean(start, x, target, v, axis, softcap, where, temperature, choices):
    xp, x, v = widen(x, v)
    x, slope = capped(xp, x, softcap)
    of = pivoted(start, x, axis, where, temperature)
    given = _aim(xp, of, start, x, target, axis, where, choices)
    pivot = is_at(xp, x, of.index, start, axis)
    return AimAndMean(
        given,
        mean(
            xp,
            of,
            of.probabilities(fill(xp, where, x, -xp.inf))[1],
            pivot,
            _direction(xp, x, slope, v, where),
            axis,
        ),
    )


def _aim(xp, of, start, x, target, axis, where, choices):
    q, _, _ = masses(xp, x, _of_chunk(xp, target, start, x.shape[axis]), axis, where, choices)
    pivot = is_at(xp, x, of.index, start, axis)
    q_all, q_others = (words.total(xp, a, axis) for a in (q, either(xp, pivot, (0.0, 0.0), q)))
    d, _ = of.probabilities(fill(xp, where, x, -xp.inf))
    away = either(xp, q[0] == 0.0, (0.0, 0.0), words.negative(d))
    loss = words.dot(xp, q, away, axis)
    loss = words.add(loss, chunk_losses.product(xp, q_all, chunks.log_rest(of.r)))
    loss = either(xp, of.m == -xp.inf, (xp.inf, 0.0), loss)  # each -inf is infinitely far
    loss = either(xp, q_all[0] == 0.0, (0.0, 0.0), loss)
    return Aim(of, Relative(loss, q_all), q_others)


def _of_chunk(xp, target, start, n):
    """The target with the numbers that classes have in the chunk; n is none of them."""
    y = target.classes
    if y is None:
        return target
    here = (y >= start) & (y < start + n)
    return target._replace(classes=xp.where(here, y - start, select(xp, y < 0, -1, n + 0 * y)))


def _direction(xp, x, slope, v, where):
    """v by the capped logits, not read where nothing depends on it."""
    still = fill(xp, where, x, -xp.inf) == -xp.inf
    if slope is None:
        return exact(xp, select(xp, still, 0.0, v))
    return either(
        xp, still | (slope[0] == 0.0), (0.0, 0.0), words.multiply(xp, slope, exact(xp, v))
    )


# --- what the state alone says -----------------------------------------------------------------


@quiet
def losses(state, classes, s, left, z_loss):
    """The losses of the rows, with size 1 along the axis. `left`: whether there is a class."""
    of = state.of
    xp = namespace(of.m)
    s, counted = weights_of(xp, of.m, classes, s)
    z, _ = z_terms_of(of.m, of.r, s, z_loss, of.temperature)
    value = words.rounded(xp, words.add(state.loss.loss, z))
    lost = of.m == -xp.inf
    value = select(xp, lost if left is None else lost & left, xp.nan, value)
    return select(xp, counted, value, 0.0)


def weights_of(xp, m, classes, s):
    """The weights of the rows, 0 for those to ignore, and which are not."""
    counted = (m == m) | (m != m) if classes is None else classes >= 0
    s = xp.ones_like(m) if s is None else xp.astype(s, m.dtype, copy=False)
    return select(xp, counted, s, 0.0), counted


# --- what becomes of a chunk -------------------------------------------------------------------


@quiet
def gradient(state, start, x, target, axis, z_loss, softcap, where, choices, by, dtype):
    xp, x = widen(x)
    x, slope = capped(xp, x, softcap)
    q, counted, s = masses(xp, x, _of_chunk(xp, target, start, x.shape[axis]), axis, where, choices)
    _, p = state.of.probabilities(fill(xp, where, x, -xp.inf))
    grad = _gradient(xp, state, start, x, p, q, s, axis, z_loss, by)
    dead = dead_of(xp, x, where, counted, slope)
    return finish(xp, select(xp, dead, 0.0, sloped(xp, grad, slope)), dtype, None)


def _gradient(xp, state, start, x, p, q, s, axis, z_loss, by):
    """by / T times (Q + z_slope) p - q; at the pivot by the masses and shares of the others."""
    of, t = state.of, state.of.temperature
    _, z_slope = z_terms_of(of.m, of.r, s, z_loss, of.temperature)
    given = q, state.q_others, state.loss.mass, z_slope
    q, q_others, q_all, z_slope = (scaled(xp, a, by, t) for a in given)
    p_all, p_z = (
        either(xp, p[0][0] == 0.0, (0.0, 0.0), words.times(xp, p, a)) for a in (q_all, z_slope)
    )
    result = words.add(words.add(p_all, p_z), words.negative(q))
    taken = words.multiply(xp, words.multiply(xp, of.r, chunks.share(of.r)), q_all)
    there = words.add(words.add(q_others, words.negative(taken)), p_z)
    return either(xp, is_at(xp, x, of.index, start, axis), there, result)


@quiet
def hessian(state, start, x, target, v, axis, z_loss, softcap, where, choices, by, dtype):
    """As `cross_entropy_hvp` has it, with the mean of v from the state."""
    aimed, centre, t = state.aim, state.mean, state.aim.of.temperature
    xp, x, v = widen(x, v)
    x, slope = capped(xp, x, softcap)
    q, counted, s = masses(xp, x, _of_chunk(xp, target, start, x.shape[axis]), axis, where, choices)
    _, p = aimed.of.probabilities(fill(xp, where, x, -xp.inf))
    _, z_slope = z_terms_of(aimed.of.m, aimed.of.r, s, z_loss, t)
    a = words.add(aimed.loss.mass, z_slope)
    a, b = (scaled(xp, c, by, t) for c in (a, exact(xp, 2.0 * z_loss * s)))
    dead = dead_of(xp, x, where, counted, slope)
    still = dead_of(xp, x, where, counted, None) | (p[0][0] == 0.0)
    w = words.add(_direction(xp, x, slope, v, where), words.negative(centre.u))
    w = words.add(w, words.negative(centre.centred))
    mean_v = over(xp, centre.value(), t)
    result = finite_times(xp, a, over(xp, either(xp, still, (0.0, 0.0), w), t))
    if z_loss:
        result = words.add(result, finite_times(xp, b, mean_v))
    result = either(xp, still, (0.0, 0.0), words.times(xp, p, result))
    if softcap is not None:
        grad = _gradient(xp, aimed, start, x, p, q, s, axis, z_loss, by)
        bent = words.multiply(xp, grad, exact(xp, -2.0 / softcap * (x / softcap) * v))
        result = words.add(result, either(xp, grad[0] == 0.0, (0.0, 0.0), bent))
    return finish(xp, select(xp, dead, 0.0, sloped(xp, result, slope)), dtype, None)
