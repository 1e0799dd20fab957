# mypy: allow-untyped-defs, allow-untyped-calls
"""Exponentials, logarithms and quotients to the last digits, in the type of the logits.

XLA has no wider type to hide roundings in where float64 is off. So what is subtracted is the
exponent of the row's maximum, an integer, and not the maximum itself: rounding x - m costs up to
64 ulp at x - m = -80 (as in csrc/numerics/exp.h, whose polynomials these are).

XLA keeps to the order of what it is told to compute, but not quite: it may fuse a product and a
sum, and it adds up constants: (a + 1.0) - 1.0 is a. So numbers are cut in two by
`reduce_precision`, and a constant that must not be added up stands behind `optimization_barrier`.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any


class _Format(NamedTuple):
    integer: Any  # as wide as the type
    mantissa: int
    exponent_bits: int
    short: int  # so many bits of T log(2), for exact products with integers up to FAR / log(2)
    q: tuple[float, ...]  # exp(t) = 1 + t + t^2 q(t) for abs(t) <= log(2) / 2

    @property
    def exponent_of_one(self) -> int:
        return int(2 ** (self.exponent_bits - 1)) - 1


def _hex(numbers: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, numbers.split()))


_FORMATS = {
    "float32": _Format(
        jnp.int32,
        23,
        8,
        12,
        _hex("0x1.fffffcp-2 0x1.555490p-3 0x1.5558f8p-5 0x1.123b02p-7 0x1.6a2258p-10"),
    ),
    "float64": _Format(
        jnp.int64,
        52,
        11,
        40,
        _hex(
            "0x1.000000000000ap-1 0x1.55555555554f8p-3 0x1.5555555550754p-5 0x1.1111111128174p-7 "
            "0x1.6c16c1846fc23p-10 0x1.a01a0128fccbbp-13 0x1.a01999446a68bp-16 "
            "0x1.71df272251699p-19 0x1.28ae3458bcde7p-22 0x1.ad7e84e42476ep-26"
        ),
    ),
}
FAR = 2048.0  # from x / T = FAR on the maximum itself is subtracted first, which is exact there
_LN2 = Fraction("0.69314718055994530941723212145817656807550013436025525412068")
_LOG2_E = 1.4426950408889634


def format_of(dtype):
    return _FORMATS[np.dtype(dtype).name]


class Temperature(NamedTuple):
    """T in two words, each with size 1 along the class axis (or without dimensions)."""

    hi: Array
    lo: Array


class Units(NamedTuple):
    """What brings x / T to powers of two: log2(e) / T, T log(2) in two words, 1 / T in two."""

    per_unit: Array
    ln2_hi: Array
    ln2_lo: Array
    inverse: Array
    inverse_lo: Array


def temperature_words(temperature, dtype):
    """The temperature in words of this type, or None where it is 1."""
    if isinstance(temperature, float):
        if temperature == 1.0:
            return None
        kind = np.dtype(dtype).type
        hi = kind(temperature)
        return Temperature(hi, kind(temperature - float(hi)) if np.isfinite(hi) else kind(0.0))
    hi = temperature.astype(dtype)
    lo = (temperature - hi.astype(temperature.dtype)).astype(dtype)
    return Temperature(hi, jnp.where(jnp.isfinite(hi), lo, 0.0))


def units_of(t, dtype):
    form = format_of(dtype)
    if t is None:
        hi = round(_LN2 * 2**form.short) / 2**form.short
        return Units(_LOG2_E, hi, float(_LN2 - Fraction(hi)), 1.0, 0.0)
    ln2 = np.dtype(dtype).type(float(_LN2))
    ln2_lo = float(_LN2 - Fraction(float(ln2)))
    product, error = two_product(t.hi, ln2)
    hi = _short(product, form.short)
    lo = (product - hi) + (error + (t.hi * ln2_lo + t.lo * ln2))
    inverse, inverse_lo = reciprocal(t.hi, t.lo)
    return Units(inverse * _LOG2_E, hi, lo, inverse, inverse_lo)


# --- words ------------------------------------------------------------------------------------


def two_sum(a, b):
    """a + b and the exact error of that addition (Knuth)."""
    s = a + b
    z = s - a
    return s, (a - (s - z)) + (b - z)


def two_product(a, b):
    """a b and the exact error of that multiplication (Dekker)."""
    product = a * b
    bits = format_of(product.dtype).mantissa // 2 + 1
    a_hi, b_hi = _short(a, bits), _short(b, bits)
    a_lo, b_lo = a - a_hi, b - b_hi
    return product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def reciprocal(hi, lo=0.0):
    """1 / (hi + lo) in two words."""
    inverse = 1.0 / hi
    one, error = two_product(hi, inverse)
    rest = ((1.0 - one) - error - lo * inverse) * inverse
    return inverse, jnp.where(jnp.isfinite(rest), rest, 0.0)


def _short(a, bits):
    """The number with so many bits."""
    a = jnp.asarray(a)
    return lax.reduce_precision(a, format_of(a.dtype).exponent_bits, bits - 1)


# --- functions --------------------------------------------------------------------------------


def exponentials(x, m, t):
    """exp((x - m) / T) of all x <= m, exactly 1 where x is m.

    With k and n the exponents of two nearest to m and to x, over T, it is 2^(n - k) exp(r), where r
    is what n leaves of x, less what k leaves of m.
    """
    form, units = format_of(x.dtype), units_of(t, x.dtype)
    one = 1.5 * 2.0**form.mantissa  # adding it rounds to an integer, in the lowest bits
    shift = jnp.where(jnp.abs(m) > FAR * (1.0 if t is None else t.hi), m, 0.0)
    top = jnp.where(jnp.isinf(m), 0.0, m - shift)
    k = jnp.round(top * units.per_unit)
    rounder = lax.optimization_barrier((one + form.exponent_of_one) - k)
    left = (top - k * units.ln2_hi) - k * units.ln2_lo

    y = x - shift
    z = (y * units.per_unit - (top * units.per_unit - k)) + rounder
    n = z - rounder
    r = (((y - n * units.ln2_hi) - n * units.ln2_lo) - left) * units.inverse
    power = lax.bitcast_convert_type(z, form.integer) << form.mantissa
    power = lax.bitcast_convert_type(power, x.dtype)
    q = form.q[-1]
    for c in form.q[-2::-1]:
        q = q * r + c
    s = r + r * r * q
    # Near the smallest normal number a product with s would be below it, which XLA takes for 0.
    e = jnp.where(z <= one + form.mantissa, power * (1.0 + s), power + power * s)
    e = jnp.where(z <= one, 0.0, e)  # not for NaN, which is to stay
    return jnp.where(x == m, 1.0, e)


@jax.custom_jvp
def exp(x):
    """exp(x), within an ulp for x <= 0: a device's own may be off by one for each unit of x."""
    return jnp.where(x > 0.0, jnp.exp(x), exponentials(x, jnp.zeros((), x.dtype), None))


@exp.defjvp
def _exp_rule(primals, tangents):
    value = exp(*primals)
    return value, value * tangents[0]


def log1p(r):
    """log(1 + r) for r >= 0."""
    whole, error = two_sum(lax.optimization_barrier(jnp.ones_like(r)), r)
    return jnp.log(whole) + error / whole
