"""A shape to draw: its class axes, arrays that fit it, and options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from oracle import Layout

from . import values
from .values import FLOATS, INTEGERS, Rng, chance, choice

Array = np.ndarray[Any, Any]

LONG = (65, 129, 257, 1000, 1100)


class Draw:
    """A shape and its axes, and arrays for it drawn as rows."""

    def __init__(self, rng: Rng, empty: bool = True, most: int = 40) -> None:
        self.rng = rng
        k, n = self._size(empty, most)
        form = choice(rng, _FORMS, _FORM_WEIGHTS)
        self.shape, self.axis = form(rng, k, n)
        self.layout = Layout(self.shape, self.axis if self.shape else None)
        self.n = self.layout.n
        self.batch = tuple(self.shape[i] for i in self.layout.rest)
        self.k = math.prod(self.batch)
        self.dtype = choice(rng, (*FLOATS, *INTEGERS), (2, 2, 4, 3, *[0.08] * len(INTEGERS)))

    def _size(self, empty: bool, most: int) -> tuple[int, int]:
        rng = self.rng
        n = int(choice(rng, (rng.integers(1, 6), rng.integers(1, 13), rng.integers(1, most + 1))))
        k = int(choice(rng, (rng.integers(1, 5), rng.integers(1, 10))))
        if chance(rng, 0.06):
            k = int(rng.integers(10, 41))
        if most == 40 and chance(rng, 0.03):
            n, k = int(choice(rng, LONG)), int(rng.integers(1, 4))
        if most == 40 and chance(rng, 0.004):  # enough for threads to share
            n, k = choice(rng, ((1000, 45), (10, 4500), (2, 21_000)))
        if empty and chance(rng, 0.01):
            n, k = choice(rng, ((0, k), (n, 0), (n, 0)))
        return k, n

    def full(self, rows: Array) -> Array:
        return np.array(self.layout.unrow(rows), order="C") if rows.size else self._no(rows)

    def _no(self, rows: Array) -> Array:
        return np.zeros(self.shape, rows.dtype)

    def column(self, rows: Array, kept: bool = False) -> Array:
        column = np.reshape(rows, self.batch)
        return np.expand_dims(column, self.layout.axes) if kept else column

    def floating(self) -> str:
        """A dtype for a second array: mostly that of the first."""
        return self.dtype if chance(self.rng, 0.85) else choice(self.rng, (*FLOATS, "int64"))

    # --- options

    def options(self, *names: str, often: float = 0.25) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and numbers for some of these options."""
        arrays: dict[str, Array] = {}
        numbers: dict[str, Any] = {}
        if self.axis != -1 or chance(self.rng, 0.1):
            numbers["axis"] = self.axis
        for name in names:
            if chance(self.rng, often):
                value = getattr(self, f"_{name}")()
                if isinstance(value, np.ndarray):
                    arrays[name] = value
                else:
                    numbers[name] = value
        return arrays, numbers

    def _temperature(self) -> Any:
        if chance(self.rng, 0.6):
            return values.temperature(self.rng)
        t = values.temperatures(self.rng, self.k)
        dtype = choice(self.rng, ("float64", "float64", "float32"))
        return self.column(t.astype(dtype), kept=chance(self.rng, 0.4))

    def _where(self) -> Array:
        part = choice(self.rng, (0.2, 0.7, 0.95))
        shape = [1 if chance(self.rng, 0.2) else s for s in self.shape]
        return np.asarray(self.rng.random(shape) < part)

    def _dtype(self) -> str:
        return str(choice(self.rng, FLOATS))

    def _keepdims(self) -> bool:
        return True

    def _return_sign(self) -> bool:
        return True

    def _reduction(self) -> str:
        return str(choice(self.rng, ("none", "none", "sum", "mean")))

    def _label_smoothing(self) -> float:
        return float(choice(self.rng, (0.1, 0.3, 1.0, 1e-6)))

    def _z_loss(self) -> float:
        return float(choice(self.rng, (0.3, 1e-4, 2.0)))

    def _softcap(self) -> float:
        return float(choice(self.rng, (30.0, 5.0, 0.3, 1e4)))

    def _weight(self) -> Array:
        w = values.weights(self.rng, self.n)
        return w.astype(choice(self.rng, ("float64", "float64", "float32")))

    def _sample_weight(self) -> Array:
        s = self.column(values.weights(self.rng, self.k))
        return s.astype(choice(self.rng, ("float64", "float64", "float32")))


# Shapes with k rows of n classes, or about so many, and their class axes.
def _matrix(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    return (k, n), choice(rng, (-1, 1))


def _columns(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    return (n, k), choice(rng, (0, -2))


def _one_row(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    return (n,), choice(rng, (-1, 0, None))


def _middle(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    first = int(rng.integers(1, 4))
    return (first, n, -(-k // first)), choice(rng, (1, -2))


def _three(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    first = int(rng.integers(1, 4))
    return (first, -(-k // first), n), -1


def _several(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    part = int(rng.integers(1, 4))
    shape = [part, -(-n // part), k]
    place = rng.permutation(3)
    axes = tuple(int(i) for i in (np.argsort(place)[0], np.argsort(place)[1]))
    return tuple(shape[i] for i in place), axes


def _all(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    part = int(rng.integers(1, 4))
    return (part, -(-n // part)), None


def _number(rng: Rng, k: int, n: int) -> tuple[tuple[int, ...], Any]:
    return (), choice(rng, (-1, None))


_FORMS = (_matrix, _columns, _one_row, _middle, _three, _several, _all, _number)
_FORM_WEIGHTS = (8, 4, 2, 2, 1, 1, 0.7, 0.1)
