"""The types of the public signatures: what a caller may write, and what the answer is.

NumPy's arrays of floats are answered with the same, what is converted to a NumPy array with one,
and an array of another library with one of that library. Where the answer depends on what no type
says, as the number of dimensions, it is Any. As in NumPy's own types, an array is taken to have
dimensions, and a masked array to be an array. Each overload of a function stands for one of these
answers; tests/typing_user_code.py shows them.
"""

from __future__ import annotations

from types import EllipsisType
from typing import Any, Generic, Literal, Protocol, SupportsIndex, TypeAlias, TypedDict, TypeVar

import numpy as np

_Item = TypeVar("_Item", covariant=True)
_Scalar = TypeVar("_Scalar", bound=np.generic)

F = TypeVar("F", bound=np.floating[Any])  # the element type of a NumPy array of floats
A = TypeVar("A", bound="AnyArray")  # an array of some library

# As numpy.typing has it, which is one more module to import.
NDArray: TypeAlias = np.ndarray[tuple[Any, ...], np.dtype[_Scalar]]


class AnyArray(Protocol):
    """What arrays of all libraries have; NumPy's too, so that overloads name these before."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def device(self) -> Any: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class SupportsArray(Protocol):
    """What `numpy.asarray` asks for an array: a scalar of NumPy, a table."""

    def __array__(self) -> Any: ...


class Nested(Protocol[_Item]):
    """Lists or tuples of items, to any depth; no str, which contains nothing but str."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> _Item | Nested[_Item]: ...
    def __contains__(self, item: object, /) -> bool: ...
    def count(self, item: Any, /) -> int: ...
    def index(self, item: Any, /) -> int: ...


class LibraryDType(Protocol):
    """A dtype of PyTorch. Every library understands the names."""

    @property
    def is_floating_point(self) -> bool: ...


Number: TypeAlias = float | np.floating[Any] | np.integer[Any]
NumPyLike: TypeAlias = NDArray[Any] | Nested[float | SupportsArray]  # answered by a NumPy array
ArrayLike: TypeAlias = NumPyLike | AnyArray | SupportsArray | float  # all that can be an array
Axis: TypeAlias = SupportsIndex | str | tuple[SupportsIndex | str, ...] | None  # names: xarray
DTypeLike: TypeAlias = (
    Literal["float16", "bfloat16", "float32", "float64"]
    | type[float | np.generic]  # ml_dtypes.bfloat16 is no np.floating
    | np.dtype[Any]
    | LibraryDType
    | None
)
BatchIndex: TypeAlias = SupportsIndex | slice | EllipsisType | Nested[int] | NDArray[Any]
Total: TypeAlias = Literal["mean", "sum"]
Reduction: TypeAlias = Literal[Total, "none"]
From: TypeAlias = Literal["logits", "log_probabilities", "probabilities"]
Curvature: TypeAlias = Literal["diagonal", "scaled", "upper_bound", "absolute"]

D = TypeVar("D", bound=DTypeLike)  # None where the type of the result is to be told from x
R = TypeVar("R", bound=Reduction)  # Total where the result is to be told to be one number


# The options that overloads share.


class ProductOptions(TypedDict, total=False):
    """What goes with p, or log p, and another array."""

    temperature: ArrayLike
    out: AnyArray | None


class RowOptions(TypedDict, total=False):
    """What goes with logits."""

    where: ArrayLike | None
    temperature: ArrayLike


class KeepOptions(RowOptions, total=False):
    keepdims: bool
    out: AnyArray | None


class SumOptions(KeepOptions, total=False):
    b: ArrayLike | None
    dtype: DTypeLike


class TypedRowOptions(RowOptions, Generic[D], total=False):
    dtype: D


class ForwardOptions(TypedRowOptions[D], Generic[D], total=False):
    out: AnyArray | None


class DivergenceOptions(TypedRowOptions[D], Generic[R, D], total=False):
    reduction: R


class LossOptions(DivergenceOptions[R, D], Generic[R, D], total=False):
    weight: ArrayLike | None
    label_smoothing: Number
    ignore_index: SupportsIndex | None
    sample_weight: ArrayLike | None
    z_loss: Number
    softcap: Number | None


class GradientOptions(LossOptions[R, D], Generic[R, D], total=False):
    out: AnyArray | None


class LinearOptions(LossOptions[R, D], Generic[R, D], total=False):
    chunk: tuple[SupportsIndex, SupportsIndex] | None
