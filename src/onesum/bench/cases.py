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
    "cross_entropy": (1, 1),
    "cross_entropy_value_and_grad": (2, 3),
}
# Which operands the sum of a row needs: those that have to be read before anything is written.
READ_AT_FIRST = {
    "softmax": (0,),
    "log_softmax": (0,),
    "softmax_vjp": (0, 1),
    "log_softmax_vjp": (1,),
}
LOSS, VALUE_AND_GRAD = LOSSES = ("cross_entropy", "cross_entropy_value_and_grad")
OPERATIONS = tuple(operation for operation in ARRAYS_MOVED if operation not in LOSSES)
READING = ("logsumexp", LOSS)  # their results are next to nothing beside x
DTYPES = ("float32", "float64", "float16", "bfloat16")
TWO_WALKS = "two walks"  # how the floors are called that read a row before they move it
CACHE_LINE = 64
# bytes: larger results lie in memory that earlier ones left, not in new pages (csrc/runtime/
# result_memory.h)
KEPT = 16 << 20

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
# Logits of calls, of classifiers, of language models, of images with a class for each pixel.
OF_LOSSES: list[tuple[Shape, int]] = [
    ((1, 10), -1),
    ((128, 10), -1),
    ((65536, 10), -1),
    ((4096, 1000), -1),
    ((512, 32000), -1),
    ((128, 128256), -1),
    ((8, 21, 512, 512), 1),
]
OF_LOSSES_OTHERWISE: list[tuple[Shape, int]] = [((4096, 1000), -1)]  # in all other dtypes
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
    def rows(self) -> int:
        return math.prod(self.shape) // self.n

    @property
    def array_bytes(self) -> int:
        return math.prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        size: int = dtype_of(self.dtype).itemsize
        return size

    @property
    def in_place(self) -> bool:
        """Whether `out` is the operand itself: a gradient takes the place of its logits."""
        return self.operation == VALUE_AND_GRAD

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


def cases(operations: tuple[str, ...] = OPERATIONS, quick: bool = False) -> list[Case]:
    """Of the operations, either OPERATIONS or LOSSES."""
    if quick:
        grid = [("float32", QUICK)]
    elif operations == LOSSES:
        grid = [("float32", OF_LOSSES)]
        grid += [(dtype, OF_LOSSES_OTHERWISE) for dtype in DTYPES if dtype != "float32"]
    else:
        grid = [("float32", SHAPES), ("float64", IN_FLOAT64)]
        grid += [("float16", IN_HALF), ("bfloat16", IN_HALF)]
    return [
        Case(operation, dtype, shape, axis)
        for operation in operations
        for dtype, shapes in grid
        for shape, axis in shapes
    ]


def operands(case: Case) -> tuple[Array, ...]:
    """Logits of spread 3; for a loss a class for each row; for a derivative p or log p instead,
    and a normal cotangent.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape, dtype=np.float32)
    x *= 3
    x = x.astype(dtype_of(case.dtype), copy=False)
    if case.operation in LOSSES:
        return x, rng.integers(0, case.n, batch_shape(case))
    if not case.operation.endswith("_vjp"):
        return (x,)
    forward = getattr(onesum, case.operation.removesuffix("_vjp"))
    y = forward(x, axis=case.axis)
    del x  # before another as large is made
    return y, rng.standard_normal(case.shape, dtype=np.float32).astype(y.dtype, copy=False)


def result_shape(case: Case) -> Shape:
    """Of the array that `out` may be; with a gradient, the loss comes beside it."""
    if case.operation == LOSS:
        return ()
    return batch_shape(case) if case.operation == "logsumexp" else case.shape


def batch_shape(case: Case) -> Shape:
    """The shape without the class axis."""
    axis = case.axis % len(case.shape)
    return case.shape[:axis] + case.shape[axis + 1 :]
