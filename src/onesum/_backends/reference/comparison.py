# mypy: allow-untyped-defs, allow-untyped-calls
"""How far two rows of logits are apart: both Kullback-Leibler divergences, and Jensen-Shannon's.

With p = softmax(x), q = softmax(y) and d = log q - log p, all three are sums of

    F(p, q) = q - p - p d = p (exp(d) - 1 - d),

for p and q both sum to one: KL(p || q) is the sum of F(p, q), KL(q || p) that of F(q, p), and
Jensen-Shannon's half that of F(p, m) + F(q, m), with m = (p + q) / 2. By the classes together, the
last is (p + q) / 4 (d tanh(d / 2) - 2 log cosh(d / 2)).

No F is negative, so that no sum is, and nothing cancels. Near 0, F is quadratic in d: an error c
that all d share, as that of a normalizer is, adds no more than c^2 / 2.
"""

import math

from ..._library import quiet, select, widen
from ..compared import Compared
from . import words
from .normalizer import (
    exp_less_line,
    exponents,
    log1p,
    normalizer_of,
    quotient,
    rest_of,
)

_LOG2 = math.log(2.0)


@quiet
def divergences(x, y, axis, dtype):
    """The divergences in nats, and the normalizers.

    KL is inf where a class has no logit (-inf) in the one and has one in the other; a row that has
    no softmax gives NaN.
    """
    xp, x, y = widen(x, y)
    p, log_p, *of_x = _probabilities(xp, x, axis)
    q, log_q, *of_y = _probabilities(xp, y, axis)
    d = words.rounded(xp, words.add(log_q, words.negative(log_p)))

    # What the normalizers' rounding gave to every d: the sum of p (exp(d) - 1) is to be 0.
    near = xp.abs(d) < 1.0
    change = xp.where(near, p * xp.expm1(select(xp, near, d, 0.0)), q - p)
    d = d - _total(xp, change, axis)

    m = (p + q) / 2.0
    middle = _total(xp, _terms(xp, p, m, _to_middle(xp, d)), axis)
    middle = middle + _total(xp, _terms(xp, q, m, _to_middle(xp, -d)), axis)
    middle = select(xp, middle > 2.0 * _LOG2, 2.0 * _LOG2, middle)
    results = (
        _total(xp, _terms(xp, p, q, d), axis),
        _total(xp, _terms(xp, q, p, -d), axis),
        middle / 2.0,
        *(a for pair in zip(of_x, of_y, strict=True) for a in pair),
    )
    return Compared(*(xp.squeeze(a, axis=axis) for a in results))


def _probabilities(xp, x, axis):
    """p, log p in two words, m and log1p(r)."""
    d, m, pivot = exponents(xp, x, axis, None, 1.0)
    e = words.scaled_exp(xp, d)
    r = rest_of(xp, e, pivot, axis)
    p = words.rounded(xp, words.plain(quotient(xp, e, normalizer_of(r))))
    log = words.plain(log1p(xp, r))
    return p, words.add(d, words.negative(log)), m, words.rounded(xp, log)


def _terms(xp, p, q, d):
    """F(p, q). Where p is 0, p d is, though d be infinite, or NaN of a class that neither has."""
    near = xp.abs(d) < 1.0
    term = xp.where(near, p * exp_less_line(xp, select(xp, near, d, 0.0)), q - p - p * d)
    term = select(xp, p == 0.0, q, term)
    term = select(xp, term < 0.0, 0.0, term)  # of two probabilities below the normal numbers
    return select(xp, d == -xp.inf, xp.inf, term)


def _to_middle(xp, d):
    """log m - log p = log((1 + exp(d)) / 2)."""
    near = xp.abs(d) < 1.0
    far = select(xp, d > 0.0, d, 0.0) + xp.log1p(xp.exp(-xp.abs(d))) - _LOG2
    return xp.where(near, xp.log1p(xp.expm1(select(xp, near, d, 0.0)) / 2.0), far)


def _total(xp, a, axis):
    return words.rounded(xp, words.total(xp, (a, xp.zeros_like(a)), axis))
