"""What rows answer that are not all finite: the limits, as the contract has them.

A row of logits is of one kind:

PLAIN    some entry is finite, and none is +inf or NaN: what the oracles take
NAN      an entry is NaN
MANY     several are +inf: no limit, NaN
ONE      one is +inf: p is 1 there and 0 elsewhere, the limit as this entry grows
LOW      all that takes part is -inf: no probabilities, NaN; but the sum of exponentials is 0
NOTHING  nothing takes part

An `Answer` has a value for every entry; `free` are entries about which nothing is promised.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
INF, NAN = np.inf, np.nan

PLAIN, NAN_ROW, MANY, ONE, LOW, NOTHING = range(6)


class Answer(NamedTuple):
    value: Array
    scale: Array
    free: Array


def kinds(x: Array, inside: Array) -> Array:
    """The kind of each row of x, counting what is inside."""
    x = x.astype(np.float64)
    infinite = (x == INF) & inside
    count = infinite.sum(axis=-1)
    kind = np.full(len(x), PLAIN)
    kind[~(np.isfinite(x) & inside).any(axis=-1)] = LOW
    kind[~inside.any(axis=-1)] = NOTHING
    kind[count == 1] = ONE
    kind[count > 1] = MANY
    kind[(np.isnan(x) & inside).any(axis=-1)] = NAN_ROW
    return kind


def tops(x: Array, inside: Array) -> Array:
    """True at the entries of +inf."""
    return (x.astype(np.float64) == INF) & inside


def of_rows(kind: Array, by_kind: dict[int, Any], shape: tuple[int, ...]) -> Array:
    """Special values by the kind of the row; 0 for PLAIN."""
    value = np.zeros(shape, np.longdouble)
    column = kind.reshape(-1, *[1] * (len(shape) - 1))
    for which, special in by_kind.items():
        value = np.where(column == which, special, value)
    return value


def softmax(x: Array, inside: Array, kind: Array) -> Array:
    nan = np.where(inside, NAN, 0)
    at_top = np.where(tops(x, inside), 1, 0)
    return of_rows(kind, {NAN_ROW: nan, MANY: nan, LOW: nan, ONE: at_top}, x.shape)


def log_softmax(x: Array, inside: Array, kind: Array) -> Array:
    nan = np.where(inside, NAN, -INF)
    at_top = np.where(tops(x, inside), 0, -INF)
    special = {NAN_ROW: nan, MANY: nan, LOW: nan, ONE: at_top, NOTHING: -INF}
    return of_rows(kind, special, x.shape)


def logsumexp(kind: Array) -> Array:
    special = {NAN_ROW: NAN, MANY: INF, ONE: INF, LOW: -INF, NOTHING: -INF}
    return of_rows(kind, special, kind.shape)


def logsumexp_vjp(x: Array, inside: Array, kind: Array, slope: Array) -> Array:
    """`slope` is g / T, one per row: it goes to the only class."""
    nan = np.where(inside, NAN, 0)
    at_top = np.where(tops(x, inside), slope[:, np.newaxis], 0)
    return of_rows(kind, {NAN_ROW: nan, MANY: nan, ONE: at_top}, x.shape)


def logsumexp_jvp(x: Array, inside: Array, kind: Array, v: Array, t: Array) -> Array:
    at_top = np.where(tops(x, inside), v.astype(np.longdouble), 0).sum(axis=-1) / t[:, 0]
    return of_rows(kind, {NAN_ROW: NAN, MANY: NAN, ONE: at_top}, kind.shape)


def entropy(kind: Array) -> Array:
    return of_rows(kind, {NAN_ROW: NAN, MANY: NAN, LOW: NAN}, kind.shape)


def cross_entropy(
    x: Array, inside: Array, kind: Array, q: Array, steep: Array, t: Array
) -> tuple[Array, Array]:
    """Loss and gradient; q are the target masses, `steep` is 2 z s, a column.

    Of one +inf the gradient is (Q p - q) / T with p of that class 1; z_loss multiplies an infinite
    logsumexp. Beside NaN the derivative by an entry of -inf is 0 all the same.
    """
    at_top, low = tops(x, inside), np.isneginf(x.astype(np.float64))
    lost = (q > 0) & ~at_top  # masses of classes with p = 0
    loss = of_rows(
        kind,
        {
            NAN_ROW: NAN,
            MANY: NAN,
            LOW: NAN,
            ONE: np.where(lost.any(axis=-1) | (steep[:, 0] > 0), INF, 0),
            NOTHING: np.where(lost.any(axis=-1), INF, 0),
        },
        kind.shape,
    )
    nan = np.where(inside & ~low, NAN, 0)
    rising = np.where(at_top & (steep > 0), INF, 0)
    others = np.where(at_top, 0, q).sum(axis=-1, keepdims=True)  # Q - q at the only class
    masses = np.where(at_top, others, -q)
    one = np.where(inside & ~low, masses / t + rising, 0)
    grad = of_rows(kind, {NAN_ROW: nan, MANY: nan, ONE: one}, x.shape)
    return loss, grad


def cross_entropy_hvp(
    x: Array, inside: Array, kind: Array, v: Array, steep: Array, t: Array
) -> Array:
    """Of one +inf p (p.v) 2 z s / T^2 is left."""
    low = np.isneginf(x.astype(np.float64))
    nan = np.where(inside & ~low, NAN, 0)
    at_top = tops(x, inside)
    one = np.where(at_top, steep * np.where(at_top, v, 0).astype(np.longdouble) / t / t, 0)
    return of_rows(kind, {NAN_ROW: nan, MANY: nan, ONE: one}, x.shape)
