"""The products of a linear layer: its logits, and with G, their gradient,

    dh = G W,   dW = G^T h,   db = the sum of G over its rows,

where dW and db add up over the parts of the rows, which come one after the other. As in
`Target`, classes are the columns of the logits; `classes` is a slice of them.
"""

from typing import Any

import numpy as np

from ..._library import matmul

Array = Any

# Elements of a product for dW before it is added: a quarter of the chunk of logits, or this many;
# and no fewer classes, however many features there are.
PRODUCT_PART, LEAST_PRODUCT, LEAST_BLOCK = 4, 1 << 18, 64


def spans(span: slice, length: int) -> list[slice]:
    """One after the other, of this length but for the last."""
    starts = range(span.start, span.stop, length)
    return [slice(start, min(start + length, span.stop)) for start in starts]


class Products:
    """The products of NumPy's arrays, in memory that is used again: `room` holds the logits.

    A weight matrix of another type than is computed in is converted a block of classes at a time.
    """

    def __init__(
        self, xp: Any, weight_matrix: Array, bias: Array, wide: Any, room: int, gradient: bool
    ):
        self._matrix, self._wide = weight_matrix, np.dtype(wide)
        self._bias = None if bias is None else bias.astype(wide, copy=False)
        n, d = weight_matrix.shape
        self.classes = slice(0, n)
        self.room = np.empty(room, wide)
        product = max(room // PRODUCT_PART, LEAST_PRODUCT)
        self._block = min(n, max(LEAST_BLOCK, product // max(d, 1)))
        self._step = n if weight_matrix.dtype == wide else self._block
        self.dw: Array = None
        self.db: Array = None
        if gradient:
            self._product = np.empty((self._block, d), wide)
            self.dw = np.zeros((n, d), wide)
            self.db = None if bias is None else np.zeros(n, wide)

    def _weights(self, block: slice) -> Array:
        return self._matrix[block].astype(self._wide, copy=False)

    def logits(self, h: Array, classes: slice, more: int = 0) -> Array:
        """h W^T + b, and beside it so many columns that are still empty."""
        shape = len(h), classes.stop - classes.start + more
        x = self.room[: shape[0] * shape[1]].reshape(shape)
        for block in spans(classes, self._step):
            np.matmul(h, self._weights(block).T, out=x[:, _within(block, classes)])
        if self._bias is not None:
            x[:, : shape[1] - more] += self._bias[classes]
        return x

    def backward(self, g: Array, h: Array, classes: slice) -> Array:
        """dh, as far as it comes from these classes; dW and db are added to."""
        dh = np.zeros_like(h)
        for block in spans(classes, self._step):
            dh += g[:, _within(block, classes)] @ self._weights(block)
        for block in spans(classes, self._block):
            product = self._product[: block.stop - block.start]
            self.dw[block] += np.matmul(g[:, _within(block, classes)].T, h, out=product)
        if self.db is not None:
            self.db[classes] += np.sum(g, axis=0)
        return dh


def _within(block: slice, classes: slice) -> slice:
    return slice(block.start - classes.start, block.stop - classes.start)


class NewProducts:
    """Those of any library's arrays, of all classes at once: every result is a new array."""

    def __init__(
        self, xp: Any, weight_matrix: Array, bias: Array, wide: Any, room: int, gradient: bool
    ):
        self._xp, self._matrix = xp, xp.astype(weight_matrix, wide, copy=False)
        self._bias = None if bias is None else xp.astype(bias, wide, copy=False)
        self.classes = slice(0, weight_matrix.shape[0])
        self.dw: Array = None
        self.db: Array = None
        if gradient:
            self.dw = xp.zeros_like(self._matrix)
            self.db = None if bias is None else xp.zeros_like(self._bias)

    def logits(self, h: Array, classes: slice) -> Array:
        x = matmul(self._xp, h, self._matrix.T)
        return x if self._bias is None else x + self._bias

    def backward(self, g: Array, h: Array, classes: slice) -> Array:
        self.dw = self.dw + matmul(self._xp, g.T, h)
        if self.db is not None:
            self.db = self.db + self._xp.sum(g, axis=0)
        return matmul(self._xp, g, self._matrix)
