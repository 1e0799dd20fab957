# mypy: allow-untyped-defs, allow-untyped-calls
"""What chunks of the class axis need of one another: the normalizer of some classes, how two of
them become one, and what the classes of a chunk are under the normalizer of all.

If m1 is the larger maximum, the r of both is r1 + exp((m2 - m1) / T) (1 + r2). Classes that are all
-inf, or none at all, have m = -inf and r = 0, and change nothing.

A normalizer is m and the two words of r, in the widest type. Where there is an axis, arrays with
one element per row have size 1 along it.
"""

from ..._library import dtype_name, finish, namespace, quiet, select, widen, widest_integer
from ..by_block import by_block
from . import words
from .normalizer import (
    either,
    exact,
    exponents,
    fill,
    log1p,
    normalizer_of,
    over,
    rest_of,
    scaled_difference,
)


@quiet
def normalizer(x, axis, where, temperature):
    """m, and r in two words. Drops the axis."""
    xp, x = widen(x)
    d, m, pivot = exponents(xp, x, axis, where, temperature)
    r = words.plain(rest_of(xp, words.scaled_exp(xp, d), pivot, axis))
    nothing = m == -xp.inf
    r = either(xp, nothing, (0.0, 0.0), r)
    return tuple(xp.squeeze(a, axis=axis) for a in (m, *r))


def pivot_index(x, axis, where, m):
    """The first class that is m, or the first NaN; -1 where m is -inf. Drops the axis, as m has."""
    xp, integer = namespace(x), widest_integer(namespace(x), x)
    if x.shape[axis] == 0:
        return xp.astype(xp.zeros_like(m), integer) - 1
    x = x if dtype_name(x.dtype) in ("float32", "float64") else widen(x)[1]
    index = xp.astype(xp.argmax(fill(xp, where, x, -xp.inf), axis=axis), integer)
    return select(xp, m == -xp.inf, -1, index)


@by_block
def merged(a, b, temperature):
    """The normalizer of the classes of both, and whether its pivot is one of a."""
    xp = namespace(a[0])
    first = (a[0] >= b[0]) | xp.isnan(a[0])
    m, below = xp.where(first, a[0], b[0]), xp.where(first, b[0], a[0])
    r, r_below = either(xp, first, a[1:], b[1:]), either(xp, first, b[1:], a[1:])
    e = words.scaled_exp(xp, scaled_difference(xp, below, m, m != m, temperature))
    r = words.add(r, words.times(xp, e, words.add((1.0, 0.0), r_below)))
    r = either(xp, m == -xp.inf, (0.0, 0.0), r)
    return (m, r[0], words.finite(xp, r[1])), first


@by_block
def first_of(first, index, other, start):
    """The pivot of both, where it is said whether that is one of the first `start` classes."""
    xp = namespace(index)
    after = select(xp, other < 0, -1, other + start)
    return xp.where(first & (index >= 0), index, after)


@by_block
def added(a, b):
    return a + b


@by_block
def any_of(a, b):
    return a | b


@by_block
def log_sum(m, r, temperature):
    """m / T + log1p(r), in two words."""
    xp = namespace(m)
    value = words.add(over(xp, exact(xp, m), temperature), log_rest(r))
    return either(xp, xp.isinf(m), exact(xp, m), value)


@by_block
def log_rest(r):
    """log1p(r), in two words."""
    xp = namespace(r[0])
    return words.plain(log1p(xp, (r, xp.ones_like(r[0]))))


@quiet
def shifted_exp(x, axis, where, temperature, m, scale, dtype, out):
    """scale exp((x - m) / T), 0 outside `where`: p, if scale is 1 / (1 + r). It has two words."""
    xp, x = widen(x)
    x = fill(xp, where, x, -xp.inf)
    d = scaled_difference(xp, x, m, (x == m) & (m > -xp.inf), temperature)
    result = words.rounded(xp, words.times(xp, words.scaled_exp(xp, d), scale))
    # Beside a logit of +inf the scale of a z_loss is infinite, and that of the others has no part.
    result = select(xp, (d[0] == -xp.inf) & ~xp.isnan(scale[0]), 0.0, result)
    return finish(xp, fill(xp, where, result, 0.0), dtype, out)


@quiet
def shifted_logits(x, axis, where, temperature, m, log_rest, dtype, out):
    """(x - m) / T - log_rest, -inf outside `where`: log p of log1p(r). It has two words."""
    xp, x = widen(x)
    x = fill(xp, where, x, -xp.inf)
    d = scaled_difference(xp, x, m, (x == m) & (m > -xp.inf), temperature)
    result = words.rounded(xp, words.add(d, words.negative(log_rest)))
    return finish(xp, fill(xp, where, result, -xp.inf), dtype, out)


@by_block
def share(r):
    """1 / (1 + r), in two words."""
    xp = namespace(r[0])
    return words.divide(xp, exact(xp, xp.ones_like(r[0])), normalizer_of((r, xp.ones_like(r[0]))))
