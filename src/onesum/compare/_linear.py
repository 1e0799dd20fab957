"""Logits that are made of hidden states as they are read, so that nobody has to store them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._library import FLOATING, dtype_name, to_numpy
from ._logits import readable

Array = Any

_CHUNK = 2**22  # elements of the head that are multiplied at one time, so that a copy stays small
_ROWS = 64  # that are wanted at one time, for each time all of the head is read


class LinearLogits:
    r"""The logits of a linear layer, made a slice at a time.

    .. math:: x_{ic} = \sum_j h_{ij} W_{cj}

    Hidden states are some thirty times smaller than the logits of a large vocabulary. This takes
    the place of the logits in `compare`, for either side or both, and is never there as a whole.

    Parameters
    ----------
    hidden : array_like, of shape (..., features)
        Of any library, or anything with shape, dtype and slicing.
    head : array_like, of shape (classes, features)
        The layer's weight, as `torch.nn.Linear` and checkpoints have it.

    Attributes
    ----------
    shape : tuple of int
        That of hidden, with classes in the place of features.
    dtype : numpy.dtype
        float64 if hidden or head is, else float32. Sums are made in it.
    chunks : tuple of int
        What is best asked for at one time: 64 rows.

    Raises
    ------
    TypeError
        If hidden or head is not of a floating type.
    ValueError
        If their shapes do not fit.

    Examples
    --------
    >>> from onesum.compare import LinearLogits, compare
    >>> hidden, head = [[1.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]
    >>> rounded = [[1.0, 0.5], [0.0, 1.0], [1.0, 0.0]]
    >>> result = compare(LinearLogits(hidden, head), LinearLogits(hidden, rounded))
    >>> round(result.kl.max, 6)
    0.117293
    """

    def __init__(self, hidden: Any, head: Any) -> None:
        self._hidden, self._head = readable("hidden", hidden), readable("head", head)
        for name, a, least in (("hidden", self._hidden, 1), ("head", self._head, 2)):
            if dtype_name(a.dtype) not in FLOATING:
                wanted = ", ".join(FLOATING)
                raise TypeError(f"{name}: expected {wanted}, got dtype {a.dtype}")
            if len(a.shape) < least:
                wanted = "at least one dimension" if least == 1 else "shape (classes, features)"
                raise ValueError(f"{name}: expected {wanted}, got shape {tuple(a.shape)}")
        *batch, features = self._hidden.shape
        if len(self._head.shape) != 2 or self._head.shape[1] != features:
            wanted = f"shape (classes, {features}), for hidden has {features} features"
            raise ValueError(f"head: expected {wanted}, got {tuple(self._head.shape)}")
        self.shape = (*(int(n) for n in batch), int(self._head.shape[0]))
        wide = "float64" in (dtype_name(a.dtype) for a in (self._hidden, self._head))
        self.dtype = np.dtype(np.float64 if wide else np.float32)

    @property
    def ndim(self) -> int:
        """How many dimensions that are."""
        return len(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """What is best asked for at one time."""
        *batch, classes = self.shape
        chunks, rows = [classes], _ROWS
        for n in reversed(batch):
            chunks.append(max(1, min(n, rows)))
            rows = -(-rows // chunks[-1])
        return tuple(reversed(chunks))

    @property
    def nbytes(self) -> int:
        """Those that the logits would have."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, key: Any) -> Array:
        """The logits of a tuple of slices, one for each dimension."""
        *batch, classes = key
        hidden = self._array(self._hidden[(*batch, slice(None))])
        first, last, step = classes.indices(self.shape[-1])
        if step != 1:
            raise IndexError(f"step: expected slices without one, got {step}")
        logits = np.empty((*hidden.shape[:-1], max(last - first, 0)), self.dtype)
        chunk = max(1, _CHUNK // max(hidden.shape[-1], 1))
        for start in range(first, last, chunk):
            stop = min(start + chunk, last)
            weights = self._array(self._head[start:stop, :])
            with np.errstate(over="ignore", invalid="ignore"):  # told as rows without a softmax
                np.matmul(hidden, weights.T, out=logits[..., start - first : stop - first])
        return logits

    def _array(self, a: Any) -> Array:
        return to_numpy(a).astype(self.dtype, copy=False)
