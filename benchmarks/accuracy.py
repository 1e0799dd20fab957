"""Largest errors against the references of the tests, on inputs of every kind.

An error is counted in ulps of the result's dtype, at the magnitude that tests/oracle.py gives with
each value: the result itself for softmax and log_softmax, max(|m|, |result|) for logsumexp and
p_i (|w_i| + |S|) for the derivative of softmax, wherever that is a normal number. The loss of each
row, and the gradient of their sum, are counted at the result itself.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import onesum
from onesum._backends import registry
from onesum.bench import host, peers
from onesum.bench.cases import LOSS

from . import ROOT

sys.path.append(str(ROOT / "tests"))

import oracle
import oracle_losses
from measure import overflow, smallest_normal, ulp
from rows import arguments, logits

OPERATIONS = ("softmax", "log_softmax", "logsumexp", "softmax_vjp")
LOSSES = (LOSS, f"gradient of {LOSS}")
TARGETS = ("a class", "the likeliest class")
DTYPES = ("float32", "float64", "float16", "bfloat16")
BESIDE = ("SciPy", "torch", "JAX")
LANES = ("torch", "JAX")  # whose arrays onesum takes, in columns of their own
REFERENCE = "reference"

Input = Callable[[str], oracle.Array]
Errors = dict[str, float | None]


def _zeros(dtype: str) -> oracle.Array:
    return np.zeros((1, 70_000), dtype)


INPUTS: dict[str, Input] = {
    "normal, spread 3": partial(logits, "spread 3", 1000, 1000),
    "normal, spread 20": partial(logits, "spread 20", 1000, 1000),
    "uniform on [-80, 0]": partial(logits, "uniform", 1000, 1000),
    "normal, offset 1e4": partial(logits, "offset", 1000, 1000),
    "gaps 17 to 80, n = 2": partial(logits, "gaps", 10_000, 2),
    "gaps 17 to 80, n = 10": partial(logits, "gaps", 10_000, 10),
    "one value, n = 1e6": partial(logits, "constant", 1, 1_000_000),
    "normal, n = 1e6": partial(logits, "spread 3", 1, 1_000_000),
    "zeros, n = 70 000": _zeros,
}
LOSS_INPUTS: dict[str, Input] = {
    **INPUTS,
    "20 and 0": lambda dtype: np.array([[20.0, 0.0]], dtype),
}
TINY: dict[str, Input] = {"gaps 17 to 80, n = 2": partial(logits, "gaps", 8, 2)}


def run(results: Path, quick: bool) -> None:
    errors: list[dict[str, Any]] = []

    def note(operation: str, dtype: str, name: str, found: Errors) -> None:
        errors.append({"operation": operation, "dtype": dtype, "input": name, "errors": found})
        print(operation, dtype, name, found, flush=True)

    for dtype in DTYPES:
        for name, x in _inputs(TINY if quick else INPUTS, dtype):
            for operation in OPERATIONS:
                note(operation, dtype, name, _errors(operation, x))
    for dtype in DTYPES:
        for name, x in _inputs(TINY if quick else LOSS_INPUTS, dtype):
            for target in TARGETS:
                y, _ = oracle_losses.targets(target, x)
                for operation, found in zip(LOSSES, _loss_errors(x, y), strict=True):
                    note(operation, dtype, f"{name}; {target}", found)
    result = {
        "host": host.describe(),
        "missing": [name for name in peers.missing() if name in BESIDE],
        "unit": "largest error in ulps; null where a result is not finite and should be",
        "errors": errors,
    }
    host.save(results / "accuracy.json", result)


def _inputs(inputs: dict[str, Input], dtype: str) -> Iterator[tuple[str, oracle.Array]]:
    for name, make in inputs.items():
        if make is not _zeros or dtype == "float16":
            yield name, make(dtype)


def _errors(operation: str, x: oracle.Array) -> Errors:
    """The largest error of onesum, once for each of its implementations, and of the others."""
    args = arguments(operation, x)
    reference = getattr(oracle, operation)(*args, arithmetic=oracle.WIDE)
    installed = peers.installed()
    unused = np.empty_like(x)  # for results that nobody asks for here
    errors: Errors = {}
    for name in implementations():
        with serving(name):
            calls = installed[peers.ONESUM](operation, args, -1, unused)
            assert calls is not None
            errors[f"{peers.ONESUM} {name}"] = largest(calls.fresh(), reference, x.dtype)
    for name in LANES:
        if name in installed:
            answer = _in_lane(name, getattr(onesum, operation), *args)
            errors[in_lane(name)] = largest(peers.as_numpy(answer), reference, x.dtype)
    for name in BESIDE:
        calls = installed[name](operation, args, -1, unused) if name in installed else None
        if calls is None:
            continue
        with np.errstate(all="ignore"):
            answer = peers.as_numpy(calls.fresh())
        if answer.dtype == x.dtype:  # otherwise the library does not know the dtype
            errors[name] = largest(answer, reference, x.dtype)
    return errors


def _loss_errors(x: oracle.Array, y: oracle.Array) -> tuple[Errors, Errors]:
    """The largest errors of the rows' losses, and of the gradient of their sum."""
    references = oracle_losses.cross_entropy(x, y, arithmetic=oracle.WIDE)
    errors: tuple[Errors, Errors] = ({}, {})

    def note(name: str, answers: tuple[Any, Any]) -> None:
        for kept, answer, reference in zip(errors, answers, references, strict=True):
            array = peers.as_numpy(answer)
            if array.dtype == x.dtype:
                kept[name] = largest(array, reference, x.dtype)

    for name in implementations():
        with serving(name):
            answers = onesum.cross_entropy_value_and_grad(x, y, reduction="none")
            note(f"{peers.ONESUM} {name}", answers)
    for name in LANES:
        if name in peers.installed():
            both = partial(onesum.cross_entropy_value_and_grad, reduction="none")
            note(in_lane(name), _in_lane(name, both, x, y))
    for name, losses in {"torch": _torch_losses, "JAX": _jax_losses}.items():
        if name in peers.installed():
            note(name, losses(x, y))
    return errors


