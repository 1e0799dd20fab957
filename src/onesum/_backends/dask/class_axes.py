# mypy: allow-untyped-defs, allow-untyped-calls
"""Several class axes as one, and back: each block is reshaped by itself, so that none is cut.

The classes then come block by block, and in C order within each. Nothing minds but what has numbers
in C order: class indices and weights are brought to the order of the blocks, and pivots to theirs.
"""

import functools
import itertools
import math

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef, convert_legacy_graph
from dask.array.utils import meta_from_array
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from ..._library import look_up, namespace
from .again import array_of
from .graph import blocks
from .reading import as_it_is


def merged(a, first):
    """The axes from `first` on as one."""
    sizes = a.chunks[first:]
    if any(math.isnan(n) for c in sizes for n in c):
        wanted = "chunks of known sizes along several class axes"
        raise ValueError(f"x: expected {wanted} (compute_chunk_sizes() finds them), got {sizes}")
    lengths = tuple(map(math.prod, itertools.product(*sizes)))
    moves = {
        (*rows, i): ((*rows, *classes), (lengths[i],))
        for rows, i, classes in _numbers(a.chunks[:first], sizes)
    }
    return _reshaped(a, first, (*a.chunks[:first], lengths), moves)


def split(a, sizes):
    """What was merged, whose chunks had these sizes, as it was."""
    first = a.ndim - 1
    shapes = list(itertools.product(*sizes))
    moves = {
        (*rows, *classes): ((*rows, i), shapes[i])
        for rows, i, classes in _numbers(a.chunks[:first], sizes)
    }
    return _reshaped(a, first, (*a.chunks[:first], *sizes), moves)


def _numbers(rows, sizes):
    """Of each block those along the rows, and that along the classes, as one and as several."""
    rows, classes = (itertools.product(*(range(len(c)) for c in cs)) for cs in (rows, sizes))
    for some, (i, place) in itertools.product(rows, enumerate(classes)):
        yield some, i, place


def _reshaped(a, first, chunks, moves):
    """Blocks by other numbers and of other shapes after the first axes."""
    a = as_it_is(a)
    name = f"onesum-classes-{tokenize(a.name, chunks)}"
    tasks = {
        (name, *new): Task((name, *new), _reshape, TaskRef((a.name, *old)), first, shape)
        for new, (old, shape) in moves.items()
    }
    meta = meta_from_array(a._meta, len(chunks), a.dtype)
    if hasattr(a, "expr"):
        graph = {**convert_legacy_graph(dict(a.__dask_graph__())), **tasks}
        keys = itertools.product([name], *(range(len(c)) for c in chunks))
        return array_of(list(keys), graph, meta, chunks)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=[a])
    return da.Array(graph, name, chunks, meta=meta)


def _reshape(block, first, shape):
    return namespace(block).reshape(block, (*block.shape[:first], *shape))


# --- what has its numbers in C order ------------------------------------------------------------


def of_classes(weight, sizes):
    """One number for each class, in the order of the blocks."""
    xp = namespace(weight)
    return look_up(xp, weight, merged(_in_c_order(xp, sizes, range(len(sizes)), len(sizes)), 0))


def index_by_block(index, sizes):
    """Class indices, of which those below 0 are none, in the order of the blocks."""
    return blocks(functools.partial(_by_block, sizes), index, [index], name="index-by-block")


def _by_block(sizes, index):
    place = np.unravel_index(np.maximum(index, 0), tuple(map(sum, sizes)))
    ends = [np.cumsum(c) for c in sizes]
    block = [np.searchsorted(e, i, side="right") for e, i in zip(ends, place, strict=True)]
    starts = np.cumsum([0, *map(math.prod, itertools.product(*sizes))])
    number = np.ravel_multi_index(block, tuple(map(len, sizes)))
    within = np.zeros_like(index)
    for i, b, end, c in zip(place, block, ends, sizes, strict=True):
        length = np.asarray(c)[b]
        within = within * length + i - (end[b] - length)
    return np.where(index < 0, index, starts[number] + within)


def first_index(x, rows, axes, where, m):
    """The first class in C order of x that is m, or the first NaN; -1 where m is -inf."""
    xp, sizes = namespace(rows), tuple(x.chunks[i] for i in axes)
    order = merged(_in_c_order(xp, sizes, range(m.ndim, x.ndim), x.ndim), m.ndim)
    top = xp.expand_dims(m, axis=-1)
    operands, axes = (math.prod(map(sum, sizes)), rows, order, top, where), (m.ndim,)
    index = blocks(_first, rows, operands, name="first", axes=axes, dtype=np.dtype(np.int64))
    return xp.where(m == -np.inf, -1, da.min(index, axis=-1))


def _first(n, rows, order, top, where):
    xp = namespace(rows)
    found = (rows == top) | (xp.isnan(rows) & xp.isnan(top))
    found = found if where is None else found & where
    return np.min(xp.where(found, order, n), axis=-1, keepdims=True, initial=n)


def _in_c_order(xp, sizes, axes, ndim):
    """The number of each class, along these axes of so many."""
    order, stride = da.zeros((1,) * ndim, dtype=np.int64, chunks=1), 1
    for c, axis in reversed(list(zip(sizes, axes, strict=True))):
        along = da.arange(sum(c), chunks=(c,)) * stride
        order = order + along[tuple(slice(None) if i == axis else None for i in range(ndim))]
        stride *= sum(c)
    return order
