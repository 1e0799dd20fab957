# mypy: allow-untyped-defs, allow-untyped-calls
"""The cross entropy of rows whose classes come in chunks.

A loss is kept relative to the logarithm of the sum over the classes it is made of, L,

    R = sum q (L - x / T),   Q = sum q,

no term of which is negative. Under the sum over more classes it is R + Q (L' - L), and the losses
of two chunks under the sum over both add up. L' - L = (m' - m) / T + log1p(r') - log1p(r) is small
where the chunk holds nearly all: in two words nothing of it is lost.

Numbers are in two words, and arrays with one element per row have size 1 along the axis.
"""

from typing import Any, NamedTuple

from ..._library import namespace, pick, select, widen
from ..by_block import by_block
from . import words
from .chunks import log_rest, share
from .losses import finite_times, z_terms
from .normalizer import either, exact, fill, scaled_difference

Words = tuple[Any, Any]


class Relative(NamedTuple):
    """R and Q of each row."""

    loss: Words
    mass: Words


def place(xp, classes, start, x, axis):
    """Where the class of each row is in a chunk, 0 if it is not, and whether it is."""
    y = xp.expand_dims(classes, axis=axis)
    here = (y >= start) & (y < start + x.shape[axis])
    return select(xp, here, y - start, 0), here


def logit(xp, x, index, axis, where):
    """The logit there, in the widest type: -inf if the mask leaves it out."""
    if x.shape[axis] == 0:
        return xp.sum(widen(x)[1], axis=axis, keepdims=True) - xp.inf
    chosen = widen(pick(xp, x, index, axis))[1]
    return fill(xp, None if where is None else pick(xp, where, index, axis), chosen, -xp.inf)


@by_block
def of_class(x, mass, m, r, temperature):
    """That of the class with the logit x, and mass as the mass on it: 0 where there is none."""
    xp = namespace(m)
    d = scaled_difference(xp, x, m, (x == m) & (m > -xp.inf), temperature)
    away = words.add(words.negative(d), log_rest(r))
    away = either(xp, x == -xp.inf, (xp.inf, 0.0), away)
    return Relative(product(xp, mass, away), mass)


@by_block
def of_masses(loss, mass, m):
    """That of the masses of all classes of a chunk, of which a kernel gave the loss."""
    xp = namespace(m)
    loss = either(xp, m == -xp.inf, (xp.inf, 0.0), exact(xp, loss))  # each -inf is infinitely far
    return Relative(either(xp, mass[0] == 0.0, (0.0, 0.0), loss), mass)


@by_block
def merged(a, normalizer_a, b, normalizer_b, normalizer, temperature):
    """R and Q of the classes of both; a normalizer is m and r."""
    xp = namespace(normalizer[0])
    a = _raised(xp, a, normalizer_a, normalizer, temperature)
    b = _raised(xp, b, normalizer_b, normalizer, temperature)
    return Relative(_added(xp, a.loss, b.loss), _added(xp, a.mass, b.mass))


def _raised(xp, part, normalizer, above, temperature):
    """Under the sum over more classes."""
    (m, r), (m_above, r_above) = normalizer, above
    d = scaled_difference(xp, m, m_above, m == m_above, temperature)
    rise = words.add(log_rest(r_above), words.negative(log_rest(r)))
    rise = words.add(words.negative(d), rise)
    return Relative(_added(xp, part.loss, product(xp, part.mass, rise)), part.mass)


@by_block
def smoothed(part, even, smoothing, choices):
    """(1 - smoothing) of the target, and smoothing spread over the choices, of `even` of mass 1."""
    xp = namespace(part.mass[0])
    choices = select(xp, choices == 0.0, 1.0, choices)  # of none, `even` is nothing
    kept = words.two_sum(xp.ones_like(choices), -smoothing * xp.ones_like(choices))
    spread = words.divide(xp, exact(xp, smoothing * xp.ones_like(choices)), exact(xp, choices))
    return Relative(
        *(
            _added(xp, product(xp, kept, a), product(xp, spread, b))
            for a, b in zip(part, even, strict=True)
        )
    )


@by_block
def at_target(x, mass, z_slope, m, r, temperature):
    """The derivative by the logit x of the class with all the mass of its row: Q p - Q,
    and what z_loss adds. At the pivot, where p may be 1 to the last bit, 1 - p is r / (1 + r).
    """
    xp = namespace(m)
    d = scaled_difference(xp, x, m, x == m, temperature)
    p, rest = words.times(xp, words.scaled_exp(xp, d), share(r))
    others = words.add(words.two_sum(1.0, -p), (-rest, 0.0))
    others = either(xp, x == m, words.multiply(xp, r, share(r)), others)
    less = words.negative(product(xp, mass, others))
    return words.add(less, finite_times(xp, z_slope, (p, rest)))


@by_block
def z_terms_of(m, r, s, z_loss, temperature):
    """What z_loss adds to the losses of the rows, whose weights are s, and to their slope."""
    xp = namespace(m)
    return z_terms(xp, (log_rest(r), xp.ones_like(m)), m, z_loss, s, temperature)


@by_block
def of_rows(part, s, z):
    """The losses of the rows, with their weights."""
    xp = namespace(s)
    return words.rounded(xp, words.add(product(xp, exact(xp, s), part.loss), z))


def product(xp, a, b):
    """a b, which is 0 where a is: of a class without mass nothing counts."""
    return finite_times(xp, b, a)


def _added(xp, a, b):
    hi, lo = words.add(a, b)
    return hi, words.finite(xp, lo)
