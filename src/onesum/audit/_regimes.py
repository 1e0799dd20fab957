"""Logits of every size, in float32 and float64: the worst error of each regime."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._audit import Audit

Array = Any
_FLOATS = ("float32", "float64")


def regimes(audit: Audit) -> None:
    """Everything about the values of finite logits."""
    for dtype in _FLOATS:
        single = dtype == "float32"
        rng = np.random.default_rng(0)

        def drawn(low: float, high: float, *, rng: Any = rng, dtype: str = dtype) -> Array:
            return rng.uniform(low, high, (5, 7)).astype(dtype)

        audit.judge("ordinary logits", dtype, rng.normal(0, 3, (5, 7)).astype(dtype))
        half = 42.0 if single else 350.0
        audit.judge("wide spread", dtype, _spread(drawn(-half, half), half))
        least = 97.0 if single else 730.0
        x = drawn(-least, -least + 5)
        x[:, 0] = 0.25
        audit.judge("wide spread", f"{dtype}, subnormal p", x, topic="subnormal")
        # Not a multiple of the last place: neighbours that differ by one to six of them.
        steps = rng.integers(0, 7, (5, 7)) * np.finfo(dtype).eps
        audit.judge("near ties", dtype, (1 + steps).astype(dtype))
        audit.judge("p near 1", dtype, _winner(20.0 if single else 40.0, dtype))
        offset = 1e3 if single else 1e6
        audit.judge("large offsets", f"{dtype}, {offset:+g}", drawn(-4, 4) + x.dtype.type(offset))
        audit.judge("large offsets", f"{dtype}, {-offset:+g}", drawn(-4, 4) - x.dtype.type(offset))
        large = 1.5e38 if single else 8e307
        x = np.array([[large, large, -large], [-large, 0.0, -large], [large, 0.0, 1.0]], dtype)
        audit.judge("overflow range", f"{dtype}, up to {large:g}", x)


def _spread(x: Array, half: float) -> Array:
    """Each row has a class near either end."""
    x[:, 0], x[:, 1] = half + 0.3, -half + 0.7
    return x


def _winner(distance: float, dtype: str) -> Array:
    x = np.array([[0.0, -distance, -distance - 1], [0.0, 0.0, 0.0]], dtype)
    x[1] = x[0, ::-1]
    return x


def limits(audit: Audit) -> None:
    """-inf, +inf and NaN, by the table of the contract."""
    kind, inf, nan = audit.exact_kind, np.inf, np.nan
    audit.judge(
        "inf and NaN", "-inf beside others", np.array([[0.5, -inf, 1.0], [-inf, 2.0, -inf]])
    )
    none = {"softmax": nan, "log_softmax": nan, "logsumexp": -inf}[kind]
    one_hot = {"softmax": [0, 1, 0], "log_softmax": [-inf, 0, -inf], "logsumexp": inf}[kind]
    several = inf if kind == "logsumexp" else [nan, nan, nan]
    cases: tuple[tuple[str, list[float], Any], ...] = (
        ("a row of -inf alone", [-inf, -inf, -inf], np.broadcast_to(none, np.shape(several))),
        ("one +inf", [0.0, inf, -inf], one_hot),
        ("several +inf", [inf, 0.0, inf], several),
    )
    for case, row, wanted in cases:
        got = audit.ask("inf and NaN", case, np.array([row]), topic="limits")
        if got is not None:
            right = np.array_equal(got[0], wanted, equal_nan=True)
            told = "" if right else f"returned {_shown(got[0])}, expected {_shown(wanted)}"
            audit.note("inf and NaN", case, right, told, topic="limits")
    x = np.array([[0.5, nan, 1.0], [0.25, 2.0, -1.0]])
    got = audit.ask("inf and NaN", "NaN", x)
    if got is not None:
        alone = audit.ask("inf and NaN", "NaN", x[1:])
        own = bool(np.all(np.isnan(got[0])))
        spared = alone is not None and np.allclose(got[1], alone[0], equal_nan=False)
        told = "" if own else f"the row with a NaN is {_shown(got[0])}, expected NaN"
        told = told if spared else "a NaN changes another row"
        audit.note("inf and NaN", "NaN", own and spared, told)


def _shown(values: Any) -> str:
    return np.array2string(np.asarray(values, np.float64), precision=4, threshold=8)
