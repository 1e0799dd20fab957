# mypy: allow-untyped-defs, allow-untyped-calls
"""Whether the chunks of a row may be held until its state is there, or are read a second time.

A band is all chunks of the classes of a block of rows. What needs a state and then the chunks again
holds a band of each block of rows that is worked on; or, where a band is larger than the limit, its
tasks come a second time, under other keys, and wait for the states.
"""

import math

import dask
from dask._task_spec import Alias, Task, convert_legacy_graph
from dask.core import flatten

from .again import again, array_of

BAND_LIMIT = "256 MiB"


def readable(arrays, axis, states):
    """The arrays to read once the last state is there, and the states: as they are, or a second
    time.
    """
    limit = dask.utils.parse_bytes(dask.config.get("onesum.band-limit", BAND_LIMIT))
    if sum(_band(a, axis) for a in arrays) <= limit:
        return arrays, states
    graphs = [convert_legacy_graph(dict(a.__dask_graph__())) for a in arrays]
    if all(map(_in_memory, arrays, graphs)):
        return arrays, states
    states = [as_it_is(state) for state in states]
    arrays = [
        a if _in_memory(a, graph) else again(a, graph, states[-1])
        for a, graph in zip(arrays, graphs, strict=True)
    ]
    return arrays, states


def _band(a, axis):
    """The bytes of the largest; of rows of unknown number NaN, which is within no limit."""
    sizes = [sum(c) if i == axis else max(c) for i, c in enumerate(a.chunks)]
    return math.prod(sizes) * a.dtype.itemsize


def _in_memory(a, graph):
    """Whether its chunks are there already, as they are of what was persisted."""

    def is_data(key):
        while isinstance(graph.get(key), Alias) and graph[key].target in graph:
            key = graph[key].target
        return not isinstance(graph.get(key), Task)

    return all(map(is_data, flatten(a.__dask_keys__())))


def as_it_is(state):
    """The state, which array expressions would give other keys."""
    if not hasattr(state, "expr"):
        return state
    state = state.optimize()
    graph = convert_legacy_graph(dict(state.__dask_graph__()))
    keys = list(flatten(state.__dask_keys__()))
    return array_of(keys, graph, state._meta, state.chunks)
