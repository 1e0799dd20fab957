# mypy: allow-untyped-defs, allow-untyped-calls
"""The parts that the formulas share: types, sums, pivots, and differences with their errors.

A number in two words is its value and what rounding took from it. The second word comes from
detached numbers: as a function of the first it is constant.
"""

from typing import Any

import torch

INF, NAN = torch.inf, torch.nan


def widest(x):
    """The widest floating type on the device of x: MPS has no float64."""
    return torch.float32 if x.device.type == "mps" else torch.float64


def widen(dtype: Any, *arrays: Any) -> Any:
    """The arrays in the type that formulas compute a result of this type in: never 16 bits."""
    types = {dtype, *(a.dtype for a in arrays)}
    wide = torch.float64 if torch.float64 in types else torch.float32
    return tuple(a.to(wide) for a in arrays)


def sum_of(x, axis):
    """The sum along an axis, kept with size 1; float32 adds up in float64 where there is that."""
    return x.sum(axis, keepdim=True, dtype=widest(x)).to(x.dtype)


def pivot_of(x, axis):
    """The first index of the maximum, or of a NaN, and the mask of that place."""
    index = x.detach().argmax(axis, keepdim=True)
    return index, is_at(index, x, axis)


def is_at(index, x, axis):
    """The mask of one class of each row of x; of -1, nothing."""
    along = [1] * x.ndim
    along[axis] = x.shape[axis]
    return torch.arange(x.shape[axis], device=x.device).reshape(along) == index


def others(pivot, x):
    """x with 0 at the pivot."""
    return torch.where(pivot, 0.0, x)


def finite(x):
    """x, or 0 where it is no number: the error of what is infinite."""
    return torch.where(torch.isfinite(x), x, 0.0)


def difference(x, m):
    """x - m in two words."""
    d = x - m
    with torch.no_grad():
        z = d - x
        error = finite((x - (d - z)) - (m + z))
    return d, error


def over(d, temperature):
    """A number in two words over T; infinity stays what it is."""
    if isinstance(temperature, float) and temperature == 1.0:
        return d
    hi, lo = d
    t, t_lo = _words(temperature, hi)
    near = torch.isfinite(hi)  # nor has T a derivative where the quotient is infinite
    q = torch.where(near, finite(hi) / t, hi)
    with torch.no_grad():
        product, error = _two_product(q, t)
        lo = finite((((hi - product) - error) + (lo - q * t_lo)) / t)
    return q, lo


def _words(temperature, like):
    """T in the type of an array, and what it lacks there."""
    if not isinstance(temperature, torch.Tensor):  # a float, or what stands for one in a graph
        # Where the array is, so that nothing waits for a copy: a GPU would.
        device = like.device if widest(like) is torch.float64 else "cpu"
        temperature = torch.full((), temperature, dtype=torch.float64, device=device)
    t = temperature.to(like)
    return t, finite((temperature.detach() - t.detach().to(temperature)).to(like))


def _two_product(a, b):
    h = a * b
    (a_hi, a_lo), (b_hi, b_lo) = _halves(a), _halves(b)
    return h, ((a_hi * b_hi - h) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def _halves(a):
    c = a * (2.0**27 + 1.0 if a.dtype == torch.float64 else 2.0**12 + 1.0)
    hi = c - (c - a)
    return hi, a - hi
