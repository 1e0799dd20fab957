"""What is known of the arrays of a call without looking into them: axes, shapes, types."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Literal

import numpy as np

from .._backends import registry
from .._library import (
    FLOATING,
    as_array,
    as_floating,
    device,
    dtype_name,
    is_dask,
    is_torch,
    library_name,
    namespace,
    promoted,
    select,
    widest,
)
from .labelled import RowLabels, Span, split_labels
from .masked import split_mask, unmasked
from .options import as_float
from .output import NEW, Output, Read, may_write
from .values import need_positive

Array = Any
Role = Literal["", "softmax", "loss"]  # what torch's autocast knows functions by


class Call:
    """The arrays of one call with their class axes made one, and the way back.

    The first array gives the library, the shape and the axes. A single class axis stays where it
    is; several go to the end and are merged there, and none becomes a new axis of size 1.

    What numpy.ma masks takes no part. `mask` gathers it as the arguments come: None if none of
    them is a masked array, else bool that broadcasts to the shape of x; a row without which the
    call has to do is one that is masked whole. So `where` comes after all other arguments, and
    then `out`, which no argument may be read after.
    """

    ignores = False  # whether class indices may say so of their row

    def __init__(self, name: str, x: Any, axis: Any):
        x, self.labels = split_labels(name, x)
        if self.labels is not None:
            axis = self.labels.axes(axis)
        x, self.mask = split_mask(x)
        x = as_array(name, x)
        self.name = name
        self.xp = namespace(x)
        self._read = [Read(x, True)]
        self.known: dict[str, Any] = {}  # NumPy's arrays that became Dask's, by argument
        self.backend = registry.backend_of(x)
        self.x = as_floating(self.xp, name, x)
        self.shape = tuple(x.shape)
        self.axes = class_axes(axis, x.ndim)
        self.batch_axes = tuple(i for i in range(x.ndim) if i not in self.axes)
        self.batch = tuple(self.shape[i] for i in self.batch_axes)
        self.kept = tuple(1 if i in self.axes else n for i, n in enumerate(self.shape))
        self.axis = self.axes[0] if len(self.axes) == 1 else len(self.batch)

    @property
    def classes(self) -> int:
        """How many there are, along all class axes together."""
        return math.prod([self.shape[i] for i in self.axes])  # torch.compile takes no generator

    def with_classes(self) -> Call:
        """The same call, which has at least one class."""
        if self.classes == 0:
            raise ValueError(f"{self.name}: expected at least one class, got shape {self.shape}")
        return self

    # --- the other arguments ---

    def same_shape(self, name: str, g: Any) -> Array:
        """A second array, of the shape of the first."""
        g, mask = split_mask(self.unlabelled(name, g, "all"))
        g = as_floating(self.xp, name, self._same_library(name, g, in_step=True))
        if tuple(g.shape) != self.shape:
            wanted = f"the shape of {self.name}, {self.shape}"
            raise ValueError(f"{name}: expected {wanted}, got {tuple(g.shape)}")
        self.add_mask(mask)
        return self.cut(g, range(len(self.shape)))

    def one_per_row(self, name: str, g: Any, keepdims: bool) -> Array:
        """An array with one element per row, brought to size 1 along the class axis."""
        g, mask = split_mask(self.unlabelled(name, g, "any" if keepdims else "rows"), hidden=0)
        g = as_floating(self.xp, name, self._same_library(name, g))
        shape = self.kept if keepdims else self.batch
        if tuple(g.shape) != shape:
            wanted = f"shape {shape}, one element per row of {self.name} (keepdims={keepdims})"
            raise ValueError(f"{name}: expected {wanted}, got {tuple(g.shape)}")
        self.add_mask(mask, self.kept)
        return self.one_each(g)

    def factors(self, name: str, b: Any) -> Array:
        """Numbers that broadcast to the shape of x."""
        b, mask = split_mask(self.unlabelled(name, b, "any"), hidden=0)
        b = as_floating(self.xp, name, self.converted(name, b))
        b = self._broadcast(name, b)
        self.add_mask(mask)
        return self.rows(b)

    def temperature(self, value: Any) -> Any:
        """A Python float, or an array of the widest type with size 1 along the class axis."""
        if isinstance(value, (float, int)) and not isinstance(value, bool):
            number = as_float("temperature", value)
            if not number > 0:
                raise ValueError(f"temperature: expected a number > 0, got {value}")
            return number
        value = self.unlabelled("temperature", value, "rows")
        t = unmasked("temperature", value) if getattr(value, "ndim", 1) == 0 else value
        if is_dask(self.x) and isinstance(t, np.ndarray | np.generic) and t.ndim == 0:
            return self.temperature(t.item())  # which fits rows of unknown number too
        t, mask = split_mask(t, hidden=1)
        t = self.converted("temperature", t)
        if not dtype_name(t.dtype).startswith(("float", "bfloat16", "int", "uint")):
            got = f"{value!r:.60} of dtype {t.dtype}"
            raise TypeError(f"temperature: expected real numbers, got {got}")
        t = need_positive(self, "temperature", t)
        t = self.xp.astype(t, widest(self.xp, self.x), copy=False)
        if self.xp is np and t.ndim == 0:
            return float(t)
        shape = tuple(t.shape)
        if len(shape) != len(self.shape) or not _fits(shape, self.kept):
            if not _fits(shape, self.batch):
                wanted = f"a number, or shape {self.batch} or {self.kept} (one per row)"
                raise ValueError(f"temperature: expected {wanted}, got shape {shape}")
            t = self.xp.reshape(self.xp.broadcast_to(t, self.batch), self.kept)
            mask = None if mask is None else np.broadcast_to(mask, self.batch)
            self.add_mask(mask, self.kept)
        else:
            self.add_mask(mask)
        return self.one_each(self.xp.broadcast_to(t, self.kept))

    def where(self, where: Any) -> Array:
        """None or bool of the shape of x, without what is masked in any argument."""
        if where is not None:
            where, mask = split_mask(self.unlabelled("where", where, "any"), hidden=False)
            where = self.converted("where", where)
            if dtype_name(where.dtype) != "bool":
                raise TypeError(f"where: expected bool, got dtype {where.dtype}")
            where = self._broadcast("where", where)
            self.add_mask(mask)
        if self.mask is not None:
            inside = self.xp.broadcast_to(~self.ours(self.mask), self.shape)
            where = inside if where is None else where & inside
        return None if where is None else self.rows(where)

    # --- what is labelled, and what is masked ---

    def unlabelled(self, name: str, value: Any, span: Span | None) -> Any:
        """The values of an argument that may have labels, in the order of those of x.

        A span of None stands for axes that x does not have: there they go by position.
        """
        values, labels = split_labels(name, value)
        if labels is None or self.labels is None or span is None:
            return values
        return self.labels.aligned(name, value, self.axes, span)

    @property
    def row_labels(self) -> RowLabels | None:
        """The labels of the rows, if x has any."""
        return None if self.labels is None else self.labels.of_rows(self.axes)

    def add_mask(self, mask: Any, shape: tuple[int, ...] | None = None) -> None:
        """Leave out what an argument masks, if it does; of this shape, beside that of x."""
        if mask is None:
            return
        if shape is None:
            shape = (1,) * (len(self.shape) - mask.ndim) + mask.shape
        mask = np.reshape(mask, shape)
        self.mask = mask if self.mask is None else self.mask | mask

    @property
    def ignored(self) -> Any:
        """Which rows have nothing that is not masked: NumPy's bool, one per row, or None."""
        if self.mask is None:
            return None
        return np.broadcast_to(np.all(self.mask, axis=self.axes), self.batch)

    @property
    def counted(self) -> int:
        """The number of rows that are not ignored."""
        every: int = math.prod(self.batch)
        return every if self.mask is None else every - int(np.sum(self.ignored))

    def filled(self, nothing: float) -> Array:
        """x with `nothing` in the place of what is masked."""
        if self.mask is None:
            return self.x
        return select(self.xp, self.ours(self.mask), nothing, self.x)

    def ours(self, a: Any) -> Array:
        """A NumPy array as one of the library of x."""
        return a if self.xp is np else self.xp.asarray(a, device=device(self.x), copy=True)

    # --- the result ---

    def dtype(self, dtype: Any, *others: Array, role: Role = "") -> Any:
        """The type of the result: the one asked for, or what the arrays promote to."""
        if dtype is None:
            dtype = self.x.dtype
            for other in others:
                dtype = promoted(self.xp, dtype, other.dtype)
            if is_torch(self.x):
                dtype = self.xp.autocast(role, dtype, self.x.device)
        name = dtype_name(dtype)
        if name not in FLOATING:
            with suppress(TypeError):  # NumPy knows more names, and types of Python
                name = np.dtype(dtype).name
        if name not in FLOATING:
            raise TypeError(f"dtype: expected one of {', '.join(FLOATING)}, got {dtype!r}")
        try:
            of_numpy = self.xp is np or library_name(self.xp) == "dask.array"
            return np.dtype(name) if of_numpy else getattr(self.xp, name)
        except (TypeError, AttributeError):
            raise TypeError(f"dtype: {library_name(self.xp)} has no {name}") from None

    def out(self, out: Any, dtype: Any) -> Output:
        """Check `out`, of the shape of x."""
        data = self._checked_out(out, dtype, self.shape)
        if data is None:
            return Output(out)
        rows = self.rows(data)
        return Output(out, rows if np.may_share_memory(rows, data) else None)

    def reduced_out(self, out: Any, dtype: Any, keepdims: bool) -> Output:
        """The same for an `out` with one element per row."""
        data = self._checked_out(out, dtype, self.kept if keepdims else self.batch)
        return Output(out, None if keepdims else data)

    def _checked_out(self, out: Any, dtype: Any, shape: tuple[int, ...]) -> Array:
        """What a backend may write into: it is then in native order, aligned, and apart from every
        argument; or x, or another array of its shape, is exactly this memory.
        """
        if out is None:
            return None
        if is_torch(out):
            as_array("out", out)  # which refuses what has no one memory
        if not self._is_ours(out):
            kind = type(out).__name__
            raise ValueError(f"out: expected an array of the library of {self.name}, got {kind}")
        if tuple(out.shape) != shape:
            raise ValueError(f"out: expected shape {shape}, got {tuple(out.shape)}")
        if out.dtype != dtype and not (self.xp is np and out.dtype.newbyteorder("=") == dtype):
            raise ValueError(f"out: expected dtype {dtype}, got {out.dtype}")
        if is_torch(out):
            self.xp.need_same_device("out", out, self.name, self.x)
            self.xp.need_no_gradient(out, [read.array for read in self._read])
            self.xp.need_own_memory(out)
        if self.xp is not np:
            return None
        if not out.flags.writeable:
            raise ValueError("out: expected a writeable array, got a read-only one")
        data = np.asarray(out)
        return data if may_write(data, self._read) else None

    # --- to rows and back ---

    def rows(self, a: Array) -> Array:
        """An array of the shape of x, with its class axes made one."""
        if len(self.axes) == 1:
            return a
        if is_dask(a):
            a = self.cut(a, range(len(self.shape)))
            return self._class_axes.merged(self._classes_last(a), len(self.batch))
        return self.in_order(a)

    def in_order(self, a: Array) -> Array:
        """The same with the classes in C order, also where Dask has to cut again for that."""
        if len(self.axes) == 1:
            return a
        return self.xp.reshape(self._classes_last(a), (*self.batch, self.classes))

    def _classes_last(self, a: Array) -> Array:
        return self.xp.permute_dims(a, self.batch_axes + self.axes)

    def class_numbers(self, index: Array) -> Array:
        """Class indices, which count in C order, as the classes of the rows come."""
        if len(self.axes) < 2 or not is_dask(index):
            return index
        return self._class_axes.index_by_block(index, self._class_chunks)

    def class_weights(self, weight: Array) -> Array:
        """One number per class likewise."""
        if len(self.axes) < 2 or not is_dask(weight):
            return weight
        return self._class_axes.of_classes(weight, self._class_chunks)

    def pivots(self, rows: Array, where: Array, m: Array) -> Array:
        """The first class of each row, in C order, that is m."""
        if len(self.axes) < 2 or not is_dask(rows) or not self.classes:
            return self.backend.pivot_index(rows, self.axis, where, m)
        return self._class_axes.first_index(self.x, rows, self.axes, where, m)

    @property
    def _class_chunks(self) -> tuple[tuple[int, ...], ...]:
        """Those of a Dask array along the class axes."""
        return tuple(self.x.chunks[i] for i in self.axes)

    @property
    def _class_axes(self) -> Any:
        from .._backends.dask import class_axes

        return class_axes

    def result(self, rows: Array, output: Output = NEW) -> Array:
        """A result of the shape of x."""
        if not output.written and len(self.axes) != 1:
            order = self.batch_axes + self.axes
            if is_dask(rows):
                rows = self._class_axes.split(rows, self._class_chunks)
            else:
                rows = self.xp.reshape(rows, tuple(self.shape[i] for i in order))
            rows = self.xp.permute_dims(rows, tuple(order.index(i) for i in range(len(order))))
        rows = self._deliver(rows, self.mask, output)
        return rows if self.labels is None or output.given is not None else self.labels.wrap(rows)

    def reduced(self, value: Array, keepdims: bool, output: Output = NEW) -> Array:
        """A result with one element per row."""
        mask = self.ignored
        if keepdims:
            value = value if output.written else self.xp.reshape(value, self.kept)
            mask = None if mask is None else np.reshape(mask, self.kept)
        value = self._deliver(value, mask, output)
        if self.labels is None or output.given is not None:
            return value
        return self.labels.wrap_rows(value, self.axes, keepdims)

    def as_given(self, value: Array, dtype: Any, mask: Any = None) -> Array:
        """A value of another shape than that of x, in the type of the result."""
        value = self._deliver(self.xp.astype(self.xp.asarray(value), dtype), mask)
        if self.labels is None or not self.batch or tuple(value.shape) != self.batch:
            return value
        return self.labels.wrap_rows(value, self.axes, False)

    def _deliver(self, result: Array, mask: Any, output: Output = NEW) -> Array:
        if output.given is not None:
            return output.take(result, mask)
        if mask is not None and self.xp is np:  # other libraries have no masks
            mask = np.broadcast_to(mask, np.shape(result))
            return np.ma.MaskedArray(result, mask=np.array(mask))
        return result[()] if self.xp is np and result.ndim == 0 else result

    def one_each(self, a: Array) -> Array:
        """One element per row, with size 1 along the class axis."""
        if len(self.axes) == 1:
            return self.cut(self.xp.reshape(a, self.kept), range(len(self.shape)))
        return self.cut(self.xp.reshape(a, (*self.batch, 1)), self.batch_axes)

    def cut(self, a: Array, axes: Iterable[int]) -> Array:
        """An array with these axes of x; of Dask in its chunks."""
        if not is_dask(a):
            return a
        same = {i: self.x.chunks[j] for i, j in enumerate(axes) if a.shape[i] == self.shape[j]}
        return a.rechunk(same) if same else a

    # --- libraries and shapes ---

    def _is_ours(self, a: Any) -> bool:
        try:
            return hasattr(a, "shape") and namespace(a) is self.xp
        except (TypeError, ImportError):  # not an array at all
            return False

    def _same_library(self, name: str, value: Any, in_step: bool = False) -> Array:
        """An array of the library of x; what is no array at all is brought to it."""
        a = as_array(name, value)
        self._need_sizes(name, a)
        if isinstance(a, np.ndarray) and not isinstance(value, np.ndarray):
            return self.converted(name, a, in_step)
        if not self._is_ours(a):
            ours, theirs = library_name(self.xp), library_name(namespace(a))
            raise TypeError(f"{name}: expected an array of {ours}, as {self.name} is, got {theirs}")
        if is_torch(a):
            self.xp.need_same_device(name, a, self.name, self.x)
        self._read.append(Read(a, in_step))
        return a

    def _need_sizes(self, name: str, a: Any) -> None:
        """That it can be told whether an array fits: Dask may not know the number of rows."""
        for n in self.shape:
            if isinstance(n, float):
                wanted = f"no array beside {self.name}, whose shape {self.shape} is not known"
                advice = "compute_chunk_sizes() finds it"
                raise ValueError(
                    f"{name}: expected {wanted} ({advice}), got shape {tuple(a.shape)}"
                )

    def converted(self, name: str, value: Any, in_step: bool = False) -> Array:
        """As _same_library, but NumPy's arrays are brought to the library of x as well."""
        a = as_array(name, value)
        if self.xp is not np and isinstance(a, np.ndarray):
            self._need_sizes(name, a)
            if is_dask(self.x):
                self.known[name] = a
            try:
                return self.ours(a)
            except (TypeError, ValueError) as error:
                wanted = f"numbers that {library_name(self.xp)} can take"
                got = f"dtype {a.dtype}" if hasattr(value, "dtype") else f"{value!r:.60}"
                raise TypeError(f"{name}: expected {wanted}, got {got}") from error
        return self._same_library(name, a, in_step)

    def _broadcast(self, name: str, a: Array) -> Array:
        if not _fits(tuple(a.shape), self.shape):
            wanted = f"a shape that broadcasts to that of {self.name}, {self.shape}"
            raise ValueError(f"{name}: expected {wanted}, got {tuple(a.shape)}")
        return self.cut(self.xp.broadcast_to(a, self.shape), range(len(self.shape)))


