"""How long a call takes, beside the same one of every library that is installed and imported."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import onesum

from ..bench import peers
from ._audit import Audit

SHAPES = ((1, 10), (1000, 100))
ROUNDS = 5
ENOUGH = 2e-3  # seconds that the repetitions of one sample take together
_MODULES = {"SciPy": "scipy", "torch": "torch", "JAX": "jax"}


def speed(audit: Audit) -> None:
    """The shortest of some times, in turns: a hint, and no benchmark (`onesum bench` is one)."""
    kind = audit.subject.kind
    if audit.subject.way.by_row or audit.subject.way.one_hot:
        return
    for shape in SHAPES:
        rng = np.random.default_rng(30)
        arrays = _operands(kind, rng.normal(0, 3, shape).astype(np.float32), rng)
        out = np.empty(shape[:-1] if kind == "logsumexp" else shape, np.float32)
        calls: dict[str, Callable[[], Any]] = {}
        for name, peer in peers.installed().items():
            if name not in ("onesum", "NumPy") and _MODULES.get(name) not in sys.modules:
                continue
            try:
                with _settings_kept():
                    found = peer(kind, arrays, -1, out)
                if found is not None:
                    found.fresh()
                    calls[name] = found.fresh
            except Exception:  # a library that is broken has no time
                continue
        calls[""] = audit.subject.prepared(*arrays)
        audit.speed[f"{shape[0]} x {shape[1]}, float32"] = _times(audit, calls)


@contextlib.contextmanager
def _settings_kept() -> Iterator[None]:
    """A benchmark may set what JAX is to do in the whole process; an audit may not."""
    config: Any = getattr(sys.modules.get("jax"), "config", None)
    names = ("jax_enable_x64", "jax_cpu_enable_async_dispatch")
    before = {name: getattr(config, name) for name in names if hasattr(config, name)}
    try:
        yield
    finally:
        for name, value in before.items():
            config.update(name, value)


def _operands(kind: str, x: Any, rng: Any) -> tuple[Any, ...]:
    """What the kind takes, in onesum's own arithmetic: nothing is compared here."""
    if kind == "cross_entropy":
        return x, rng.integers(0, x.shape[1], len(x))
    if not kind.endswith("_vjp"):
        return (x,)
    forward = onesum.softmax if kind == "softmax_vjp" else onesum.log_softmax
    return forward(x), x


def _times(audit: Audit, calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    def measure() -> dict[str, float]:
        best = dict.fromkeys(calls, float("inf"))
        loops = {
            name: max(1, round(ENOUGH / max(_once(call, 1), 1e-7))) for name, call in calls.items()
        }
        for _ in range(ROUNDS):
            for name, call in calls.items():
                best[name] = min(best[name], _once(call, loops[name]) / loops[name])
        return {name: float(f"{1e6 * t:.3g}") for name, t in best.items()}

    outcome = audit.subject.limited(measure)
    return {} if outcome.error is not None else outcome.value


def _once(call: Callable[[], Any], loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return time.perf_counter() - start
