"""Results half-way between two numbers of 16 bits: rounded once, to the one that is even.

What they are rounded from is exact, so that all rounds to the same place or something is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from implementations import dtypes
from measure import smallest

# For a number a + d, half of which lies in the middle of two numbers, that of which is even: by
# dtype an a, and the unit in which a / 2 and its neighbours are whole numbers, one after the other.
BELOW, ABOVE = (1, 0), (3, 4)  # d, and that of the even one
RANGES = {
    "float16": {"normal": (2048, 1.0), "subnormal": (4, smallest("float16"))},
    "bfloat16": {"normal": (256, 1.0), "subnormal": (4, float(smallest("bfloat16")))},
}
PADDING = {"p": 0.0, "x": -np.inf, "g": 0.0}  # a class that takes no part


def half_of(function: str, a: float, d: float) -> tuple[dict[str, Any], dict[str, Any], int, int]:
    """Arrays and options for which a result is half of a + d, with which sign, and where."""
    two, three = [0.0, 0.0], [0.0, 0.0, 0.0]
    rows = {"sample_weight": a + d, "reduction": "sum"}
    return {
        "softmax_vjp": ({"p": [0.5, 0.5], "g": [2 * a, -2 * d]}, {}, 1, 0),
        "softmax_jvp": ({"p": [0.5, 0.5], "g": [2 * a, -2 * d]}, {}, -1, 1),
        "log_softmax_vjp": ({"x": three, "g": [a, d, 0.0]}, {"temperature": 2.0}, -1, 2),
        "log_softmax_jvp": ({"x": three, "g": [0.0, a, d]}, {"temperature": 2.0}, -1, 0),
        "logsumexp_vjp": ({"x": two}, {"g": a + d}, 1, 1),
        "logsumexp_jvp": ({"x": two, "g": [a, d]}, {}, 1, 0),
        "cross_entropy_value_and_grad": ({"x": two}, rows, -1, 0),
        "cross_entropy_hvp": ({"x": two, "g": [2 * a, -2 * d]}, {"reduction": "sum"}, -1, 1),
    }[function]


@pytest.mark.parametrize(
    "function",
    [
        "softmax_vjp",
        "softmax_jvp",
        "log_softmax_vjp",
        "log_softmax_jvp",
        "logsumexp_vjp",
        "logsumexp_jvp",
        "cross_entropy_value_and_grad",
        "cross_entropy_hvp",
    ],
)
def test_half_way(any_api, function):
    """Alone and in a batch, in rows of any length, of classes in either order in memory."""
    for dtype in set(RANGES) & set(dtypes(any_api.name)):
        for where, (a, unit) in RANGES[dtype].items():
            if function == "logsumexp_vjp" and where == "normal":
                continue  # what is twice its result is no number of the dtype
            for d, even in (BELOW, ABOVE):
                wanted = np.array((a + even) / 2 * float(unit))
                for k, n in [(1, 3), (5, 3), (40, 17), (3, 100)]:
                    for axis in (-1, 0):
                        got, sign = result(any_api, function, a * unit, d * unit, k, n, axis, dtype)
                        assert got.dtype == np.dtype(dtype)
                        note = f"{dtype} {where}, {k} rows of {n}, axis {axis}, {d}: {got}"
                        assert np.all(got.astype(float) == sign * wanted), note


def result(
    api: Any, function: str, a: float, d: float, k: int, n: int, axis: int, dtype: str
) -> tuple[np.ndarray, int]:
    """The results of k rows of n classes that are to be half of a + d, and their sign."""
    arrays, options, sign, at = half_of(function, float(a), float(d))
    args = []
    for name, row in arrays.items():
        rows = np.full((k, n), PADDING[name])
        rows[:, : len(row)] = row
        args.append((rows if axis == -1 else rows.T.copy()).astype(dtype))
    if "g" in options:
        args.append(np.full(k, options.pop("g")).astype(dtype))
    if function.startswith("cross_entropy"):
        args.insert(1, np.zeros(k, int))
    if "sample_weight" in options:
        options["sample_weight"] = np.full(k, options["sample_weight"])
    got = getattr(api, function)(*args, axis=axis, **options)
    got = np.asarray(got[1] if isinstance(got, tuple) else got)
    return (got if got.ndim == 1 else got[:, at] if axis == -1 else got[at]), sign
