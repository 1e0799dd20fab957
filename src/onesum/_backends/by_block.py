# mypy: allow-untyped-defs, allow-untyped-calls
"""Functions of arrays whose result is, block by block, that of their blocks."""

import functools

from .._library import is_dask, quiet


def by_block(function):
    """A quiet function of arrays, in tuples or not: of Dask's it is one task for each block."""
    function = quiet(function)

    @functools.wraps(function)
    def call(*arguments):
        if not any(map(is_dask, leaves(arguments))):
            return function(*arguments)
        from .dask.graph import applied

        return applied(call, arguments)

    return call


def leaves(value):
    """What is in tuples of tuples, in line."""
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def in_place_of(value, new):
    """Tuples like these, with the next of the new in the place of each leaf."""
    if not isinstance(value, tuple):
        return next(new)
    parts = [in_place_of(part, new) for part in value]
    return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
