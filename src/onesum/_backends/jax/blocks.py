# mypy: allow-untyped-defs, allow-untyped-calls
"""Large arrays on the CPU, in blocks of rows.

What XLA computes between reading logits and writing results it writes to memory. Memory that is
asked for in one piece comes from the system anew each time, and to touch it costs more than all
exponentials; a block's stays in the cache.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

LARGE = 2**25  # bytes; from here on C libraries give memory back to the system at once
BLOCK = 2**21  # bytes


def in_blocks(function, axis, x, *others):
    """function(x, *others, axis) of arrays whose rows are independent.

    Arrays have the dimensions of x, perhaps of size 1 along the axis, or none.
    """
    size, rows = x.size * x.dtype.itemsize, math.prod(x.shape[:-1])
    count = _divisor(rows, -(-size // BLOCK)) if size > LARGE and axis == x.ndim - 1 else 1
    if count == 1:
        return function(x, *others, axis)

    def plain(x, *others):
        return function(x, *others, axis)

    def blocked(x, *others):
        leaves, tree = jax.tree.flatten((x, *others))
        split = [a.ndim == x.ndim for a in leaves]
        whole = [a for a, is_split in zip(leaves, split, strict=True) if not is_split]
        parts = [
            jnp.broadcast_to(a, (*x.shape[:-1], a.shape[-1])).reshape(count, -1, a.shape[-1])
            for a, is_split in zip(leaves, split, strict=True)
            if is_split
        ]

        def of_block(parts):
            left, right = iter(parts), iter(whole)
            arrays = [next(left) if is_split else next(right) for is_split in split]
            return function(*jax.tree.unflatten(tree, arrays), 1)

        result = lax.map(of_block, parts)
        return jax.tree.map(lambda a: a.reshape(*x.shape[:-1], a.shape[-1]), result)

    return lax.platform_dependent(x, *others, cpu=blocked, default=plain)


def _divisor(rows, least):
    """The smallest number of equal blocks that is not below this, or 1 if there is no such number
    within its double.
    """
    return next((n for n in range(least, min(2 * least, rows) + 1) if rows % n == 0), 1)
