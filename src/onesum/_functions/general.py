"""The general way to a backend: all arguments through the checks, which come before any writing.

Before it, a public function asks `direct_of` for the plain case, as it is.
"""

from __future__ import annotations

from typing import Any

from .._arguments import Call
from .._backends.one_operation import one_operation

Array = Any


@one_operation
def forward(
    name: str, x: Any, axis: Any, where: Any, temperature: Any, dtype: Any, out: Any
) -> Array:
    """The general way of softmax and log_softmax."""
    call = Call("x", x, axis)
    temperature = call.temperature(temperature)
    where = call.where(where)
    dtype = call.dtype(dtype, role="softmax")
    output = call.out(out, dtype)
    function = getattr(call.backend, name)
    rows = function(call.rows(call.x), call.axis, where, temperature, dtype, output.room)
    return call.result(rows, output)


@one_operation
def product(
    name: str,
    names: tuple[str, str],
    nothing: float,
    p: Any,
    g: Any,
    axis: Any,
    temperature: Any,
    out: Any,
) -> Array:
    """The general way of a Jacobian times g; `nothing` in p means a class without probability."""
    call = Call(names[0], p, axis)
    g = call.same_shape(names[1], g)
    temperature = call.temperature(temperature)
    dtype = call.dtype(None, g)
    output = call.out(out, dtype)
    function = getattr(call.backend, name)
    p = call.rows(call.filled(nothing))
    rows = function(p, call.rows(g), call.axis, temperature, dtype, output.room)
    return call.result(rows, output)
