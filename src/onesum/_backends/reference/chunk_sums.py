# mypy: allow-untyped-defs, allow-untyped-calls
"""Sums over classes that come in chunks: what the derivatives need beside the normalizer.

Each state has the pivot of its classes and sums that leave the pivot out, or are relative to it. Of
two, the one with the larger pivot stays; the sums of the other are centred on that pivot, and added
to its own. Numbers are in two words, a p that may be next to nothing is scaled (`words.py`), and
arrays with one element per row have size 1 along the axis.
"""

from typing import Any, NamedTuple

from ..._library import namespace, quiet
from . import chunks, words
from .forward import log_of_signed
from .normalizer import (
    at_pivot,
    either,
    quotient,
    rest_of,
    scaled_difference,
    sum_of_others,
)

Array = Any


class Normalizer(NamedTuple):
    """m and r, T, and where it is asked for, the number of the pivot among all classes, or -1."""

    m: Array
    r: words.Words
    index: Array
    temperature: Any

    @quiet
    def merged(self, other):
        t = self.temperature
        (m, *r), first = chunks.merged((self.m, *self.r), (other.m, *other.r), t)
        xp = namespace(m)
        index = self.index
        if index is not None:
            index = xp.where(first & (index >= 0), index, other.index)
        return Normalizer(m, tuple(r), index, t)

    def share_of(self, part):
        """The share that some of the classes have in the sum over these, scaled."""
        xp = namespace(self.m)
        same = (part.m == self.m) & (self.m > -xp.inf)
        d = scaled_difference(xp, part.m, self.m, same, self.temperature)
        (hi, lo), root = words.scaled_exp(xp, d)
        ratio = words.divide(xp, words.add(part.r, (1.0, 0.0)), words.add(self.r, (1.0, 0.0)))
        return words.multiply(xp, (hi, words.finite(xp, lo)), ratio), root

    def probabilities(self, x):
        """(x - m) / T, and the share of each class, scaled."""
        xp = namespace(self.m)
        same = (x == self.m) & (self.m > -xp.inf)
        d = scaled_difference(xp, x, self.m, same, self.temperature)
        return d, quotient(xp, words.scaled_exp(xp, d), words.add(self.r, (1.0, 0.0)))


class Pivot(NamedTuple):
    """The first class that is m, by its number; -1 where m is -inf."""

    m: Array
    index: Array

    def merged(self, other):
        first, _ = by_pivot(self.m, other.m, self, other)
        return first


class Mean(NamedTuple):
    """The mean of u under the softmax, which is u at the pivot and that of u less it.

    `down` is the power of two that u was multiplied with, so that it does not overflow.
    """

    of: Normalizer
    u: words.Words
    centred: words.Words
    down: Array

    @quiet
    def merged(self, other):
        """That of more classes: the mean moves by the share of those that came."""
        xp = namespace(self.u[0])
        of = self.of.merged(other.of)
        a, b = by_pivot(self.of.m, other.of.m, self, other)
        down = xp.where(a.down < b.down, a.down, b.down)
        a, b = a._lowered(down), b._lowered(down)
        rise = _finite(xp, words.add(b.u, words.negative(a.u)))
        rise = words.add(words.add(rise, b.centred), words.negative(a.centred))
        share = of.share_of(b.of)
        rise = either(xp, share[0][0] == 0.0, (0.0, 0.0), words.times(xp, share, rise))
        return Mean(of, a.u, _finite(xp, words.add(a.centred, rise)), down)

    def _lowered(self, down):
        times = down / self.down
        u, centred = ((a * times, b * times) for a, b in (self.u, self.centred))
        return Mean(self.of, u, centred, down)

    def value(self):
        xp = namespace(self.u[0])
        return _finite(xp, words.add(self.u, self.centred))


def mean(xp, of, p, pivot, u, axis, down=1.0, centre=True):
    """The mean of u under p, the softmax of a chunk, scaled. Where p is 0 u is not read."""
    live = p[0][0] != 0.0
    u = either(xp, live, u, (0.0, 0.0))
    u_pivot = tuple(at_pivot(xp, pivot & centre, part, axis) for part in u)
    w = words.add(u, words.negative(u_pivot))
    w = either(xp, live & ~(pivot & centre), w, (0.0, 0.0))
    centred = words.total(xp, words.times(xp, p, w), axis)
    lost = of.m == -xp.inf
    centred = either(xp, lost, (0.0, 0.0), centred)
    return Mean(of, either(xp, lost, (0.0, 0.0), u_pivot), centred, down * xp.ones_like(of.m))


