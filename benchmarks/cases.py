"""What is timed: operations, shapes, dtypes."""

import math
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

# Arrays of the shape of x that an operation reads and writes.
ARRAYS_MOVED = {
    "softmax": 2,
    "log_softmax": 2,
    "logsumexp": 1,
    "softmax_vjp": 3,
    "log_softmax_vjp": 3,
}

SHAPES = [
    ((1, 10), -1),
    ((1, 1000), -1),
    ((128, 10), -1),
    ((65536, 10), -1),
    ((4096, 128), -1),
    ((4096, 1000), -1),
    ((512, 32000), -1),
    ((4096, 1000), 0),
]
IN_FLOAT64 = [((1, 1000), -1), ((65536, 10), -1), ((4096, 1000), -1)]
TINY = [((128, 10), -1)]


class Case(NamedTuple):
    operation: str
    dtype: str
    shape: tuple[int, ...]
    axis: int

    @property
    def bytes_moved(self) -> int:
        size = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        return size * ARRAYS_MOVED[self.operation]

    def __str__(self) -> str:
        return f"{self.operation} {self.dtype} {shape_name(self.shape, self.axis)}"


def shape_name(shape: tuple[int, ...] | list[int], axis: int) -> str:
    return "x".join(map(str, shape)) + ("" if axis == -1 else f", axis {axis}")


def cases(quick: bool) -> list[Case]:
    grid = [("float32", TINY)] if quick else [("float32", SHAPES), ("float64", IN_FLOAT64)]
    return [
        Case(operation, dtype, shape, axis)
        for operation in ARRAYS_MOVED
        for dtype, shapes in grid
        for shape, axis in shapes
    ]


def operands(case: Case) -> tuple[Array, ...]:
    """Logits of spread 3; for a derivative their p or log p, and a normal cotangent."""
    import onesum

    rng = np.random.default_rng(0)
    x = (3 * rng.standard_normal(case.shape, dtype=np.float32)).astype(case.dtype)
    if not case.operation.endswith("_vjp"):
        return (x,)
    forward = getattr(onesum, case.operation.removesuffix("_vjp"))
    g = rng.standard_normal(case.shape, dtype=np.float32).astype(case.dtype)
    return forward(x, axis=case.axis), g
