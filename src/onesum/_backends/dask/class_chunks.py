# mypy: allow-untyped-defs, allow-untyped-calls
"""Where the classes come in several chunks: a state of each, merged; then what becomes of each."""

import functools
from typing import Any

from ..target import Target
from .graph import blocks, merged, slices, without
from .operands import Numbered, arguments_of, is_lazy, operands_of
from .reading import readable


class ClassChunks:
    """The chunks of the first array of a call, x.

    A function on a chunk takes states, if there are any before, `start`, the chunk of x, and other
    arguments.
    """

    def __init__(self, x, axis):
        self.x, self.axis = x, axis

    def state(self, function, *arguments, after=()):
        """The states of all chunks as one."""
        made = self._blocks(function, after, arguments, axes=(self.axis,), held=True)
        return merged(made, self.axis)

    def map(self, function, states, *arguments, dtype):
        """What becomes of each chunk under the states of all."""
        return self._blocks(function, states, arguments, dtype=dtype)

    def map_several(self, function, states, *arguments):
        """The same with several results, which blocks hold."""
        return self._blocks(function, states, arguments, held=True)

    def per_row(self, function, states, *arguments, dtype):
        """What the states alone say, with one element per row."""
        return without(self._of_rows(function, states, arguments, dtype=dtype), self.axis)

    def several_per_row(self, function, states, *arguments):
        return self._of_rows(function, states, arguments, held=True)

    def _blocks(self, function, states, arguments, **options):
        arguments, states = self._readable((self.x, *arguments), states)
        operands, place = operands_of(arguments, self.x.ndim, self.axis)
        run = functools.partial(_on_chunk, function, self.axis, len(states), place)
        operands = [*map(Numbered, states), slices(self.x), *operands]
        return blocks(run, self.x, operands, name=function.__name__, **options)

    def _of_rows(self, function, states, arguments, **options):
        operands = [*states, *arguments]
        return blocks(function, states[0], operands, name=function.__name__, **options)

    def _readable(self, arguments, states):
        """The arguments as they are to be read, after the states."""
        if not states:
            return arguments, states
        large = {}
        for a in arguments:
            parts: Any = a if isinstance(a, Target) else (a,)
            for b in parts:
                if is_lazy(b) and b.ndim == self.x.ndim and b.shape[self.axis] != 1:
                    large[b.name] = b
        again, states = readable(list(large.values()), self.axis, states)
        again = dict(zip(large, again, strict=True))

        def read(a):
            if isinstance(a, Target):
                return a._replace(probabilities=read(a.probabilities))
            return again.get(a.name, a) if is_lazy(a) else a

        return [read(a) for a in arguments], states


def _on_chunk(function, axis, states, place, *operands):
    states, (slices, *rest) = operands[:states], operands[states:]
    return function(*states, slices[axis].start, *arguments_of(rest, place))