class Product(NamedTuple):
    """What the products with a Jacobian need of p and g.

    With w = g - g_pivot: the sums of p, of g and of p w over all classes but the pivot. `top` is p,
    or its logarithm, at the pivot, and p_pivot is p there.
    """

    top: Array
    index: Array
    p_pivot: words.Scaled
    p_others: words.Scaled
    g: words.Words
    g_others: words.Words
    s: words.Words
    down: Array

    @quiet
    def merged(self, other):
        xp = namespace(self.top)
        a, b = by_pivot(self.top, other.top, self, other)
        down = xp.where(a.down < b.down, a.down, b.down)
        a, b = a._lowered(down), b._lowered(down)
        p = _scaled_sum(xp, b.p_pivot, b.p_others)
        rise = words.times(xp, p, words.add(b.g, words.negative(a.g)))
        return a._replace(
            p_others=_scaled_sum(xp, a.p_others, p),
            g_others=_finite(xp, words.add(a.g_others, words.add(b.g, b.g_others))),
            s=_finite(xp, words.add(a.s, words.add(b.s, rise))),
            down=down,
        )

    def _lowered(self, down):
        times = down / self.down
        g, g_others, s = ((a * times, b * times) for a, b in (self.g, self.g_others, self.s))
        return self._replace(g=g, g_others=g_others, s=s, down=down)


def product(xp, top, pivot, index, p, g, axis, down):
    """That of a chunk: p is scaled, g in two words, 0 where p is, and multiplied with `down`."""
    (hi, lo), root = p
    p_hi, p_lo, p_root = (at_pivot(xp, pivot, part, axis) for part in (hi, lo, root))
    g_pivot = tuple(at_pivot(xp, pivot, part, axis) for part in g)
    w = words.add(g, words.negative(g_pivot))
    return Product(
        top,
        index,
        ((p_hi, p_lo), p_root),
        rest_of(xp, p, pivot, axis),
        g_pivot,
        sum_of_others(xp, g, pivot, axis),
        words.total(xp, words.times(xp, p, w), axis),
        down * xp.ones_like(top),
    )


class Signed(NamedTuple):
    """The sum of b exp(x / T): its term of largest absolute value, in the logarithm `size`, and r,
    the sum of the others over it. Infinities of both signs have no sum: they are `split`.
    """

    size: Array
    x: Array
    b: Array
    r: words.Words
    split: Array
    temperature: Any

    @quiet
    def merged(self, other):
        xp = namespace(self.x)
        a, b = by_pivot(self.size, other.size, self, other)
        d = scaled_difference(xp, b.x, a.x, b.x == a.x, self.temperature)
        half = xp.exp(d[0] / 2.0)
        ratio = (half * b.b / a.b) * half
        ratio = (ratio, words.finite(xp, ratio * d[1]))
        more = words.multiply(xp, ratio, words.add((1.0, 0.0), b.r))
        nothing = b.size == -xp.inf
        r = either(xp, nothing, a.r, _finite(xp, words.add(a.r, more)))
        apart = (a.x == xp.inf) & (b.x == xp.inf) & (xp.sign(a.b) != xp.sign(b.b))
        return a._replace(r=r, split=a.split | b.split | apart)

    @quiet
    def value(self):
        """The logarithm of the absolute value, and the sign."""
        return log_of_signed(namespace(self.x), self[:5], self.temperature)


# --- the parts that they share ----------------------------------------------------------------


def by_pivot(a, b, state_a, state_b):
    """Two states, that before the other whose pivot, one of a and b, is that of both."""
    xp = namespace(a)
    first = (a >= b) | xp.isnan(a)

    def chosen(condition, a, b):
        if isinstance(a, tuple):
            parts = [chosen(condition, *pair) for pair in zip(a, b, strict=True)]
            return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
        return a if a is None or isinstance(a, float) else xp.where(condition, a, b)

    return chosen(first, state_a, state_b), chosen(~first, state_a, state_b)


def _scaled_sum(xp, a, b):
    """a + b, scaled as the larger is."""
    root = xp.where(a[1] > b[1], a[1], b[1])
    a, b = (tuple(part * (c[1] / root) * (c[1] / root) for part in c[0]) for c in (a, b))
    return _finite(xp, words.add(a, b)), root


def _finite(xp, a):
    return a[0], words.finite(xp, a[1])
