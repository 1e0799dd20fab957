# mypy: allow-untyped-defs, allow-untyped-calls
"""An array by other tasks, which begin when something else is done: so that it is made twice.

What is one task for each chunk (`Blockwise`) stays so, for Dask then makes one task of it and of
what is done with the chunk.
"""

import dask.array as da
from dask._task_spec import Alias, Task, TaskRef
from dask.base import clone_key, tokenize
from dask.blockwise import Blockwise
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer


def again(a, graph, state):
    """The array whose graph this is, once all of the state is there."""
    token = tokenize(state.name)  # one for all arrays: what they share is made once
    waiting = f"onesum-wait-{token}"
    wait = {waiting: Task(waiting, _nothing, *map(TaskRef, flatten(state.__dask_keys__())))}
    copy, keys = _Copy(graph, token, waiting), list(flatten(a.__dask_keys__()))
    if hasattr(a, "expr"):
        new = {**graph, **wait, **copy.of(copy.tasks.union(keys))}
        return array_of(list(map(copy.key, keys)), new, a._meta, a.chunks)
    new = HighLevelGraph.from_collections(waiting, wait, dependencies=[state])
    new = HighLevelGraph.merge(a.dask, new, copy.layers(a.dask))
    return da.Array(new, clone_key(a.name, token), a.chunks, meta=a._meta)


def array_of(keys, graph, meta, chunks):
    """An array of array expressions, of these keys of a graph."""
    from dask.array._array_expr._collection import from_graph

    return from_graph(graph, meta, chunks, keys, "onesum-graph")


class _Copy:
    """The tasks of a graph under other keys; data keeps its own."""

    def __init__(self, graph, token, waiting):
        self.graph, self.token, self.waiting = graph, token, waiting
        self.tasks = {key for key, node in graph.items() if isinstance(node, Task | Alias)}
        self.keys = {key: self.key(key) for key in self.tasks}

    def key(self, key):
        """Its other key."""
        named = isinstance(key[0] if isinstance(key, tuple) else key, str)
        return clone_key(key, self.token) if named else f"{key}-{self.token}"

    def of(self, keys):
        """The copies of these tasks, and other keys for data."""
        return {self.key(key): self._node(key) for key in keys}

    def layers(self, graph):
        """The copies of all layers that have tasks."""
        keys = {name: layer.get_output_keys() for name, layer in graph.layers.items()}
        copied = {name for name in keys if keys[name] & self.tasks}
        data = {name for name in keys if keys[name] - self.tasks}
        layers, dependencies = {}, {}
        for name in copied:
            new, needed = clone_key(name, self.token), graph.dependencies[name]
            layers[new] = self._layer(graph.layers[name], keys[name])
            dependencies[new] = {clone_key(n, self.token) for n in needed & copied}
            dependencies[new] |= ((needed | {name}) & data) | {self.waiting}
        return HighLevelGraph(layers, dependencies)

    def _layer(self, layer, keys):
        if isinstance(layer, Blockwise) and keys <= self.tasks:
            return layer.clone(self.tasks, self.token, self.waiting)[0]
        return MaterializedLayer(self.of(keys))

    def _node(self, key):
        node, new = self.graph[key], self.key(key)
        if key not in self.tasks:
            return Alias(new, key)
        if node.dependencies & self.tasks:
            return node.substitute(self.keys, key=new)
        return Task(new, _second, TaskRef(self.waiting), node)


def _nothing(*states):
    return None


def _second(_, value):
    return value
