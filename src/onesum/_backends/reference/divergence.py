# mypy: allow-untyped-defs, allow-untyped-calls
"""The divergence of two rows of logits: sum p log(p / q), p = softmax(x / T), q = softmax(y / T).

With u = (y - x) / T, less what that is at the pivot, and w = u - sum p u, the ratio q / p
is exp(w - KL), and exp(KL) is 1 plus the sum of p (exp(w) - 1 - w): no term is negative,
however near p and q are. A class of w above 4, where p may be 0, has q exp(KL) for p exp(w);
the exp(KL) of these are brought to the other side. Where KL is not small, log p - log q is
averaged. The gradients are -p w / T, and (q - p) / T = p (exp(w - KL) - 1) / T.

The sums come in two steps, for w needs the first of them. What is summed in each is a function of
its own, so that the classes may come in chunks (`chunk_divergence.py`).
"""

from typing import Any, NamedTuple

from ..._library import finish, quiet, select, widen
from . import words
from .losses import row_of, scaled
from .normalizer import at_pivot, either, exact, exp_less_line, fill, over, scaled_difference

Array = Any


class Classes(NamedTuple):
    """What the formulas need of each class."""

    p: words.Scaled
    q: words.Words
    ratio: Array  # log p - log q, 0 where p is
    u: words.Words
    live: Array  # p is not 0; NaN is
    usable: Array  # and u is finite


@quiet
def kl_divergence(x, y, axis, where, temperature, by, gradient, dtype):
    """The values, of the widest type, without the axis; the gradients are multiplied by `by`."""
    xp, x, y = widen(x, y)
    d, p, pivot, log, m = row_of(xp, x, axis, where, temperature)
    d_y, q, _, log_y, _ = row_of(xp, y, axis, where, temperature)
    rows = (d, p, words.plain(log)), (d_y, q, words.plain(log_y))
    classes = classes_of(xp, x, y, *rows, m, at_pivot(xp, pivot, y, axis), temperature)
    first = first_sums(xp, classes, axis)
    second = second_sums(xp, classes, first, axis)
    values = xp.squeeze(value(xp, first, second), axis=axis)
    if not gradient:
        return values, None
    dx, dy = gradients(xp, x, y, classes, first, second, where, temperature, by)
    return values, (finish(xp, dx, dtype, None), finish(xp, dy, dtype, None))


def classes_of(xp, x, y, row, row_y, m, y_pivot, temperature):
    """A row is (x - m) / T, its softmax and log1p(r); u is less what it is at the pivot of x, for
    the levels of x and y may be far apart, or they nearly equal.
    """
    (d, p, log), (d_y, q, log_y) = row, row_y
    live = p[0][0] != 0.0
    log_p = words.rounded(xp, words.add(d, words.negative(log)))
    log_q = words.rounded(xp, words.add(d_y, words.negative(log_y)))
    ratio = select(xp, live, log_p - log_q, 0.0)
    u = scaled_difference(xp, x, m, x == m, 1.0)
    u = words.add(scaled_difference(xp, y, y_pivot, y == y_pivot, 1.0), words.negative(u))
    u = over(xp, u, temperature)
    usable = live & xp.isfinite(u[0])
    return Classes(p, words.plain(q), ratio, either(xp, usable, u, (0.0, 0.0)), live, usable)


def first_sums(xp, classes, axis):
    """sum p (log p - log q), sum p u, and whether all u are usable."""
    far = words.total(xp, words.times(xp, classes.p, exact(xp, classes.ratio)), axis)
    mean = words.total(xp, words.times(xp, classes.p, classes.u), axis)
    return far, mean, xp.all(classes.usable | ~classes.live, axis=axis, keepdims=True)


def second_sums(xp, classes, first, axis):
    """Of the classes whose w is too large the sum of q, and beside it what all others add."""
    w = _centred(xp, classes, first)
    apart = ~classes.usable | (w > 4.0)
    line = xp.where(apart, -1.0 - w, exp_less_line(xp, select(xp, apart, 0.0, w)))
    q_apart = either(xp, apart, classes.q, (0.0, 0.0))
    near = words.add(q_apart, words.times(xp, classes.p, exact(xp, line)))
    return words.total(xp, near, axis), words.total(xp, q_apart, axis)


def value(xp, first, second):
    """The divergence."""
    (far, _, all_usable), (near, q_apart) = first, second
    rest = words.add((1.0, 0.0), words.negative(q_apart))
    near = words.log1p(xp, words.divide(xp, near, rest))
    far = words.rounded(xp, far)
    return xp.where((far < 0.5) & all_usable, words.rounded(xp, near), far)


def gradients(xp, x, y, classes, first, second, where, temperature, by):
    """`by` times the gradients by x and by y."""
    p, q, _, u, live, usable = classes
    far, mean, _ = first
    w, divergence = _centred(xp, classes, first), value(xp, first, second)
    u, mean = (scaled(xp, a, by, temperature) for a in (u, mean))
    dx = words.rounded(xp, words.times(xp, p, words.add(mean, words.negative(u))))
    dx = select(xp, live, dx, 0.0)
    dx = select(xp, xp.isfinite(words.rounded(xp, far)), dx, xp.nan)
    by_ratio = scaled(xp, exact(xp, xp.expm1(w - divergence)), by, temperature)
    dy = scaled(xp, words.add(q, words.negative(words.plain(p))), by, temperature)
    small = usable & (xp.abs(w) + divergence < 1.0)
    dy = words.rounded(xp, either(xp, small, words.times(xp, p, by_ratio), dy))
    dx = select(xp, fill(xp, where, x, -xp.inf) == -xp.inf, 0.0, dx)
    dy = select(xp, fill(xp, where, y, -xp.inf) == -xp.inf, 0.0, dy)
    return dx, dy


def _centred(xp, classes, first):
    """w."""
    return words.rounded(xp, words.add(classes.u, words.negative(first[1])))
