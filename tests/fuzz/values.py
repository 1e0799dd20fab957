"""Numbers to draw: logits of every kind, and what goes with them."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

Array = np.ndarray[Any, Any]
Rng = np.random.Generator

FLOATS = ("float16", "bfloat16", "float32", "float64")
INTEGERS = ("int64", "int32", "int8", "uint8", "uint64", "bool")
INF, NAN = np.inf, np.nan


def chance(rng: Rng, part: float) -> bool:
    return bool(rng.random() < part)


def choice(rng: Rng, options: Any, weights: Any = None) -> Any:
    if weights is None:
        return options[int(rng.integers(len(options)))]
    edges = np.cumsum(weights)
    return options[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def largest(dtype: str) -> float:
    return float(ml_dtypes.finfo(dtype).max)


def smallest(dtype: str) -> float:
    """The smallest normal number."""
    return float(ml_dtypes.finfo(dtype).smallest_normal)


def _gaps(rng: Rng, k: int, n: int) -> Array:
    x = -np.abs(rng.normal(0, 0.5, (k, n))) - rng.uniform(10, 120, (k, 1))
    x[np.arange(k), rng.integers(0, n, k)] = 0
    return x


def _outliers(rng: Rng, k: int, n: int) -> Array:
    """Some classes far below all others, further than an exponential reaches."""
    x = rng.normal(0, 1, (k, n))
    below = rng.random((k, n)) < 0.3
    low = -(10.0 ** rng.choice([2, 2.2, 3, 4, 5, 9, 15, 30], (k, n)))
    return np.where(below, low, x)


KINDS = {
    "spread 1": lambda rng, k, n: rng.normal(0, 1, (k, n)),
    "spread 3": lambda rng, k, n: rng.normal(0, 3, (k, n)),
    "spread 20": lambda rng, k, n: rng.normal(0, 20, (k, n)),
    "spread 300": lambda rng, k, n: rng.normal(0, 300, (k, n)),
    "uniform": lambda rng, k, n: rng.uniform(-110, 0, (k, n)),
    "offset": lambda rng, k, n: rng.choice([-1e4, 1e4, 300, 1e9]) + rng.normal(0, 3, (k, n)),
    "gaps": _gaps,
    "outliers": _outliers,
    "constant": lambda rng, k, n: np.repeat(rng.normal(0, 10, (k, 1)), n, axis=1),
    "ties": lambda rng, k, n: rng.integers(-3, 4, (k, n)) / 2,
    "huge": lambda rng, k, n: rng.normal(0, 1, (k, n)) * 1e30,
    "tiny": lambda rng, k, n: rng.normal(0, 1, (k, n)) * 10.0 ** rng.integers(-45, -3),
    "near -log n": lambda rng, k, n: rng.normal(0, 0.01, (k, n)) - np.log(n),
}
# No exponential of these is 0 for want of exponents: for products of many options.


def logits(rng: Rng, k: int, n: int, dtype: str, special: float = 0.15) -> Array:
    """Rows of one kind; in so many calls some entries are infinite or NaN."""
    if n == 0:
        return np.zeros((k, n), dtype)
    if dtype not in FLOATS:
        return _integers(rng, k, n, dtype)
    x = KINDS[choice(rng, tuple(KINDS))](rng, k, n)
    if chance(rng, 0.05):  # whose differences and sums are numbers of the dtype too
        x = np.where(rng.random((k, n)) < 0.2, largest(dtype) / 64 * rng.choice([-1, 1], (k, n)), x)
    if chance(rng, 0.05):
        x = x * 0 + rng.integers(-5, 6, (k, n)) * smallest(dtype) / 8
    x = rounded(x, dtype)
    if chance(rng, 0.15):
        x[rng.random((k, n)) < 0.2] = -INF
    if chance(rng, special):
        for value in (INF, -INF, NAN):
            if chance(rng, 0.6):
                here = rng.random((k, n)) < choice(rng, (0.05, 0.3))
                x[here & (rng.random((k, 1)) < 0.5)] = value
        if chance(rng, 0.2):
            x[rng.random(k) < 0.3] = -INF
    return x


def _integers(rng: Rng, k: int, n: int, dtype: str) -> Array:
    if dtype == "bool":
        return rng.random((k, n)) < 0.5
    limits = np.iinfo(dtype)
    low, high = max(limits.min, -40), min(limits.max, 40)
    x = rng.integers(low, high + 1, (k, n)).astype(dtype)
    if chance(rng, 0.2):
        x[rng.random((k, n)) < 0.2] = choice(rng, (limits.min, limits.max))
    return x


def rounded(x: Array, dtype: str) -> Array:
    """In the dtype, with its largest number for what is beyond."""
    with np.errstate(all="ignore"):
        limit = largest(dtype)
        return np.clip(np.asarray(x, np.float64), -limit, limit).astype(dtype)


def cotangents(rng: Rng, k: int, n: int, dtype: str) -> Array:
    """What derivatives multiply: of every size, and with ties."""
    kind = choice(rng, ("normal", "ties", "one", "sizes", "large", "offset", "tiny"))
    if kind == "ties":
        g = rng.integers(-2, 3, (k, n)).astype(float)
    elif kind == "one":
        g = np.zeros((k, n))
        if n:
            g[np.arange(k), rng.integers(0, n, k)] = rng.normal(0, 1, k)
    else:
        g = rng.normal(0, 1, (k, n))
        if kind == "sizes":
            g = g * 10.0 ** rng.integers(-12, 13, (k, n))
        elif kind == "large":
            g = g * choice(rng, (1e4, 1e10, 1e30))
        elif kind == "offset":
            g = g + choice(rng, (1e3, -1e6))
        elif kind == "tiny":
            g = g * choice(rng, (1e-10, 1e-30))
    if dtype not in FLOATS:
        return np.clip(np.rint(g), 0, 1).astype(dtype)
    return rounded(g, dtype)


def probabilities(rng: Rng, k: int, n: int, dtype: str) -> tuple[Array, Array]:
    """p and log p of rows of logits, rounded; and some that are of no logits in particular."""
    x = logits(rng, k, n, dtype, special=0.0).astype(np.longdouble)
    if chance(rng, 0.15) and n:
        x = np.log(np.maximum(rng.random((k, n)), 1e-30)) * choice(rng, (1, 30, 300))
    if chance(rng, 0.15):
        x = np.where(rng.random((k, n)) < 0.3, np.log(smallest(dtype)) + rng.normal(0, 1), x)
    with np.errstate(all="ignore"):
        top = np.maximum(x.max(axis=-1, keepdims=True, initial=-INF), -1e4000)
        d = np.where(np.isneginf(top), 0, x - top)
        logp = d - np.log(np.exp(d).sum(axis=-1, keepdims=True))
        logp = np.where(np.isnan(logp), -INF, logp)
        limit = largest(dtype)
        return np.exp(logp).astype(dtype), np.where(
            np.isinf(logp), logp, np.maximum(logp, -limit)
        ).astype(dtype)


def temperatures(rng: Rng, k: int) -> Array:
    some = choice(rng, ([0.1, 0.7, 1.0, 3.0, 100.0], [1e-4, 1e4, 1.0, 0.5], [7e-5, 2.0, 1e10]))
    return rng.choice(some, k)


def temperature(rng: Rng) -> float:
    values = (0.1, 0.7, 3.0, 100.0, 1e-4, 1e4, 7e-5, 0.5, 2.0**-13, 1e10)
    return float(choice(rng, values))


def weights(rng: Rng, size: int, large: bool = True) -> Array:
    """From 0 on."""
    w = rng.random(size) * 2
    kind = choice(rng, ("plain", "zeros", "sizes", "integers"))
    if kind == "zeros":
        w[rng.random(size) < choice(rng, (0.4, 0.4, 1.1))] = 0
    elif kind == "sizes" and large:
        w = w * 10.0 ** rng.choice([-30, -6, 0, 6, 30], size)
    elif kind == "integers":
        w = np.rint(w)
    return w
