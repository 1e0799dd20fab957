"""The cross entropy of some rows of logits, of which only a block of classes is held at a time.

The target masses of a row (`Target`), but for its weight s, are one that its class y
alone has, `aimed`, and those that all classes have, d: by smoothing, or as probabilities. With
L = log sum exp(x / T) and D = sum d,

    loss      s (aimed (L - x_y / T) + D L - sum d x / T) + z s L^2
    gradient  (a (p_c - [c = y]) + b [c = y] - s d_c) / T, b = s (D + 2 z L), a = b + s aimed.

A first pass over the blocks sums exp(x / T) without y, which makes L - x_y / T right also where p_y
is near 1. A second computes the logits again. There, a column beside each block stands for the
classes of all other blocks: the logarithm of their sum, times T. The softmax of these rows is p;
their cross entropy with class y, or with that column where y is elsewhere, has the gradient
p_c - [c = y]. Where there is a softcap, x are the capped logits, and the gradient is multiplied by
the slope of the cap.
"""

from typing import Any

import numpy as np

from ..._backends.target import Target
from .products import spans
from .rows import Part

Array = Any


class Blocks:
    """The blocks of some rows, of NumPy arrays."""

    def __init__(self, backend: Any, products: Any, part: Part, width: int, softcap: float | None):
        self._backend, self._products, self._part = backend, products, part
        self._softcap = softcap
        self._blocks = spans(products.classes, width)
        self._t = np.reshape(part.temperature, (-1,))
        k, target = len(part.h), part.target
        self._s = np.ones(k) if target.sample_weight is None else target.sample_weight
        self._y, self._aimed = target.classes, np.zeros(k)
        if self._y is None:
            self._y = np.full(k, -1)
        else:
            weights = np.ones(k) if target.weight is None else target.weight[self._y]
            self._aimed = (1.0 - target.smoothing) * weights
        self._choices: Any = products.classes.stop
        if target.smoothing and part.masked:
            counts = sum(np.sum(part.where(c), axis=1, keepdims=True) for c in self._blocks)
            self._choices = np.maximum(counts, 1)

    def losses(self, z_loss: float) -> Array:
        """The first pass; the losses of the rows."""
        part, k = self._part, len(self._part.h)
        self._x_y, self._log_sums = np.full(k, -np.inf), np.empty((k, len(self._blocks)))
        mass, spread_x = np.zeros(k), np.zeros(k)
        left = np.full((k, 2), not part.masked)  # whether y is among the choices, and any class
        for j, classes in enumerate(self._blocks):
            x = self._products.logits(part.h, classes)
            if self._softcap is not None:
                _cap(x, self._softcap)
            where, (rows, at) = part.where(classes), self._aims(classes)
            d = self._spread(classes, where)
            if d is not None:
                mass += np.sum(d, axis=1, dtype=np.float64)
                terms = d * x
                terms[d == 0] = 0.0
                spread_x += np.sum(terms, axis=1, dtype=np.float64)
                del d, terms
            if where is not None:
                left[rows, 0] = where[rows, at]
                left[:, 1] |= np.any(where, axis=1)
            self._x_y[rows] = x[rows, at]
            x[rows, at] = -np.inf
            self._log_sums[:, j] = self._backend.logsumexp(
                x, 1, where, part.temperature, x.dtype, None
            )
        self._x_y = np.where(left[:, 0], self._x_y, -np.inf) / self._t
        where = left if part.masked else None
        pairs = np.stack([self._x_y, self._of_blocks(None)], axis=1)
        log_sum = self._backend.logsumexp(pairs, 1, None, 1.0, pairs.dtype, None)
        target = Target(np.zeros(k, np.int64), sample_weight=self._s * self._aimed)
        losses, _ = self._backend.cross_entropy(
            pairs, target, 1, 0.0, None, where, 1.0, 1.0, False, pairs.dtype, None
        )
        spread = np.where(mass == 0, 0.0, mass * log_sum) - spread_x / self._t
        losses = losses + np.where(self._s == 0, 0.0, self._s * spread)
        self._b = self._s * mass
        if z_loss:
            losses += np.where(self._s == 0, 0.0, z_loss * self._s * log_sum**2)
            self._b += np.where(self._s == 0, 0.0, 2.0 * z_loss * self._s * log_sum)
        return losses

    def gradient(self, by: float) -> Array:
        """The second pass, for dh; dW and db are added to."""
        part, dh = self._part, np.zeros_like(self._part.h)
        b, scale = self._b, by / self._t
        a = b + self._s * self._aimed
        for j, classes in enumerate(self._blocks):
            rows, at = self._aims(classes)
            self._log_sums[rows, j] = np.logaddexp(self._log_sums[rows, j], self._x_y[rows])
        for j, classes in enumerate(self._blocks):
            x = self._products.logits(part.h, classes, more=1)
            g, slope = x[:, :-1], None
            if self._softcap is not None:
                slope = _slope(g, self._softcap)
                _cap(g, self._softcap)
            x[:, -1] = self._of_blocks(j) * self._t
            where, (rows, at) = part.where(classes), self._aims(classes)
            d = self._spread(classes, where)
            if d is not None:
                d[g == -np.inf] = 0.0
            if where is not None:
                where = np.pad(where, ((0, 0), (0, 1)), constant_values=True)
            aims = np.full(len(x), x.shape[1] - 1)
            aims[rows] = at
            self._backend.cross_entropy(
                x, Target(aims), 1, 0.0, None, where, part.temperature, by, True, x.dtype, x
            )
            if np.any(a != 1.0):  # it may be infinite where p is 0
                np.multiply(x, a[:, None].astype(x.dtype), out=x, where=x != 0)
            g[rows, at] += np.where(self._x_y > -np.inf, b * scale, 0.0)[rows]
            if d is not None:
                # What has no part in it has none either where the scale, that of a mean, is NaN.
                np.multiply(d, (self._s * scale)[:, None].astype(x.dtype), out=d, where=d != 0)
                g -= d
            if slope is not None:
                g *= slope
                g[slope == 0] = 0.0
            dh += self._products.backward(g, part.h, classes)
        return dh

    def _aims(self, classes: slice) -> tuple[Array, Array]:
        """The rows whose y is one of these classes, and which."""
        rows = np.flatnonzero((self._y >= classes.start) & (self._y < classes.stop))
        return rows, self._y[rows] - classes.start

    def _of_blocks(self, left_out: int | None) -> Array:
        """The logarithm of the sum over all blocks, or all but one."""
        where = np.arange(len(self._blocks)) != left_out
        where = np.broadcast_to(where, self._log_sums.shape)
        return self._backend.logsumexp(self._log_sums, 1, where, 1.0, np.dtype(np.float64), None)

    def _spread(self, classes: slice, where: Array) -> Array:
        """d, or None where there is none."""
        target, wide = self._part.target, self._part.h.dtype
        y = self._part.probabilities(classes)
        if y is None and not target.smoothing:
            return None
        d = np.zeros((len(self._part.h), classes.stop - classes.start), wide)
        if y is not None:
            d += (1.0 - target.smoothing) * y.astype(wide, copy=False)
        d += target.smoothing / self._choices
        if target.weight is not None:
            d *= target.weight[classes]
        if where is not None:
            d[~where] = 0.0
        return d


def _cap(x: Array, softcap: float) -> None:
    """c tanh(x / c), in place."""
    x /= softcap
    np.tanh(x, out=x)
    x *= softcap


def _slope(x: Array, softcap: float) -> Array:
    """The derivative of that, 1 / cosh(x / c)^2: no digits are lost where tanh is near 1."""
    slope = x / softcap
    np.cosh(slope, out=slope)
    np.divide(1.0, slope, out=slope)
    return np.square(slope, out=slope)
