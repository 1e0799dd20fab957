"""The arguments of a linear layer's cross entropy, checked, and the choice of its chunks."""

import operator
from typing import Any

import numpy as np

from ..._arguments import Call
from ..._arguments.labelled import Span, split_labels
from ..._arguments.masked import unmasked
from ..._backends.registry import name_of
from ..._library import as_floating, dtype_name

Array = Any

# Bytes of logits to hold: a fourteenth of all, which with all else is less than an eighth, within
# these bounds. Higher chunks make faster products: 64 MiB are 335 rows of 50 000 float32.
PART, LEAST, MOST = 14, 4 << 20, 64 << 20
# The formulas of the reference take many times what they are given, and are given less.
PLAIN_PART = 16
# To go over weight_matrix and its gradient for fewer rows than this costs more than to compute the
# logits twice: then a chunk has this height, and a quarter of those bytes.
LEAST_HEIGHT, HEIGHT = 64, 512


class LinearCall(Call):
    """A call whose first array is h @ weight_matrix.T, of which there is only the shape.

    Its `x` is h.
    """

    def __init__(self, h: Any, weight_matrix: Any, bias: Any):
        super().__init__("h", unmasked("h", h), -1)
        if not self.shape:
            raise ValueError("h: expected at least one axis, that of the features, got shape ()")
        self.weight_matrix = self._parameter("weight_matrix", weight_matrix)
        shape = tuple(self.weight_matrix.shape)
        if len(shape) != 2 or shape[1] != self.shape[-1]:
            wanted = f"shape (classes, {self.shape[-1]}), for h has shape {self.shape}"
            raise ValueError(f"weight_matrix: expected {wanted}, got {shape}")
        self.bias = None if bias is None else self._parameter("bias", bias)
        if self.bias is not None and tuple(self.bias.shape) != shape[:1]:
            wanted = f"shape {shape[:1]}, one number per row of weight_matrix"
            raise ValueError(f"bias: expected {wanted}, got {tuple(self.bias.shape)}")
        self.name, self.shape = "h @ weight_matrix.T", (*self.batch, shape[0])

    def _parameter(self, name: str, value: Any) -> Array:
        value = split_labels(name, unmasked(name, value))[0]
        return as_floating(self.xp, name, self._same_library(name, value))

    def unlabelled(self, name: str, value: Any, span: Span | None) -> Any:
        # The labels are those of h: they say nothing of the classes.
        return super().unlabelled(name, value, "rows" if span == "rows" else None)

    def parameters(self) -> tuple[Array, ...]:
        return (self.weight_matrix,) if self.bias is None else (self.weight_matrix, self.bias)

    def computed_in(self, dtype: Any) -> Any:
        """float64 where anything is that, otherwise float32: products of 16 bits are of no use."""
        types = [dtype, self.x.dtype, *(a.dtype for a in self.parameters())]
        wide = "float64" if "float64" in map(dtype_name, types) else "float32"
        return np.dtype(wide) if self.xp is np else getattr(self.xp, wide)

    def chunk(self, wish: Any, rows: int, wide: Any) -> tuple[int, int]:
        """How many rows and how many classes of logits are held at a time."""
        n, rows = self.shape[-1], max(rows, 1)
        if wish is None:
            height, width = self._usual_chunk(rows, 8 if dtype_name(wide) == "float64" else 4)
        else:
            try:
                height, width = map(operator.index, wish)
            except (TypeError, ValueError):
                wanted = "two ints, rows and classes, or None"
                raise TypeError(f"chunk: expected {wanted}, got {wish!r:.60}") from None
            if height < 1 or width < 1:
                raise ValueError(f"chunk: expected two ints >= 1, got {wish!r:.60}")
        return min(height, rows), min(width, n) if self.xp is np else n

    def _usual_chunk(self, rows: int, size: int) -> tuple[int, int]:
        n = self.shape[-1]
        held = min(max(rows * n * size // PART, LEAST), MOST) // size
        if name_of(self.backend) == "reference":
            held //= PLAIN_PART
        height = held // n
        if height < min(LEAST_HEIGHT, rows) and self.xp is np:
            height = min(HEIGHT, rows)
            return height, max(1, held // 4 // height)
        return -(-rows // -(-rows // max(height, 1))), n  # chunks of one height