def in_lane(name: str) -> str:
    """What onesum is called where it computes with another library's arrays."""
    return f"{name} by {peers.ONESUM}"


def _in_lane(name: str, function: Callable[..., Any], *args: oracle.Array) -> Any:
    """What a public function makes of arrays of a library; JAX compiles it first."""
    if name == "torch":
        return function(*map(peers.as_tensor, args))
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax.jit(function)(*map(jax.numpy.asarray, args))


def _torch_losses(x: oracle.Array, y: oracle.Array) -> tuple[Any, Any]:
    import torch

    leaf = peers.as_tensor(x).requires_grad_()
    losses = torch.nn.functional.cross_entropy(leaf, peers.as_tensor(y), reduction="none")
    losses.sum().backward()
    return losses, leaf.grad


def _jax_losses(x: oracle.Array, y: oracle.Array) -> tuple[Any, Any]:
    import jax

    jax.config.update("jax_enable_x64", True)

    @jax.jit
    def both(x: Any) -> tuple[Any, Any]:
        losses, pull = jax.vjp(lambda x: peers.jax_losses(x, y, -1), x)
        return losses, *pull(jax.numpy.ones_like(losses))

    return both(x)


def largest(answer: Any, reference: oracle.Reference, dtype: Any) -> float | None:
    """The largest error, in ulps; None if it is not finite."""
    value, scale = reference
    value = np.where(np.abs(value) < overflow(dtype), value, np.copysign(np.inf, value))
    normal = scale >= smallest_normal(dtype)
    with np.errstate(invalid="ignore"):
        got = np.asarray(answer).astype(np.longdouble)
        off = np.where(got == value, 0, np.abs(got - value))[normal]
        worst = float(np.max(np.where(off == 0, 0, off / ulp(scale[normal], dtype)), initial=0))
    return float(f"{worst:.4g}") if np.isfinite(worst) else None


def implementations() -> list[str]:
    """The instruction sets this machine has, and the reference backend."""
    return [*onesum.show_config(mode="dicts")["isas"], REFERENCE]


@contextmanager
def serving(name: str) -> Iterator[None]:
    """NumPy arrays are computed by the implementation of this name."""
    before = registry.numpy_backend
    if name == REFERENCE:
        registry.numpy_backend = import_module("onesum._backends.reference")
        try:
            yield
        finally:
            registry.numpy_backend = before
        return
    core = import_module("onesum._core")
    isa = core.isa
    core._use_isa(name)
    try:
        yield
    finally:
        core._use_isa(isa)
