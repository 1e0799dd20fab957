"""What is timed: operations, shapes, dtypes."""

import math
from typing import Any, NamedTuple

import numpy as np

import onesum

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]

# Arrays of the shape of x that an operation reads and writes. A row that the second-level cache
# cannot hold has to be read again, once its sum is known: then it is the second number.
ARRAYS_MOVED = {
    "softmax": (2, 3),
    "log_softmax": (2, 3),
    "logsumexp": (1, 1),
    "softmax_vjp": (3, 5),
    "log_softmax_vjp": (3, 4),
}
OPERATIONS = tuple(ARRAYS_MOVED)
DTYPES = ("float32", "float64", "float16", "bfloat16")
CACHE_LINE = 64

SHAPES: list[tuple[Shape, int]] = [
    ((1, 10), -1),
    ((1, 1000), -1),
    ((128, 10), -1),
    ((65536, 2), -1),
    ((65536, 10), -1),
    ((1000000, 10), -1),
    ((4096, 128), -1),
    ((4096, 1000), -1),
    ((512, 32000), -1),
    ((128, 128256), -1),
    ((1, 20000000), -1),
    ((100000000,), -1),
    ((32, 81, 15130), 1),
    ((8, 21, 512, 512), 1),
    ((32000, 512), 0),
]
IN_FLOAT64: list[tuple[Shape, int]] = [
    ((1, 1000), -1),
    ((128, 10), -1),
    ((65536, 10), -1),
    ((4096, 128), -1),
    ((4096, 1000), -1),
    ((512, 32000), -1),
    ((8, 21, 512, 512), 1),
    ((32000, 512), 0),
]
IN_HALF: list[tuple[Shape, int]] = [
    ((65536, 10), -1),
    ((4096, 1000), -1),
    ((512, 32000), -1),
    ((32000, 512), 0),
]
QUICK: list[tuple[Shape, int]] = [((128, 10), -1)]

KINDS = ("calls", "tiny rows", "rows", "long rows", "strided")


class Case(NamedTuple):
    operation: str
    dtype: str
    shape: Shape
    axis: int

    @property
    def n(self) -> int:
        return self.shape[self.axis]

    @property
    def array_bytes(self) -> int:
        return math.prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        size: int = dtype_of(self.dtype).itemsize
        return size

    @property
    def strided(self) -> bool:
        return self.axis not in (-1, len(self.shape) - 1)

    @property
    def kind(self) -> str:
        """One of KINDS."""
        if self.strided:
            return "strided"
        if math.prod(self.shape) < 4096:
            return "calls"
        return "tiny rows" if self.n <= 16 else "rows" if self.n < 10000 else "long rows"

    def bytes_moved(self, cache: int) -> tuple[int, int]:
        """What has to move when every array is moved once, and when a cache of this size is all.

        A strided class axis brings in a cache line for each class.
        """
        once, at_least = ARRAYS_MOVED[self.operation]
        row = self.n * (CACHE_LINE if self.strided else self.itemsize)
        return once * self.array_bytes, (at_least if row > cache else once) * self.array_bytes

    def __str__(self) -> str:
        return f"{self.operation} {self.dtype} {shape_name(self.shape, self.axis)}"


def shape_name(shape: Shape, axis: int) -> str:
    return "x".join(map(str, shape)) + ("" if axis == -1 else f", axis {axis}")


def dtype_of(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def cases(quick: bool = False) -> list[Case]:
    grid = [("float32", SHAPES), ("float64", IN_FLOAT64)]
    grid += [("float16", IN_HALF), ("bfloat16", IN_HALF)]
    if quick:
        grid = [("float32", QUICK)]
    return [
        Case(operation, dtype, shape, axis)
        for operation in OPERATIONS
        for dtype, shapes in grid
        for shape, axis in shapes
    ]


def operands(case: Case) -> tuple[Array, ...]:
    """Logits of spread 3; for a derivative their p or log p, and a normal cotangent."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape, dtype=np.float32)
    x *= 3
    x = x.astype(dtype_of(case.dtype), copy=False)
    if not case.operation.endswith("_vjp"):
        return (x,)
    forward = getattr(onesum, case.operation.removesuffix("_vjp"))
    y = forward(x, axis=case.axis)
    del x  # before another as large is made
    return y, rng.standard_normal(case.shape, dtype=np.float32).astype(y.dtype, copy=False)


def result_shape(case: Case) -> Shape:
    if case.operation != "logsumexp":
        return case.shape
    axis = case.axis % len(case.shape)
    return case.shape[:axis] + case.shape[axis + 1 :]
