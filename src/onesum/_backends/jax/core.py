# mypy: allow-untyped-defs, allow-untyped-calls
"""The compiled core as XLA calls it on CPUs (decision 0014); elsewhere formulas stay what they are.

Operands are in one type. What has one element a row has size 1 along the axis. T is None or in two
words, as everywhere in this backend.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import registry


def _register() -> bool:
    """Make the core's functions known to XLA; whether it takes them."""
    if registry.name_of(registry.numpy_backend) == "reference":
        return False
    from ..._core import xla

    try:
        for name, function in xla.items():
            jax.ffi.register_ffi_target(_target(name), function, platform="cpu")
        return hasattr(jax, "typeof")
    except Exception:  # whatever this version of JAX has against it, there are the formulas
        return False


def _target(name):
    """What programs that XLA keeps on disk know the function by: a new meaning is a new name."""
    return f"onesum_{name}"


available = _register()


def either(name, formula, operands, t, axis, *, reads=None, row=False):
    """The core's function of this name on a CPU, and elsewhere formula(*operands, t).

    `reads`: which of the operands the core's function takes, all if None. `row`: the result has
    one element a row; a tuple where there are several results.
    """
    if not available or operands[0].size == 0:
        return formula(*operands, t)

    def by_core(*operands_and_t):
        *operands, t = operands_and_t
        read = operands if reads is None else [operands[i] for i in reads]
        return _call(name, read, t, axis, row)

    return lax.platform_dependent(*operands, t, cpu=by_core, default=formula)


def _call(name, operands, t, axis, row):
    x = operands[0]
    shape = jnp.broadcast_shapes(*(a.shape for a in operands))
    of_rows = (*shape[:axis], 1, *shape[axis + 1 :])

    def result(row):
        return jax.typeof(x).update(shape=of_rows if row else shape, weak_type=False)

    results = tuple(map(result, row)) if isinstance(row, tuple) else result(row)
    function = jax.ffi.ffi_call(_target(name), results, vmap_method="expand_dims")
    words: tuple[Any, ...] = () if t is None else tuple(t)
    answer = function(*operands, *words, axis=np.int64(axis - x.ndim))
    return tuple(answer) if isinstance(row, tuple) else answer
