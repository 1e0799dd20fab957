"""What is done to results afterwards: times a number, and the sum of two."""

from typing import Any

from .._arguments import Call
from .._library import finish, quiet, widen

Array = Any


@quiet
def scaled(a: Array, times: float = 1.0, over: float = 1.0) -> Array:
    """A fresh array: a times a number over a number, in the widest type, rounded to that of a."""
    call = Call("a", a, 0)
    if times == over == 1.0:
        return call.result(call.xp.asarray(call.x, copy=True))
    xp, wide = widen(call.x)
    if times != 1.0:
        wide = wide * times
    if over != 1.0:
        wide = wide / over
    return call.result(finish(xp, wide, call.x.dtype, None))


@quiet
def added(a: Array, b: Array) -> Array:
    """The sum of two arrays of one shape, in the widest type, rounded to what they promote to."""
    call = Call("a", a, 0)
    b = call.same_shape("b", b)
    xp, wide_a, wide_b = widen(call.x, b)
    return call.result(finish(xp, wide_a + wide_b, call.dtype(None, b), None))
