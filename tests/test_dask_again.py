"""A second reading of graphs that are odd: partly there, data and tasks in a layer, other keys."""

from __future__ import annotations

import dask
import dask.array as da
import dask_sources
import numpy as np
import pytest
from budget import DASK_CHUNKS
from dask._task_spec import Alias, DataNode, Task
from dask.highlevelgraph import HighLevelGraph
from numpy.testing import assert_allclose

import onesum

X = np.random.default_rng(0).normal(size=(4, 12))
CHUNKS = ((2, 2), (4, 4, 4))


def computed(x: da.Array) -> None:
    with dask.config.set({"onesum.band-limit": 1}):
        lazy = onesum.softmax(x)
    for options in ({"optimize_graph": True}, {"optimize_graph": False}):
        got = lazy.compute(scheduler="sync", **options)
        assert_allclose(got, onesum.softmax(X), rtol=0, atol=DASK_CHUNKS)


def test_partly_persisted():
    """What is there is read as it is; all else a second time."""
    x = da.from_array(X, chunks=CHUNKS).map_blocks(dask_sources.counted, dtype=X.dtype)
    both = da.concatenate([x[:2].persist(scheduler="sync"), x[2:]])
    dask_sources.start()
    with dask.config.set({"onesum.band-limit": 1}):
        got = onesum.softmax(both).compute(scheduler="sync")
    assert_allclose(got, onesum.softmax(X), rtol=0, atol=DASK_CHUNKS)
    assert dask_sources.made == 2 * len(CHUNKS[1])


def block(i: int, j: int) -> np.ndarray:
    return X[2 * i : 2 * i + 2, 4 * j : 4 * j + 4]


@pytest.mark.parametrize("source", ["data and tasks", "an alias", "keys that are no strings"])
def test_layers_by_hand(source):
    graph = {}
    for i in range(2):
        for j in range(3):
            key = ("by-hand", i, j)
            if source == "data and tasks" and j == 1:
                graph[key] = DataNode(key, block(i, j))
            elif source == "an alias":
                graph[("source", i, j)] = Task(("source", i, j), block, i, j)
                graph[key] = Alias(key, ("source", i, j))
            elif source == "keys that are no strings":
                number = 3 * i + j
                graph[number] = Task(number, block, i, j)
                graph[key] = Alias(key, number)
            else:
                graph[key] = Task(key, block, i, j)
    high = HighLevelGraph({"by-hand": graph}, {"by-hand": set()})
    computed(da.Array(high, "by-hand", CHUNKS, dtype=X.dtype))
