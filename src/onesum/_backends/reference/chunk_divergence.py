# mypy: allow-untyped-defs, allow-untyped-calls
"""The divergence of classes in chunks, in the formulas of `divergence.py`.

Its sums come in two steps that need what was before: the normalizers of both rows, then the mean of
u, then the rest. Each is a state, that adds up, and each takes another pass over the chunks.
"""

from typing import Any, NamedTuple

from ..._library import finish, namespace, quiet, select, widen
from . import chunks, divergence, words
from .chunk_functions import is_at, normalizer, pivoted
from .chunk_sums import Normalizer, by_pivot
from .normalizer import at_pivot, either, fill

Array = Any


class Pair(NamedTuple):
    """The normalizers of x and y, and what y is at the pivot of x."""

    x: Normalizer
    y: Normalizer
    y_pivot: Array

    @quiet
    def merged(self, other):
        first, _ = by_pivot(self.x.m, other.x.m, self, other)
        return Pair(self.x.merged(other.x), self.y.merged(other.y), first.y_pivot)


class FirstSums(NamedTuple):
    far: words.Words
    mean: words.Words
    all_usable: Array

    def merged(self, other):
        far, mean = (words.add(*pair) for pair in zip(self[:2], other[:2], strict=True))
        return FirstSums(far, mean, self.all_usable & other.all_usable)


class SecondSums(NamedTuple):
    near: words.Words
    q_apart: words.Words

    def merged(self, other):
        return SecondSums(*(words.add(*pair) for pair in zip(self, other, strict=True)))


@quiet
def pair(start, x, y, axis, where, temperature):
    of_x = pivoted(start, x, axis, where, temperature)
    of_y = normalizer(start, y, axis, where, temperature)
    xp, y = widen(y)
    return Pair(of_x, of_y, at_pivot(xp, is_at(xp, y, of_x.index, start, axis), y, axis))


@quiet
def first_sums(state, start, x, y, axis, where, left):
    """`left`: whether a row has any class, None if all do."""
    xp, _, _, classes = _classes(state, x, y, where, left)
    return FirstSums(*divergence.first_sums(xp, classes, axis))


@quiet
def second_sums(state, first, start, x, y, axis, where, left):
    xp, _, _, classes = _classes(state, x, y, where, left)
    return SecondSums(*divergence.second_sums(xp, classes, first, axis))


@quiet
def value(first, second):
    return divergence.value(namespace(first.all_usable), first, second)


@quiet
def gradients(state, first, second, start, x, y, where, left, by, dtype):
    xp, x, y, classes = _classes(state, x, y, where, left)
    t = state.x.temperature
    dx, dy = divergence.gradients(xp, x, y, classes, first, second, where, t, by)
    return finish(xp, dx, dtype, None), finish(xp, dy, dtype, None)


def _classes(state, x, y, where, left):
    xp, x, y = widen(x, y)
    row, row_y = _row(xp, state.x, x, where, left), _row(xp, state.y, y, where, left)
    m, t = state.x.m, state.x.temperature
    return xp, x, y, divergence.classes_of(xp, x, y, row, row_y, m, state.y_pivot, t)


def _row(xp, of, x, where, left):
    """(x - m) / T, the softmax, log1p(r). Of a row with nothing left, every log p is -inf."""
    d, p = of.probabilities(fill(xp, where, x, -xp.inf))
    if left is not None:
        d = either(xp, left, d, (-xp.inf, 0.0))
        p = either(xp, left, p[0], (0.0, 0.0)), select(xp, left, p[1], 1.0)
    return d, p, chunks.log_rest(of.r)