def class_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The class axes, counted from the front, in the order of the array."""
    if axis is None:
        return tuple(range(ndim))
    axes = []
    for a in axis if isinstance(axis, tuple) else (axis,):
        try:
            i = operator.index(a)
        except (TypeError, RuntimeError):  # torch's, of a tensor under vmap
            wanted = "an int, a tuple of ints or None"
            raise TypeError(f"axis: expected {wanted}, got {axis!r:.60}") from None
        if ndim == 0 and i in (-1, 0):
            continue  # a single number is one class
        if not -ndim <= i < ndim:
            raise np.exceptions.AxisError(i, ndim, "axis")
        axes.append(i % ndim)
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis: expected each axis once, got {axis!r}")
    return tuple(sorted(axes))


def enlarged(name: str, x: Any, other_name: str, other: Any) -> Any:
    """x, broadcast to the shape that it has together with another array, if that is larger."""
    data, labels = split_labels(name, x)
    data, mask = split_mask(data)
    data = as_array(name, data)
    shape = tuple(data.shape)
    beside = tuple(other.shape if hasattr(other, "shape") else np.shape(other))
    if _fits(beside, shape) or labels is not None:
        return x
    try:
        together = np.broadcast_shapes(shape, beside)
    except ValueError:
        wanted = f"a shape that broadcasts with that of {name}, {shape}"
        raise ValueError(f"{other_name}: expected {wanted}, got {beside}") from None
    data = namespace(data).broadcast_to(data, together)
    return data if mask is None else np.ma.MaskedArray(data, np.broadcast_to(mask, together))


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether a shape broadcasts to the target without enlarging it."""
    return len(shape) <= len(target) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(target), strict=False)
    )
